"""No job is lost between Snakemake and its SLURM plugin: a real Snakemake with a fake SLURM."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from excise.slurm import job_tracker

SNAKEFILE = """
import sys
sys.path.insert(0, {scripts!r})
from excise.slurm.job_tracker import JobTracker

rule all:
    input: "a", "b"

rule first:
    output: "a"
    shell: "true"

rule second:
    output: "b"
    shell: "true"

onstart:
    JobTracker(workflow.scheduler._executor)
"""
# Each job is done when it is submitted.
SBATCH = "echo >> submitted; touch a b; wc -l < submitted"
# The first three of the plugin's queries fail: all queries of its first status check.
SACCT = """\
case "$*" in *JobIdRaw*) ;; *) exit ;; esac
echo >> asked
test $(wc -l < asked) -gt 3 || exit 1
printf '1|COMPLETED\\n2|COMPLETED\\n'
"""


RAISES_ONCE = """
import snakemake_executor_plugin_slurm as plugin

ask, raised = plugin.Executor.check_active_jobs, []

async def check(self, jobs):
    if jobs and not raised:
        raised.append(True)
        raise BlockingIOError(11, "Resource temporarily unavailable")
    async for job in ask(self, jobs):
        yield job

plugin.Executor.check_active_jobs = check
"""


def run(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None, **programs: str
) -> subprocess.CompletedProcess:
    """Run both jobs with fake programs, given as lines of shell."""
    (folder / "Snakefile").write_text(
        SNAKEFILE.format(scripts=str(Path(job_tracker.__file__).parents[2]))
    )
    (folder / "bin").mkdir()
    for name, body in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / "bin" / name).chmod(0o755)
    plugin = "--executor slurm --jobs 9 --default-resources slurm_partition=cpu mem_mb=1 runtime=1"
    quick = "--slurm-init-seconds-before-status-checks 1 --max-status-checks-per-second 9"
    quick += " --slurm-status-attempts 3 --slurm-status-command sacct --latency-wait 1"
    command = [sys.executable, "-m", "snakemake", *plugin.split(), *quick.split(), *arguments]
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": path} | (environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_status_check_whose_queries_all_fail_loses_no_job(tmp_path):
    """F1: the plugin would wait without end."""
    done = run(tmp_path, sbatch=SBATCH, sacct=SACCT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "submitted").read_text() == "\n\n"
    assert len((tmp_path / "asked").read_text()) > 3


@pytest.mark.parametrize("groups", [[], ["--groups", "first=g", "second=g"]])
def test_a_submission_that_raises_is_a_failed_job(tmp_path, groups):
    """For a group, the plugin's own report raises too, and Snakemake does not see it."""
    refused = ["--set-resources", "first:slurm_extra='--parsable'", "second:slurm_extra='-J x'"]
    refused = refused[:2] if groups else refused
    done = run(tmp_path, *groups, *refused, sbatch=SBATCH, sacct=SACCT)
    assert done.returncode == 1
    assert "is not allowed in the 'slurm_extra' parameter" in done.stdout + done.stderr


def test_the_reason_why_a_group_was_not_submitted_is_reported(tmp_path):
    groups = ["--groups", "first=g", "second=g"]
    done = run(tmp_path, *groups, sbatch="echo 'no such project' >&2; exit 1", sacct=SACCT)
    assert done.returncode == 1
    assert "no such project" in done.stdout + done.stderr


def test_a_status_check_that_raises_does_not_end_the_run(tmp_path):
    """For example if the login node allows no more processes for a moment."""
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch" / "sitecustomize.py").write_text(RAISES_ONCE)
    path = os.pathsep.join([str(tmp_path / "patch"), os.environ.get("PYTHONPATH", "")])
    sacct = SACCT.replace("-gt 3", "-gt 0")
    done = run(tmp_path, sbatch=SBATCH, sacct=sacct, environment={"PYTHONPATH": path})
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "a status check failed: BlockingIOError" in output
    assert (tmp_path / "submitted").read_text() == "\n\n"
