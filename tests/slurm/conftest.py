"""A real SLURM on this machine, and the smoke experiment run through it once for all tests.

What was broken in that run, and when, is shown at the end of the tests, and kept in a file: the one
that the environment variable EXCISE_TIMELINE names, else one in the folder of temporary files.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from one_machine import OneMachine, wait_for, why_not
from study import SITE, TOO_LITTLE, Spy, Study, Submitter, Trouble, accounted

from excise.slurm.commands import FINAL_STATES
from workflow.conftest import clone

TIMELINE = pytest.StashKey[Path]()


def pytest_terminal_summary(terminalreporter, config):
    """Show the timeline, whatever came of the tests."""
    if TIMELINE in config.stash:
        file = config.stash[TIMELINE]
        terminalreporter.section(f"timeline of the study ({file})")
        terminalreporter.write(file.read_text())


@pytest.fixture(scope="module")
def machine() -> Iterator[OneMachine]:
    """SLURM, with accounting; stopped after these tests, not after all."""
    if reason := why_not():
        pytest.skip(reason)
    one = OneMachine()
    one.reserve(seconds=1800)
    try:
        one.start()
        yield one
    finally:
        one.stop()


@pytest.fixture(scope="module")
def fresh(machine, tmp_path_factory) -> Submitter:
    """The repository as cloned, with a tiny random base model, and a user's profile."""
    folder = tmp_path_factory.mktemp("slurm") / "fresh"
    clone(folder)
    submitter = Submitter(folder)
    submitter.set_profile(SITE)
    return submitter


@pytest.fixture(scope="module")
def study(machine, fresh, tmp_path_factory, pytestconfig) -> Study:
    """The whole experiment run through SLURM while everything that can break breaks."""
    folder = tmp_path_factory.mktemp("slurm")
    workspace = fresh.copy(folder / "study")
    workspace.set_profile(TOO_LITTLE)
    spy = Spy(folder / "spy")
    timeline = Path(os.environ.get("EXCISE_TIMELINE") or folder / "timeline.txt").absolute()
    timeline.write_text("")
    pytestconfig.stash[TIMELINE] = timeline
    trouble = Trouble(machine, workspace.folder, spy, timeline)
    trouble.tell("start")
    with workspace.running("all", PATH=spy.path()) as process:
        trouble.start()
        try:
            process.wait(timeout=2700)
        except subprocess.TimeoutExpired:
            trouble.fault("not finished after 45 minutes")
        finally:
            trouble.ended.set()
            trouble.join()
    trouble.tell(f"end, exit status {process.returncode}")
    machine.mend()
    wait_for(all_ended, 120, "accounting up to date")
    return Study(workspace, trouble, workspace.said(), process.returncode, accounted())


def all_ended() -> bool:
    """Whether accounting knows the end of every job."""
    return all(job["State"].split()[0] in FINAL_STATES for job in accounted())


@pytest.fixture
def own(study, machine, tmp_path) -> Iterator[Submitter]:
    """A copy of the finished study to run jobs in, with a plain profile, on an idle cluster."""
    workspace = study.workspace.copy(tmp_path / "own")
    workspace.set_profile({new: old for old, new in TOO_LITTLE.items()})
    yield workspace
    machine.mend()
