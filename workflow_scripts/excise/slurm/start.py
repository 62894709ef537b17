"""Check everything before the first job is submitted to SLURM; report each mistake in one line.

The `onstart` of the Snakefile calls `start` once, in the Snakemake that the user started. At that
time the jobs are known and none is submitted.
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
from excise.slurm.client import BIN, QUEUE_FULL_FOLDER
from excise.slurm.folders import watch_folder
from excise.slurm.job_request import PROFILE, JobRequest, Submission, request_of
from excise.slurm.job_tracker import JobTracker
from excise.slurm.probe import probe
from excise.slurm.sigint import handle_sigint
from excise.slurm.submission_check import validate_submission
from excise.slurm.watch import watch

PLACEHOLDER = "CHANGE_ME"
NO_GPU = "a GPU, but partition"

# The plugin checks its jobs at least every 3 minutes. Without accounting, the controller must
# remember a finished job for longer.
LEAST_MIN_JOB_AGE = 240


def check_requests(
    requests: Iterable[JobRequest],
    partitions: Mapping[str, commands.Partition],
    every: bool = False,
) -> None:
    """Check the requests of first attempts against the partitions of the site.

    Args:
        requests: the requests.
        partitions: the partitions of the site.
        every: whether a job must fit into every partition of its list, not only into one.

    Raises:
        InputError: a name is still CHANGE_ME; a partition is unknown or has no GPUs, too little
            memory or too little time; or the walltime is below the estimate of the stage.
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
                f"{PROFILE}: {request.rule} asks for {excess}; {_group_remedy(request) or remedy}"
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
            + (
                f"partitions with GPUs: {with_gpus}"
                if with_gpus
                else _available_partitions(partitions)
            )
        )
    if unknown := [name for name in request.partitions if name not in partitions]:
        raise InputError(
            f"{PROFILE}: {request.rule}: no partition {unknown[0]!r} here; "
            + _available_partitions(partitions)
        )


def with_default_partition(
    requests: Iterable[JobRequest], partitions: Mapping[str, commands.Partition]
) -> list[JobRequest]:
    """The requests, with the partition that sbatch uses by default where they name none."""
    marked = next((name for name, one in partitions.items() if one.default), None)
    default = os.environ.get("SBATCH_PARTITION") or marked
    return [one if one.partition else replace(one, partition=default) for one in requests]


def _available_partitions(partitions: Mapping[str, commands.Partition]) -> str:
    return f"there are {_named(partitions)}"


def _named(partitions: Mapping[str, commands.Partition], gpus: bool = False) -> str:
    shown = {name: one for name, one in partitions.items() if not one.hidden}
    return ", ".join(sorted(name for name, one in shown.items() if one.gpus or not gpus))


def _excess(
    request: JobRequest, partitions: Mapping[str, commands.Partition], every: bool
) -> str | None:
    """By how much a request exceeds its partitions, with their limits; None if it fits."""
    found = [_excess_in(name, partitions[name], request) for name in request.partitions]
    too_much = list(filter(None, found))
    if not too_much or (len(too_much) < len(found) and not every):
        return None
    return ", and for ".join(too_much)


def _excess_in(name: str, partition: commands.Partition, request: JobRequest) -> str | None:
    if request.gpu and not partition.gpus:
        return f"{NO_GPU} {name} has none"
    by_qos = any(
        one.startswith("--qos=") for one in request.extra
    )  # a QOS may raise the time limit
    too_long = partition.minutes and request.minutes and request.minutes > partition.minutes
    if too_long and not by_qos:
        return f"{request.minutes} minutes, but partition {name} allows {partition.minutes}"
    if request.memory_mb > partition.memory_mb:
        return (
            f"{request.memory_mb} MB, but the largest node of partition {name} has "
            f"{partition.memory_mb}"
        )
    return None


def _group_remedy(request: JobRequest) -> str:
    if request.jobs == 1:
        return ""
    return (
        f"it runs {request.jobs} jobs: put fewer into a group (groups, group-components), or "
        "request less for each (set-resources)"
    )


def too_large_retries(
    attempts: Iterable[list[JobRequest]],
    partitions: Mapping[str, commands.Partition],
    every: bool = False,
) -> list[str]:
    """A line for each rule or group with a retry that fits into no partition.

    Retries request more than the first attempt.

    Args:
        attempts: for each job its requests, attempt by attempt; the first is already checked.
        partitions: the partitions of the site.
        every: as in `check_requests`.
    """
    lines: dict[str, str] = {}
    for requests in attempts:
        for attempt, request in enumerate(requests, start=1):
            excess = _excess(request, partitions, every)
            if excess and request.rule not in lines:
                remedy = (
                    _group_remedy(request)
                    or "limit it (set-resources: min(… * attempt, the limit))"
                )
                lines[request.rule] = (
                    f"attempt {attempt} of {request.rule} would ask for {excess}: SLURM would "
                    f"refuse it or never start it; {remedy}"
                )
    return list(lines.values())


def check_accounting(settings: Mapping[str, str], requests: Iterable[JobRequest]) -> str | None:
    """Check that Snakemake can learn how jobs end.

    Returns:
        A warning if it may not; else None.

    Raises:
        InputError: the profile names an account, but the cluster keeps no accounts; the plugin
            could submit no job.
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
            f"(MinJobAge; {LEAST_MIN_JOB_AGE} is needed): Snakemake may miss the end of a job; "
            "if the run makes no progress, interrupt it and start it again"
        )
    return None


def job_prefix(experiment: str, results: str | Path) -> str:
    """Prefix of the job names of an experiment: its `results_prefix`, then its name.

    The first part identifies jobs that write the same files, even if the experiment was renamed.
    """
    name = re.sub(r"[^A-Za-z0-9]+", "-", experiment)[:20].strip("-")
    return f"{results_prefix(results)}{name}"


def results_prefix(results: str | Path) -> str:
    """Prefix of the names of all jobs that write into one results folder."""
    return f"excise-{hashlib.sha256(str(Path(results).resolve()).encode()).hexdigest()[:8]}-"


def check_no_orphans(prefix: str, jobs: Callable[[str], list[commands.Job]], timeout: int = 40):
    """Check that the queue has no job of an earlier run that would write the same files.

    Wait up to `timeout` seconds for jobs that are ending.

    Raises:
        InputError: there are such jobs; the message gives the command that cancels them.
    """
    deadline = time.monotonic() + timeout
    while (left := jobs(prefix)) and all(job.state == "COMPLETING" for job in left):
        if time.monotonic() > deadline:
            break
        time.sleep(1)
    if left:
        ids = " ".join(job.id for job in left[:20])
        command = f"scancel {ids}" if len(left) <= 20 else f"scancel --name={_names(left)}"
        raise InputError(
            f"{len(left)} jobs of an earlier run of this experiment are still in SLURM's queue "
            f"and would write the same files; wait until they end, or cancel them: {command}"
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
    report: Callable[[str], None],
) -> None:
    """Run all checks, then prepare the run: job names, status commands, reports about the queue.

    Args:
        executor: the SLURM plugin's executor.
        jobs: the jobs that Snakemake will submit; one of each kind is sufficient.
        estimate: estimated minutes of a rule's jobs; None for rules without a model.
        experiment: its name.
        folders: folders that compute nodes must share, by config key, with `pathvars.results`.
        files: other files that compute nodes must see, by config key.
        report: prints one line for the user.

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
        job.job.attempt = job.job.attempt  # evaluate resources again later: the model exists then
    attempts = [
        [request_of(job.name, one, estimate(job.name), job.jobs) for one in job.attempts]
        for job in jobs
    ]
    requests = [first for first, *_ in attempts]
    try:
        partitions = commands.partitions()
        settings = commands.settings()
        # Otherwise SLURM accepts a job if one partition of its list fits (observed with 22.05).
        every = settings.get("EnforcePartLimits") == "ALL"
        check_requests(with_default_partition(requests, partitions), partitions, every)
        attempts = [with_default_partition(one, partitions) for one in attempts]
        warnings = [check_accounting(settings, requests), check_accounts(requests)]
        check_no_orphans(results_prefix(results), commands.jobs_named)
    except commands.NoAnswerError as error:
        raise InputError(f"executor slurm: {error}; does SLURM run?") from error
    for line in [*filter(None, warnings), *too_large_retries(attempts, partitions, every)]:
        report(f"warning: {line}")
    executor.run_uuid = f"{job_prefix(experiment, results)}_{executor.run_uuid}"
    skip_site_queries(executor)
    cancel_by_name(executor)
    probes = _probe_requests(requests, executor.workflow.executor_settings)
    probe(
        probes,
        folders,
        files,
        executor.run_uuid,
        report,
        optional_partitions=_optional_partitions(requests),
    )
    os.environ[QUEUE_FULL_FOLDER] = new_queue_full_folder()
    handle_sigint(executor)
    watch(executor, JobTracker(executor), report)


def _probe_requests(requests: Iterable[JobRequest], settings: Any) -> list[JobRequest]:
    """One request per partition, with the arguments that the profile sets for all jobs.

    Prefer a job that names only this partition, and a job with GPUs: some partitions accept no job
    without them.
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


def _optional_partitions(requests: Iterable[JobRequest]) -> set[str]:
    """Partitions that no job names alone; if one refuses our jobs, SLURM uses another."""
    lists = [request.partitions for request in requests]
    alone = {name for one in lists if len(one) == 1 for name in one}
    return {name for one in lists for name in one} - alone


def skip_site_queries(executor: Any) -> None:
    """Replace the plugin's queries before every submission by values that are known now.

    If controller or database did not answer such a query, the plugin would fail the job.
    """
    executor.get_account_arg = account_argument
    executor._fallback_partition = ""  # without a name, sbatch uses the default partition


def new_queue_full_folder() -> str:
    """A temporary folder for the notices of submissions that wait for a full queue."""
    folder = tempfile.TemporaryDirectory(prefix="excise-")
    atexit.register(folder.cleanup)
    return folder.name


def cancel_by_name(executor: Any) -> None:
    """Cancel all jobs of the run on Ctrl-C and when Snakemake ends.

    The plugin itself would miss the jobs that it checks or submits at that moment.
    """

    def cancel_jobs(active: list[Any]) -> None:
        submissions = executor._job_submission_executor
        submissions.shutdown(wait=False, cancel_futures=True)  # drop waiting submissions
        end_submissions()
        cancel(executor.run_uuid)

    executor.cancel_jobs = cancel_jobs
    atexit.register(cancel, executor.run_uuid)


def end_submissions() -> None:
    """Terminate our waiting `sbatch` processes, and the real sbatch that each has started."""
    for child in psutil.Process().children(recursive=True):
        try:
            if str(BIN / "sbatch") in child.cmdline():
                for one in [child, *child.children()]:
                    one.terminate()
        except psutil.Error:
            continue  # it has ended


def cancel(name: str) -> None:
    """Cancel all jobs with a name."""
    try:
        if commands.jobs_named(name):
            subprocess.run(["scancel", f"--name={name}"], timeout=60, check=False)
    except (commands.NoAnswerError, InputError, subprocess.TimeoutExpired):
        print(
            f"SLURM does not answer; cancel jobs that are left: scancel --name={name}", flush=True
        )
