"""Records of what results were made from, and whether results belong to today's settings."""

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
    """Named params, as Snakemake has them."""


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
    """Do a job as the body of a rule does, its program writing the outputs and the versions."""

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


def look(*tasks, folders=FOLDERS, remembered=lambda path: False):
    return result_checks.examine(
        tasks, lambda task: False, remembered, folders, job_records.Digests()
    )


def trained(epochs=16):
    inputs = ["data/sf.jsonl", "workflow_scripts/train.py"]
    hp = json.dumps({"epochs": epochs, "lora": {"rank": 8}})
    return job(["out/results/models/finetuned/a", "out/results/models/finetuned/b"], inputs, hp=hp)


def test_a_job_leaves_a_record_beside_the_results(folder):
    run(trained(), {"torch": "2.0"})
    record = json.loads((folder / "out/results/.made_from/models/finetuned/a.json").read_text())
    assert record["inputs"]["data/sf.jsonl"] == provenance.digest(folder / "data/sf.jsonl")
    assert set(record["outputs"]) == set(trained().output)
    assert json.loads(record["params"]["hp"])["epochs"] == 16
    assert record["versions"] == {"torch": "2.0"}
    found = look(trained())
    assert (found.mismatches, found.unknown, found.outdated) == ([], [], 0)


def test_the_same_job_leaves_the_same_bytes(folder):
    run(trained())
    place = folder / "out/results/.made_from/models/finetuned/a.json"
    before = place.read_bytes()
    run(trained())
    assert place.read_bytes() == before


def test_a_failing_job_leaves_no_record(folder):
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
    (mismatch,) = look(trained(epochs=3)).mismatches
    assert mismatch.reasons == ["config: epochs 16 → 3"]
    line = result_checks.mismatch_line([mismatch])
    assert line.startswith("warning: 2 files do not match today's config, data or code: out/")
    assert line.endswith("--forcerun out/results/models/finetuned/a")
    assert "\n" not in line


def rewritten_under_the_same_time(path, text):
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
def test_other_bytes_under_the_old_time_stamp_are_seen(folder, file, reason):
    run(trained())
    digests = job_records.Digests()
    tasks = [trained()]

    def found():
        never = lambda one: False  # noqa: E731
        return result_checks.examine(tasks, never, never, FOLDERS, digests).mismatches

    assert not found()
    old = (folder / file).read_text()
    rewritten_under_the_same_time(folder / file, "x" * len(old))  # size and mtime are the same
    assert [one.reasons for one in found()] == [[reason]]


def test_inputs_that_come_and_go_are_named(folder):
    run(trained())
    other = trained()
    other.input = ["data/sf.jsonl", "data/sr.jsonl"]
    assert look(other).mismatches[0].reasons == [
        "data: data/sr.jsonl is new",
        "code: workflow_scripts/train.py is no longer read",
    ]


def test_fewer_files_asked_for_of_the_same_job_belong(folder):
    task = trained()
    task.params["derived"] = [1, 2]
    run(task)
    fewer = trained()
    fewer.output, fewer.params["derived"] = task.output[1:], [2]
    assert look(fewer) == result_checks.Findings([], [], {}, 0)


def test_another_command_is_another_code(folder):
    run(trained())
    other = trained()
    other.rule.shellcmd = "python -O {input}"
    assert look(other).mismatches[0].reasons == ["code: the command of rule train changed"]


def test_what_snakemake_runs_or_remembers_is_left_to_it(folder):
    run(trained(16))
    runs = result_checks.examine(
        [trained(3)], lambda task: True, lambda path: False, FOLDERS, job_records.Digests()
    )
    assert (runs.mismatches, runs.outdated) == ([], 1)
    (folder / "out/results/.made_from/models/finetuned/a.json").unlink()
    assert look(trained()).unknown == ["out/results/models/finetuned/a"]
    assert look(trained(), remembered=lambda path: True).unknown == []


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
    assert look(moved, folders=folders).mismatches == []
    moved.params["reference"] = "--reference elsewhere/models/other.json"
    moved.non_derived_params = list(moved.params.values())
    assert len(look(moved, folders=folders).mismatches) == 1


def test_other_packages_are_a_softer_line(folder):
    run(trained(), {"torch": "0.1", "python": sys.version.split()[0]})
    found = look(trained())
    assert not found.mismatches
    line = result_checks.package_line(found.packages)
    assert line.startswith("note: ") and "torch 0.1 then, " in line and "python" not in line


def test_versions_of_a_table_are_those_of_the_runs_behind_it(folder, monkeypatch):
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


def test_a_program_tells_its_job_what_it_used(folder, monkeypatch):
    draft = folder / "draft.json"
    draft.write_text('{"inputs": {}}')
    monkeypatch.setenv(provenance.DRAFT, str(draft))
    machine.record_versions()
    left = json.loads(draft.read_text())
    assert left["versions"]["python"].startswith("3.")
    assert left["inputs"] == {}


def test_tables_that_the_config_does_not_make_are_named_and_others_are_not(folder):
    for name in ("eval_results.json", "quantize_results.json", "mine.json", "repr_results_7.json"):
        (folder / name).write_text("{}")
    assert result_checks.unexpected_results(folder, {"eval_results.json"}) == [
        "quantize_results.json",
        "repr_results_7.json",
    ]


def test_files_of_a_hub_model_are_held_against_its_manifest(folder):
    model = folder / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "a.safetensors").write_text("weights")
    from excise.files import sha256

    sums = {name: sha256(model / name) for name in ("config.json", "a.safetensors")}
    (model / "manifest.json").write_text(json.dumps({"sha256": sums | {"gone.json": "0"}}))
    digests = job_records.Digests()
    assert result_checks.model_faults(model, digests) == [f"{model}/gone.json is missing"]
    rewritten_under_the_same_time(model / "a.safetensors", "Weights")
    assert result_checks.model_faults(model, digests) == [
        f"{model}/a.safetensors differs from its digest in {model}/manifest.json",
        f"{model}/gone.json is missing",
    ]
    in_passing = job_records.Digests(allowance=3)  # bytes: the weights are not read
    assert result_checks.model_faults(model, in_passing) == [f"{model}/gone.json is missing"]
    assert in_passing.allowance == 1


def test_digests_are_remembered_between_runs(folder, monkeypatch):
    (folder / ".snakemake").mkdir()
    memory = folder / ".snakemake/digests.json"
    first = job_records.Digests(memory)
    known = first("data/sf.jsonl")
    first.remember()
    monkeypatch.setattr(job_records, "digest", lambda path: pytest.fail("read again"))
    assert job_records.Digests(memory)("data/sf.jsonl") == known
    assert job_records.Digests(memory)("data/none") is None


def test_only_files_that_are_still_there_are_remembered(folder):
    (folder / ".snakemake").mkdir()
    memory = folder / ".snakemake/digests.json"
    first = job_records.Digests(memory)
    first("data/sf.jsonl"), first("workflow_scripts/train.py")
    (folder / "data/sf.jsonl").unlink()
    first.remember()
    assert json.loads(memory.read_text()).keys() == {"workflow_scripts/train.py"}


def test_the_memory_is_read_at_the_first_use(folder, monkeypatch):
    read = []
    monkeypatch.setattr(job_records, "_read_memory", lambda memory: read.append(memory) or {})
    digests = job_records.Digests(folder / "digests.json")
    digests.remember()
    assert read == []
    digests("data/sf.jsonl"), digests("data/sf.jsonl")
    assert len(read) == 1


@pytest.mark.parametrize("entry", ["null", "7", '["a"]', '["a", 7]', "["])
def test_a_broken_memory_is_made_anew(folder, entry):
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


def test_a_look_asks_once_for_each_package_and_each_file(folder, monkeypatch):
    tasks = many()
    for task in tasks:
        run(task, {"torch": "0.1", "peft": "0.2"})
    versions, states = [], []
    monkeypatch.setattr(result_checks, "version", lambda name: versions.append(name) or "0.1")
    state = job_records._state
    monkeypatch.setattr(job_records, "_state", lambda key: states.append(key) or state(key))
    result_checks._installed.cache_clear()
    try:
        found = look(*tasks)
    finally:
        result_checks._installed.cache_clear()
    assert found.packages == {"peft": {"peft 0.2 then, 0.1 now": 100}}
    assert sorted(versions) == ["peft", "torch"]
    assert len(states) == len(set(states)) == 102


def evaluated(*epochs):
    adapters = [f"out/results/models/unlearn/t/epoch_{epoch}/a" for epoch in epochs]
    outputs = [f"out/results/eval/unlearn/t/epoch_{epoch}/items.jsonl" for epoch in epochs]
    return job(outputs, [*adapters, "data/sf.jsonl"])


@pytest.mark.parametrize("left", [1, 2])
def test_checkpoints_of_an_epoch_that_is_left_out_do_not_count(folder, left):
    for path in evaluated(1, 2).input[:2]:
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text("weights")
    run(evaluated(1, 2))
    assert look(evaluated(left)).mismatches == []
    (folder / evaluated(3 - left).input[0]).write_text("other weights")
    assert look(evaluated(left)).mismatches == []
    (folder / evaluated(left).input[0]).write_text("other weights")
    (mismatch,) = look(evaluated(left)).mismatches
    assert mismatch.reasons == [f"data: {evaluated(left).input[0]} changed"]


def test_a_job_of_which_a_file_is_missing_is_left_to_snakemake(folder):
    run(trained())
    (folder / trained().output[1]).unlink()
    assert look(trained(epochs=3)) == result_checks.Findings([], [], {}, 0)


class Ancient(str):
    is_ancient = True


def test_ancient_inputs_are_not_compared(folder):
    task = trained()
    task.input = ["data/sf.jsonl", Ancient("workflow_scripts/train.py")]
    run(task)
    (folder / "workflow_scripts/train.py").write_text("edited\n")
    assert look(task).mismatches == []
    assert look(trained()).mismatches[0].reasons == ["code: workflow_scripts/train.py changed"]


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
def test_a_broken_record_is_named_and_ends_nothing(folder, broken):
    run(trained())
    other = trained()
    other.output = ["out/results/models/other/a"]
    run(other)
    place = "out/results/.made_from/models/finetuned/a.json"
    (folder / place).write_text(broken)
    other.params["hp"] = other.non_derived_params[0] = "{}"
    found = look(trained(), other)
    assert (found.broken, len(found.mismatches)) == ([place], 1)
    assert result_checks.broken_line(found.broken).startswith(f"warning: {place}: cannot be read")
    lines = result_checks.report(found, [], result_checks.leftover_files([], FOLDERS), [], {})
    assert f"error: {place}: cannot be read as the record of a job; delete it" in lines
