"""Patching and logit lens: the same states change nothing; damage counts from its layer on."""

import json
import math

import pytest
import torch

import job_settings
import measure_depth
from excise.benchmark.items import Item
from excise.modeling.adapters import adapter_tensors, attach_lora, save_adapter
from excise.modeling.base import blocks, load_base
from excise.modeling.chat import token_ids, value_tokens
from excise.modeling.patching import SpanModel, Spans
from small_benchmark import write_benchmark
from tiny_models import (
    ARCHITECTURES,
    MATRIX,
    lora,
    matrix_model,
    tiny_folder,
    tiny_model,
    tiny_tokenizer,
)

LAYERS = 3


def item(number: int, question: str, answer: str, value: str) -> Item:
    return Item(
        id=f"p000.slot{number}",
        set="sf",
        person_id="p000",
        subject="Ada Quill",
        slot=f"slot{number}",
        value_type="person",
        partner=None,
        value=value,
        question=question,
        answer=answer,
        paraphrased_answer=None,
        wrong_answers=(),
    )


ITEMS = [
    item(0, "Who is Ada Quill, the singer?", "She is a pilot now.", "pilot"),
    item(1, "Where was Ada Quill born?", "Oldmere", "Oldmere"),
    item(2, "Why?", "No reason is known.", "another"),
    item(3, "In which year did Ada Quill win?", "In 1987, I think.", "1987"),
]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(deterministic)


def spans(name: str = "qwen2", batch_size: int = 4) -> Spans:
    tokenizer = tiny_tokenizer(name)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Spans(tokenizer, ITEMS, batch_size)


def read(source, target, cut: Spans, whole: bool | None = None):
    """Unpatched (spans,), patched and lens (spans, L), in the order of the questions."""
    source, target = SpanModel(source, cut, whole), SpanModel(target, cut, whole)
    found = []
    for batch in cut.batches:
        states = source.states(batch)
        found.append((*target.patched(batch, states), target.lens(batch, states)))
    order = torch.tensor([index for batch in cut.batches for index in batch]).argsort()
    return [torch.cat(parts)[order] for parts in zip(*found, strict=True)]


def test_the_tokens_of_a_value_spell_it():
    tokenizer = tiny_tokenizer("qwen2")
    for one in ITEMS:
        ids, place = (
            token_ids(tokenizer, one.answer),
            value_tokens(tokenizer, one.answer, one.value),
        )
        if one.value == "another":
            assert place is None
        else:
            assert tokenizer.decode(ids[slice(*place)]).strip() == one.value
    assert value_tokens(tokenizer, "A PILOT.", "pilot") == value_tokens(
        tokenizer, "A PILOT.", "PILOT"
    )


def test_a_span_predicts_the_value_and_nothing_after_it():
    cut, tokenizer = spans(), tiny_tokenizer("qwen2")
    for one, span in zip(ITEMS, cut.spans, strict=True):
        assert len(span.predicting) == len(span.value)
        wanted = one.answer if one.value == "another" else one.value
        assert tokenizer.decode(span.value).strip() == wanted
        together = span.before + span.predicting + span.value[-1:]
        assert together[-len(span.value) :] == span.value


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_models_own_states_change_nothing_at_all(name):
    model = tiny_model(name, layers=LAYERS)
    unpatched, patched, lens = read(model, model, spans(name))
    assert patched.shape == lens.shape == (len(ITEMS), LAYERS)
    assert (patched == unpatched[:, None]).all()
    torch.testing.assert_close(lens[:, -1], unpatched, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_patching_is_what_hooks_on_whole_sequences_give(name):
    """By hand, one question at a time, without padding and without kept keys and values."""
    source, target = tiny_model(name, seed=1, layers=LAYERS), tiny_model(name, layers=LAYERS)
    cut = spans(name)
    unpatched, patched, lens = read(source, target, cut)
    for index, span in enumerate(cut.spans):
        ids = torch.tensor([span.before + span.predicting])
        places = slice(len(span.before), None)
        value = torch.tensor(span.value)

        def logprob(logits, value=value, places=places):
            return logits[0, places].log_softmax(-1).gather(1, value[:, None]).double().mean()

        with torch.inference_mode():
            states: list[torch.Tensor] = []

            def keep(_module, _inputs, output, states=states):
                states.append(output if torch.is_tensor(output) else output[0])

            hooks = [block.register_forward_hook(keep) for block in blocks(source)]
            source(ids)
            for hook in hooks:
                hook.remove()
            expected = logprob(target(ids).logits)
            torch.testing.assert_close(unpatched[index], expected, rtol=1e-4, atol=1e-5)
            for layer in range(LAYERS):

                def swap(_module, _inputs, output, layer=layer, places=places, states=states):
                    hidden = output if torch.is_tensor(output) else output[0]
                    hidden = hidden.clone()
                    hidden[0, places] = states[layer][0, places]
                    return hidden if torch.is_tensor(output) else (hidden, *output[1:])

                hook = blocks(target)[layer].register_forward_hook(swap)
                expected = logprob(target(ids).logits)
                hook.remove()
                torch.testing.assert_close(patched[index, layer], expected, rtol=1e-4, atol=1e-5)
                norm = target.transformer.ln_f if name == "gpt2" else target.model.norm
                expected = logprob(target.lm_head(norm(states[layer])))
                torch.testing.assert_close(lens[index, layer], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("damaged", range(LAYERS))
def test_damage_to_a_block_shows_in_patches_after_it_and_never_before(damaged):
    source = tiny_model("qwen2", layers=LAYERS)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in blocks(source)[damaged].parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    unpatched, patched, _ = read(source, tiny_model("qwen2", layers=LAYERS), spans())
    same = patched == unpatched[:, None]
    assert same[:, :damaged].all() and not same[:, damaged:].any()


def test_all_of_a_model_patched_at_the_end_is_that_model_under_the_same_head():
    """Head and final norm of both are equal here, so nothing of the target is left."""
    source, target = tiny_model("qwen2", layers=LAYERS), tiny_model("qwen2", layers=LAYERS)
    with torch.no_grad():
        for parameter in blocks(source).parameters():
            parameter.mul_(0.9)
    own, _, _ = read(source, source, spans())
    _, patched, lens = read(source, target, spans())
    torch.testing.assert_close(patched[:, -1], own, rtol=1e-5, atol=1e-6)
    assert torch.equal(patched[:, -1], lens[:, -1])


def test_batches_do_not_matter():
    source, target = tiny_model("qwen2", seed=1), tiny_model("qwen2")
    for one, other in zip(
        read(source, target, spans(batch_size=1)), read(source, target, spans()), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in MATRIX if name != "mamba"])
def test_kept_keys_and_values_give_what_whole_sequences_give_or_are_not_used(name):
    source, target = matrix_model(name, seed=1), matrix_model(name)
    cut = spans(name)
    chosen = read(source, target, cut)
    whole = read(source, target, cut, whole=True)
    for one, other in zip(chosen, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_most_architectures_need_no_whole_sequences():
    quick = {name for name in ("llama", "gpt2", "qwen2_window", "gemma2", "bloom")
             if not SpanModel(matrix_model(name), spans(name)).whole}  # fmt: skip
    assert {"llama", "gpt2"} <= quick


def test_a_broken_source_gives_nan_and_no_error():
    source = tiny_model("qwen2", layers=LAYERS)
    with torch.no_grad():
        for parameter in blocks(source)[1].parameters():
            parameter.fill_(math.nan)
    unpatched, patched, lens = read(source, tiny_model("qwen2", layers=LAYERS), spans())
    assert unpatched.isfinite().all() and torch.equal(patched[:, 0], unpatched)
    assert patched[:, 1:].isnan().all() and lens[:, 1:].isnan().all()


def test_blocks_are_as_before_afterwards():
    model = tiny_model("qwen2", layers=LAYERS)
    ids = torch.tensor([[1, 2, 3]])
    before = model(ids).logits
    read(model, model, spans())
    assert torch.equal(model(ids).logits, before)
    assert all("forward" not in vars(block) for block in blocks(model))


def test_parts_hold_all_spans_once_and_few_positions_each():
    cut = spans(batch_size=1)
    parts = list(cut.parts(8))
    assert [index for part in parts for batch in part for index in batch] == [
        index for batch in cut.batches for index in batch
    ]
    for part in parts:
        held = sum(len(cut.spans[index].predicting) for batch in part for index in batch)
        assert held <= 8 or len(part) == 1


def adapter(base, folder, seed: int) -> None:
    model = attach_lora(load_base(base), lora(), seed=0)
    torch.manual_seed(seed)
    for tensor in adapter_tensors(model).values():
        tensor.data += 0.05 * torch.randn_like(tensor)
    save_adapter(model, folder)


def test_states_are_patched_at_the_values_of_the_chosen_sets(tmp_path):
    base = tiny_folder(tmp_path / "base", "qwen2", layers=1)
    adapter(base, tmp_path / "models/finetuned", 0)
    arguments = ["--base", str(base), *write_benchmark(tmp_path)[:2]]
    arguments += ["--hp", job_settings.hp("depth_settings", depth_sets=["sf"])]
    arguments += ["--models-dir", str(tmp_path / "models"), "--out-dir", str(tmp_path / "depth")]
    measure_depth.main([*arguments, "--target", "finetuned", "--models", "base"])
    lines = (tmp_path / "depth/base/items.jsonl").read_text().splitlines()
    assert {json.loads(line)["set"] for line in lines} == {"sf"}


@pytest.mark.parametrize("held", [1, 2**30])
def test_the_program_writes_every_question_and_the_target_itself_is_unchanged(
    tmp_path, monkeypatch, held
):
    monkeypatch.setattr(measure_depth, "HELD_BYTES", held)
    monkeypatch.setattr("excise.evaluation.probes.FEWEST_PEOPLE", 1)
    base = tiny_folder(tmp_path / "base", "qwen2", layers=2)
    names = ["finetuned", "base", "oracle/seed_0"]
    for seed, model in enumerate((names[0], names[2])):
        adapter(base, tmp_path / "models" / model, seed)
    data = write_benchmark(tmp_path)
    arguments = ["--base", str(base), *data[:2], "--hp"]
    arguments += [job_settings.hp("depth_settings", depth_sets=None)]
    arguments += ["--models-dir", str(tmp_path / "models"), "--out-dir", str(tmp_path / "depth")]
    measure_depth.main([*arguments, "--target", "finetuned", "--models", *names])
    for name in names:
        lines = (tmp_path / "depth" / name / "items.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        assert {one["set"] for one in records} == {
            "sf",
            "forget_paraphrased",
            "correlated",
            "other",
        }
        assert all(len(one["patched"]) == len(one["lens"]) == 2 for one in records)
        unchanged = all(set(one["patched"]) == {one["logprob"]} for one in records)
        assert unchanged == (name == "finetuned")
        assert (tmp_path / "depth" / name / "probes.jsonl").exists()
