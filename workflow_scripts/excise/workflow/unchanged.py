"""Skip jobs whose inputs have the same bytes as before.

Snakemake 9.27 decides before the run which jobs are out of date. It then also runs all jobs that
depend on these, even if their inputs do not change. This module checks each job again before it
starts. A job is skipped only if Snakemake itself would now call it up to date; in doubt it runs.
Every job imports this module, so it must not import torch.
"""

from contextlib import suppress
from functools import wraps
from typing import Any

from snakemake.logging import logger

from excise.provenance import inputs_of_same_epoch


def skip_unchanged_jobs() -> None:
    """Patch Snakemake; if a later version has other internals, only more jobs run."""
    with suppress(ImportError, AttributeError):
        from snakemake.dag import DAG

        _recheck_after_each_job(DAG)
    with suppress(ImportError, AttributeError):
        from snakemake.persistence import PersistenceBase

        _compare_inputs_of_same_epoch(PersistenceBase)


def _recheck_after_each_job(dag_class: type) -> None:
    """After every job, check again the jobs that wait for it."""
    finish = dag_class.finish

    @wraps(finish)
    async def finish_and_recheck(dag: Any, job: Any, *arguments: Any, **named: Any) -> Any:
        result = await finish(dag, job, *arguments, **named)
        workflow = dag.workflow
        if workflow.is_main_process and not (workflow.dryrun or workflow.touch):
            await _skip_up_to_date_jobs(dag)
        return result

    dag_class.finish = finish_and_recheck


async def _skip_up_to_date_jobs(dag: Any) -> None:
    """Remove jobs that are ready and up to date from the plan, then those that follow them."""
    seen = dag.__dict__.setdefault("rechecked_jobs", set())
    while new := [job for job in dag.ready_jobs if job not in seen]:
        for ready in new:
            seen.add(ready)
            jobs = list(ready) if ready.is_group() else [ready]
            if all([await _is_up_to_date(dag, job) for job in jobs]):
                _drop(dag, ready, jobs)


def _drop(dag: Any, ready: Any, jobs: list) -> None:
    dag._ready_jobs.discard(ready)
    for job in jobs:
        said = f"Same bytes as before, nothing to do: {_title(job)}"
        logger.info(said, extra={"dropped_job": job.jobid})  # for the line of the run
        dag.reason(job).mark_finished()
        dag._needrun.discard(job)
        dag._len -= 1  # "3 of 5 steps"
    behind = [later for job in jobs for later in dag.depending[job] if dag.needrun(later)]
    for later in behind:
        dag._n_until_ready[later] -= 1
    dag.update_ready(behind)


def _title(job: Any) -> str:
    """A job's message, or its rule's name."""
    with suppress(Exception):  # a message may need values that exist only when the job runs
        return job.message or job.rule.name
    return job.rule.name


async def _is_up_to_date(dag: Any, job: Any) -> bool:
    """Whether Snakemake would skip the job if it decided now.

    Snakemake never checked jobs that follow running ones; they may have their own reasons to run.
    """
    try:
        return not await _must_run(dag, job)
    except Exception as error:  # after any error the job runs
        logger.debug(f"{job}: could not be checked again: {error!r}")
        return False


async def _must_run(dag: Any, job: Any) -> bool:
    known = dag.workflow.persistence
    forced = job.rule in dag.forcerules or not dag.forcefiles.isdisjoint(job.output)
    if forced or not job.output or job.is_checkpoint or job.temp_output or job.touch_output:
        return True
    if not all([await file.exists() for file in (*job.output, *job.input)]):
        return True
    if not known.has_metadata(job) or known.has_outdated_metadata(job):
        return True
    if await known.incomplete(job):
        return True
    changes = (known.input_changed, known.code_changed, known.software_stack_changed)
    if known.params_changed(job) or any(any(changed(job)) for changed in changes):
        return True
    oldest = min([(await file.mtime()).local_or_storage() for file in job.output])
    for file in job.input:
        if await file.is_newer(oldest) and not await _has_same_bytes(dag, job, file):
            return True
    return False


async def _has_same_bytes(dag: Any, job: Any, file: Any) -> bool:
    """Whether an input has the bytes that every output of the job was made from."""
    recorded = dag.workflow.persistence.input_checksums(job, file)
    largest = dag.max_checksum_file_size
    if len(recorded) != 1 or not await file.is_checksum_eligible(largest):
        return False
    return await file.is_same_checksum(recorded.pop(), largest)


def _compare_inputs_of_same_epoch(persistence_class: type) -> None:
    """Ignore inputs of other epochs: an epoch's records come from its own checkpoint.

    A job evaluates all checkpoints of a trajectory. If one checkpoint is removed from the config,
    the records of the others stay valid.
    """

    def input_changed(known: Any, job: Any, file: Any = None) -> bool:
        version, recorded = known.record_format_version(file), known.input(file)
        if version is None or version < 4 or recorded is None:
            return False
        return inputs_of_same_epoch(recorded, file) != inputs_of_same_epoch(known._input(job), file)

    persistence_class._input_changed  # noqa: B018 (raises if it does not exist)
    persistence_class._input_changed = input_changed
