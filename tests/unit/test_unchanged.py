"""Jobs whose inputs have the same bytes are skipped, in a workflow of four rules."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "workflow_scripts"
EXECUTORS = Path(__file__).parents[1] / "executors"
SNAKEFILE = f"""
import sys
sys.path.insert(0, {str(SCRIPTS)!r})
from excise.workflow.unchanged import skip_unchanged_jobs
skip_unchanged_jobs()

rule all:
    input: "last.txt", "side.txt"

rule first:
    output: "first.txt"
    params: threshold=config["threshold"]
    shell: "echo {{config[content]}} > {{output}}"

rule middle:
    input: "first.txt"
    output: "middle.txt"
    shell: "cp {{input}} {{output}}"

rule last:
    input: "middle.txt"
    output: "last.txt"
    params: config["last"]
    shell: "cp {{input}} {{output}}"

rule side:
    input: "middle.txt"
    output: "side.txt"
    shell: "cp {{input}} {{output}}"
"""


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("content")
    (folder / "Snakefile").write_text(SNAKEFILE)

    def run(*arguments, threshold=1, content="a", last=1) -> set[str]:
        """Names of the rules that ran."""
        config = [f"threshold={threshold}", f"content={content}", f"last={last}"]
        command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]
        done = subprocess.run(
            [*command, "--config", *config],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(EXECUTORS)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        started = re.findall(r"^\s*(?:local)?rule (\w+):$", done.stderr, flags=re.MULTILINE)
        return set(started) - {"all"}

    run()
    return run


EVERYTHING = {"first", "middle", "last", "side"}


def test_later_jobs_run_only_if_the_bytes_of_their_inputs_changed(workflow):
    assert workflow(threshold=2) == {"first"}
    assert workflow(threshold=2) == set()
    assert workflow(threshold=3, content="b") == EVERYTHING
    # `last` has its own reason to run, although Snakemake did not check it before the run.
    assert workflow(threshold=4, content="b", last=2) == {"first", "last"}
    # Forced jobs run.
    forced = workflow("--forcerun", "first", "side", threshold=4, content="b", last=2)
    assert forced == {"first", "side"}


def test_a_group_is_skipped_or_runs_as_a_whole(workflow):
    # Snakemake makes groups only for jobs that run elsewhere.
    together = ["--executor", "elsewhere", "--jobs", "1", "--groups", "last=g", "side=g"]
    together += ["--group-components", "g=2", "--seconds-between-status-checks", "0"]
    assert workflow(threshold=5, content="c", last=2) >= {"first"}
    assert workflow(*together, threshold=6, content="c", last=2) == {"first"}
    # One member has its own reason to run.
    assert workflow(*together, threshold=7, content="c", last=3) == {"first", "last", "side"}
