"""What jobs will ask SLURM for, from the resources that Snakemake settled for them."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What an error says first, where the profile is at fault.
PROFILE = "the SLURM profile"


@dataclass(frozen=True)
class JobRequest:
    """What a job asks for at its first attempt, or at a later one.

    Attributes:
        rule: its name; for a group of jobs, `group` and its name.
        partition: None where SLURM's default is taken; several with commas between them.
        gpu: arguments of sbatch that ask for GPUs; empty for none.
        minutes: walltime; None where none is asked for.
        estimate: minutes that the stage is estimated to take, where it is.
        extra: other arguments of sbatch that a site may insist on.
        jobs: how many Snakemake runs in it: more than one in a group.
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
        """The partitions of the list; SLURM starts the job in the first that can take it."""
        return [] if self.partition is None else self.partition.split(",")


@dataclass(frozen=True)
class Submission:
    """What becomes one job of SLURM.

    Attributes:
        name: of its rule; of a group, `group` and its name.
        job: Snakemake's job or group.
        attempts: its resources, attempt by attempt.
        jobs: how many of ours run in it.
    """

    name: str
    job: Any
    attempts: list[dict[str, Any]]
    jobs: int = 1


def submissions(dag: Any) -> list[Submission]:
    """What is about to be submitted: one job of each rule, and every group.

    Of a rule whose jobs go in groups the first attempt alone: the group is what is tried again.

    Args:
        dag: Snakemake's, when its jobs and groups are settled.
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
    """Resources of a job or group at its attempts, as Snakemake will settle them."""
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
    """The request of a job, from the resources that Snakemake settled for it."""
    given = {name: value for name, value in resources.items() if _is_settled(value)}
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
    """Arguments of sbatch without which a site may refuse a job, as the plugin makes them."""
    named = [f"--{key}={given[key]}" for key in ("constraint", "qos") if given.get(key)]
    return (*named, *shlex.split(given.get("slurm_extra", "")))


def _is_settled(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and value != "<TBD>")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
