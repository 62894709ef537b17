"""The description of the machine in logs, and the GPU that a job uses."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import job_settings
from excise import machine
from excise.errors import InputError
from excise.modeling.base import pick_device

ROOT = Path(__file__).parents[2]


@pytest.fixture
def job(monkeypatch):
    """The environment of a SLURM job without a GPU."""
    for name in machine.GPU_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURMD_NODENAME", "node3")
    return monkeypatch


def test_the_line_gives_node_job_and_versions(job):
    line = machine.description()
    assert line.startswith("node node3, SLURM job 7, no GPU, python 3.")
    assert f"torch {torch.__version__.split('+')[0]}" in line


def test_a_gpu_without_a_driver_is_described_as_such(job, tmp_path):
    job.setenv("CUDA_VISIBLE_DEVICES", "2")
    job.setenv("PATH", str(tmp_path))
    assert machine.gpu_description() == "GPU 2 (no driver)"


def test_name_and_version_come_from_the_driver(job, tmp_path):
    (tmp_path / "nvidia-smi").write_text('#!/bin/sh\n[ "$3" = --id=2 ] && echo "H200, 550.54"\n')
    (tmp_path / "nvidia-smi").chmod(0o755)
    job.setenv("CUDA_VISIBLE_DEVICES", "2")
    job.setenv("PATH", f"{tmp_path}:/bin")
    assert machine.gpu_description() == "GPU 2: H200 driver 550.54"


def test_a_job_without_a_gpu_uses_none_even_if_it_sees_one(job):
    job.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device(False) == torch.device("cpu")
    with pytest.raises(InputError, match="SLURM gave this job no GPU"):
        pick_device(True)


def test_a_job_uses_its_gpu(job):
    job.setattr(torch.cuda, "is_available", lambda: True)
    job.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert pick_device(True) == torch.device("cuda", 0)


def test_a_gpu_that_torch_cannot_use_is_an_error(job):
    job.setattr(torch.cuda, "is_available", lambda: False)
    job.setenv("CUDA_VISIBLE_DEVICES", "2")
    with pytest.raises(InputError, match="torch sees no CUDA device"):
        pick_device(True)


def test_the_first_line_of_a_log_describes_the_machine():
    program = ROOT / "workflow_scripts/plot.py"
    command = [sys.executable, program, "--figure", "retain_gap"]
    command += ["--rows", "nowhere.json", "--out", "nowhere.png"]
    command += ["--hp", job_settings.hp("plot_settings")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.startswith("node ")
    assert done.stderr.startswith("error: ")
