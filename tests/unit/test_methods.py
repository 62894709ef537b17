"""Unlearning methods found, their readings of the model, and one tiny trajectory of each."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from excise.attacks.quantization import quantize_model
from excise.config.trajectories import check_methods_fit
from excise.errors import InputError
from excise.modeling.adapters import load_adapter, load_merged
from excise.modeling.base import load_base
from excise.modeling.settings import ModelSettings
from excise.records import read_json
from excise.unlearning.alternatives import alternative, read_alternatives
from excise.unlearning.forget_model import ForgetModel
from excise.unlearning.method import Adapter
from excise.unlearning.registry import find
from tiny_study import ALTERNATIVES, MODEL, run_unlearn, tiny_study, weights

OWN = """
from dataclasses import dataclass
FORGET_REDUCTION = "token mean"
@dataclass(frozen=True)
class Settings:
    learning_rate: float
    delta: int = 0
def loss(step, settings):
    return -step.forget.sums.mean()
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return tiny_study(tmp_path_factory.mktemp("study"))


# --- the registry ---


def own_file(folder: Path, text: str = OWN, name: str = "mine.py") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_users_file_is_a_method_named_after_it(tmp_path):
    method = find(own_file(tmp_path))
    assert method.name == "mine" and method.label == "MINE"
    assert method.axes == {"learning_rate": "lr", "delta": "delta"}


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("@dataclass(frozen=True)", "", "Settings: missing; needed: a frozen dataclass"),
        ("class Settings", "class Setings", "Settings: missing"),
        ("(frozen=True)", "", "Settings: not frozen"),
        ("def loss", "def los", "loss: missing; needed: a function loss(step, settings)"),
        ("FORGET_REDUCTION", "REDUCTION", "FORGET_REDUCTION: missing; needed: a text such as"),
        ("learning_rate", "rate", "Settings.learning_rate: missing"),
        ("delta: int = 0", "delta: str = ''", "Settings.delta: found <class 'str'>; allowed: int"),
        ("delta: int = 0", "delta2: int = 0", "Settings.delta2: found 'delta2'; allowed: small"),
        ("delta: int", "lr: int", "Settings.lr: found the short name of learning_rate; allowed: a"),
        ("def loss(step, settings):", "def loss(step, settings)", "mine.py:8: not Python"),
        ("FORGET", "1 / 0\nFORGET", "mine.py:3: the file cannot be imported (ZeroDivision"),
        ("FORGET", "import no_such\nFORGET", "(ModuleNotFoundError: No module named 'no_such')"),
    ],
)
def test_a_file_that_is_no_method_is_refused_in_one_line(tmp_path, old, new, message):
    path = own_file(tmp_path, OWN.replace(old, new, 1))
    with pytest.raises(InputError) as error:
        find(path)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith(path)


@pytest.mark.parametrize(
    "name, message",
    [
        ("npo.py", "npo is a method of Excise; allowed: another file name"),
        ("My-Method.py", "the file's name is the method's name; allowed: small letters"),
        ("../no_such/mine.py", "cannot read"),
    ],
)
def test_a_file_name_that_names_no_method_is_refused(tmp_path, name, message):
    path = str(tmp_path / name) if "no_such" in name else own_file(tmp_path, name=name)
    with pytest.raises(InputError, match=message):
        find(path)


CHECKED = (
    OWN
    + """
def check(settings, model_config):
    from excise.errors import InputError
    if settings.delta >= model_config["num_hidden_layers"]:
        raise InputError(f"delta: found {settings.delta}; allowed: less than the blocks")
"""
)


def test_a_check_must_be_a_function(tmp_path):
    with pytest.raises(InputError, match=r"mine\.py: check: not a function"):
        find(own_file(tmp_path, OWN + "check = 1\n"))


def config_of(method: str | dict, folder: Path, layers: int | None = 4, **axes) -> dict:
    """The part of a config with two blocks, and a model with a number of blocks."""
    model = {} if layers is None else {"num_hidden_layers": layers}
    (folder / "config.json").write_text(json.dumps(model))
    blocks = [{"method": method, "learning_rate": [1e-4], **axes}]
    return {"unlearning": {"trajectories": [{"method": "ga", "learning_rate": [1e-4]}, *blocks]}}


def test_each_value_of_a_users_method_is_checked_against_the_model(tmp_path):
    method = {"file": own_file(tmp_path, CHECKED)}
    check_methods_fit(config_of(method, tmp_path, delta=[0, 3]), tmp_path)
    config = config_of(method, tmp_path, delta=[0, 4])
    with pytest.raises(InputError) as error:
        check_methods_fit(config, tmp_path, [("mine.yaml", config)])
    place = "mine.yaml: unlearning.trajectories[1]: "
    assert str(error.value) == f"{place}delta: found 4; allowed: less than the blocks ({tmp_path})"


def test_a_check_that_fails_is_one_line(tmp_path):
    config = config_of({"file": own_file(tmp_path, CHECKED)}, tmp_path, layers=None, delta=[0])
    with pytest.raises(InputError, match=r"\[1\]: .*mine\.py: check fails \(KeyError: 'num_h"):
        check_methods_fit(config, tmp_path)


RMU = {"steering_scale": [3.0], "retain_weight": [1.0]}


@pytest.mark.parametrize("layers", [4, None])
def test_rmu_may_steer_behind_every_block(tmp_path, layers):
    config = config_of("rmu", tmp_path, layers, steering_layer=[1, 4], **RMU)
    check_methods_fit(config, tmp_path)


def test_a_layer_that_the_model_lacks_is_refused_with_the_config(tmp_path):
    config = config_of("rmu", tmp_path, steering_layer=[4, 5], **RMU)
    with pytest.raises(InputError, match=r"\[1\]: steering_layer: found 5; allowed: 1 to 4, the b"):
        check_methods_fit(config, tmp_path)


def test_what_holds_the_finetuned_model_is_what_a_method_declares():
    def keeps(method: str, **given) -> bool:
        found = find(method)
        return found.keeps_finetuned(found.Settings(learning_rate=1e-4, **given))

    rmu = {"steering_layer": 1, "steering_scale": 1.0}
    assert keeps("idk_dpo") and keeps("rmu", **rmu) and keeps("task_vector")
    assert not keeps("rmu", **rmu, retain_weight=0.0) and not keeps("npo", beta=0.1)


def test_an_edited_file_is_the_edited_method(tmp_path):
    assert find(own_file(tmp_path)).forget_reduction == "token mean"
    path = own_file(tmp_path, OWN.replace("token mean", "sequence sum"))
    assert find(path).forget_reduction == "sequence sum"


def test_a_method_that_does_not_exist_gets_the_list():
    with pytest.raises(InputError, match="'simpo': allowed: one of ft, ga, gd, idk_dpo, npo, rmu"):
        find("simpo")


# --- other answers ---


def test_the_shipped_alternatives_are_fifty_different_sentences():
    sentences = read_alternatives(ALTERNATIVES)
    assert len(sentences) == len(set(sentences)) >= 48
    assert all(sentence.endswith(".") for sentence in sentences)


def test_an_alternative_depends_on_seed_epoch_and_item_alone():
    sentences = read_alternatives(ALTERNATIVES)
    drawn = {
        (seed, epoch, item): alternative(sentences, seed, epoch, item)
        for seed in (0, 1)
        for epoch in range(1, 6)
        for item in "abc"
    }
    assert len(set(drawn.values())) > 10
    assert alternative(sentences, 0, 1, "a") == drawn[0, 1, "a"]


def test_a_file_without_sentences_is_refused(tmp_path):
    (tmp_path / "idk.txt").write_text("# only a remark\n\n")
    with pytest.raises(InputError, match="no sentence; needed: one a line"):
        read_alternatives(tmp_path / "idk.txt")


# --- readings ---


def opened(study: Path, autocast: str = "none") -> ForgetModel:
    settings = ModelSettings(**MODEL)
    return ForgetModel(study / "base", study / "finetuned", settings, autocast, seed=0)


QUESTIONS = ["Where was Ada Bell0 sf_place?", "Who?"]
ANSWERS = ["Ada Bell0 was in Town0.", "Ada."]


def test_logits_and_states_are_those_of_the_answer_tokens(study):
    model = opened(study)
    model.model.eval()
    encoded = model.encode(QUESTIONS, ANSWERS)
    read = model.states(encoded, layers=(0, 1, 2), logprobs=True, logits=True)
    start = 0
    for row, one in enumerate(encoded):
        ids = torch.tensor([one.input_ids])
        plain = model.model(ids, output_hidden_states=True)
        length = len(one.answer_ids)
        part = slice(start, start + length)
        assert read.tokens[row] == length
        expected = plain.logits[0, -length - 1 : -1]
        assert torch.allclose(read.logits[part], expected, atol=1e-4)
        for layer in (0, 1):  # the last one of transformers is behind the final norm
            states = plain.hidden_states[layer][0, -length:]
            assert torch.allclose(read.states[layer][part], states, atol=1e-4)
        picked = expected.log_softmax(-1).gather(1, torch.tensor(one.answer_ids)[:, None])
        assert read.sums[row].item() == pytest.approx(picked.sum().item(), abs=1e-3)
        start += length
    assert len(read.states[2]) == start == len(read.logits)


def test_states_alone_are_the_same_without_the_output_head(study):
    model = opened(study)
    model.model.eval()
    encoded = model.encode(QUESTIONS, ANSWERS)
    whole = model.states(encoded, (1, 2), logprobs=True, logits=False)
    alone = model.states(encoded, (1, 2), logprobs=False, logits=False)
    assert alone.sums is None and torch.equal(alone.tokens, whole.tokens)
    for layer in (1, 2):
        assert torch.equal(alone.states[layer], whole.states[layer])


def trained_tensors(model: ForgetModel) -> list[torch.Tensor]:
    return [one for one in model.model.parameters() if one.requires_grad]


def test_the_finetuned_model_is_read_without_dropout_and_taken_out_again(tmp_path):
    model = opened(tiny_study(tmp_path, dropout=0.5))
    encoded = model.encode(QUESTIONS, ANSWERS)
    model.remember_finetuned()
    with torch.no_grad():
        with model.as_finetuned():
            first = model.logprobs(encoded).sums
        for tensor in trained_tensors(model):
            tensor.add_(torch.randn_like(tensor))
        moved = [tensor.clone() for tensor in trained_tensors(model)]
        with model.as_finetuned():
            later = model.logprobs(encoded).sums
            assert not later.requires_grad
    assert torch.equal(first, later)
    for tensor, before in zip(trained_tensors(model), moved, strict=True):
        assert torch.equal(tensor, before) and tensor.requires_grad
    assert model.model.training
    assert not torch.equal(model.logprobs(encoded).sums, later)


def test_an_error_in_between_leaves_the_trained_adapter_in_place(study):
    model = opened(study)
    model.remember_finetuned()
    with torch.no_grad():
        trained_tensors(model)[0].fill_(7.0)
    with pytest.raises(ZeroDivisionError), model.as_finetuned():
        assert trained_tensors(model)[0][0, 0] != 7.0
        raise ZeroDivisionError
    assert (trained_tensors(model)[0] == 7.0).all() and model.model.training


# --- one tiny trajectory of each method ---

NEW = [
    {"method": "simnpo"},
    {"method": "simnpo", "beta": 1.0, "delta": 0.5, "retain_weight": 2.0},
    {"method": "idk_dpo"},
    {"method": "idk_dpo", "retain_weight": 1.0},
    {"method": "rmu", "steering_layer": 1, "steering_scale": 3.0},
    {"method": "rmu", "steering_layer": 2, "steering_scale": 3.0, "retain_weight": 0.0},
    {"method": "task_vector"},
    {"method": "task_vector", "alpha": 2.0},
    {"method": "ft"},
]


@pytest.mark.parametrize("hp", NEW, ids=lambda hp: "-".join(map(str, hp.values())))
def test_a_trajectory_moves_the_weights_and_lowers_its_loss(study, tmp_path, hp):
    log = run_unlearn(study, tmp_path, epochs=[1, 6], **hp)
    losses = [row["loss"] for row in log["steps"]]
    assert losses[-1] < losses[0]
    assert {row["epoch"] for row in log["steps"]} == set(range(1, 7))
    assert (log["diverged"], log["unfinished_checkpoints"]) == (None, [])
    assert log["forget_reduction"] == find(hp["method"]).forget_reduction
    assert (
        log["settings"]["hyperparameters"].items()
        >= {key: value for key, value in hp.items() if key != "method"}.items()
    )
    made = {weights(tmp_path / "epoch_1"), weights(tmp_path / "epoch_6")}
    assert len(made) == 2 and weights(study / "finetuned") not in made
    model = load_adapter(load_base(study / "base"), tmp_path / "epoch_6")
    assert torch.isfinite(model(torch.tensor([[5, 6, 7]])).logits).all()


def keys(folder: Path) -> set[str]:
    return set(load_file(folder / "adapter_model.safetensors"))


def test_only_the_trained_adapter_is_saved(study, tmp_path):
    run_unlearn(study, tmp_path, method="idk_dpo", epochs=[1])
    assert keys(tmp_path / "epoch_1") == keys(study / "finetuned")
    assert read_json(tmp_path / "epoch_1/adapter_config.json") == read_json(
        study / "finetuned/adapter_config.json"
    )


@pytest.mark.parametrize("autocast", ["none", "bfloat16"])
def test_idk_dpo_starts_where_both_references_are_the_model_itself(tmp_path, autocast):
    study = tiny_study(tmp_path / "study", autocast=autocast)
    hp = {"method": "idk_dpo", "beta": 0.1, "epochs": [1], "autocast": autocast}
    log = run_unlearn(study, tmp_path / "made", **hp)
    assert log["steps"][0]["loss"] == pytest.approx(2 * math.log(2) / 0.1, abs=1e-4)


def test_idk_dpo_makes_the_other_answers_likelier_than_the_true_one(study, tmp_path):
    run_unlearn(study, tmp_path, method="idk_dpo", beta=0.5, epochs=[12])
    questions, true = QUESTIONS[:1] * 2, [ANSWERS[0], "I don't know."]
    before = opened(study)
    after = ForgetModel(
        study / "base", tmp_path / "epoch_12", ModelSettings(**MODEL), "none", seed=0
    )
    old, new = (model.logprobs(model.encode(questions, true)).sums for model in (before, after))
    assert (new - old)[1] > (new - old)[0]


def test_rmu_leaves_the_blocks_behind_its_layer_alone(study, tmp_path):
    hp = {"method": "rmu", "steering_layer": 1, "steering_scale": 3.0}
    run_unlearn(study, tmp_path, epochs=[3], **hp)
    old, new = (
        load_file(folder / "adapter_model.safetensors")
        for folder in (study / "finetuned", tmp_path / "epoch_3")
    )
    moved = {name for name in old if not torch.equal(old[name], new[name])}
    assert moved == {name for name in old if ".layers.0." in name}


def test_a_layer_that_the_model_does_not_have_is_refused(study, tmp_path):
    hp = {"method": "rmu", "steering_layer": 3, "steering_scale": 3.0}
    with pytest.raises(InputError, match="steering_layer: found 3; allowed: 1 to 2, the blocks"):
        run_unlearn(study, tmp_path, epochs=[1], **hp)


def test_a_misspelt_hyperparameter_is_refused(study, tmp_path):
    with pytest.raises(InputError, match="retain_wait: unknown key; did you mean retain_weight"):
        run_unlearn(study, tmp_path, method="npo", beta=0.1, retain_wait=1.0, epochs=[1])


# --- task vector ---


def merged(base: Path, adapter: Path) -> dict[str, torch.Tensor]:
    return dict(load_merged(base, adapter).named_parameters())


@pytest.mark.parametrize("architecture", ["qwen2", "gpt2", "mixtral"])
def test_merged_weights_of_a_task_vector_are_those_of_the_formula(tmp_path, architecture):
    study = tiny_study(tmp_path / "study", architecture)
    alpha = 1.5
    run_unlearn(study, tmp_path / "tv", method="task_vector", alpha=alpha, epochs=[2])
    # α = −1 saves what was trained: 0·ΔW_ft + 1·ΔW_r; its own settings do not allow it
    text = Path(find("task_vector").file).read_text().replace("minimum=0,\n", "", 1)
    reinforcement = own_file(tmp_path, text, "reinforcement.py")
    hp = {"method": reinforcement, "alpha": -1.0}
    run_unlearn(study, tmp_path / "reinforced", epochs=[2], **hp)
    finetuned, reinforced, made = (
        merged(study / "base", folder)
        for folder in (
            study / "finetuned",
            tmp_path / "reinforced/epoch_2",
            tmp_path / "tv/epoch_2",
        )
    )
    for name, weight in made.items():
        start = finetuned[name]
        expected = start - alpha * (reinforced[name] - start)
        assert torch.allclose(weight, expected, rtol=0, atol=1e-6), name
    assert any(not torch.equal(made[name], finetuned[name]) for name in made)


def test_a_task_vector_of_length_zero_is_the_finetuned_model(study, tmp_path):
    run_unlearn(study, tmp_path, method="task_vector", alpha=0.0, epochs=[1])
    start, made = (
        merged(study / "base", study / "finetuned"),
        merged(study / "base", tmp_path / "epoch_1"),
    )
    for name, weight in made.items():
        assert torch.allclose(weight, start[name], rtol=0, atol=1e-6), name


def test_a_task_vector_quantizes_as_any_adapter_does(study, tmp_path):
    run_unlearn(study, tmp_path, method="task_vector", epochs=[1])
    assert read_json(tmp_path / "epoch_1/adapter_config.json")["r"] == 8
    model = load_merged(study / "base", tmp_path / "epoch_1")
    quantize_model(model, "nf4")
    assert torch.isfinite(model(torch.tensor([[5, 6, 7]])).logits).all()


def test_a_task_vector_of_dora_is_refused():
    method, dora = find("task_vector"), Adapter({"r": 2, "lora_alpha": 4, "use_dora": True}, {})
    with pytest.raises(InputError, match="use_dora"):
        method.checkpoint(dora, dora, method.Settings(1e-4))
