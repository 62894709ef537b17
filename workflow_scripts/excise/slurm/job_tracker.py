"""Keep track of the jobs that Snakemake waits for, even if the plugin loses them.

The plugin (2.8.0) loses jobs in two ways; Snakemake would then wait for them without end. If all
queries of a status check fail, the plugin drops all jobs of that check. If the submission of a
group raises an exception, the plugin's report of it raises another one. That happens in a thread
whose exceptions Snakemake does not see. An exception in a status check ends the whole run.
"""

import time
from collections.abc import AsyncIterator
from typing import Any


class JobTracker:
    """Stands between Snakemake and the plugin and reports every job back to Snakemake.

    Attributes:
        unanswered_since: when the status checks began to fail (monotonic clock); None while they
            work.
    """

    def __init__(self, executor: Any):
        self.unanswered_since: float | None = None
        self._executor = executor
        self._plugin = type(executor)
        self._pending_submissions: dict[Any, float] = {}  # Snakemake's job → since when
        self._waited_for: dict[int, Any] = {}  # id() → submission, which has no hash
        ours = (self.run_jobs, self.run_job, self.check_active_jobs)
        reports = (self.report_job_submission, self.report_job_success, self.report_job_error)
        for method in (*ours, *reports):
            setattr(executor, method.__name__, method)

    def ids(self) -> set[str]:
        """SLURM's ids of the jobs that Snakemake waits for."""
        return {submission.external_jobid for submission in list(self._waited_for.values())}

    def pending_submissions(self) -> dict[str, float]:
        """Names of the jobs that are not submitted yet, and since when."""
        return {
            f"{job.name} ({job.jobid})": since
            for job, since in list(self._pending_submissions.items())
        }

    def run_jobs(self, jobs: list[Any]) -> None:
        """Submit jobs, in threads."""
        self._pending_submissions |= dict.fromkeys(jobs, time.monotonic())
        self._plugin.run_jobs(self._executor, jobs)

    def run_job(self, job: Any) -> None:
        """Submit a job; report every exception as a failure of the job."""
        from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

        try:
            self._plugin.run_job(self._executor, job)
        except Exception as error:
            cause = (
                error.__context__ or error
            )  # the plugin's report of the first error may raise too
            self.report_job_error(SubmittedJobInfo(job), msg=f"Submission failed: {cause}. ")

    async def check_active_jobs(self, submissions: list[Any]) -> AsyncIterator[Any]:
        """Ask for the states of jobs; jobs without an answer are asked about again."""
        began, answered = time.monotonic(), set()
        try:
            async for submission in self._plugin.check_active_jobs(self._executor, submissions):
                answered.add(id(submission))
                yield submission
        except Exception as error:  # for example, no process could be started; the run continues
            self._executor.logger.warning(f"a status check failed: {error!r}")
        unanswered = self._waited_for.keys() - answered
        dropped = [one for one in submissions if id(one) in unanswered]
        self.unanswered_since = (self.unanswered_since or began) if dropped else None
        for submission in dropped:
            yield submission

    def report_job_submission(self, submission: Any, register_job: bool = True) -> None:
        """A job is in SLURM's queue."""
        self._waited_for[id(submission)] = submission  # first: a status check may come at once
        self._pending_submissions.pop(submission.job, None)
        self._plugin.report_job_submission(self._executor, submission, register_job)

    def report_job_success(self, submission: Any) -> None:
        """A job has succeeded."""
        self._waited_for.pop(id(submission), None)
        self._plugin.report_job_success(self._executor, submission)

    def report_job_error(self, submission: Any, msg: str | None = None, **more: Any) -> None:
        """A job has failed, or its submission has failed."""
        self._waited_for.pop(id(submission), None)
        self._pending_submissions.pop(submission.job, None)
        if msg and submission.job.is_group():  # Snakemake does not print the message of a group
            self._executor.logger.error(msg)
        self._plugin.report_job_error(self._executor, submission, msg, **more)
