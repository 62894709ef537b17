"""`.ci/run` says at its end that the tests on SLURM needed a second try."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAID = "tests/slurm failed at first and passed when run once more: see the first failure above"


def run(
    folder: Path, failures: int, study: str = "true", test: str = "true"
) -> subprocess.CompletedProcess:
    """Run it with SLURM tests that fail so many times, once from `make` and then from pytest.

    The experiment ends after the SLURM tests, whose second run must wait for it.
    """
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    programs = {
        "tests/browser/install.sh": f"echo browser >> {folder}/made",
        "tests/slurm/install.sh": "true",
        "bin/make": f'test "$1" != run || sleep 0.5; echo "$1" >> {folder}/made; '
        f'case "$1" in run) {study} ;; test) {test} ;; test-slurm) test {failures} = 0 ;; esac',
        ".venv/bin/python": f'echo "$*" >> {folder}/made; test {failures} -lt 2',
    }
    for name, line in programs.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    return subprocess.run(
        [folder / ".ci/run"], env=os.environ | {"PATH": path}, capture_output=True, text=True
    )


@pytest.mark.parametrize("failures, said", [(0, ""), (1, SAID), (2, "")])
def test_a_second_try_is_told_of_in_the_last_line(tmp_path, failures, said):
    done = run(tmp_path, failures)
    assert (done.returncode == 0) == (failures < 2)
    assert done.stdout.strip() == said
    again = ["-m pytest tests/slurm --last-failed"] * (failures > 0)
    made = (tmp_path / "made").read_text().splitlines()
    assert made == [".venv/installed", "browser", "test", "docs", "test-slurm", "run", *again]


def test_an_experiment_that_fails_fails_the_whole(tmp_path):
    done = run(tmp_path, failures=0, study="{ echo broken; false; }")
    assert done.returncode == 1
    assert "broken" in done.stdout


def test_tests_that_fail_end_the_experiment(tmp_path):
    """It runs beside them; nobody waits for it any longer, and it must not go on unseen."""
    done = run(tmp_path, failures=0, study="{ sleep 60; touch ended; }", test="false")
    assert done.returncode == 1
    assert (tmp_path / "made").read_text().splitlines()[-1] == "test"
    running = subprocess.run(["pgrep", "-f", f"{tmp_path}/bin/make run"], capture_output=True)
    assert running.stdout == b""
