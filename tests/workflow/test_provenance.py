"""Results that do not belong to today's config, data or code are named, on the real DAG."""

import json
import os
import shutil

import pytest

from workflow.conftest import SMOKE, Workspace

pytestmark = pytest.mark.workflow

DATA, RESULTS = "experiments/smoke/data", "experiments/smoke/results"
MODEL = f"{RESULTS}/models/finetuned/adapter_model.safetensors"
OTHER_EPOCHS = ["--config", "finetuning={epochs: 3}"]


@pytest.fixture(scope="module")
def made(fresh, tmp_path_factory) -> Workspace:
    """A workspace with a finetuned model, from which Snakemake's own memory is gone."""
    workspace = fresh.copy(tmp_path_factory.mktemp("provenance") / "made")
    workspace.run("--", MODEL)
    assert "Nothing to be done" in workspace.run("--", MODEL)
    shutil.rmtree(workspace / ".snakemake/metadata")
    return workspace


def lines(workspace: Workspace, *arguments: str) -> list[str]:
    """What is said of the results when nothing is to be done."""
    output = workspace.run(*arguments, "--", MODEL)
    assert "Nothing to be done" in output
    return [line for line in output.splitlines() if line.startswith(("warning:", "note:"))]


def test_copied_results_belong_as_long_as_nothing_changed(made):
    assert lines(made) == []


def test_another_setting_is_named_where_snakemake_has_no_memory(made):
    (line,) = lines(made, *OTHER_EPOCHS)
    assert line.startswith("warning: 3 files do not match today's config, data or code: ")
    assert "(config: epochs 1 → 3)" in line and line.endswith(f"--forcerun {MODEL}")


def test_other_bytes_under_an_older_time_stamp_are_named(made):
    file = made / f"{DATA}/sr.jsonl"
    before, times = file.read_bytes(), file.stat()
    file.write_bytes(before.replace(b"a", b"e", 1))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    (line,) = lines(made)
    file.write_bytes(before)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert f"the file {DATA}/sr.jsonl is not the one that the job wrote" in line
    assert "and 1 other jobs'" in line  # the model that was trained on it
    assert lines(made) == []


def test_an_edited_module_is_named(made):
    module = made / "workflow_scripts/excise/training/loop.py"
    with made.edited("workflow_scripts/excise/training/loop.py", '"""', '"""Edited. '):
        os.utime(module, (0, 0))  # as a copy brings it; a newer one Snakemake sees by itself
        (line,) = lines(made)
    os.utime(module, (0, 0))
    assert "code: workflow_scripts/excise/training/loop.py changed" in line


def test_results_without_records_are_said_to_be_unknown(made):
    record = made / f"{RESULTS}/.made_from/models/finetuned/adapter_model.safetensors.json"
    aside = made / "aside.json"
    record.rename(aside)
    (line,) = lines(made)
    aside.rename(record)
    assert line.startswith("warning: 1 job has no record") and MODEL in line


def test_a_table_of_an_earlier_config_is_named(made):
    table = made / f"{RESULTS}/quantize_results.json"
    table.write_text("{}")
    assert lines(made) == []
    (line,) = lines(made, "--config", "quantization={precisions: null}")
    table.unlink()
    assert line.startswith("warning: today's config does not make quantize_results.json in ")


def test_check_says_what_does_not_belong_and_runs_nothing(made):
    before = made.digests()
    done = made.snakemake("check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "out of date or missing; Snakemake runs them by itself" in done.stdout
    done = made.snakemake("check", *OTHER_EPOCHS)
    assert done.returncode == 1
    assert f"does not match: {MODEL} (config: epochs 1 → 3)" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert made.digests() == before


def test_a_broken_record_is_one_line(made):
    place = f"{RESULTS}/.made_from/models/finetuned/adapter_model.safetensors.json"
    before = (made / place).read_bytes()
    (made / place).write_text('{"inputs": [], "outputs": {}, "params": {}, "folders": {}}')
    said, done = lines(made), made.snakemake("check")
    (made / place).write_bytes(before)
    assert len(said) == 1 and said[0].startswith(f"warning: {place}: cannot be read")
    assert done.returncode == 1
    assert f"error: {place}: cannot be read as the record of a job; delete it" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_files_that_are_deleted_on_purpose_are_not_missed(made, tmp_path):
    workspace = made.copy(tmp_path / "deleted")
    output = workspace.run("--delete-all-output", "--", MODEL)
    assert not (workspace / MODEL).exists()
    assert "today's config" not in output


def test_every_file_of_the_dataset_is_asked_for(smoke):
    assert any((smoke / f"{RESULTS}/.made_from").rglob("*.json"))
    file = smoke / f"{RESULTS}/dataset/tofu/retain_perturbed.jsonl"
    aside = smoke / "aside.jsonl"
    file.rename(aside)
    planned = smoke.plan("all")
    aside.rename(file)
    assert planned == {"Exporting the dataset", "Writing the report"}


def test_the_versions_of_a_table_are_those_that_trained_and_asked(smoke):
    versions = json.loads((smoke / f"{RESULTS}/sweep_results.json").read_text())["versions"]
    assert {"python", "torch", "transformers", "peft", "rouge-score", "pandas"} <= set(versions)


def test_python_without_the_programs_own_folder(made):
    target = f"{DATA}/generated/profiles.jsonl"
    made.run("--forcerun", target, "--", target, PYTHONSAFEPATH="1")
    made.run("--forcerun", target, "--", target)


@pytest.mark.parametrize("arguments", [["-s", "../Snakefile"], ["--directory", "docs"]])
def test_another_working_folder_is_one_line(fresh, arguments):
    docs = Workspace(fresh / "docs") if "-s" in arguments else fresh
    done = docs.snakemake("--dry-run", *arguments, "all", config=None)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert f"it must run in the repository {fresh.folder.resolve()} (cd there" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "content, said",
    [
        ("a: &a {b: *a}", "a.b: an anchor (&) refers to itself"),
        ("pathvars: text", "pathvars: found 'text'; it must be a mapping"),
        ("pathvars: {results: results/}", "found 'results/'; allowed: 'results'"),
        ("", "found nothing; a config is a mapping"),
    ],
)
def test_a_config_that_is_none_is_one_line(fresh, tmp_path, content, said):
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    done = fresh.snakemake("--dry-run", "all", config=str(file))
    assert done.returncode == 1
    assert said in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2  # Snakemake names its profile first


def test_an_override_without_a_value_is_one_line(fresh):
    done = fresh.snakemake("--dry-run", "all", "--config", "foo", config=SMOKE)
    assert "error: --config foo: `=` is missing" in done.stderr and "Traceback" not in done.stderr
