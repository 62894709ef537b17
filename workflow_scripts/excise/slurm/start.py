"""What must hold before the first job is submitted to SLURM; each mistake is one line.

`start` is called once, by the `onstart` of the Snakefile, in the Snakemake that the user started,
when the jobs are known and none has been submitted.
"""

import atexit
import hashlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from excise.errors import InputError
from excise.slurm import commands
from excise.slurm.accounts import account_argument, check_accounts, names
from excise.slurm.client import BIN, ROOM_FOLDER
from excise.slurm.folders import watch_folder
from excise.slurm.job_request import PROFILE, JobRequest, Submission, request_of
from excise.slurm.job_tracker import JobTracker
from excise.slurm.probe import probe
from excise.slurm.sigint import handle_sigint
from excise.slurm.submission_check import validate_submission
from excise.slurm.watch import watch

PLACEHOLDER = "CHANGE_ME"
NO_GPU = "a GPU, but partition"

# The plugin looks after its jobs every 3 minutes at least; a controller without accounting must
# remember a finished job longer than that.
LEAST_MIN_JOB_AGE = 240


def check_requests(
    requests: Iterable[JobRequest],
    partitions: Mapping[str, commands.Partition],
    every: bool = False,
) -> None:
    """Check what first attempts ask for against what the site has.

    Args:
        requests: what they ask for.
        partitions: those of the site.
        every: whether a job must fit into every partition of its list, not into any.

    Raises:
        InputError: a name left at CHANGE_ME, an unknown partition, GPUs where there are none, more
            memory or time than a partition has, or less time than the stage is estimated to take.
    """
    for request in requests:
        _check_names(request, partitions)
        if request.estimate and request.minutes and request.minutes < request.estimate:
            raise InputError(
                f"{PROFILE}: {request.rule} asks for {request.minutes} minutes (runtime), "
                f"but is estimated to take {request.estimate:.0f} with this model and these epochs"
            )
        if excess := _excess(request, partitions, every):
            if NO_GPU in excess:
                remedy = f"partitions with GPUs: {_named(partitions, gpus=True) or 'none'}"
            else:
                remedy = "set another partition, or less of it (set-resources)"
            raise InputError(
                f"{PROFILE}: {request.rule} asks for {excess}; {_fewer(request) or remedy}"
            )


def _check_names(request: JobRequest, partitions: Mapping[str, commands.Partition]) -> None:
    if request.account == PLACEHOLDER:
        raise InputError(
            f"{PROFILE}: slurm_account of {request.rule} is {PLACEHOLDER}; set it to yours "
            "(sacctmgr show associations user=$USER), or delete the line if there are none"
        )
    if PLACEHOLDER in request.partitions:
        with_gpus = _named(partitions, gpus=True) if request.gpu else ""
        raise InputError(
            f"{PROFILE}: slurm_partition of {request.rule} is {PLACEHOLDER}; "
            + (f"partitions with GPUs: {with_gpus}" if with_gpus else _those_here(partitions))
        )
    if unknown := [name for name in request.partitions if name not in partitions]:
        raise InputError(
            f"{PROFILE}: {request.rule}: no partition {unknown[0]!r} here; "
            + _those_here(partitions)
        )


def with_default_partition(
    requests: Iterable[JobRequest], partitions: Mapping[str, commands.Partition]
) -> list[JobRequest]:
    """The requests, those that name no partition with the one that sbatch will take, if any."""
    marked = next((name for name, one in partitions.items() if one.default), None)
    default = os.environ.get("SBATCH_PARTITION") or marked
    return [one if one.partition else replace(one, partition=default) for one in requests]


def _those_here(partitions: Mapping[str, commands.Partition]) -> str:
    return f"there are {_named(partitions)}"


def _named(partitions: Mapping[str, commands.Partition], gpus: bool = False) -> str:
    shown = {name: one for name, one in partitions.items() if not one.hidden}
    return ", ".join(sorted(name for name, one in shown.items() if one.gpus or not gpus))


def _excess(
    request: JobRequest, partitions: Mapping[str, commands.Partition], every: bool
) -> str | None:
    """What a job asks for beyond what its partitions have, with the limits; None if it fits."""
    found = [_excess_in(name, partitions[name], request) for name in request.partitions]
    too_much = list(filter(None, found))
    if not too_much or (len(too_much) < len(found) and not every):
        return None
    return ", and for ".join(too_much)


def _excess_in(name: str, partition: commands.Partition, request: JobRequest) -> str | None:
    if request.gpu and not partition.gpus:
        return f"{NO_GPU} {name} has none"
    by_qos = any(one.startswith("--qos=") for one in request.extra)  # may lift the time limit
    too_long = partition.minutes and request.minutes and request.minutes > partition.minutes
    if too_long and not by_qos:
        return f"{request.minutes} minutes, but partition {name} allows {partition.minutes}"
    if request.memory_mb > partition.memory_mb:
        return (
            f"{request.memory_mb} MB, but the largest node of partition {name} has "
            f"{partition.memory_mb}"
        )
    return None


def _fewer(request: JobRequest) -> str:
    if request.jobs == 1:
        return ""
    return (
        f"it runs {request.jobs} jobs: fewer (groups, group-components), or less for each "
        "(set-resources)"
    )


def too_large_retries(
    tries: Iterable[list[JobRequest]],
    partitions: Mapping[str, commands.Partition],
    every: bool = False,
) -> list[str]:
    """A line for each rule or group of which a further attempt, which asks for more, does not fit.

    Args:
        tries: requests of a job attempt by attempt, the first one checked.
        partitions: those of the site.
        every: as in `check_requests`.
    """
    lines: dict[str, str] = {}
    for requests in tries:
        for attempt, request in enumerate(requests, start=1):
            excess = _excess(request, partitions, every)
            if excess and request.rule not in lines:
                remedy = _fewer(request) or "cap it (set-resources: min(… * attempt, the limit))"
                lines[request.rule] = (
                    f"attempt {attempt} of {request.rule} would ask for {excess}: SLURM would "
                    f"refuse it, or never start it; {remedy}"
                )
    return list(lines.values())


def check_accounting(settings: Mapping[str, str], requests: Iterable[JobRequest]) -> str | None:
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
    """How the names of an experiment's jobs start: a mark of its results folder, then its name.

    The mark alone tells who writes the same files: an experiment may have been renamed.
    """
    name = re.sub(r"[^A-Za-z0-9]+", "-", experiment)[:20].strip("-")
    return f"{mark_of(results)}{name}"


def mark_of(results: str | Path) -> str:
    """How the names of all jobs start that write into a results folder."""
    return f"excise-{hashlib.sha256(str(Path(results).resolve()).encode()).hexdigest()[:8]}-"


def check_no_orphans(prefix: str, jobs: Callable[[str], list[commands.Job]], patience: int = 40):
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


def _names(jobs: list[commands.Job]) -> str:
    return ",".join(sorted({job.name for job in jobs}))


def start(
    executor: Any,
    jobs: Iterable[Submission],
    estimate: Callable[[str], float | None],
    experiment: str,
    folders: Mapping[str, Path],
    files: Mapping[str, Path],
    say: Callable[[str], None],
) -> None:
    """Check everything, then prepare the run: names, status commands, a watch over its jobs.

    Args:
        executor: the SLURM plugin's executor.
        jobs: what is about to be submitted; one of each kind is enough.
        estimate: minutes a rule's jobs are estimated to take; None for rules without a model.
        experiment: its name.
        folders: what compute nodes must share, by config key; `pathvars.results` among them.
        files: what compute nodes must see besides, by config key.
        say: prints one line for the user.

    Raises:
        InputError: a mistake in the profile, or jobs of an earlier run in the queue.
    """
    os.environ["PATH"] = os.pathsep.join([str(BIN), *os.get_exec_path()])
    results = folders["pathvars.results"]
    for folder in {Path.cwd(), results.resolve()}:
        watch_folder(folder)
    jobs = list(jobs)
    for job in jobs:
        validate_submission(job.name, job.job, executor.workflow.executor_settings)
        job.job.attempt = job.job.attempt  # settled anew at its submission: the model is there then
    tries = [
        [request_of(job.name, one, estimate(job.name), job.jobs) for one in job.attempts]
        for job in jobs
    ]
    requests = [first for first, *_ in tries]
    try:
        partitions = commands.partitions()
        settings = commands.settings()
        # Otherwise SLURM takes a job if one partition of its list can (22.05, tried).
        every = settings.get("EnforcePartLimits") == "ALL"
        check_requests(with_default_partition(requests, partitions), partitions, every)
        tries = [with_default_partition(one, partitions) for one in tries]
        warnings = [check_accounting(settings, requests), check_accounts(requests)]
        check_no_orphans(mark_of(results), commands.jobs_named)
    except commands.SlurmSilentError as error:
        raise InputError(f"executor slurm: {error}; is SLURM up?") from error
    for line in [*filter(None, warnings), *too_large_retries(tries, partitions, every)]:
        say(f"warning: {line}")
    executor.run_uuid = f"{job_prefix(experiment, results)}_{executor.run_uuid}"
    ask_nobody_at_submission(executor)
    cancel_by_name(executor)
    asking = _for_probes(requests, executor.workflow.executor_settings)
    probe(asking, folders, files, executor.run_uuid, say, among_others=_among_others(requests))
    os.environ[ROOM_FOLDER] = new_room_folder()
    handle_sigint(executor)
    watch(executor, JobTracker(executor), say)


def _for_probes(requests: Iterable[JobRequest], settings: Any) -> list[JobRequest]:
    """One a partition, with what the profile asks for all jobs.

    Rather of a job that names this partition alone; rather with GPUs, for some partitions let no
    other job in.
    """
    every = [
        f"--{key}={value}" for key in ("qos", "reservation") if (value := getattr(settings, key))
    ]
    best_last = sorted(requests, key=lambda one: (len(one.partitions) == 1, bool(one.gpu)))
    chosen = {name: request for request in best_last for name in request.partitions or [None]}
    return [
        replace(
            request,
            partition=name,
            account=next(iter(names(request.account)), None),
            extra=(*every, *request.extra),
        )
        for name, request in chosen.items()
    ]


def _among_others(requests: Iterable[JobRequest]) -> set[str]:
    """Partitions that no job names alone: where one is closed to us, SLURM takes another."""
    lists = [request.partitions for request in requests]
    alone = {name for one in lists if len(one) == 1 for name in one}
    return {name for one in lists for name in one} - alone


def ask_nobody_at_submission(executor: Any) -> None:
    """What the plugin would ask the site before every submission is known by now.

    The answer may not come while controller or database are away, and then the job would fail.
    """
    executor.get_account_arg = account_argument
    executor._fallback_partition = ""  # none named: sbatch takes the default one by itself


def new_room_folder() -> str:
    """Where submissions that wait for room leave word; on this machine, until this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="excise-")
    atexit.register(folder.cleanup)
    return folder.name


def cancel_by_name(executor: Any) -> None:
    """Cancel what the run has in the queue, on Ctrl-C and when its Snakemake ends.

    The plugin itself would leave out the jobs it asks about or submits at that moment.
    """

    def cancel_jobs(active: list[Any]) -> None:
        submissions = executor._job_submission_executor
        submissions.shutdown(wait=False, cancel_futures=True)  # no more of those that wait
        end_submissions()
        cancel(executor.run_uuid)

    executor.cancel_jobs = cancel_jobs
    atexit.register(cancel, executor.run_uuid)


def end_submissions() -> None:
    """End our own sbatch where it waits, and the real one that waits behind it."""
    for child in psutil.Process().children(recursive=True):
        try:
            if str(BIN / "sbatch") in child.cmdline():
                for one in [child, *child.children()]:
                    one.terminate()
        except psutil.Error:
            continue  # gone by now


def cancel(name: str) -> None:
    """Cancel all jobs of a name."""
    try:
        if commands.jobs_named(name):
            subprocess.run(["scancel", f"--name={name}"], timeout=60, check=False)
    except (commands.SlurmSilentError, InputError, subprocess.TimeoutExpired):
        print(f"SLURM does not answer; if jobs are left: scancel --name={name}", flush=True)
