"""How an unlearning update lies to the finetuning update, against whole matrices and by hand."""

import json
import math

import pytest
import torch

import job_settings
import measure_updates
import summarize_updates
from excise.errors import InputError
from excise.evaluation.results import read_rows
from excise.evaluation.tables.updates import update_rows
from excise.evaluation.tables.weights import by_layer, fixed_row, summed
from excise.modeling.adapters import (
    adapter_tensors,
    attach_lora,
    load_adapter,
    load_merged,
    save_adapter,
    update_factors,
)
from excise.modeling.base import load_base
from excise.modeling.matrices import weight_matrices
from excise.modeling.updates import SHARES, Factors, Known
from excise.records import read_json
from tiny_models import lora, tiny_folder

UNLEARNED = "unlearn/ga/lr0.0002/epoch_3"


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def factors(up, down) -> Factors:
    return Factors(
        torch.as_tensor(up, dtype=torch.float64), torch.as_tensor(down, dtype=torch.float64)
    )


def drawn(*shape: int, seed: int, size: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(*shape, generator=generator, dtype=torch.float64)


def pair(outputs: int, inputs: int, rank: int, step: float = 0.3) -> tuple[Factors, Factors]:
    """A finetuning update, and one that began with it."""
    before = factors(drawn(outputs, rank, seed=0), drawn(rank, inputs, seed=1))
    up = before.up + drawn(outputs, rank, seed=2, size=step)
    return before, factors(up, before.down + drawn(rank, inputs, seed=3, size=step))


def squared(matrix: torch.Tensor) -> float:
    return matrix.square().sum().item()


def test_a_change_outside_of_the_columns_by_hand():
    """ΔW_f = [[1, 0], [0, 0]]; ΔW_u = [[0, 0], [1, 0]]: same input, another output."""
    before = factors([[1.0], [0.0]], [[1.0, 0.0]])
    found = Known(before).measure(factors([[1.0], [1.0]], [[1.0, 0.0]]))
    assert (found["finetuned"], found["adapter"], found["update"]) == (1, 2, 1)
    assert (found["columns"], found["rows"], found["both"]) == (0, 1, 0)
    chances = [found[f"{name}_by_chance"] for name in SHARES]
    assert chances == [0.5, 0.5, 0.25]
    # A step of B alone stays in the row space; half of it is in the columns by chance.
    assert [found[f"{name}_of_adapter"] for name in SHARES] == [0.5, 1.0, 0.5]


def test_energies_are_those_of_whole_matrices():
    before, after = pair(7, 5, 3)
    finetuned = before.up @ before.down
    update = after.up @ after.down - finetuned
    columns = finetuned @ torch.linalg.pinv(finetuned)
    rows = torch.linalg.pinv(finetuned) @ finetuned
    found = Known(before).measure(after)
    assert found["update"] == pytest.approx(squared(update))
    assert found["columns"] == pytest.approx(squared(columns @ update))
    assert found["rows"] == pytest.approx(squared(update @ rows))
    assert found["both"] == pytest.approx(squared(columns @ update @ rows))
    assert found["both"] < min(found["columns"], found["rows"]) < found["update"]


def test_without_an_adapter_the_update_is_the_finetuning_update_itself():
    before, _ = pair(6, 8, 2)
    found = Known(before).measure(None)
    assert found["adapter"] == 0
    for name in ("update", *SHARES):
        assert found[name] == pytest.approx(found["finetuned"])


def test_a_direction_that_finetuning_never_used_is_in_no_space():
    before, after = pair(6, 8, 3)
    before.up[:, 2] = 0  # rank 2
    known = Known(before)
    finetuned = before.up @ before.down
    columns = finetuned @ torch.linalg.pinv(finetuned, rtol=1e-10)
    update = after.up @ after.down - finetuned
    assert known.measure(after)["columns"] == pytest.approx(squared(columns @ update))
    assert known.part["columns"].item() == 2 / 6
    assert known.part["both"].item() == pytest.approx(2 / 6 * 2 / 8)


def test_shares_depend_on_the_products_and_not_on_their_factors():
    before, after = pair(6, 8, 2)
    turn = torch.tensor([[2.0, 1.0], [0.5, -1.0]], dtype=torch.float64)
    other = Known(factors(before.up @ turn, turn.inverse() @ before.down)).measure(after)
    for name, value in Known(before).measure(after).items():
        if not name.endswith("_of_adapter"):
            assert other[name] == pytest.approx(value), name


def test_experts_are_summed():
    before, after = pair(6, 8, 2)
    other = factors(drawn(6, 2, seed=9), drawn(2, 8, seed=8))
    changed = factors(2 * other.up + 0.1, other.down)
    alone = [Known(before).measure(after), Known(other).measure(changed)]
    stacked = [
        factors(torch.stack([x.up, y.up]), torch.stack([x.down, y.down]))
        for x, y in ((before, other), (after, changed))
    ]
    together = Known(stacked[0]).measure(stacked[1])
    for key, value in together.items():
        assert value == pytest.approx(alone[0][key] + alone[1][key]), key


def test_the_chance_of_an_adapter_is_the_mean_over_random_directions():
    outputs, inputs, rank = 6, 5, 2
    before, after = pair(outputs, inputs, rank)
    known = Known(before)
    expected = known.measure(after)
    up, down = after.up - before.up, after.down - before.down
    energies = dict.fromkeys(("update", *SHARES), 0.0)
    for seed in range(4000):
        left, _ = torch.linalg.qr(drawn(outputs, outputs, seed=seed))
        right, _ = torch.linalg.qr(drawn(inputs, inputs, seed=10_000 + seed))
        signs = torch.sign(drawn(2, seed=20_000 + seed))
        turned = factors(before.up + signs[0] * left @ up, before.down + signs[1] * down @ right)
        found = known.measure(turned)
        for name in energies:
            energies[name] += found[name]
    for name in SHARES:
        share = expected[f"{name}_of_adapter"] / expected["update"]
        assert energies[name] / energies["update"] == pytest.approx(share, rel=0.03), name


def test_adapters_of_other_ranks_have_no_chance_of_their_own():
    before, _ = pair(6, 8, 2)
    found = Known(before).measure(factors(drawn(6, 3, seed=5), drawn(3, 8, seed=6)))
    assert math.isnan(found["columns_of_adapter"])
    rows = list(update_rows({"h.0.w": {"base": 1.0} | found}))
    row = next(row for row in rows if row["metric"] == "update_in_columns")
    assert row["value"] > 0 and row["chance"] > 0
    assert math.isnan(row["chance_of_adapter"])  # null in the file


def test_matrices_are_grouped_by_their_block():
    names = ["h.0.attn.w", "h.11.mlp.experts.up", "proj", "h.0.mlp.w"]
    found = dict(by_layer(names))
    assert found == {None: names, 1: ["h.0.attn.w", "h.0.mlp.w"], 12: ["h.11.mlp.experts.up"]}


def test_weights_that_are_not_finite_give_a_null():
    sums = summed([{"update": None}, {"update": 1.0}])
    row = fixed_row("x", sums["update"])
    assert (row["value"], row["n_undefined"], row["interval"]) == (None, 1, None)
    assert fixed_row("x", 0.5)["interval"] == "fixed"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A base, a finetuned adapter, and one that unlearning made of it."""
    folder = tmp_path_factory.mktemp("updates")
    base = tiny_folder(folder / "base", "gpt2", layers=2)
    model = attach_lora(load_base(base), lora(), seed=0)
    for step, name in enumerate(("finetuned", UNLEARNED)):
        generator = torch.Generator().manual_seed(step)
        with torch.no_grad():
            for tensor in adapter_tensors(model).values():
                size = 0.03 if step == 0 else 0.01
                tensor += size * torch.randn(tensor.shape, generator=generator)
        save_adapter(model, folder / "models" / name)
    models = ["base", "finetuned", UNLEARNED]
    hp = job_settings.hp("machine_settings")
    arguments = ["--base", str(base), "--models-dir", str(folder / "models"), "--hp", hp]
    out = ["--out", str(folder / "updates.json")]
    measure_updates.main([*arguments, "--models", *models, *out])
    return folder


def table(study, *models: str):
    hp = {"levels": {"heavy": ["ga/lr0.0002/epoch_3"]}}
    arguments = ["--updates", str(study / "updates.json"), "--models", *models]
    arguments += ["--hp", json.dumps(hp), "--experiment", "test", "--config", "{}"]
    summarize_updates.main([*arguments, "--out", str(study / "table.json")])
    return read_rows(study / "table.json")


def test_the_norms_are_those_of_merged_weights(study):
    """Conv1D layers store the transposed weight."""
    weights = {}
    for name in ("finetuned", UNLEARNED):
        merged = load_merged(study / "base", study / "models" / name)
        weights[name] = {one.name: one.parameter.double() for one in weight_matrices(merged)}
    rows = table(study, "base", "finetuned", UNLEARNED)
    here = rows[(rows["model"] == UNLEARNED) & (rows["metric"] == "relative_update")]
    base = {one.name: one.parameter.double() for one in weight_matrices(load_base(study / "base"))}
    for layer, names in by_layer(base):
        update = sum(squared(weights[UNLEARNED][n] - weights["finetuned"][n]) for n in names)
        expected = (update / sum(squared(base[n]) for n in names)) ** 0.5
        row = here[here["layer"].isna() if layer is None else here["layer"] == layer]
        assert row["value"].item() == pytest.approx(expected, rel=1e-4)
    assert set(rows["level"].dropna()) == {"heavy"}


def test_finetuned_has_no_update_and_base_has_all_of_it(study):
    rows = table(study, "base", "finetuned", UNLEARNED)
    whole = rows[rows["layer"].isna()].set_index(["model", "metric"])["value"]
    assert whole["finetuned", "relative_update"] == 0
    assert whole.loc["finetuned"].drop(["relative_update", "relative_delta"]).isna().all()
    assert whole["base", "relative_delta"] == 0
    assert whole["base", "relative_update"] == pytest.approx(whole["finetuned", "relative_delta"])
    for name in SHARES:
        assert whole["base", f"update_in_{name}"] == pytest.approx(1)
        assert 0 < whole[UNLEARNED, f"update_in_{name}"] < 1
    assert set(rows["layer"].dropna()) == {1, 2}
    assert (rows["interval"].dropna() == "fixed").all()


def test_a_model_that_was_not_measured_is_named(study):
    with pytest.raises(InputError, match=r"updates\.json: lacks model 'oracle/seed_0'"):
        table(study, "base", "oracle/seed_0")


def test_the_factors_are_those_of_the_file(study):
    model = load_adapter(load_base(study / "base"), study / "models" / "finetuned")
    found = update_factors(model, study / "models" / "finetuned")
    assert list(read_json(study / "updates.json")["base"]) == sorted(found)
    name = "transformer.h.0.attn.c_attn.weight"
    before = load_base(study / "base").get_parameter(name).double()
    merged = load_merged(study / "base", study / "models" / "finetuned").get_parameter(name)
    product = (found[name].up @ found[name].down).T  # Conv1D
    torch.testing.assert_close(merged.double() - before, product, atol=1e-6, rtol=1e-4)
