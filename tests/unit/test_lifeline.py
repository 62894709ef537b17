"""Programs end with their Snakemake; inputs belong to epochs."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from excise import lifeline
from excise.errors import InputError
from excise.files import atomic_path
from excise.provenance import inputs_of_same_epoch

WAITS = "import time; time.sleep(60)"
PROGRAM = (
    "import time; from excise.lifeline import end_with_snakemake; end_with_snakemake(0.05);"
    "print('started', flush=True); time.sleep(60)"
)


@pytest.fixture
def snakemake(monkeypatch):
    """A process in the role of Snakemake, named in the environment."""
    process = subprocess.Popen([sys.executable, "-c", WAITS])
    name = f"{process.pid},{lifeline._started(process.pid)},{lifeline._machine_id()}"
    monkeypatch.setenv(lifeline.VARIABLE, f"{lifeline.this_process()};{name}")
    yield process
    process.kill()
    process.wait()


def test_a_program_ends_when_its_snakemake_ends(snakemake):
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout.readline() == "started\n"
    time.sleep(0.2)
    assert program.poll() is None
    snakemake.kill()  # without wait(): a zombie process counts as ended, too
    assert program.wait(timeout=30) == 1
    assert lifeline.SNAKEMAKE_ENDED in program.stderr.read()


def test_no_file_gets_its_final_name_after_that(snakemake, tmp_path):
    path = tmp_path / "out.json"
    with atomic_path(path) as temporary:
        temporary.write_text("in time")
    with pytest.raises(InputError, match=rf"{path}: not written"), atomic_path(path) as temporary:
        temporary.write_text("late")
        snakemake.kill()
        snakemake.wait()
    assert path.read_text() == "in time"
    assert [one.name for one in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize("named", ["", "1,1,another machine"])
def test_processes_on_another_machine_are_ignored(monkeypatch, named):
    monkeypatch.setenv(lifeline.VARIABLE, named)
    assert not lifeline.is_orphaned()


def test_a_reused_process_id_counts_as_ended(monkeypatch):
    monkeypatch.setenv(lifeline.VARIABLE, f"{os.getpid()},1,{lifeline._machine_id()}")
    assert lifeline.is_orphaned()


@pytest.mark.parametrize(
    "number, has_ended",
    [
        (errno.ENOENT, True),
        (errno.ESRCH, True),
        (errno.EMFILE, False),
        (errno.EACCES, False),
        (errno.EIO, False),
    ],
)
def test_only_a_missing_process_has_ended(monkeypatch, number, has_ended):
    monkeypatch.setenv(lifeline.VARIABLE, lifeline.this_process())
    read = Path.read_text

    def failing(path, **more):
        if path.name == "stat":
            raise OSError(number, os.strerror(number))
        return read(path, **more)

    monkeypatch.setattr(Path, "read_text", failing)
    assert lifeline.is_orphaned() == has_ended


def test_outputs_of_an_epoch_have_inputs_of_that_epoch():
    inputs = ["m/t/epoch_1/a", "m/t/epoch_2/a", "m/finetuned/a", "data/sf.jsonl"]
    assert inputs_of_same_epoch(inputs, "eval/t/epoch_2/items.jsonl") == inputs[1:]
    assert inputs_of_same_epoch(inputs, "eval/finetuned/items.jsonl") == inputs
