"""What a log says of the machine, and which GPU is ours."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from excise import machine
from excise.errors import InputError
from excise.modeling.base import pick_device

ROOT = Path(__file__).parents[2]


@pytest.fixture
def job(monkeypatch):
    """Inside of a SLURM job that was given no GPU."""
    for name in machine.GPU_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURMD_NODENAME", "node3")
    return monkeypatch


def test_the_line_names_node_job_and_versions(job):
    line = machine.description()
    assert line.startswith("node node3, SLURM job 7, no GPU, python 3.")
    assert f"torch {torch.__version__.split('+')[0]}" in line


def test_a_gpu_without_a_driver_is_said_to_be_one(job, tmp_path):
    job.setenv("CUDA_VISIBLE_DEVICES", "2")
    job.setenv("PATH", str(tmp_path))
    assert machine.gpu_description() == "GPU 2 (no driver)"


def test_the_driver_tells_name_and_version(job, tmp_path):
    (tmp_path / "nvidia-smi").write_text('#!/bin/sh\n[ "$3" = --id=2 ] && echo "H200, 550.54"\n')
    (tmp_path / "nvidia-smi").chmod(0o755)
    job.setenv("CUDA_VISIBLE_DEVICES", "2")
    job.setenv("PATH", f"{tmp_path}:/bin")
    assert machine.gpu_description() == "GPU 2: H200 driver 550.54"


def test_a_job_without_a_gpu_takes_none_that_it_can_see(job):
    job.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device(False) == torch.device("cpu")
    with pytest.raises(InputError, match="SLURM gave this job no GPU"):
        pick_device(True)


def test_a_job_takes_the_gpu_it_was_given(job):
    job.setattr(torch.cuda, "is_available", lambda: True)
    job.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert pick_device(True) == torch.device("cuda", 0)


def test_a_gpu_that_torch_cannot_use_is_not_passed_over_in_silence(job):
    job.setattr(torch.cuda, "is_available", lambda: False)
    job.setenv("CUDA_VISIBLE_DEVICES", "2")
    with pytest.raises(InputError, match="torch sees no CUDA device"):
        pick_device(True)


def test_the_first_line_of_a_programs_log_tells_the_machine():
    program = ROOT / "workflow_scripts/plot.py"
    command = [sys.executable, program, "--figure", "retain_gap"]
    command += ["--rows", "nowhere.json", "--out", "nowhere.png"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.startswith("node ")
    assert done.stderr.startswith("error: ")
