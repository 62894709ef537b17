"""The jobs that Snakemake waits for, whatever becomes of them in the plugin.

The plugin (2.8.0) loses jobs in two ways, and Snakemake would wait for them for ever: if every
query of a status check fails, it drops all jobs it asked about; if the submission of a group raises
an exception, so does its report of it, in a thread that nobody listens to. An exception of a status
check ends the whole run.
"""

import time
from collections.abc import AsyncIterator
from typing import Any


class JobTracker:
    """Stands between Snakemake and the plugin: what goes in must come out.

    Attributes:
        unanswered_since: when the status checks began to fail, of a monotonic clock; None while
            they are answered.
    """

    def __init__(self, executor: Any):
        self.unanswered_since: float | None = None
        self._executor = executor
        self._plugin = type(executor)
        self._to_submit: dict[Any, float] = {}  # by job of Snakemake, since when
        self._waited_for: dict[int, Any] = {}  # submissions by their identity: they have no hash
        ours = (self.run_jobs, self.run_job, self.check_active_jobs)
        reports = (self.report_job_submission, self.report_job_success, self.report_job_error)
        for method in (*ours, *reports):
            setattr(executor, method.__name__, method)

    def ids(self) -> set[str]:
        """SLURM's ids of the jobs that Snakemake waits for."""
        return {submission.external_jobid for submission in list(self._waited_for.values())}

    def to_submit(self) -> dict[str, float]:
        """Names of the jobs that are yet to be submitted, and since when."""
        return {f"{job.name} ({job.jobid})": since for job, since in list(self._to_submit.items())}

    def run_jobs(self, jobs: list[Any]) -> None:
        """Submit jobs, in threads."""
        self._to_submit |= dict.fromkeys(jobs, time.monotonic())
        self._plugin.run_jobs(self._executor, jobs)

    def run_job(self, job: Any) -> None:
        """Submit a job; whatever goes wrong is the job's failure, not its disappearance."""
        from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

        try:
            self._plugin.run_job(self._executor, job)
        except Exception as error:
            cause = error.__context__ or error  # the plugin's own report of it may be what failed
            self.report_job_error(SubmittedJobInfo(job), msg=f"Submission failed: {cause}. ")

    async def check_active_jobs(self, submissions: list[Any]) -> AsyncIterator[Any]:
        """Ask how jobs are; those of which nothing was said are asked about again."""
        began, kept = time.monotonic(), set()
        try:
            async for submission in self._plugin.check_active_jobs(self._executor, submissions):
                kept.add(id(submission))
                yield submission
        except Exception as error:  # no process could be started, for example: the run goes on
            self._executor.logger.warning(f"a status check failed: {error!r}")
        unheard = self._waited_for.keys() - kept
        dropped = [one for one in submissions if id(one) in unheard]
        self.unanswered_since = (self.unanswered_since or began) if dropped else None
        for submission in dropped:
            yield submission

    def report_job_submission(self, submission: Any, register_job: bool = True) -> None:
        """A job is in SLURM's queue."""
        self._waited_for[id(submission)] = submission  # first: it may be asked about at once
        self._to_submit.pop(submission.job, None)
        self._plugin.report_job_submission(self._executor, submission, register_job)

    def report_job_success(self, submission: Any) -> None:
        """A job has ended well."""
        self._waited_for.pop(id(submission), None)
        self._plugin.report_job_success(self._executor, submission)

    def report_job_error(self, submission: Any, msg: str | None = None, **more: Any) -> None:
        """A job has failed, or could not be submitted."""
        self._waited_for.pop(id(submission), None)
        self._to_submit.pop(submission.job, None)
        if msg and submission.job.is_group():  # of a group, Snakemake does not print it
            self._executor.logger.error(msg)
        self._plugin.report_job_error(self._executor, submission, msg, **more)
