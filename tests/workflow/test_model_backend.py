"""The benchmark written by a model, on the real DAG: what a change reruns, and what it must not."""

import json
import re

import pytest

from llm_server import KEY, FaultServer, question
from stand_in_writer import StandInWriter

pytestmark = pytest.mark.workflow

OVERLAY = "experiments/model.yaml"
REPORT = "experiments/model/results/data_report.json"
BEHIND_QUESTIONS = {"Checking the records", "Attacking the benchmark"}
GENERATING = {
    "Drawing the people",
    "Listing the facts",
    "Writing the questions",
    "Writing the paraphrased forget questions",
}
SETTINGS = """
experiment: model
pathvars:
  data: experiments/model/data
  results: experiments/model/results
  logs: experiments/model/logs
  benchmarks: experiments/model/benchmarks
generation:
  backend: openai
  preset: smoke
  people: null
  max_value_share: 0.5
  llm: {llm}
"""
TRAINING = """
finetuning: {{epochs: 4, warmup_steps: 1, learning_rate: 5.0e-3}}
"""


@pytest.fixture(scope="module")
def server():
    faults = [None, "fences", "429", None, "think", "500"] * 3
    with FaultServer(answer=StandInWriter(breaks=0.3), faults=faults) as running:
        yield running


@pytest.fixture(scope="module")
def written(fresh, server, tmp_path_factory):
    """A workspace in which a model has written the benchmark."""
    workspace = fresh.copy(tmp_path_factory.mktemp("model") / "workspace")
    (workspace / OVERLAY).write_text(SETTINGS.format(llm=json.dumps(server.settings())))
    workspace.run(REPORT, config=OVERLAY, EXCISE_TEST_KEY=KEY)
    return workspace


def test_a_model_writes_the_benchmark_and_the_report_tells_what_it_took(written, server):
    generation = json.loads((written / REPORT).read_text())["generation"]
    assert set(generation) == {"profiles", "facts", "qa", "forget_paraphrased"}
    assert sum(part["billed_answers"] for part in generation.values()) == server.billed_calls()
    assert all(part["left_out"] == [] for part in generation.values())


def test_the_key_is_written_nowhere(written):
    for path in (written / "experiments/model").rglob("*"):
        assert not path.is_file() or KEY not in path.read_text(errors="replace"), path


def test_how_the_model_is_reached_reruns_nothing(written):
    changes = {
        "limits": {"requests_per_minute": 7, "max_in_flight": 2},
        "adaptation": {"window": 5},
        "retry": {"attempts": 2},
        "budget": {"tokens": 10_000_000},
        "api_key_env": "ANOTHER_KEY",
    }
    override = f"generation={json.dumps({'llm': changes})}"
    assert written.plan(REPORT, "--config", override, config=OVERLAY) == set()


@pytest.mark.parametrize("changed", ['"model": "another"', '"reserve": 0.5'])
def test_another_model_or_more_people_write_everything_again(written, changed):
    override = f'generation={{"llm": {{{changed}}}}}'
    planned = written.plan(REPORT, "--config", override, config=OVERLAY)
    assert planned == GENERATING | BEHIND_QUESTIONS


@pytest.mark.parametrize(
    "prompt, again",
    [
        ("forget_paraphrased.md", {"Writing the paraphrased forget questions"}),
        ("qa.schema.json", {"Writing the questions", "Writing the paraphrased forget questions"}),
    ],
)
def test_a_changed_prompt_reruns_what_used_it(written, prompt, again):
    old = "question" if prompt.endswith("md") else "Asks for"
    with written.edited(f"data/inputs/prompts/{prompt}", old, f"{old} "):
        planned = written.plan(REPORT, config=OVERLAY)
    assert planned == again | BEHIND_QUESTIONS


def test_a_preview_makes_nothing_else(fresh, server, tmp_path):
    own = fresh.copy(tmp_path / "own")
    (own / OVERLAY).write_text(SETTINGS.format(llm=json.dumps(server.settings())))
    shown = own.run("--config", "preview=2", config=OVERLAY, EXCISE_TEST_KEY=KEY)
    assert re.findall(r"^== (p\d+)", shown, flags=re.MULTILINE) == ["p000", "p001"]
    assert "The whole run (4 people, 2 held out and 2 spare) would take about" in shown
    calls, bought = len(server.calls), server.billed_calls()
    assert bought > 0
    again = own.run("--config", "preview=2", config=OVERLAY, EXCISE_TEST_KEY=KEY)
    assert "== p001" in again and len(server.calls) == calls, "shown again, bought once"
    made = {path.name for path in (own / "experiments/model/data/generated").iterdir()}
    assert made == {"journal"}
    refused = own.snakemake(REPORT, "--config", "preview=2", config=OVERLAY, EXCISE_TEST_KEY=KEY)
    assert refused.returncode != 0
    assert "error: preview: found 2; with it only the preview can be made" in (
        refused.stdout + refused.stderr
    )
    assert len(server.calls) == calls


def test_lost_records_are_written_again_without_a_call(written, server):
    calls = len(server.calls)
    name = "experiments/model/data/generated/qa.jsonl"
    file = written / name
    before = file.read_bytes()
    file.unlink()
    written.run(name, config=OVERLAY, EXCISE_TEST_KEY=KEY)
    assert file.read_bytes() == before
    assert len(server.calls) == calls


def refusing_first():
    """A fault that refuses held-out questions about whoever is asked about first, and the name."""
    refused = []

    def fault(request, number):
        text = question(request)
        if '"question_forms"' not in text:
            return None
        name = re.search(r'"person": "(.*?)"', text)[1]
        refused[:] = refused or [name]  # the first person that it is asked about
        return "refusal" if name in refused else None

    return fault, refused


def test_who_is_refused_in_a_later_part_is_replaced_in_the_same_run(fresh, tmp_path):
    fault, refused = refusing_first()
    own = fresh.copy(tmp_path / "own")
    with FaultServer(answer=StandInWriter(), faults=fault) as server:
        settings = server.settings(limits={"max_in_flight": 1})
        (own / OVERLAY).write_text(SETTINGS.format(llm=json.dumps(settings)))
        own.run(REPORT, config=OVERLAY, EXCISE_TEST_KEY=KEY)
        assert own.plan(REPORT, config=OVERLAY) == set()
    report = json.loads((own / REPORT).read_text())
    assert report["validation"]["people"] == 4
    assert report["generation"]["forget_paraphrased"]["refused"] == ["p000"]
    asked = (own / "experiments/model/data/sf.jsonl").read_text()
    assert refused and refused[0] not in asked


def test_without_spare_people_they_are_replaced_by_the_next_run(fresh, tmp_path):
    fault, refused = refusing_first()
    own = fresh.copy(tmp_path / "own")
    with FaultServer(answer=StandInWriter(), faults=fault) as server:
        settings = server.settings(limits={"max_in_flight": 1}, reserve=0)
        (own / OVERLAY).write_text(SETTINGS.format(llm=json.dumps(settings)))
        failed = own.snakemake(REPORT, config=OVERLAY, EXCISE_TEST_KEY=KEY)
        assert failed.returncode != 0
        said = failed.stdout + failed.stderr
        assert f"refuses to write about 1 of 4 people (p000 {refused[0]})" in said
        assert own.plan(REPORT, config=OVERLAY) == GENERATING | BEHIND_QUESTIONS
        own.run(REPORT, config=OVERLAY, EXCISE_TEST_KEY=KEY)
        assert own.plan(REPORT, config=OVERLAY) == set()
    generation = json.loads((own / REPORT).read_text())["generation"]
    assert [one["name"] for one in generation["profiles"]["redrawn"]] == refused


def test_offline_the_model_and_its_prompts_are_nobodys_business(fresh, tmp_path):
    own, target = fresh.copy(tmp_path / "own"), "experiments/smoke/data/sf.jsonl"
    own.run(target)
    with (
        own.edited("data/inputs/prompts/qa.md", "question", "question "),
        own.edited("workflow_scripts/excise/llm/session.py", '"""', '"""Edited. '),
        own.edited("workflow_scripts/excise/generation/verbalising/qa.py", '"""', '"""Edited. '),
    ):
        override = 'generation={"llm": {"model": "other"}}'
        assert own.plan(target, "--config", override) == set()
    with own.edited("workflow_scripts/excise/generation/writing.py", '"""', '"""Edited. '):
        assert "Writing the questions" in own.plan(target)


def test_the_small_preset_written_through_faults_is_trained_on(fresh, tmp_path):
    survived = (None, None, "429", "500", "fences", "reset_before", "cut", "wrong_schema", "think")
    own = fresh.copy(tmp_path / "own")
    with FaultServer(answer=StandInWriter(breaks=0.2), faults=survived * 10) as server:
        settings = SETTINGS.replace("preset: smoke", "preset: small") + TRAINING
        patient = server.settings(retry={"attempts": 12})  # a third of the faults use up an attempt
        (own / OVERLAY).write_text(settings.format(llm=json.dumps(patient)))
        adapter = "experiments/model/results/models/finetuned/adapter_model.safetensors"
        diversity = "experiments/model/results/diversity_report.json"
        own.run(REPORT, adapter, diversity, config=OVERLAY, EXCISE_TEST_KEY=KEY)
        assert {call.fault for call in server.calls} == set(survived)
    counts = json.loads((own / "experiments/model/results/validation.json").read_text())["counts"]
    assert (counts["people"], counts["sf"], counts["sr"]) == (24, 144, 384)
    log = (own / "experiments/model/logs/finetune_lora.log").read_text()
    first, *_, last = (float(loss) for loss in re.findall(r"loss ([\d.]+)", log))
    assert last < 0.8 * first  # it learns: a random model starts at ln(vocabulary)
    rows = json.loads((own / diversity).read_text())["rows"]
    beside = {row["dataset"] for row in rows if row["metric"] in ("self_bleu_4", "vendi_score")}
    assert beside == {"openai", "offline"}
