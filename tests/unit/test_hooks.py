"""What Snakemake does of ours before the first job and at the end, without Snakemake."""

from types import SimpleNamespace

import pytest

import job_settings
from excise.errors import InputError
from excise.workflow import hooks, job_records
from excise.workflow.hooks import (
    Hooks,
    check_surroundings,
    inherit_from_profile,
    model_elsewhere,
)


class Memory:
    def __init__(self):
        self.remembered, self.allowance = 0, 0

    def __call__(self, path):
        raise AssertionError(f"{path} was read")

    def remember(self):
        self.remembered += 1


def failing(error):
    def examine():
        raise error

    return examine


def workflow(executor="local", rules=(), targets=("all",), **more):
    """A stand-in for Snakemake's workflow, whose jobs to run are of `rules`."""
    jobs = [SimpleNamespace(rule=SimpleNamespace(name=name), input=[], output=[]) for name in rules]
    dag = SimpleNamespace(
        needrun_jobs=lambda: jobs,
        jobs=jobs,
        targetrules=[SimpleNamespace(name=name) for name in targets],
    )
    more.setdefault("logger_manager", SimpleNamespace(get_log_handlers=list))
    return SimpleNamespace(
        executor_plugin=SimpleNamespace(name=executor), dag=dag, _dag=dag, **more
    )


def hooks_of(flow, study=None, digests=None, warn=pytest.fail):
    return Hooks(flow, study or job_settings.study(), digests or Memory(), warn)


# --- results that do not match ---


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("x.json")])
def test_the_end_of_a_run_is_one_line_and_keeps_the_digests(capsys, error):
    end = hooks_of(workflow())
    end.examine_results = failing(error)
    end.at_the_end()
    said = capsys.readouterr().err
    assert said == f"warning: the results could not be checked ({error!r})\n"
    assert end.digests.remembered == 1


def test_the_end_of_check_says_nothing_again(capsys):
    end = hooks_of(workflow(targets=("check",)))
    end.examine_results = failing(AssertionError())
    end.at_the_end()
    assert capsys.readouterr().err == ""


def test_a_fault_of_the_look_ends_no_run():
    said, done = [], []
    start = hooks_of(workflow(executor="slurm"), warn=said.append)
    start.examine_results = failing(TypeError("x.json"))
    start.try_model = lambda: done.append("model")
    start.remember_base_model = lambda: done.append("digests")
    start.start_on_cluster = lambda: done.append("cluster")
    start.before_the_first_job()
    assert said == ["warning: the results could not be checked (TypeError('x.json'))"]
    assert done == ["model", "digests", "cluster"]  # before anything is submitted


def test_a_fault_of_the_look_is_one_line_of_check(capsys):
    start = hooks_of(workflow(targets=("check",)))
    start.examine_results = failing(TypeError("x.json"))
    with pytest.raises(SystemExit) as end:
        start.before_the_first_job()
    assert end.value.code == 1
    said = capsys.readouterr()
    assert said.err == "error: the results could not be checked (TypeError('x.json'))\n"
    assert said.out == ""
    assert start.digests.allowance == float("inf"), "check reads all files"


# --- before the first job ---


def test_with_preview_no_other_target_is_made():
    study = job_settings.study(preview=2)
    hooks_of(workflow(rules=["preview"]), study).only_preview()
    with pytest.raises(SystemExit, match="preview: found 2; with it only the preview can be made"):
        hooks_of(workflow(rules=["preview", "unlearn"]), study).only_preview()
    hooks_of(workflow(rules=["unlearn"])).only_preview()


@pytest.mark.parametrize(
    "rules, main, touch, tried",
    [
        (["unlearn"], True, False, True),
        (["evaluate"], True, False, True),
        (["summarize_sweep"], True, False, False),
        (["unlearn"], False, False, False),
        (["unlearn"], True, True, False),
    ],
)
def test_the_model_is_tried_before_the_jobs_that_need_it(monkeypatch, rules, main, touch, tried):
    calls = []
    monkeypatch.setattr(hooks, "check_once", lambda *given: calls.append(given))
    monkeypatch.setattr(hooks, "model_files", lambda folder: [folder])
    flow = workflow(rules=rules, is_main_process=main, touch=touch)
    hooks_of(flow).try_model()
    assert len(calls) == tried
    if tried:
        folder, settings, program, _, _ = calls[0]
        assert folder == "data/inputs/base/tiny-qwen2"
        assert settings.keys() == {"system_prompt", "lora", "max_new_tokens"}
        assert program == "workflow_scripts/check_model.py"


def test_a_model_that_does_not_work_is_one_line(monkeypatch):
    def check(*given):
        raise InputError("the model: is unfit")

    monkeypatch.setattr(hooks, "check_once", check)
    monkeypatch.setattr(hooks, "model_files", lambda folder: [folder])
    with pytest.raises(SystemExit, match=r"^error: the model: is unfit$"):
        hooks_of(workflow(rules=["unlearn"], is_main_process=True, touch=False)).try_model()


def test_jobs_on_nodes_find_the_digests_of_the_base_model(tmp_path, monkeypatch):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text(name)
    study = job_settings.study(model={"path": str(tmp_path)})
    base = str(tmp_path / "model.safetensors")
    flow = workflow(rules=["unlearn", "unlearn"])
    for job in flow.dag.jobs:
        job.input = [base, str(tmp_path / "data.jsonl")]
    memory = tmp_path / "digests.json"
    hooks_of(flow, study, job_records.Digests(memory)).remember_base_model()
    monkeypatch.setattr(job_records, "digest", lambda path: pytest.fail("read again"))
    assert job_records.Digests(memory)(base)  # as the Snakemake on a node asks


def test_a_model_outside_of_the_repository_must_be_seen_by_nodes(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    outside = job_settings.study(model={"path": str(tmp_path)})
    assert model_elsewhere(outside) == {"model.path": tmp_path.resolve() / "config.json"}
    assert model_elsewhere(job_settings.study(model={"path": "data/inputs/base/tiny-qwen2"})) == {}


def test_folders_and_model_are_checked_first(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    at_fault = job_settings.study(pathvars={"results": str(tmp_path / "file/results")})
    with pytest.raises(InputError, match=r"^pathvars\.results: "):
        check_surroundings(at_fault, False, pytest.fail)
    no_model = job_settings.study(model={"path": str(tmp_path)})
    with pytest.raises(InputError, match=r"^model\.path: "):
        check_surroundings(no_model, False, pytest.fail)
    check_surroundings(no_model, True, pytest.fail)  # this run makes the model
    said = []
    monkeypatch.setattr(hooks, "known_fault", lambda *given: "it is unfit")
    check_surroundings(job_settings.study(), False, said.append)
    assert said == ["A run with this model will stop before its first job: it is unfit"]


def test_a_missing_file_of_another_study_is_found_before_the_first_job(tmp_path):
    missing = str(tmp_path / "findings.json")
    replicated = job_settings.study(findings={"replications": [missing]})
    with pytest.raises(InputError, match=r"^findings\.replications: .*json: no such file; run its"):
        check_surroundings(replicated, False, pytest.fail)
    (tmp_path / "findings.json").touch()
    check_surroundings(replicated, False, pytest.fail)
    controlled = job_settings.study(findings={"control": f"{tmp_path}/none.json"})
    with pytest.raises(InputError, match=r"^findings\.control: "):
        check_surroundings(controlled, False, pytest.fail)


def test_a_method_that_does_not_fit_the_model_is_refused_before_the_first_job():
    block = {"method": "rmu", "learning_rate": [1e-4], "steering_layer": [99]}
    block |= {"steering_scale": [1.0], "retain_weight": [0.0], "epochs": [1]}
    unfit = job_settings.study(unlearning={"trajectories": [block]})
    source = ("mine.yaml", {"unlearning": {"trajectories": [block]}})
    with pytest.raises(
        InputError, match=r"^mine\.yaml: .*\[0\]: steering_layer: found 99; allowed: 1"
    ):
        check_surroundings(unfit, False, pytest.fail, [source])
    check_surroundings(unfit, True, pytest.fail)  # this run makes the model


def test_a_rule_of_other_epochs_inherits_from_the_profile():
    first = {"method": "ga", "learning_rate": [0.1], "epochs": [1, 2]}
    blocks = [first, first | {"method": "gd", "retain_weight": [1.0], "epochs": [4]}]
    study = job_settings.study(unlearning={"trajectories": blocks})
    given = SimpleNamespace(
        overwrite_resources={"unlearn": {"gpu": 2}, "evaluate": {}},
        overwrite_threads={"unlearn": 8, "unlearn_4": 1},
    )
    inherit_from_profile(given, study)
    assert given.overwrite_resources == {
        "unlearn": {"gpu": 2},
        "unlearn_4": {"gpu": 2},
        "evaluate": {},
    }
    assert given.overwrite_threads == {"unlearn": 8, "unlearn_4": 1}
