"""The resources that jobs request from SLURM, as Snakemake has evaluated them."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Start of error messages about the profile.
PROFILE = "the SLURM profile"


@dataclass(frozen=True)
class JobRequest:
    """The resources that a job requests at one attempt.

    Attributes:
        rule: name of the rule; for a group of jobs, `group` and its name.
        partition: one name or several, separated by commas; None for SLURM's default partition.
        gpu: arguments of sbatch that request GPUs; empty for none.
        minutes: walltime; None if the job requests none.
        estimate: estimated minutes of the stage, if there is an estimate.
        extra: other arguments of sbatch that a site may require.
        jobs: number of Snakemake jobs in it; more than one in a group.
    """

    rule: str
    partition: str | None = None
    account: str | None = None
    gpu: tuple[str, ...] = ()
    minutes: int | None = None
    memory_mb: int = 0
    estimate: float | None = None
    extra: tuple[str, ...] = ()
    jobs: int = 1

    @property
    def partitions(self) -> list[str]:
        """The names in `partition`; SLURM uses the first that can run the job."""
        return [] if self.partition is None else self.partition.split(",")


@dataclass(frozen=True)
class Submission:
    """Snakemake jobs that become one SLURM job.

    Attributes:
        name: name of the rule; for a group, `group` and its name.
        job: Snakemake's job or group.
        attempts: its resources at each attempt.
        jobs: number of Snakemake jobs in it.
    """

    name: str
    job: Any
    attempts: list[dict[str, Any]]
    jobs: int = 1


def submissions(dag: Any) -> list[Submission]:
    """One job of each rule and all groups, as Snakemake will submit them.

    For a rule whose jobs are in groups, only the first attempt is listed: Snakemake retries the
    whole group.

    Args:
        dag: Snakemake's, after it has determined its jobs and groups.
    """
    alone = {job.rule.name: job for job in dag.needrun_jobs() if not job.is_local}
    groups = dict.fromkeys(filter(None, map(dag.get_job_group, dag.needrun_jobs())))
    found = []
    for name, job in alone.items():
        number = 1 if dag.get_job_group(job) else 1 + job.restart_times
        found.append(Submission(name, job, _attempts(job, number)))
    for group in groups:
        if not group.is_local:
            attempts = _attempts(group, 1 + group.restart_times)
            found.append(Submission(f"group {group.groupid}", group, attempts, len(group.jobs)))
    return found


def _attempts(job: Any, number: int) -> list[dict[str, Any]]:
    """Resources of a job or group at each attempt, as Snakemake will evaluate them."""
    first = job.attempt
    found = []
    for attempt in range(first, first + number):
        job.attempt = attempt
        found.append(dict(job.resources.items()))
    job.attempt = first
    return found


def request_of(
    rule: str, resources: Mapping[str, Any], estimate: float | None, jobs: int = 1
) -> JobRequest:
    """The request of a job, from the resources that Snakemake has evaluated."""
    given = {name: value for name, value in resources.items() if _is_evaluated(value)}
    gpu = (f"--gpus={given['gpu']}",) if given.get("gpu") else ()
    if "gpu" in given.get("gres", ""):
        gpu += (f"--gres={given['gres']}",)
    return JobRequest(
        rule,
        _text(given.get("slurm_partition")),
        _text(given.get("slurm_account")),
        gpu,
        given.get("runtime"),
        given.get("mem_mb", 0),
        estimate,
        _extra(given),
        jobs,
    )


def _extra(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Arguments of sbatch that a site may require, in the form of the plugin."""
    named = [f"--{key}={given[key]}" for key in ("constraint", "qos") if given.get(key)]
    return (*named, *shlex.split(given.get("slurm_extra", "")))


def _is_evaluated(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and value != "<TBD>")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
