"""A real SLURM on this machine, and one run of the smoke experiment on it for all tests.

The run has many faults. Their timeline is shown at the end of the tests and kept in a file. The
environment variable EXCISE_TIMELINE names it; by default it is in the folder of temporary files.

Tests of single faults are `extended` (tests/conftest.py).
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from one_machine import OneMachine, reason_not_to_start, wait_for
from study import SITE, TOO_LITTLE, FaultInjector, Spy, Study, Submitter, accounted

from excise.slurm.commands import FINAL_STATES
from workflow.conftest import clone

TIMELINE = pytest.StashKey[Path]()


def pytest_terminal_summary(terminalreporter, config):
    """Show the timeline, also after failed tests."""
    if TIMELINE in config.stash:
        file = config.stash[TIMELINE]
        terminalreporter.section(f"timeline of the study ({file})")
        terminalreporter.write(file.read_text())


@pytest.fixture(scope="module")
def machine() -> Iterator[OneMachine]:
    """SLURM with accounting; stopped after the tests of this module."""
    if reason := reason_not_to_start():
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
    """A clone of the repository with a tiny random base model and the profile of a user."""
    folder = tmp_path_factory.mktemp("slurm") / "fresh"
    clone(folder)
    submitter = Submitter(folder)
    submitter.set_profile(SITE)
    return submitter


@pytest.fixture(scope="module")
def study(machine, fresh, tmp_path_factory, pytestconfig) -> Study:
    """The whole experiment on SLURM, with all faults of `FaultInjector`."""
    folder = tmp_path_factory.mktemp("slurm")
    workspace = fresh.copy(folder / "study")
    workspace.set_profile(TOO_LITTLE)
    spy = Spy(folder / "spy")
    timeline = Path(os.environ.get("EXCISE_TIMELINE") or folder / "timeline.txt").absolute()
    timeline.write_text("")
    pytestconfig.stash[TIMELINE] = timeline
    faults = FaultInjector(machine, workspace.folder, spy, timeline)
    faults.log("start")
    with workspace.running("all", PATH=spy.path()) as process:
        faults.start()
        try:
            process.wait(timeout=2700)
        except subprocess.TimeoutExpired:
            faults.report_error("not finished after 45 minutes")
        finally:
            faults.ended.set()
            faults.join()
    faults.log(f"end, exit status {process.returncode}")
    machine.mend()
    wait_for(all_ended, 120, "accounting up to date")
    return Study(workspace, faults, workspace.output(), process.returncode, accounted())


def all_ended() -> bool:
    """Whether accounting has recorded the end of every job."""
    return all(job["State"].split()[0] in FINAL_STATES for job in accounted())


@pytest.fixture
def own(study, machine, tmp_path) -> Iterator[Submitter]:
    """A copy of the finished study with a plain profile, on an idle cluster."""
    workspace = study.workspace.copy(tmp_path / "own")
    workspace.set_profile({new: old for old, new in TOO_LITTLE.items()})
    yield workspace
    machine.mend()
