"""Hidden states: no change gives exactly 0; damage shows at its layer, not before."""

import json
import math
from dataclasses import replace

import pytest
import torch

import job_settings
import represent
from excise.benchmark.items import Item
from excise.errors import InputError
from excise.modeling.adapters import adapter_tensors, attach_lora, save_adapter
from excise.modeling.base import blocks, load_base
from excise.modeling.hidden_states import (
    POSITIONS,
    Reader,
    Reference,
    angle_degrees,
    direction_cosine,
    erasure,
    relative_drift,
)
from small_benchmark import write_benchmark
from tiny_models import ARCHITECTURES, lora, tiny_folder, tiny_model, tiny_tokenizer

LAYERS = 3


def item(number: int, question: str, answer: str, subject: str | None = "Ada Quill") -> Item:
    return Item(
        id=f"p000.slot{number}",
        set="sf",
        person_id="p000",
        subject=subject,
        slot=f"slot{number}",
        value_type="person",
        partner=None,
        value=answer,
        question=question,
        answer=answer,
        paraphrased_answer=answer,
        wrong_answers=(),
    )


ITEMS = [
    item(0, "Who is Ada Quill, the singer?", "A pilot."),
    item(1, "Where was Ada Quill born?", "In the city of Oldmere."),
    item(2, "Why?", "No reason is known.", subject=None),
    item(3, "In which year did Ada Quill win?", "1987"),
]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(deterministic)


def reader(name: str = "qwen2", batch_size: int = 2, items=ITEMS, **settings) -> Reader:
    tokenizer = tiny_tokenizer(name)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Reader(tokenizer, items, batch_size, **settings)


def numbers(records: list[dict], key: str) -> torch.Tensor:
    return torch.tensor([record[key] for record in records], dtype=torch.float64)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_drift_of_a_model_from_itself_is_exactly_0(name):
    reference = Reference(reader(name), tiny_model(name, layers=LAYERS))
    records = reference.compare(tiny_model(name, layers=LAYERS))
    assert len(records) == 3 * len(ITEMS) - 1
    for key in ("drift", "angle_degrees"):
        assert numbers(records, key).shape == (len(records), LAYERS + 1)
        assert (numbers(records, key) == 0).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("damaged", range(LAYERS))
def test_damage_to_a_block_shows_after_it_and_never_before(name, damaged):
    reference = Reference(reader(name), tiny_model(name, layers=LAYERS))
    model = tiny_model(name, layers=LAYERS)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in blocks(model)[damaged].parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    records = reference.compare(model)
    for key in ("drift", "angle_degrees"):
        found = numbers(records, key)
        assert (found[:, : damaged + 1] == 0).all()
        assert (found[:, damaged + 1 :] > 0).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_states_are_block_outputs_and_the_last_is_before_the_norm(name):
    model = tiny_model(name, layers=LAYERS)
    read = reader(name, batch_size=1)
    states = torch.cat(list(read.read(model)))
    with torch.inference_mode():
        for index, encoded in enumerate(read.sequences):
            output = model(torch.tensor([encoded.input_ids]), output_hidden_states=True)
            for place, token in enumerate(read.tokens):
                if token.item != index:
                    continue
                theirs = [layer[0, token.column].double() for layer in output.hidden_states]
                for layer in range(LAYERS):
                    torch.testing.assert_close(states[place, layer], theirs[layer])
                norm = model.model.norm if name != "gpt2" else model.transformer.ln_f
                last = states[place, LAYERS]
                torch.testing.assert_close(
                    norm(last.float()).double(), theirs[LAYERS], atol=1e-5, rtol=1e-4
                )
                assert not torch.allclose(last, theirs[LAYERS], atol=1e-2)


def test_the_states_read_are_those_of_the_named_tokens():
    read = reader()
    tokenizer = tiny_tokenizer("qwen2")
    seen = {}
    for token in read.tokens:
        ids = read.sequences[token.item].input_ids
        seen.setdefault((token.item, token.position), []).append(ids[token.column])
        assert token.column > 0
    text = {key: tokenizer.decode(ids) for key, ids in seen.items()}
    assert text[0, "last_subject"] == text[1, "last_subject"] == "l"
    assert (2, "last_subject") not in text
    assert {text[index, "last_prompt"] for index in range(4)} == {"\n"}
    assert [text[index, "answer"] for index in range(4)] == [one.answer for one in ITEMS]


def test_token_0_is_never_read():
    """A template starts with the question: its first token has no position."""
    tokenizer = tiny_tokenizer("qwen2")
    tokenizer.chat_template = (
        "{{ messages[0].content }}{{ ' ' if add_generation_prompt }}"
        "{% for message in messages[1:] %}{{ ' ' + message.content }}{% endfor %}"
    )
    read = Reader(tokenizer, [item(0, "A", "x", subject="A")], 1)
    assert [token.position for token in read.tokens] == ["last_prompt", "answer"]


def test_batch_size_does_not_matter():
    other = tiny_model("qwen2", seed=1)
    one = Reference(reader(batch_size=1), tiny_model("qwen2")).compare(other)
    four = Reference(reader(batch_size=4), tiny_model("qwen2")).compare(other)
    keys = ("id", "position")
    assert [[r[k] for k in keys] for r in one] == [[r[k] for k in keys] for r in four]
    torch.testing.assert_close(numbers(one, "drift"), numbers(four, "drift"), atol=1e-5, rtol=1e-4)


def test_drift_follows_the_formula_in_its_docstring():
    """By hand, from `output_hidden_states`, at layer 1 of the last prompt token."""
    read, first, second = reader(batch_size=1), tiny_model("qwen2"), tiny_model("qwen2", seed=1)
    records = Reference(read, first).compare(second)
    states = {}
    with torch.inference_mode():
        for which, model in (("h", second), ("ref", first)):
            states[which] = torch.stack(
                [
                    model(torch.tensor([encoded.prompt_ids]), output_hidden_states=True)
                    .hidden_states[1][0, -1]
                    .double()
                    for encoded in read.sequences
                ]
            )
    mean = states["ref"].mean(dim=0)
    expected = (states["h"] - states["ref"]).norm(dim=1) / (states["ref"] - mean).norm(dim=1)
    found = [r["drift"][1] for r in records if r["position"] == "last_prompt"]
    assert found == pytest.approx(expected.tolist(), rel=1e-4)
    cosine = torch.cosine_similarity(states["h"], states["ref"])
    found = [r["angle_degrees"][1] for r in records if r["position"] == "last_prompt"]
    assert found == pytest.approx(cosine.acos().rad2deg().tolist(), rel=1e-4)


def test_answer_drift_is_the_mean_over_its_tokens():
    read = reader(batch_size=1)
    reference = Reference(read, tiny_model("qwen2"))
    other = tiny_model("qwen2", seed=1)
    states = torch.cat(list(read.read(other)))
    here = [i for i, t in enumerate(read.tokens) if (t.item, t.position) == (1, "answer")]
    assert len(here) > 5
    each = relative_drift(states[here], reference.states[here].double(), reference.spread[here])
    (record,) = [
        r for r in reference.compare(other) if (r["id"], r["position"]) == ("p000.slot1", "answer")
    ]
    assert record["drift"] == pytest.approx(each.mean(dim=0).tolist(), rel=1e-5)


def test_hand_computed_drift_and_angles():
    a = torch.tensor([[3.0, 4.0], [1.0, 0.0], [1.0, 0.0], [2.0, 2.0]], dtype=torch.float64)
    b = torch.tensor([[0.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [2.0, 2.0]], dtype=torch.float64)
    spread = torch.tensor([10.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    assert relative_drift(a, b, spread).tolist() == [0.5, math.sqrt(5), math.inf, 0.0]
    assert angle_degrees(a[1:], b[1:]).tolist() == pytest.approx([90, 180, 0])
    assert angle_degrees(a, a).tolist() == [0, 0, 0, 0]


def test_hand_computed_erasure_and_direction():
    """In the plane: finetuned at 0, the oracle at (4, 0)."""
    reference = torch.zeros(5, 2, dtype=torch.float64)
    oracle = torch.tensor([[4.0, 0.0]] * 5, dtype=torch.float64)
    states = torch.tensor([[0, 0], [4, 0], [1, 0], [-2, 0], [4, 4]], dtype=torch.float64)
    assert erasure(states, reference, oracle).tolist() == [0, 1, 0.25, -0.5, 0]
    cosine = direction_cosine(states, reference, oracle)
    assert cosine[1:].tolist() == pytest.approx([1, 1, -1, math.sqrt(0.5)])
    assert cosine[0].isnan() and erasure(states, oracle, oracle).isnan().all()


def test_erasure_is_0_for_the_reference_and_1_for_the_oracle():
    oracle = tiny_model("qwen2", seed=1)
    reference = Reference(reader(), tiny_model("qwen2"))
    reference.add_oracle("oracle/seed_0", oracle)
    for records, value in ((reference.compare_held(None), 0), (reference.compare(oracle), 1)):
        assert (numbers(records, "erasure") == value).all()
    near_one = numbers(reference.compare(oracle), "direction_cosine")
    torch.testing.assert_close(near_one, torch.ones_like(near_one))
    assert (numbers(reference.compare(oracle), "oracle_drift") == 0).all()


def test_numbers_about_oracles_are_means_over_them():
    models = [tiny_model("qwen2", seed=seed) for seed in range(4)]
    both, each = Reference(reader(), models[0]), []
    for seed in (1, 2):
        both.add_oracle(f"oracle/seed_{seed}", models[seed])
        alone = Reference(reader(), models[0])
        alone.add_oracle("oracle", models[seed])
        each.append(alone.compare(models[3]))
    for key in ("erasure", "direction_cosine", "oracle_drift", "oracle_angle_degrees"):
        mean = (numbers(each[0], key) + numbers(each[1], key)) / 2
        torch.testing.assert_close(
            numbers(both.compare(models[3]), key), mean, rtol=1e-4, atol=1e-5
        )


def test_an_oracle_is_compared_with_the_others_and_alone_with_nobody():
    models = [tiny_model("qwen2", seed=seed) for seed in range(3)]
    reference = Reference(reader(), models[0])
    reference.add_oracle("one", models[1])
    assert "erasure" not in reference.compare_held("one")[0]
    reference.add_oracle("two", models[2])
    held = reference.compare_held("one")
    alone = Reference(reader(), models[0])
    alone.add_oracle("two", models[2])
    assert held == alone.compare(models[1])


def test_parts_of_the_questions_give_what_all_of_them_give():
    read, model, other = reader(batch_size=1), tiny_model("qwen2"), tiny_model("qwen2", seed=1)
    whole, parts = Reference(read, model).compare(other), list(read.parts(5))
    assert len(parts) > 1
    assert [token for part in parts for token in part.tokens] == read.tokens
    means, found = read.means(model), []
    for part in parts:
        found += Reference(part, model, means).compare(other)
    found.sort(key=lambda one: [record["id"] for record in whole].index(one["id"]))
    assert [one["id"] for one in found] == [one["id"] for one in whole]
    torch.testing.assert_close(numbers(found, "drift"), numbers(whole, "drift"), rtol=1e-5, atol=0)


def test_tiny_angles_are_measured_and_not_rounded_to_0():
    """1 − cos of this angle is 5e-17, below the resolution of a double."""
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)
    b = torch.tensor([1.0, 1e-8], dtype=torch.float64)
    assert angle_degrees(a, b).item() == pytest.approx(math.degrees(1e-8), rel=1e-6)


def test_positions_can_be_chosen():
    records = Reference(reader(positions=["answer"]), tiny_model("qwen2")).compare(
        tiny_model("qwen2", seed=1)
    )
    assert {record["position"] for record in records} == {"answer"}
    with pytest.raises(InputError, match=r"\['first'\]; allowed are last_subject, last_prompt"):
        reader(positions=["first"])


def test_a_broken_model_has_drift_nan_which_is_written_as_null():
    model = tiny_model("qwen2", layers=LAYERS)
    with torch.no_grad():
        for parameter in blocks(model)[1].parameters():
            parameter.fill_(math.nan)
    records = Reference(reader(), tiny_model("qwen2", layers=LAYERS)).compare(model)
    for record in records:
        assert record["drift"][:2] == [0.0, 0.0]
        assert all(map(math.isnan, record["drift"][2:]))


def test_an_answer_without_words_has_no_record():
    items = [*ITEMS, replace(ITEMS[0], id="p000.empty", answer="")]
    records = Reference(reader(items=items), tiny_model("qwen2")).compare(tiny_model("qwen2"))
    assert {r["position"] for r in records if r["id"] == "p000.empty"} == set(POSITIONS[:2])


def adapter(base, folder, seed: int) -> None:
    model = attach_lora(load_base(base), lora(), seed=0)
    torch.manual_seed(seed)
    for tensor in adapter_tensors(model).values():
        tensor.data += 0.02 * torch.randn_like(tensor)
    save_adapter(model, folder)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_program_compares_every_model_with_the_reference(tmp_path, name, capsys, monkeypatch):
    base = tiny_folder(tmp_path / "base", name, layers=2)
    for seed, model in enumerate(("finetuned", "oracle/seed_0", "unlearn/ga/lr1/epoch_2")):
        adapter(base, tmp_path / "models" / model, seed)
    names = ["finetuned", "base", "oracle/seed_0", "unlearn/ga/lr1/epoch_2"]
    hp = job_settings.hp("representation_settings", batch_size=8)
    arguments = ["--base", str(base), *write_benchmark(tmp_path), "--hp", hp]
    arguments += ["--models-dir", str(tmp_path / "models"), "--reference", "finetuned"]
    arguments += ["--oracles", "oracle/seed_0", "--models", *names]
    represent.main([*arguments, "--out-dir", str(tmp_path / "repr")])

    def written(folder: str) -> dict[str, list[dict]]:
        return {
            name: [
                json.loads(line)
                for line in (tmp_path / folder / name / "items.jsonl").read_text().splitlines()
            ]
            for name in names
        }

    questions = 4 * 8 + 1
    for name, found in written("repr").items():
        assert len(found) == 3 * questions - 1
        assert {record["set"] for record in found} == {"sf", "correlated", "other", "utility"}
        keys = {"id", "set", "person_id", "slot", "position", "drift", "angle_degrees"}
        of_oracles = {"oracle_drift", "oracle_angle_degrees", "erasure", "direction_cosine"}
        assert set(found[0]) == keys | (set() if "oracle" in name else of_oracles)
        drift = numbers(found, "drift")
        assert (drift == 0).all() if name == "finetuned" else (drift[:, 1:] > 0).all()
        assert (drift[:, 0] == 0).all(), "LoRA leaves embeddings alone"
    assert "finetuned: 98 records" in capsys.readouterr().out
    monkeypatch.setattr(represent, "HELD_BYTES", 1)  # every batch on its own
    represent.main([*arguments, "--out-dir", str(tmp_path / "parts")])
    for name, found in written("parts").items():
        whole = written("repr")[name]
        assert [(one["id"], one["position"]) for one in found] == [
            (one["id"], one["position"]) for one in whole
        ]
        torch.testing.assert_close(
            numbers(found, "drift"), numbers(whole, "drift"), rtol=1e-5, atol=1e-9
        )
