"""The check of a model with one question of each kind on a small copy finds faults."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers

import excise.modeling.shortcuts as shortcuts
import excise.modeling.tree_scoring as tree_scoring
import excise.modeling.trees as trees
import excise.workflow.model_verdicts as model_verdicts
import job_settings
from excise.errors import InputError
from excise.modeling import differentiable_logprobs
from excise.modeling.base import load_tokenizer
from excise.modeling.settings import ModelCheckSettings
from excise.settings import as_dict
from excise.training.finetuning import finetune
from excise.training.settings import FinetuningSettings
from excise.workflow.model_check import _ends_one_row, check_model, small_copy
from excise.workflow.model_verdicts import check_once, known_fault
from tiny_models import CHATML, lora, matrix_folder, matrix_model

SETTINGS = ModelCheckSettings(system_prompt=None, lora=lora(), max_new_tokens=8)
GIVEN = as_dict(SETTINGS)
HP = job_settings.settings(
    FinetuningSettings,
    "finetuning_settings",
    **{"lora": as_dict(lora()), "epochs": 1, "batch_size": 4, "learning_rate": 1e-3},
    **{"warmup_steps": 0, "autocast": "none"},
)


@pytest.fixture(scope="module")
def gemma2(tmp_path_factory) -> Path:
    return matrix_folder(tmp_path_factory.mktemp("gemma2"), "gemma2")


@pytest.fixture
def folder(tmp_path) -> Path:
    return matrix_folder(tmp_path / "base", "llama")


def changed_config(folder: Path, **changes) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_logits_that_are_more_than_the_head_are_found(gemma2, monkeypatch):
    """Gemma 2 caps its logits: without the cap an earlier version was wrong by 0.24 nats."""
    check_model(gemma2, SETTINGS)
    monkeypatch.setattr(differentiable_logprobs, "has_bare_head", lambda model, ids: True)
    with pytest.raises(InputError, match=rf"^{gemma2}: training would be wrong .* differs from"):
        check_model(gemma2, SETTINGS)


def test_a_mask_without_its_window_is_found(gemma2, monkeypatch):
    monkeypatch.setattr(
        tree_scoring,
        "tree_masks",
        lambda model, ends, positions: {
            kind: torch.where(trees.tree_mask(ends), 0.0, -1e9)
            for kind in ("full_attention", "sliding_attention")
        },
    )
    check_model(gemma2, SETTINGS)  # the trial on the longest question refuses the mask
    monkeypatch.setattr(shortcuts, "_same", lambda *given: True)
    with pytest.raises(InputError, match="scoring answers would be wrong with this model"):
        check_model(gemma2, SETTINGS)


def test_an_internal_error_is_one_line(gemma2, monkeypatch):
    def broken(*given):
        raise IndexError("index out of\nrange")

    monkeypatch.setattr(differentiable_logprobs, "has_bare_head", broken)
    with pytest.raises(InputError, match=r"training fails .*IndexError: index out of ra"):
        check_model(gemma2, SETTINGS)


def test_a_vocabulary_beyond_the_models_is_refused(folder, tmp_path):
    tokenizer = load_tokenizer(folder)
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    tokenizer.save_pretrained(folder)
    check_model(folder, SETTINGS)  # the template writes none of them
    (folder / "chat_template.jinja").write_text(CHATML)
    reason = (
        rf"^{folder}: the tokenizer writes token id 272 \('<\|im_end\|>'\), .* vocabulary of 271"
    )
    with pytest.raises(InputError, match=reason):
        check_model(folder, SETTINGS)
    record = {"question": "Who is Ada?", "answer": "A singer."}
    with pytest.raises(InputError, match=f"^{folder}: token id 272 is beyond .* vocabulary of 271"):
        finetune(folder, [record], HP, tmp_path / "out")


@pytest.mark.parametrize("name", ["gpt2", "llama", "opt", "bloom"])
def test_positions_are_checked_in_training_too(name, tmp_path):
    """With longer questions GPT-2 and OPT would crash, and a Llama would train on noise."""
    folder = tmp_path / "base"
    matrix_folder(folder, name)
    size = {} if name == "bloom" else {"max_position_embeddings": 64}
    matrix_model(name, **size).save_pretrained(folder)
    record = {"question": "Who is Ada " + "Quill, " * 12 + "?", "answer": "A singer."}
    if name == "bloom":  # has no limit
        check_model(folder, SETTINGS)
        finetune(folder, [record], HP, tmp_path / "out")
        return
    with pytest.raises(InputError, match=rf"^{folder}: a usual question .* the model has 64 posit"):
        check_model(folder, SETTINGS)
    with pytest.raises(InputError, match=rf"^{folder}: \d+ tokens .* exceed its 64 positions"):
        finetune(folder, [record], HP, tmp_path / "out")


def test_a_refusal_of_peft_is_one_line(folder):
    with pytest.raises(InputError, match="matches no linear layer"):
        check_model(folder, replace(SETTINGS, lora=lora(targets=("nothing",))))


def test_a_layer_that_is_missing_in_the_copy_may_be_a_target(folder):
    """The copy has layer 1 but not layer 10."""
    targets = ("layers.10.self_attn.q_proj",)
    check_model(folder, replace(SETTINGS, lora=lora(targets=targets)))


def test_the_copy_is_small_and_has_every_kind_of_layer():
    config = transformers.Gemma3TextConfig(vocab_size=300, pad_token_id=0)
    assert len(config.layer_types) == 26
    small = small_copy(config)
    assert small.config.layer_types == ["sliding_attention", "full_attention"]
    assert sum(parameter.numel() for parameter in small.parameters()) < 5e6


PROGRAM = """
import sys
open("{calls}", "a").write("x")
sys.exit({ending})
"""


@pytest.mark.parametrize("fault", ["", "the model: is unfit"])
def test_a_verdict_is_computed_once(folder, tmp_path, fault):
    calls, memory = tmp_path / "calls", tmp_path / "memory"
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(calls=calls, ending=repr(f"error: {fault}" if fault else 0)))

    def ask(settings: dict) -> str:
        try:
            check_once(folder, settings, program, memory, pytest.fail)
        except InputError as error:
            return str(error)
        return ""

    assert known_fault(folder, GIVEN, program, memory) is None
    assert [ask(GIVEN), ask(GIVEN)] == [fault, fault]
    assert calls.read_text() == "x"
    assert (known_fault(folder, GIVEN, program, memory) or "") == fault
    assert ask(GIVEN | {"max_new_tokens": 9}) == fault
    changed_config(folder, rope_theta=5.0)
    assert ask(GIVEN) == fault
    assert calls.read_text() == "xxx"


def test_a_program_that_is_killed_gives_no_verdict(folder, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    warnings = []
    check_once(folder, GIVEN, program, tmp_path / "memory", warnings.append)
    assert "could not be checked" in warnings[0]
    assert not (tmp_path / "memory").exists()


def test_without_the_packages_there_is_no_check(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(model_verdicts, "PACKAGES", ("no_such_package",))
    check_once(folder, GIVEN, sys.executable, tmp_path / "memory", pytest.fail)


def test_an_answer_that_ends_before_the_others_is_checked(folder, monkeypatch):
    """Without this check, only the first job would find a cache that cannot remove rows."""

    def broken(*given):
        raise RuntimeError("rows cannot go")

    check_model(folder, SETTINGS)
    monkeypatch.setattr(transformers.DynamicCache, "batch_select_indices", broken)
    with pytest.raises(InputError, match=r"generating answers .*rows cannot go"):
        check_model(folder, SETTINGS)


def test_a_token_that_ends_only_one_row_is_searched_in_all_rows():
    assert _ends_one_row([(5, 5, 7), (5, 5, 8)]) is None  # both rows end together, or at their end
    assert _ends_one_row([(5, 6, 7), (5, 8, 8)]) == 6
    assert _ends_one_row([(5, 6, 6), (5, 6, 6)]) is None
    assert _ends_one_row([]) is None
