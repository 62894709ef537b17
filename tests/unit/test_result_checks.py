"""Job records, and the check of results against today's config, data and code."""

import json
import os
import sys
from types import SimpleNamespace

import pytest

from excise import machine, provenance
from excise.evaluation import results
from excise.workflow import job_records, result_checks

FOLDERS = {"data": "data", "results": "out/results"}


class Params(dict):
    """Named params, like Snakemake's."""


COMMAND = "python {input}"


def job(output, inputs, **params):
    values = [value for name, value in params.items() if name != "derived"]
    return SimpleNamespace(
        output=output,
        input=inputs,
        params=Params(params),
        non_derived_params=values,
        rule=SimpleNamespace(name="train", shellcmd=COMMAND),
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "workflow_scripts").mkdir()
    (tmp_path / "data/sf.jsonl").write_text("facts\n")
    (tmp_path / "workflow_scripts/train.py").write_text("code\n")
    return tmp_path


def run(task, versions=None, folders=FOLDERS, text="weights\n"):
    """Run a job like the body of a rule; its program writes the outputs and the versions."""

    def shell(command, *, additional_envvars, rule, **more):
        for path in more["output"]:
            os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
            with open(path, "w") as file:  # noqa: PTH123
                file.write(text)
        draft = additional_envvars[provenance.DRAFT]
        with open(draft) as file:  # noqa: PTH123
            content = json.load(file)
        with open(draft, "w") as file:  # noqa: PTH123
            json.dump(content | {"versions": versions or {}}, file)

    recorded = job_records.recording(shell, folders, job_records.Digests())

    def body(input, output, params, rule):
        recorded(COMMAND, bench_record=None)

    body(task.input, task.output, task.params, "train")


def check(*tasks, folders=FOLDERS, has_metadata=lambda path: False):
    return result_checks.examine(
        tasks, lambda task: False, has_metadata, folders, job_records.Digests()
    )


def trained(epochs=16):
    inputs = ["data/sf.jsonl", "workflow_scripts/train.py"]
    hp = json.dumps({"epochs": epochs, "lora": {"rank": 8}})
    return job(["out/results/models/finetuned/a", "out/results/models/finetuned/b"], inputs, hp=hp)


def test_a_job_writes_a_record_to_the_results_folder(folder):
    run(trained(), {"torch": "2.0"})
    record = json.loads((folder / "out/results/.made_from/models/finetuned/a.json").read_text())
    assert record["inputs"]["data/sf.jsonl"] == provenance.digest(folder / "data/sf.jsonl")
    assert set(record["outputs"]) == set(trained().output)
    assert json.loads(record["params"]["hp"])["epochs"] == 16
    assert record["versions"] == {"torch": "2.0"}
    found = check(trained())
    assert (found.mismatches, found.unknown, found.outdated) == ([], [], 0)


def test_the_same_job_writes_the_same_record(folder):
    run(trained())
    place = folder / "out/results/.made_from/models/finetuned/a.json"
    before = place.read_bytes()
    run(trained())
    assert place.read_bytes() == before


def test_a_failing_job_writes_no_record(folder):
    run(trained())

    def shell(command, **more):
        raise RuntimeError

    def body(input, output, params, rule):
        job_records.recording(shell, FOLDERS, job_records.Digests())("false")

    with pytest.raises(RuntimeError):
        body(trained().input, trained().output, trained().params, "train")
    assert not list(folder.rglob(".made_from/**/*.json"))


def test_a_changed_setting_is_named_with_both_values(folder):
    run(trained(epochs=16))
    (mismatch,) = check(trained(epochs=3)).mismatches
    assert mismatch.reasons == ["config: epochs 16 → 3"]
    line = result_checks.mismatch_line([mismatch])
    assert line.startswith("warning: 2 files do not match today's config, data or code: out/")
    assert line.endswith("--forcerun out/results/models/finetuned/a")
    assert "\n" not in line


def rewrite_with_same_time(path, text):
    times = path.stat()
    path.write_text(text)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize(
    "file, reason",
    [
        ("data/sf.jsonl", "data: data/sf.jsonl changed"),
        ("workflow_scripts/train.py", "code: workflow_scripts/train.py changed"),
        (
            "out/results/models/finetuned/b",
            "the file out/results/models/finetuned/b is not the one that the job wrote",
        ),
    ],
)
def test_other_bytes_with_the_old_time_stamp_are_found(folder, file, reason):
    run(trained())
    digests = job_records.Digests()
    tasks = [trained()]

    def found():
        never = lambda one: False  # noqa: E731
        return result_checks.examine(tasks, never, never, FOLDERS, digests).mismatches

    assert not found()
    old = (folder / file).read_text()
    rewrite_with_same_time(folder / file, "x" * len(old))  # size and mtime are the same
    assert [one.reasons for one in found()] == [[reason]]


def test_new_and_removed_inputs_are_named(folder):
    run(trained())
    other = trained()
    other.input = ["data/sf.jsonl", "data/sr.jsonl"]
    assert check(other).mismatches[0].reasons == [
        "data: data/sr.jsonl is new",
        "code: workflow_scripts/train.py is no longer read",
    ]


def test_a_job_with_fewer_outputs_than_recorded_matches(folder):
    task = trained()
    task.params["derived"] = [1, 2]
    run(task)
    fewer = trained()
    fewer.output, fewer.params["derived"] = task.output[1:], [2]
    assert check(fewer) == result_checks.Findings([], [], {}, 0)


def test_a_changed_command_is_reported_as_code(folder):
    run(trained())
    other = trained()
    other.rule.shellcmd = "python -O {input}"
    assert check(other).mismatches[0].reasons == ["code: the command of rule train changed"]


def test_jobs_that_snakemake_runs_or_knows_are_not_reported(folder):
    run(trained(16))
    runs = result_checks.examine(
        [trained(3)], lambda task: True, lambda path: False, FOLDERS, job_records.Digests()
    )
    assert (runs.mismatches, runs.outdated) == ([], 1)
    (folder / "out/results/.made_from/models/finetuned/a.json").unlink()
    assert check(trained()).unknown == ["out/results/models/finetuned/a"]
    assert check(trained(), has_metadata=lambda path: True).unknown == []


def test_a_moved_folder_changes_nothing(folder):
    task = trained()
    task.params["reference"] = "--reference out/results/models/reference.json"
    run(task)
    (folder / "out/results").rename(folder / "elsewhere")
    moved = trained()
    moved.output = [path.replace("out/results", "elsewhere") for path in moved.output]
    moved.params["reference"] = "--reference elsewhere/models/reference.json"
    moved.non_derived_params = list(moved.params.values())
    folders = FOLDERS | {"results": "elsewhere"}
    assert check(moved, folders=folders).mismatches == []
    moved.params["reference"] = "--reference elsewhere/models/other.json"
    moved.non_derived_params = list(moved.params.values())
    assert len(check(moved, folders=folders).mismatches) == 1


def test_other_packages_give_a_note(folder):
    run(trained(), {"torch": "0.1", "python": sys.version.split()[0]})
    found = check(trained())
    assert not found.mismatches
    line = result_checks.package_line(found.packages)
    assert line.startswith("note: ") and "torch 0.1 then, " in line and "python" not in line


def test_versions_of_a_table_include_those_of_its_inputs(folder, monkeypatch):
    run(trained(), {"torch": "2.0", "peft": "0.1"})
    asked = [job([f"out/results/eval/{m}/items.jsonl"], trained().output[:1], n=m) for m in "xy"]
    run(asked[0], {"torch": "2.0", "transformers": "5.1"})
    run(asked[1], {"torch": "2.1", "transformers": "5.1"})
    table = job(["out/results/t.json"], [one.output[0] for one in asked], experiment="mine")
    found = []

    def shell(command, *, additional_envvars, rule, **more):
        monkeypatch.setenv(provenance.DRAFT, additional_envvars[provenance.DRAFT])
        found.append(results.package_versions())

    def body(input, output, params, rule):
        job_records.recording(shell, FOLDERS, job_records.Digests())(COMMAND)

    body(table.input, table.output, table.params, "summarize")
    ((versions, notes),) = found
    assert {key: versions[key] for key in ("torch", "peft", "transformers")} == {
        "torch": "2.0, 2.1",
        "peft": "0.1",
        "transformers": "5.1",
    }
    assert notes == [
        "versions of torch differ: 2.0 made out/results/eval/x/items.jsonl; "
        "2.1 made out/results/eval/y/items.jsonl"
    ]
    assert versions["pandas"] == machine.used_versions()["pandas"]  # the summary's own


def test_a_program_adds_its_versions_to_the_record(folder, monkeypatch):
    draft = folder / "draft.json"
    draft.write_text('{"inputs": {}}')
    monkeypatch.setenv(provenance.DRAFT, str(draft))
    machine.record_versions()
    record = json.loads(draft.read_text())
    assert record["versions"]["python"].startswith("3.")
    assert record["inputs"] == {}


def test_only_tables_that_some_config_makes_are_reported(folder):
    for name in ("eval_results.json", "quantize_results.json", "mine.json", "repr_results_7.json"):
        (folder / name).write_text("{}")
    assert result_checks.unexpected_results(folder, {"eval_results.json"}) == [
        "quantize_results.json",
        "repr_results_7.json",
    ]


def test_files_of_a_hub_model_are_compared_with_its_manifest(folder):
    model = folder / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "a.safetensors").write_text("weights")
    from excise.files import sha256

    sums = {name: sha256(model / name) for name in ("config.json", "a.safetensors")}
    (model / "manifest.json").write_text(json.dumps({"sha256": sums | {"gone.json": "0"}}))
    digests = job_records.Digests()
    assert result_checks.model_faults(model, digests) == [f"{model}/gone.json is missing"]
    rewrite_with_same_time(model / "a.safetensors", "Weights")
    assert result_checks.model_faults(model, digests) == [
        f"{model}/a.safetensors differs from its digest in {model}/manifest.json",
        f"{model}/gone.json is missing",
    ]
    limited = job_records.Digests(allowance=3)  # bytes: the weights are not read
    assert result_checks.model_faults(model, limited) == [f"{model}/gone.json is missing"]
    assert limited.allowance == 1


def test_digests_are_stored_between_runs(folder, monkeypatch):
    (folder / ".snakemake").mkdir()
    memory = folder / ".snakemake/digests.json"
    first = job_records.Digests(memory)
    known = first("data/sf.jsonl")
    first.remember()
    monkeypatch.setattr(job_records, "digest", lambda path: pytest.fail("read again"))
    assert job_records.Digests(memory)("data/sf.jsonl") == known
    assert job_records.Digests(memory)("data/none") is None


def test_only_digests_of_existing_files_are_stored(folder):
    (folder / ".snakemake").mkdir()
    memory = folder / ".snakemake/digests.json"
    first = job_records.Digests(memory)
    first("data/sf.jsonl"), first("workflow_scripts/train.py")
    (folder / "data/sf.jsonl").unlink()
    first.remember()
    assert json.loads(memory.read_text()).keys() == {"workflow_scripts/train.py"}


def test_stored_digests_are_read_at_first_use(folder, monkeypatch):
    read = []
    monkeypatch.setattr(job_records, "_read_memory", lambda memory: read.append(memory) or {})
    digests = job_records.Digests(folder / "digests.json")
    digests.remember()
    assert read == []
    digests("data/sf.jsonl"), digests("data/sf.jsonl")
    assert len(read) == 1


@pytest.mark.parametrize("entry", ["null", "7", '["a"]', '["a", 7]', "["])
def test_broken_stored_digests_are_computed_again(folder, entry):
    (folder / "digests.json").write_text('{"data/sf.jsonl": ' + entry + "}")
    digests = job_records.Digests(folder / "digests.json")
    recorded = provenance.digest("data/sf.jsonl")
    assert not digests.differs("data/sf.jsonl", recorded)
    digests.remember()
    assert json.loads((folder / "digests.json").read_text())["data/sf.jsonl"][0] == recorded


def many(count=100):
    tasks = []
    for number in range(count):
        task = trained()
        task.output = [f"out/results/models/{number}/a"]
        tasks.append(task)
    return tasks


def test_a_check_queries_each_package_and_each_file_once(folder, monkeypatch):
    tasks = many()
    for task in tasks:
        run(task, {"torch": "0.1", "peft": "0.2"})
    versions, states = [], []
    monkeypatch.setattr(result_checks, "version", lambda name: versions.append(name) or "0.1")
    state = job_records._state
    monkeypatch.setattr(job_records, "_state", lambda key: states.append(key) or state(key))
    result_checks._installed.cache_clear()
    try:
        found = check(*tasks)
    finally:
        result_checks._installed.cache_clear()
    assert found.packages == {"peft": {"peft 0.2 then, 0.1 now": 100}}
    assert sorted(versions) == ["peft", "torch"]
    assert len(states) == len(set(states)) == 102


def evaluated(*epochs):
    adapters = [f"out/results/models/unlearn/t/epoch_{epoch}/a" for epoch in epochs]
    outputs = [f"out/results/eval/unlearn/t/epoch_{epoch}/items.jsonl" for epoch in epochs]
    return job(outputs, [*adapters, "data/sf.jsonl"])


@pytest.mark.parametrize("kept", [1, 2])
def test_checkpoints_of_a_removed_epoch_are_ignored(folder, kept):
    for path in evaluated(1, 2).input[:2]:
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text("weights")
    run(evaluated(1, 2))
    assert check(evaluated(kept)).mismatches == []
    (folder / evaluated(3 - kept).input[0]).write_text("other weights")
    assert check(evaluated(kept)).mismatches == []
    (folder / evaluated(kept).input[0]).write_text("other weights")
    (mismatch,) = check(evaluated(kept)).mismatches
    assert mismatch.reasons == [f"data: {evaluated(kept).input[0]} changed"]


def test_a_job_with_a_missing_file_is_not_reported(folder):
    run(trained())
    (folder / trained().output[1]).unlink()
    assert check(trained(epochs=3)) == result_checks.Findings([], [], {}, 0)


class Ancient(str):
    is_ancient = True


def test_ancient_inputs_are_not_compared(folder):
    task = trained()
    task.input = ["data/sf.jsonl", Ancient("workflow_scripts/train.py")]
    run(task)
    (folder / "workflow_scripts/train.py").write_text("edited\n")
    assert check(task).mismatches == []
    assert check(trained()).mismatches[0].reasons == ["code: workflow_scripts/train.py changed"]


@pytest.mark.parametrize(
    "broken",
    [
        "{",
        "[]",
        '{"inputs": {}, "outputs": {}, "params": {}}',
        '{"inputs": [], "outputs": {}, "params": {}, "folders": {}}',
        '{"inputs": {"a": 1}, "outputs": {}, "params": {}, "folders": {}}',
        '{"inputs": {}, "outputs": {}, "params": {}, "folders": {}, "versions": null}',
    ],
)
def test_a_broken_record_is_reported_and_the_check_continues(folder, broken):
    run(trained())
    other = trained()
    other.output = ["out/results/models/other/a"]
    run(other)
    place = "out/results/.made_from/models/finetuned/a.json"
    (folder / place).write_text(broken)
    other.params["hp"] = other.non_derived_params[0] = "{}"
    found = check(trained(), other)
    assert (found.broken, len(found.mismatches)) == ([place], 1)
    assert result_checks.broken_line(found.broken).startswith(f"warning: {place}: cannot be read")
    lines = result_checks.report(found, [], result_checks.leftover_files([], FOLDERS), [], {})
    assert f"error: {place}: cannot be read as the record of a job; delete it" in lines
