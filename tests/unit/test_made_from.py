"""Records of what results were made from, and whether results belong to today's settings."""

import json
import os
import sys
from types import SimpleNamespace

import pytest

from excise import belonging, job_records, machine, made_from, results

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
        draft = additional_envvars[made_from.DRAFT]
        with open(draft) as file:  # noqa: PTH123
            content = json.load(file)
        with open(draft, "w") as file:  # noqa: PTH123
            json.dump(content | {"versions": versions or {}}, file)

    recorded = job_records.recording(shell, folders, job_records.Digests())

    def body(input, output, params, rule):
        recorded(COMMAND, bench_record=None)

    body(task.input, task.output, task.params, "train")


def look(*tasks, folders=FOLDERS, remembered=lambda path: False):
    return belonging.examine(tasks, lambda task: False, remembered, folders, job_records.Digests())


def trained(epochs=16):
    inputs = ["data/sf.jsonl", "workflow_scripts/train.py"]
    hp = json.dumps({"epochs": epochs, "lora": {"rank": 8}})
    return job(["out/results/models/finetuned/a", "out/results/models/finetuned/b"], inputs, hp=hp)


def test_a_job_leaves_a_record_beside_the_results(folder):
    run(trained(), {"torch": "2.0"})
    record = json.loads((folder / "out/results/.made_from/models/finetuned/a.json").read_text())
    assert record["inputs"]["data/sf.jsonl"] == made_from.digest(folder / "data/sf.jsonl")
    assert set(record["outputs"]) == set(trained().output)
    assert json.loads(record["params"]["hp"])["epochs"] == 16
    assert record["versions"] == {"torch": "2.0"}
    found = look(trained())
    assert (found.misfits, found.unknown, found.outdated) == ([], [], 0)


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
    (misfit,) = look(trained(epochs=3)).misfits
    assert misfit.reasons == ["config: epochs 16 → 3"]
    line = belonging.misfit_line([misfit])
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
        return belonging.examine(tasks, never, never, FOLDERS, digests).misfits

    assert not found()
    old = (folder / file).read_text()
    rewritten_under_the_same_time(folder / file, "x" * len(old))  # size and mtime are the same
    assert [one.reasons for one in found()] == [[reason]]


def test_inputs_that_come_and_go_are_named(folder):
    run(trained())
    other = trained()
    other.input = ["data/sf.jsonl", "data/sr.jsonl"]
    assert look(other).misfits[0].reasons == [
        "data: data/sr.jsonl is new",
        "code: workflow_scripts/train.py is no longer read",
    ]


def test_fewer_files_asked_for_of_the_same_job_belong(folder):
    task = trained()
    task.params["derived"] = [1, 2]
    run(task)
    fewer = trained()
    fewer.output, fewer.params["derived"] = task.output[1:], [2]
    assert look(fewer) == belonging.Findings([], [], {}, 0)


def test_another_command_is_another_code(folder):
    run(trained())
    other = trained()
    other.rule.shellcmd = "python -O {input}"
    assert look(other).misfits[0].reasons == ["code: the command of rule train changed"]


def test_what_snakemake_runs_or_remembers_is_left_to_it(folder):
    run(trained(16))
    runs = belonging.examine(
        [trained(3)], lambda task: True, lambda path: False, FOLDERS, job_records.Digests()
    )
    assert (runs.misfits, runs.outdated) == ([], 1)
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
    assert look(moved, folders=folders).misfits == []
    moved.params["reference"] = "--reference elsewhere/models/other.json"
    moved.non_derived_params = list(moved.params.values())
    assert len(look(moved, folders=folders).misfits) == 1


def test_other_packages_are_a_softer_line(folder):
    run(trained(), {"torch": "0.1", "python": sys.version.split()[0]})
    found = look(trained())
    assert not found.misfits
    line = belonging.package_line(found.packages)
    assert line.startswith("note: ") and "torch 0.1 then, " in line and "python" not in line


def test_versions_of_a_table_are_those_of_the_runs_behind_it(folder, monkeypatch):
    run(trained(), {"torch": "2.0", "peft": "0.1"})
    asked = [job([f"out/results/eval/{m}/items.jsonl"], trained().output[:1], n=m) for m in "xy"]
    run(asked[0], {"torch": "2.0", "transformers": "5.1"})
    run(asked[1], {"torch": "2.1", "transformers": "5.1"})
    table = job(["out/results/t.json"], [one.output[0] for one in asked], experiment="mine")
    found = []

    def shell(command, *, additional_envvars, rule, **more):
        monkeypatch.setenv(made_from.DRAFT, additional_envvars[made_from.DRAFT])
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
    monkeypatch.setenv(made_from.DRAFT, str(draft))
    machine.leave_versions()
    left = json.loads(draft.read_text())
    assert left["versions"]["python"].startswith("3.")
    assert left["inputs"] == {}


def test_tables_that_the_config_does_not_make_are_named_and_others_are_not(folder):
    for name in ("eval_results.json", "quantize_results.json", "mine.json", "repr_results_7.json"):
        (folder / name).write_text("{}")
    assert belonging.strangers(folder, {"eval_results.json"}) == [
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
    assert belonging.model_faults(model, digests) == [f"{model}/gone.json is missing"]
    rewritten_under_the_same_time(model / "a.safetensors", "Weights")
    assert belonging.model_faults(model, digests) == [
        f"{model}/a.safetensors differs from its digest in {model}/manifest.json",
        f"{model}/gone.json is missing",
    ]
    in_passing = job_records.Digests(allowance=3)  # bytes: the weights are not read
    assert belonging.model_faults(model, in_passing) == [f"{model}/gone.json is missing"]
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
