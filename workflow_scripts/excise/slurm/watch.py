"""A thread that reports what a run on SLURM is waiting for.

Snakemake itself prints nothing while jobs wait, for any reason and any time.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from excise.errors import InputError
from excise.slurm import client, commands
from excise.slurm.job_tracker import JobTracker

SECONDS_BETWEEN = 60
# Seconds until a condition is reported. No job runs: after ten minutes, then every hour.
FIRST_REMINDER, REMINDER = 600, 3600
NO_ANSWER = 300  # SLURM does not answer, or the status checks of the run fail
SUBMITTING = 600  # SLURM answers, but a job does not get into its queue
LOST = 600  # SLURM does not know a job that Snakemake waits for
ENDING = 600  # a job has ended, but its node does not confirm this

# CONFIGURING: the node of the job is starting up.
RUNS = ("RUNNING", "CONFIGURING")

# Reasons for waiting that do not end without the user.
STUCK = (
    *("JobHeldUser", "JobHeldAdmin", "JobHoldMaxRequeue", "DependencyNeverSatisfied"),
    *("PartitionTimeLimit", "PartitionNodeLimit", "PartitionDown", "PartitionInactive"),
    *("BadConstraints", "AccountNotAllowed", "QOSNotAllowed", "InvalidAccount", "InvalidQOS"),
    "held",
)


@dataclass
class Watch:
    """State of the queue so far; times are seconds of a monotonic clock.

    Attributes:
        last_answer: when SLURM last answered.
        last_run: when a job of the run was last seen running.
        last_reminder: when the last reminder was printed.
        reported: job ids with the condition that was reported.
        missing: ids of jobs that SLURM does not know, and since when.
        ending: ids of jobs that are ending, and since when.
        last_messages: kind of hourly message → when it was last printed.
    """

    last_answer: float
    last_run: float
    last_reminder: float = -math.inf
    reported: set[tuple[str, str]] = field(default_factory=set)
    missing: dict[str, float] = field(default_factory=dict)
    ending: dict[str, float] = field(default_factory=dict)
    last_messages: dict[str, float] = field(default_factory=dict)

    def messages(
        self,
        jobs: list[commands.Job] | None,
        expected: set[str],
        now: float,
        pending: Mapping[str, float] | None = None,
        unanswered_since: float | None = None,
        queue_full: str | None = None,
    ) -> list[str]:
        """Messages for the user about the current queue.

        Args:
            jobs: the run's jobs in the queue; None if SLURM did not answer.
            expected: ids of jobs that Snakemake waits for.
            now: the time.
            pending: names of jobs that are not submitted yet, and since when.
            unanswered_since: when the status checks of the run began to fail.
            queue_full: SLURM's message to a submission that waits for a full queue; None if no
                submission waits.
        """
        if jobs is None:
            return self._no_answer(now)
        self.last_answer = now
        return [
            *self._unsubmitted(pending or {}, queue_full, now),
            *self._unanswered(unanswered_since, now),
            *self._stuck(jobs),
            *self._idle(jobs, now),
            *self._ending_late(jobs, now),
            *self._lost(jobs, expected, now),
        ]

    def _no_answer(self, now: float) -> list[str]:
        if now - max(self.last_answer, self.last_reminder) < NO_ANSWER:
            return []
        self.last_reminder = now
        minutes = (now - self.last_answer) / 60
        return [f"SLURM has not answered for {minutes:.0f} minutes; waiting, no job is lost"]

    def _unsubmitted(
        self, pending: Mapping[str, float], queue_full: str | None, now: float
    ) -> list[str]:
        if pending and queue_full is not None:
            if not self.is_due("queue full", now):
                return []
            return [
                f"{len(pending)} jobs wait for submission: SLURM accepts no more for now "
                f"({queue_full}); a retry follows every {client.QUEUE_FULL_PAUSE_SECONDS} s "
                "while you have jobs in the queue (a smaller `jobs` in the profile avoids this)"
            ]
        late = [name for name, since in pending.items() if now - since > SUBMITTING]
        if not late or not self.is_due("submitting", now):
            return []
        minutes = (now - min(pending.values())) / 60
        return [
            f"{len(late)} jobs could not be submitted for {minutes:.0f} minutes, for example "
            f"{late[0]}, although SLURM answers; sbatch may hang (ps -fu $USER); if this "
            "continues, interrupt this run (Ctrl-C) and start it again"
        ]

    def _unanswered(self, since: float | None, now: float) -> list[str]:
        if since is None or now - since < NO_ANSWER or not self.is_due("status", now):
            return []
        return [
            f"the status checks have failed for {(now - since) / 60:.0f} minutes: "
            "profiles/slurm/bin/sacct fails or takes longer than a minute; waiting, no job is lost"
        ]

    def is_due(self, kind: str, now: float) -> bool:
        """Whether the last message of a kind is an hour old; if so, set its time to now."""
        if now - self.last_messages.get(kind, -math.inf) < REMINDER:
            return False
        self.last_messages[kind] = now
        return True

    def _stuck(self, jobs: list[commands.Job]) -> list[str]:
        stuck = [
            job
            for job in jobs
            if job.state in ("PENDING", "SPECIAL_EXIT")
            and (job.state != "PENDING" or any(word in job.reason for word in STUCK))
            and (job.id, job.reason) not in self.reported
        ]
        self.reported |= {(job.id, job.reason) for job in stuck}
        return [
            f"job {job.id} will not start without your help: {job.state}, {job.reason} "
            f"(scontrol show job {job.id}; then scontrol release {job.id}, or scancel {job.id}, "
            "after which Snakemake submits it again)"
            for job in stuck
        ]

    def _idle(self, jobs: list[commands.Job], now: float) -> list[str]:
        waiting = [job for job in jobs if job.state == "PENDING"]
        if not jobs or any(job.state in RUNS for job in jobs):
            self.last_run = now
        due = max(self.last_run + FIRST_REMINDER, self.last_reminder + REMINDER)
        if not waiting or now < due:
            return []
        self.last_reminder = now
        reasons = Counter(job.reason for job in waiting)
        counts = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        minutes = (now - self.last_run) / 60
        return [f"no job has run for {minutes:.0f} minutes; waiting jobs by reason: {counts}"]

    def _ending_late(self, jobs: list[commands.Job], now: float) -> list[str]:
        ending = {job.id: job for job in jobs if job.state == "COMPLETING"}
        self.ending = {job: self.ending.get(job, now) for job in ending}
        late = [
            job
            for job, since in self.ending.items()
            if now - since > ENDING and (job, "ending") not in self.reported
        ]
        self.reported |= {(job, "ending") for job in late}
        return [
            f"job {job} has been ending for {(now - self.ending[job]) / 60:.0f} minutes: its node "
            f"may be gone (scontrol show node {ending[job].nodes})"
            for job in late
        ]

    def _lost(self, jobs: list[commands.Job], expected: set[str], now: float) -> list[str]:
        gone = expected - {job.id for job in jobs}
        self.missing = {job: self.missing.get(job, now) for job in gone}
        lost = {
            job
            for job, since in self.missing.items()
            if now - since > LOST and (job, "lost") not in self.reported
        }
        self.reported |= {(job, "lost") for job in lost}
        if not lost:
            return []
        return [
            f"SLURM no longer knows job {', '.join(sorted(lost))} and does not report how it "
            "ended; interrupt this run (Ctrl-C) and start it again"
        ]


def watch(executor: Any, tracker: JobTracker, report: Callable[[str], None]) -> None:
    """Check the queue once a minute while Snakemake runs."""
    now = time.monotonic()
    state = Watch(last_answer=now, last_run=now)

    def loop() -> None:
        while True:
            time.sleep(SECONDS_BETWEEN)
            try:
                jobs = commands.jobs_named(executor.run_uuid)
            except (commands.NoAnswerError, InputError):
                jobs = None
            except Exception as error:  # after any error, the next check is in a minute
                if state.is_due("check", time.monotonic()):
                    report(f"the queue could not be checked: {error!r}")
                continue
            now = time.monotonic()
            waiting = (
                tracker.pending_submissions(),
                tracker.unanswered_since,
                client.queue_full_message(),
            )
            for line in state.messages(jobs, tracker.ids(), now, *waiting):
                report(line)

    threading.Thread(target=loop, daemon=True, name="watch").start()
