"""A real SLURM on this machine, and the smoke experiment run through it once for all tests."""

import subprocess
from collections.abc import Iterator

import pytest
from one_machine import OneMachine, why_not
from study import SITE, TOO_LITTLE, Study, Submitter, Trouble

from workflow.conftest import clone


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
def study(machine, fresh, tmp_path_factory) -> Study:
    """The whole experiment run through SLURM while everything that can break breaks."""
    workspace = fresh.copy(tmp_path_factory.mktemp("slurm") / "study")
    workspace.set_profile(TOO_LITTLE)
    trouble = Trouble(machine, workspace.folder)
    trouble.start()
    with workspace.running("all") as process:
        try:
            process.wait(timeout=1500)
        except subprocess.TimeoutExpired:
            trouble.faults.append("not finished after 25 minutes")
        finally:
            trouble.ended.set()
            trouble.join()
    trouble.tell(f"end, exit status {process.returncode}")
    for seconds, what in trouble.timeline:
        print(f"{seconds:6.0f} s  {what}")
    return Study(workspace, trouble, workspace.said(), process.returncode)


@pytest.fixture
def own(study, tmp_path) -> Submitter:
    """A copy of the finished study to run jobs in, with a plain profile."""
    workspace = study.workspace.copy(tmp_path / "own")
    workspace.set_profile({new: old for old, new in TOO_LITTLE.items()})
    return workspace
