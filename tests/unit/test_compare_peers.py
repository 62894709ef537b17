"""perf/compare_peers.py: the ways do the same work, and the program notices if they do not."""

import json
import math
from pathlib import Path

import pytest
import yaml

import compare_peers
import finetune_lora
import reference_logprobs
import small_dataset
import tiny_study
import validate_dataset
from excise.modeling.base import load_tokenizer
from excise.modeling.chat import encode, render
from excise.records import write_jsonl
from peers import open_unlearning
from peers.full_model import one_turn_template, write_full_model
from peers.outputs import Agreement, Said, compare
from peers.processes import Command, cpu_seconds
from peers.ways import Excise, Expert, OpenUnlearning, StandIn
from peers.work import Work, description, overlay, size_of, study_of, write_questions
from tiny_models import tiny_folder, tiny_tokenizer

PEOPLE = ("p000", "p001")


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Work:
    """Two people, a tiny model that was taught them, one setting, one checkpoint."""
    folder = tmp_path_factory.mktemp("peers")
    records = small_dataset.generated_records()
    for kind, lines in records.items():
        records[kind] = [line for line in lines if line["person_id"] in PEOPLE]
    validate_dataset.main(small_dataset.write_generated(folder, records))
    data = write_questions(folder / "data", folder / "asked", 2)
    write_jsonl(folder / "utility.jsonl", [small_dataset.UTILITY])
    base = tiny_folder(folder / "base", "qwen2", layers=2)
    inputs = ["--base", str(base), "--sf", str(data / "sf.jsonl")]
    finetuned, reference = folder / "finetuned", folder / "reference.json"
    hp = json.dumps(tiny_study.FINETUNE)
    retain = ["--sr", str(data / "sr.jsonl")]
    finetune_lora.main([*inputs, *retain, "--hp", hp, "--out", str(finetuned)])
    hp = json.dumps(tiny_study.REFERENCE)
    adapter = ["--adapter", str(finetuned)]
    reference_logprobs.main([*inputs, *adapter, "--hp", hp, "--out", str(reference)])
    sizes = {"people": 2, "settings": 1, "epochs": [1], "threads": 1, "max_new_tokens": 6}
    (folder / "study.yaml").write_text(yaml.safe_dump(overlay(base, folder, **sizes)))
    study = study_of(folder / "study.yaml")
    utility = folder / "utility.jsonl"
    return Work(study, base, data, utility, finetuned, reference, folder / "out")


def test_stand_in_expert_and_excise_say_the_same(work, capsys):
    ways = [StandIn(work), Expert(work), Excise(work)]
    found = compare_peers.measure(work, ways, 1, {"people": 2})
    assert found["outputs_agree"]
    questions = len(work.items)
    for way in ("stand-in for open-unlearning", "expert's script"):
        agreement = found["agreement"][way]
        assert agreement["generations"] == agreement["equal"] == questions
        assert agreement["answers"] > questions
    (distance,) = found["training_checks"].values()
    assert distance < 0.05
    ratios = [row["ratio_to_excise"] for row in found["rows"] if row["way"] == "Excise"]
    assert ratios == [1, 1, 1]
    assert all(row["cpu_seconds"] > 0 for row in found["rows"])
    records = ways[2].records(work.checkpoints[0])
    assert not any(key.startswith("base_") for one in records for key in one)  # equal work
    assert "outputs, stand-in for open-unlearning and Excise" in capsys.readouterr().out


def test_programs_that_are_not_forked_are_no_forked_way(tmp_path):
    """Another environment than the server's makes them plain."""
    program = tmp_path / "program.py"
    program.write_text("print(1)")
    forked = Command(["python", program])
    assert cpu_seconds([forked, forked], 1, tmp_path / "log", forked=True) > 0
    other = Command(["python", program], {"PYTHONHASHSEED": "1"})
    with pytest.raises(SystemExit, match="1 of 2 programs were forked"):
        cpu_seconds([forked, other], 1, tmp_path / "log", forked=True)


def test_least_work_counts_each_prompt_and_each_answer_once(work):
    tokenizer = load_tokenizer(work.base)
    spec = description(work)
    prompts = answers = 0
    for one in spec["questions"]:
        prompts += len(encode(tokenizer, one["question"], "").prompt_ids)
        answers += sum(
            len(encode(tokenizer, one["question"], answer).answer_ids) for answer in one["answers"]
        )
    assert size_of(work, generated_tokens=10).evaluation_tokens == prompts + answers + 10


def test_every_forget_item_is_in_each_epoch_once(work):
    for epoch in description(work)["batches"]:
        forget = [index for batch, _ in epoch for index in batch]
        assert sorted(forget) == list(range(len(description(work)["forget"])))


def test_a_file_for_open_unlearning_has_one_number_of_wrong_answers(work, tmp_path):
    spec = description(work)
    files = open_unlearning.write_data(tmp_path, spec)
    for name in open_unlearning.subsets(spec):
        rows = map(json.loads, files[f"asked_{name}"].read_text().splitlines())
        assert len({len(row.get("perturbed_answer", [])) for row in rows}) == 1


def test_open_unlearning_gets_one_process_per_run_and_per_checkpoint(work):
    way = OpenUnlearning(work, Path("/code"), Path("/env/bin/python"))
    (training,), (evaluation,) = way.training(), way.evaluation()
    assert training.arguments[:2] == [Path("/env/bin/python"), Path("/code/src/train.py")]
    assert evaluation.arguments[1] == Path("/code/src/eval.py")
    assert set(training.environment) == {"PYTHONPATH", "HF_DATASETS_CACHE", "HF_HOME"}


def test_sums_of_open_unlearning_are_its_means_times_tokens(tmp_path):
    spec = {"questions": [{"id": "q", "set": "sf", "question": "?", "answers": list("abcd")}]}
    logs = {
        "sf_4_Q_A_ROUGE": {"0": {"generation": "said"}},
        "sf_4_Q_A_Prob": {"0": {"avg_loss": 0.5}},
        "sf_4_Q_A_PARA_Prob": {"0": {"avg_loss": 1.0}},
        "sf_4_Q_A_PERT_Prob": {"0": {"avg_loss": [2.0, 3.0]}},
    }
    wrapped = {name: {"value_by_index": values} for name, values in logs.items()}
    (tmp_path / "TOFU_EVAL.json").write_text(json.dumps(wrapped))
    said = open_unlearning.read_said(spec, tmp_path, {"q": [2, 3, 4, 5]})
    assert said == {"q": {"text": "said", "logprobs": [-1.0, -3.0, -8.0, -15.0]}}


@pytest.mark.parametrize("architecture", ["qwen2", "llama"])
def test_template_of_full_models_has_the_same_prompt_and_ends_with_the_turn(architecture):
    tokenizer = tiny_tokenizer(architecture)
    question = {"role": "user", "content": "Who is it?"}
    answer = {"role": "assistant", "content": "Ada."}
    prompt = render(tokenizer, "Who is it?")
    tokenizer.chat_template = one_turn_template(tokenizer)
    shown = {"tokenize": False, "add_generation_prompt": True}
    assert tokenizer.apply_chat_template([question], **shown) == prompt
    both = tokenizer.apply_chat_template([question, answer], tokenize=False)
    assert both == prompt + "Ada." + tokenizer.eos_token


def test_full_model_has_the_names_of_older_versions(work, tmp_path):
    write_full_model(work.base, work.finetuned, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["torch_dtype"] == "float32"
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"]
    assert "chat_template" in json.loads((tmp_path / "tokenizer_config.json").read_text())


def test_agreement_counts_equal_texts_and_keeps_the_largest_difference():
    ours = {"a": Said("It is", (-1.0, -2.0)), "b": Said("No", (-3.0,))}
    theirs = {"a": Said("Itis", (-1.5, -2.0)), "b": Said("No", (-3.25,))}
    with_spaces, without = Agreement(), Agreement()
    compare(with_spaces, ours, theirs)
    compare(without, ours, theirs, spaces=False)
    assert (with_spaces.equal, without.equal) == (1, 2)
    assert (without.answers, without.nats) == (3, 0.5)
    assert not without.good


def test_a_score_that_is_not_a_number_is_no_agreement():
    found = Agreement()
    compare(found, {"a": Said("x", (-1.0,))}, {"a": Said("x", (math.nan,))})
    assert not found.good


def test_other_questions_are_an_error():
    with pytest.raises(ValueError, match="not the same"):
        compare(Agreement(), {"a": Said("x", ())}, {"b": Said("x", ())})


def test_code_without_its_python_is_refused(capsys):
    with pytest.raises(SystemExit):
        compare_peers.parse(["--open-unlearning", "/somewhere"])
    assert "are given together" in capsys.readouterr().err


def test_a_folder_without_open_unlearning_is_refused(tmp_path, capsys):
    arguments = ["--open-unlearning", str(tmp_path), "--open-unlearning-python", "python"]
    with pytest.raises(SystemExit):
        compare_peers.parse(arguments)
    assert "has no src/train.py" in capsys.readouterr().err
