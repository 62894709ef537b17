"""Estimates of memory and walltime from the model's size and the experiment."""

import json
import re
import struct
from pathlib import Path

import pytest

from excise.config.check import check_config
from excise.config.load import load_config
from excise.red_team.models.name_probe import CONTROLS, TOKENS
from excise.unlearning.method import Needs
from excise.workflow.resources import COPIES, STAGES, estimated_minutes, memory_mb, parameters

ROOT = Path(__file__).parents[2]
QWEN = check_config(*load_config([ROOT / "config.yaml", ROOT / "experiments/qwen2.5-1.5b.yaml"]))
SIZE = 1.54e9
EPOCHS = [5, 10, 20]


def larger(**sections: dict) -> dict:
    """The Qwen experiment with some changed values."""
    return QWEN | {name: QWEN[name] | values for name, values in sections.items()}


def test_parameters_are_counted_in_the_files(tmp_path):
    for name, shape in (("a", [10, 20]), ("b", [3])):
        header = json.dumps({name: {"shape": shape, "dtype": "F32"}, "__metadata__": {}}).encode()
        content = struct.pack("<Q", len(header)) + header
        (tmp_path / f"model-{name}.safetensors").write_bytes(content)
    assert parameters(tmp_path, "Model-7B") == 203


@pytest.mark.parametrize(
    "name, size",
    [
        ("Qwen/Qwen2.5-1.5B-Instruct", 1.5e9),
        ("meta-llama/Llama-3.2-1B", 1e9),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 135e6),
        ("mistralai/Mistral-7B-Instruct-v0.3", 7e9),
        ("gpt2", 8e9),
    ],
)
def test_before_the_download_the_size_comes_from_the_name(tmp_path, name, size):
    assert parameters(tmp_path, name) == size


@pytest.mark.parametrize("kind", COPIES)
def test_memory_grows_with_the_model(kind):
    assert memory_mb(kind, QWEN, 2 * SIZE) > memory_mb(kind, QWEN, SIZE) > SIZE * 2 / 1e6


def test_quantizing_holds_the_model_twice_in_fp32():
    assert memory_mb("quantize", QWEN, SIZE) > 2 * 4 * SIZE / 1e6
    assert memory_mb("represent", QWEN, SIZE) > 2 * 4 * SIZE / 1e6  # merged, and the base's copy


@pytest.mark.parametrize("stage", STAGES)
def test_time_grows_with_model_and_people_and_shrinks_with_a_gpu(stage):
    once = estimated_minutes(stage, QWEN, SIZE, EPOCHS)
    assert estimated_minutes(stage, QWEN, 2 * SIZE, EPOCHS) > once
    assert estimated_minutes(stage, larger(generation={"people": 200}), SIZE, EPOCHS) > once
    assert estimated_minutes(stage, larger(resources={"gpu": 0}), SIZE, EPOCHS) > 10 * once


def test_a_trajectory_takes_as_long_as_its_last_epoch():
    once, twice = (estimated_minutes("unlearn", QWEN, SIZE, epochs) for epochs in ([10], [5, 20]))
    assert twice == pytest.approx(2 * once)


@pytest.mark.parametrize(
    "needs, operations",
    [
        (Needs(), 6),
        (Needs(reference_sums=True, logits=True, layers=(1,)), 6),
        (Needs(retain=True), 12),
        (Needs(retain=True, finetuned=("retain",)), 14),  # as RMU
        (Needs(alternatives=True, finetuned=("alternatives",)), 14),  # as IdkDPO
        (Needs(retain=True, alternatives=True, finetuned=("retain", "alternatives")), 22),
    ],
)
def test_a_trajectory_takes_as_long_as_its_method_trains_and_reads(needs, operations):
    """24 people with 6 forget facts of 64 tokens, 20 epochs, 3e13 operations a second; per
    parameter and token 6 operations in training and 2 in reading."""
    expected = operations * SIZE * 6 * 24 * 64 * 20 / 3e13 / 60
    assert estimated_minutes("unlearn", QWEN, SIZE, EPOCHS, needs) == pytest.approx(expected)


def test_a_method_that_keeps_the_finetuned_model_takes_more_memory():
    """Two adapters of a twentieth of the parameters, in fp32: 0.4 bytes a parameter."""
    more = memory_mb("train", QWEN, SIZE, keeps_finetuned=True) - memory_mb("train", QWEN, SIZE)
    assert more == pytest.approx(0.4 * SIZE / 1e6, abs=1)


def test_every_checkpoint_is_evaluated():
    one, three = (estimated_minutes("evaluate", QWEN, SIZE, epochs) for epochs in ([], EPOCHS))
    assert three == pytest.approx(3 * one)


def test_wrong_answers_are_chosen_by_base_and_all_oracles():
    """24 people, 22 facts, 12 candidates and the truth, 64 tokens, 3e13 operations a second; twice,
    as further candidates may be drawn."""
    expected = 2 * 2 * SIZE * 64 * 24 * 22 * 13 / 3e13 / 60
    found = estimated_minutes("select_wrong_answers", QWEN, SIZE, [])
    assert found == pytest.approx(expected * (1 + len(QWEN["oracle"]["seeds"])))


def with_oracles(stage: str, *seeds: int) -> float:
    """Minutes of a stage that evaluates the base and all oracles."""
    return estimated_minutes(stage, larger(oracle={"seeds": list(seeds)}), SIZE, [])


def test_stages_that_ask_all_oracles_take_longer_with_more_oracles():
    more = with_oracles("select_wrong_answers", 0, 1, 2)
    assert more == pytest.approx(with_oracles("select_wrong_answers", 0, 1) * 4 / 3)


def test_only_the_base_is_asked_who_people_are():
    """Asking of names: 6 facts a person of each model, then one question about each person, 200
    recombined names and 100 real people, by 16 at a time (24 people: 9 and 21 times), each of as
    many steps as an answer has tokens, with 3.08 GB read and 0.03 s lost for each."""
    fresh = larger(evaluation={"batch_size": 16, "max_new_tokens": 40})
    step, token = 3.08e9 / 8e11 + 0.03, 2 * SIZE / 3e13
    names = 9 * 40 * step + 6 * 24 * 40 * token
    asked = 24 + CONTROLS + CONTROLS // 2
    name_probe = 21 * TOKENS * step + asked * TOKENS * token
    models = 1 + len(QWEN["oracle"]["seeds"])
    found = estimated_minutes("ask_about_names", fresh, SIZE, []) * 60
    assert found == pytest.approx(names * models + name_probe)


def test_texts_of_a_large_benchmark_are_sampled():
    many, more = (
        estimated_minutes("embed_texts", larger(generation={"people": people}), SIZE, [])
        for people in (1000, 10_000)
    )
    assert many == more


def test_every_rule_with_a_model_has_an_estimate():
    text = "".join(file.read_text() for file in (ROOT / "rules").glob("*.smk"))
    stages = re.findall(r'runtime=walltime\("(\w+)"', text)
    names = re.findall(r"^rule (\w+):(?:(?!^rule )[\s\S])*?runtime=walltime", text, re.MULTILINE)
    assert set(stages) == set(STAGES)
    assert {name.removesuffix("_audited") for name in names} <= set(STAGES)


def test_training_is_six_operations_a_parameter_and_token():
    """24 people, 22 facts of 64 tokens, 10 epochs, 3e13 operations a second."""
    expected = 6 * SIZE * 24 * 22 * 64 * 10 / 3e13 / 60
    assert estimated_minutes("finetune_lora", QWEN, SIZE, []) == pytest.approx(expected)
