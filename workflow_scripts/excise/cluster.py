"""What must hold before the first job is submitted to SLURM; each mistake is one line.

`start` is called once, by the `onstart` of the Snakefile, in the Snakemake that the user started,
when the jobs are known and none has been submitted.
"""

import atexit
import hashlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from excise import slurm
from excise.errors import InputError
from excise.interrupt import hear_ctrl_c
from excise.probe import probe
from excise.slurm_client import BIN
from excise.watch import watch

PLACEHOLDER = "CHANGE_ME"
PROFILE = "the SLURM profile"

# The plugin looks after its jobs every 3 minutes at least; a controller without accounting must
# remember a finished job longer than that.
LEAST_MIN_JOB_AGE = 240


@dataclass(frozen=True)
class Request:
    """What the jobs of a rule ask for at their first attempt.

    Attributes:
        rule: its name.
        partition: None where SLURM's default is taken.
        gpu: arguments of sbatch that ask for GPUs; empty for none.
        minutes: walltime; None where none is asked for.
        estimate: minutes that the stage is estimated to take, where it is.
    """

    rule: str
    partition: str | None = None
    account: str | None = None
    gpu: tuple[str, ...] = ()
    minutes: int | None = None
    memory_mb: int = 0
    estimate: float | None = None


def request_of(rule: str, resources: Mapping[str, Any], estimate: float | None) -> Request:
    """The request of a job, from the resources that Snakemake settled for it."""
    given = {name: value for name, value in resources.items() if _is_settled(value)}
    gpu = (f"--gpus={given['gpu']}",) if given.get("gpu") else ()
    if "gres" in given:
        gpu += (f"--gres={given['gres']}",)
    return Request(
        rule,
        _text(given.get("slurm_partition")),
        _text(given.get("slurm_account")),
        gpu,
        given.get("runtime"),
        given.get("mem_mb", 0),
        estimate,
    )


def _is_settled(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and value != "<TBD>")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def check_requests(requests: Iterable[Request], partitions: Mapping[str, slurm.Partition]) -> None:
    """Check what rules ask for against what the site has.

    Raises:
        InputError: a name left at CHANGE_ME, an unknown partition, GPUs where there are none, more
            memory or time than a partition has, or less time than the stage is estimated to take.
    """
    for request in requests:
        for key, value in (("account", request.account), ("partition", request.partition)):
            if value == PLACEHOLDER:
                raise InputError(
                    f"{PROFILE}: slurm_{key} of {request.rule} is {PLACEHOLDER}; "
                    f"set it to {_hint(key, partitions)}"
                )
        if request.estimate and request.minutes and request.minutes < request.estimate:
            raise InputError(
                f"{PROFILE}: {request.rule} asks for {request.minutes} minutes (runtime), "
                f"but is estimated to take {request.estimate:.0f} with this model and these epochs"
            )
        if request.partition is None:
            continue
        partition = partitions.get(request.partition)
        if partition is None:
            raise InputError(
                f"{PROFILE}: {request.rule}: no partition {request.partition!r} here; "
                f"there are {', '.join(sorted(partitions))}"
            )
        _check_fits(request, partition, partitions)


def _hint(key: str, partitions: Mapping[str, slurm.Partition]) -> str:
    if key == "account":
        return "yours (sacctmgr show associations user=$USER), or delete the line if there are none"
    return f"one of {', '.join(sorted(partitions))}"


def _check_fits(
    request: Request, partition: slurm.Partition, partitions: Mapping[str, slurm.Partition]
) -> None:
    if request.gpu and not partition.gpus:
        others = ", ".join(sorted(name for name, one in partitions.items() if one.gpus))
        raise InputError(
            f"{PROFILE}: {request.rule} asks for a GPU, but partition {request.partition} has "
            f"none; partitions with GPUs: {others or 'none'}"
        )
    if partition.minutes and request.minutes and request.minutes > partition.minutes:
        raise InputError(
            f"{PROFILE}: {request.rule} asks for {request.minutes} minutes, but partition "
            f"{request.partition} allows {partition.minutes}; set its runtime or another partition"
        )
    if request.memory_mb > partition.memory_mb:
        raise InputError(
            f"{PROFILE}: {request.rule} asks for {request.memory_mb} MB, but the largest node of "
            f"partition {request.partition} has {partition.memory_mb}"
        )


def check_accounting(settings: Mapping[str, str], requests: Iterable[Request]) -> str | None:
    """Check that jobs' ends can be learned of.

    Returns:
        A warning, if there is reason for one.

    Raises:
        InputError: an account is named on a cluster that keeps no accounts: the plugin could
            submit nothing.
    """
    if settings.get("AccountingStorageType", "").endswith("slurmdbd"):
        return None
    named = next((one for one in requests if one.account), None)
    if named is not None:
        raise InputError(
            f"{PROFILE}: slurm_account is {named.account}, but this cluster keeps no accounts; "
            "delete the line"
        )
    age = re.match(r"\d+", settings.get("MinJobAge", ""))
    if age and int(age[0]) < LEAST_MIN_JOB_AGE:
        return (
            f"this cluster keeps no accounts and forgets finished jobs after {age[0]} s "
            f"(MinJobAge; {LEAST_MIN_JOB_AGE} is needed): the end of a job may go unnoticed; "
            "should the run stand still, interrupt it and start it again"
        )
    return None


def job_prefix(experiment: str, results: str | Path) -> str:
    """How the names of an experiment's jobs start: its name and a mark of its results folder."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", experiment)[:20].strip("-")
    mark = hashlib.sha256(str(Path(results).resolve()).encode()).hexdigest()[:8]
    return f"excise-{name}-{mark}"


def check_no_orphans(prefix: str, jobs: Callable[[str], list[slurm.Job]], patience: int = 40):
    """Check that no job of an earlier run is left that would write the same files.

    Jobs that are just ending are waited for, up to `patience` seconds.

    Raises:
        InputError: there are some; the message tells how to cancel them.
    """
    deadline = time.monotonic() + patience
    while (left := jobs(prefix)) and all(job.state == "COMPLETING" for job in left):
        if time.monotonic() > deadline:
            break
        time.sleep(1)
    if left:
        ids = " ".join(job.id for job in left[:20])
        command = f"scancel {ids}" if len(left) <= 20 else f"scancel --name={_names(left)}"
        raise InputError(
            f"{len(left)} jobs of an earlier run of this experiment are still in SLURM's queue "
            f"and would write the same files; wait for their end, or cancel them: {command}"
        )


def _names(jobs: list[slurm.Job]) -> str:
    return ",".join(sorted({job.name for job in jobs}))


def start(
    executor: Any,
    jobs: Iterable[tuple[str, Mapping[str, Any]]],
    estimate: Callable[[str], float | None],
    experiment: str,
    folders: Mapping[str, Path],
    say: Callable[[str], None],
) -> None:
    """Check everything, then prepare the run: names, status commands, a watch over its jobs.

    Args:
        executor: the SLURM plugin's executor.
        jobs: rule and resources of the jobs to be submitted; one of each rule is enough.
        estimate: minutes a rule's jobs are estimated to take; None for rules without a model.
        experiment: its name.
        folders: what compute nodes must see, by config key; `pathvars.results` among them.
        say: prints one line for the user.

    Raises:
        InputError: a mistake in the profile, or jobs of an earlier run in the queue.
    """
    os.environ["PATH"] = os.pathsep.join([str(BIN), *os.get_exec_path()])
    prefix = job_prefix(experiment, folders["pathvars.results"])
    requests = [request_of(rule, resources, estimate(rule)) for rule, resources in jobs]
    try:
        check_requests(requests, slurm.partitions())
        warning = check_accounting(slurm.settings(), requests)
        check_no_orphans(f"{prefix}_", slurm.jobs_named)
    except slurm.SlurmSilentError as error:
        raise InputError(f"executor slurm: {error}; is SLURM up?") from error
    if warning:
        say(f"warning: {warning}")
    executor.run_uuid = f"{prefix}_{executor.run_uuid}"
    atexit.register(cancel, executor.run_uuid)
    hear_ctrl_c(executor)
    probe(_one_a_partition(requests), folders, executor.run_uuid, say)
    watch(executor, say)


def _one_a_partition(requests: Iterable[Request]) -> list[Request]:
    return list({request.partition: request for request in requests}.values())


def cancel(name: str) -> None:
    """Cancel what is left of a run when its Snakemake ends.

    The plugin cancels on Ctrl-C, but not the jobs it asks about or submits at that moment.
    """
    try:
        if slurm.jobs_named(name):
            subprocess.run(["scancel", f"--name={name}"], timeout=60, check=False)
    except (slurm.SlurmSilentError, InputError, subprocess.TimeoutExpired):
        print(f"SLURM does not answer; if jobs are left: scancel --name={name}", flush=True)
