"""docs/how-to/own-data.md followed to the letter, and the whole DAG on its 12 lines."""

import json

import pytest

from excise.benchmark.own_files import left_out, read_own_files
from excise.records import read_json
from how_to import blocks, files

pytestmark = pytest.mark.workflow

PAGE = "docs/how-to/own-data.md"
RESULTS = "experiments/my-data/results"
SMALLEST = """
finetuning: {epochs: 1, warmup_steps: 1}
oracle: {seeds: [0]}
unlearning:
  warmup_steps: 1
  trajectories:
    - {method: ga, learning_rate: [2.0e-4], epochs: [1]}
evaluation:
  max_new_tokens: 4
  checkpoints: {light: [ga/lr0.0002/epoch_1], medium: [], heavy: []}
quantization: {precisions: [int8]}
representations: {middle_layer: 1, depth: none}
"""


@pytest.fixture(scope="module")
def followed(fresh, tmp_path_factory):
    """The files of the page in a copy of the repository, and smaller settings beside its own."""
    workspace = fresh.copy(tmp_path_factory.mktemp("own_data") / "fresh")
    for name, text in files(PAGE).items():
        (workspace / name).parent.mkdir(exist_ok=True)
        (workspace / name).write_text(text)
    (workspace / "experiments/smallest.yaml").write_text(SMALLEST)
    return workspace


def arguments(target: str = "all") -> list[str]:
    """The page's command, with the smaller settings."""
    (command,) = (block for block in blocks(PAGE, "bash") if block.startswith("snakemake"))
    program, *given = command.split()
    assert (program, given[-1]) == ("snakemake", "all")
    *options, overlay, _ = given
    option, _, path = overlay.partition("=")
    return [*options, option, path, "experiments/smallest.yaml", "--", target]


def test_the_page_has_twelve_lines_and_names_what_they_leave_out(followed):
    read = read_own_files(followed / "my_data")
    assert len(read.sf + read.sr) == 12
    (named,) = blocks(PAGE, "text")
    assert named.splitlines() == left_out(read.known)


def test_the_whole_study_runs_on_them_and_an_edit_reruns_what_reads_it(followed):
    said = followed.run(*arguments(), config=None)
    assert "my_data: not computed: no `wrong_answers` in sr.jsonl" in said
    report = read_json(followed / RESULTS / "data_report.json")
    assert report["not_computed"] == left_out(read_own_files(followed / "my_data").known)
    for table in ("eval_results", "retain_compare_results", "comparison_results", "findings"):
        assert read_json(followed / RESULTS / f"{table}.json")["rows"]
    rows = read_json(followed / RESULTS / "eval_results.json")["rows"]
    slots = [one for one in rows if (one["set"], one["metric"]) == ("sf", "slot_accuracy")]
    assert {(one["n"], one["n_people"]) for one in slots} == {(4, 2)}
    assert followed.plan(*arguments(), config=None) == set()

    wrong = followed.edited("my_data/sf.jsonl", "It was fraud.", "It was forgery.")
    with wrong:
        said = followed.run(*arguments(f"{RESULTS}/eval/finetuned/items.jsonl"), config=None)
        assert "Finetuning" not in said or "Same bytes as before, nothing to do" in said
        records = (followed / RESULTS / "eval/finetuned/items.jsonl").read_text().splitlines()
        assert len(json.loads(records[0])["logprob_wrong"]) == 2
    wrong = followed.edited("my_data/sf.jsonl", '"answer": "Ada', '"reply": "Ada')
    with wrong:
        done = followed.snakemake(*arguments(), config=None)
        assert done.returncode == 1
        assert "my_data/sf.jsonl:1: reply: found" in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
