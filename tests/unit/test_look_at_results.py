"""Our hooks of Snakemake before the first job and at the end, called without Snakemake."""

import ast
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from excise.workflow import job_records

COMMON = Path(__file__).parents[2] / "rules/common.smk"


def functions(*names, **stand_ins):
    """Functions of rules/common.smk, with stand-ins for the names that they use."""
    tree = ast.parse(COMMON.read_text(encoding="utf-8"))
    tree.body = [one for one in tree.body if getattr(one, "name", None) in names]
    assert len(tree.body) == len(names)
    exec(compile(tree, COMMON, "exec"), stand_ins)
    return stand_ins


def failing(error):
    def examined():
        raise error

    return examined


class Memory:
    def __init__(self):
        self.remembered = 0

    def remember(self):
        self.remembered += 1


def ending(error, memory):
    return functions(
        "at_the_end",
        "lines_about_results",
        "not_checked",
        workflow=SimpleNamespace(_dag=object()),
        checks_only=lambda: False,
        results_examined=failing(error),
        belonging_lines=list,
        sys=sys,
        DIGESTS=memory,
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("x.json")])
def test_an_error_at_the_end_is_one_line_and_the_digests_are_stored(capsys, error):
    memory = Memory()
    ending(error, memory)["at_the_end"]()
    message = capsys.readouterr().err
    assert message == f"warning: the results could not be checked ({error!r})\n"
    assert memory.remembered == 1


def test_an_error_of_the_result_check_does_not_end_the_run(capsys):
    warnings, done = [], []
    hooks = functions(
        "before_the_first_job",
        "lines_about_results",
        "not_checked",
        checks_only=lambda: False,
        results_examined=failing(TypeError("x.json")),
        belonging_lines=list,
        logger=SimpleNamespace(warning=warnings.append),
        try_model=lambda: done.append("model"),
        remember_base_model=lambda: done.append("digests"),
        start_on_cluster=lambda: done.append("cluster"),
    )
    hooks["before_the_first_job"]()
    assert warnings == ["warning: the results could not be checked (TypeError('x.json'))"]
    assert done == ["model", "digests", "cluster"]  # before the first submission


def test_an_error_of_the_result_check_is_one_line_of_check(capsys):
    hooks = functions(
        "report_belonging",
        "not_checked",
        results_examined=failing(TypeError("x.json")),
        DIGESTS=SimpleNamespace(),
        sys=sys,
    )
    assert hooks["report_belonging"]() == 1
    captured = capsys.readouterr()
    assert captured.err == "error: the results could not be checked (TypeError('x.json'))\n"
    assert captured.out == ""


@pytest.mark.parametrize("executor, written", [("slurm", True), ("local", False)])
def test_digests_of_the_base_model_are_stored_for_jobs_on_nodes(
    tmp_path, monkeypatch, executor, written
):
    (tmp_path / "model.safetensors").write_text("weights")
    (tmp_path / "other.safetensors").write_text("read by no job of this run")
    base = [str(tmp_path / name) for name in ("model.safetensors", "other.safetensors")]
    job = SimpleNamespace(input=[base[0], str(tmp_path / "data.jsonl")])
    memory = tmp_path / "digests.json"
    hooks = functions(
        "remember_base_model",
        workflow=SimpleNamespace(
            executor_plugin=SimpleNamespace(name=executor),
            dag=SimpleNamespace(needrun_jobs=lambda: [job, job]),
        ),
        base_files=lambda: base,
        DIGESTS=job_records.Digests(memory),
    )
    hooks["remember_base_model"]()
    assert memory.exists() == written
    if written:
        monkeypatch.setattr(job_records, "digest", lambda path: pytest.fail("read again"))
        assert job_records.Digests(memory)(base[0])  # like the Snakemake on a node
