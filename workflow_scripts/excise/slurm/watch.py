"""Nothing waits in silence: a thread that says what a run on SLURM is waiting for.

Snakemake itself says nothing while jobs wait, however long and for whatever reason.
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
# A reminder when nothing of ours runs: after ten minutes, then every hour.
FIRST_REMINDER, REMINDER = 600, 3600
SILENCE = 300  # SLURM does not answer, or the status checks of the run fail
SUBMITTING = 600  # SLURM answers, but a job does not get into its queue
LOST = 600  # SLURM does not know a job that we wait for
ENDING = 600  # a job has ended, but its node does not say so

# CONFIGURING: its node is starting up.
RUNS = ("RUNNING", "CONFIGURING")

# Reasons to wait that do not go away by themselves.
STUCK = (
    *("JobHeldUser", "JobHeldAdmin", "JobHoldMaxRequeue", "DependencyNeverSatisfied"),
    *("PartitionTimeLimit", "PartitionNodeLimit", "PartitionDown", "PartitionInactive"),
    *("BadConstraints", "AccountNotAllowed", "QOSNotAllowed", "InvalidAccount", "InvalidQOS"),
    "held",
)


@dataclass
class Watch:
    """What was seen so far; times in seconds of a monotonic clock."""

    answered: float
    ran: float
    reminded: float = -math.inf
    told: set[tuple[str, str]] = field(default_factory=set)
    missing: dict[str, float] = field(default_factory=dict)
    ending: dict[str, float] = field(default_factory=dict)
    hourly: dict[str, float] = field(default_factory=dict)

    def look(
        self,
        jobs: list[commands.Job] | None,
        expected: set[str],
        now: float,
        to_submit: Mapping[str, float] | None = None,
        unanswered_since: float | None = None,
        no_room: str | None = None,
    ) -> list[str]:
        """Lines for the user about the queue as it is.

        Args:
            jobs: our jobs in the queue; None when SLURM did not answer.
            expected: ids of jobs that Snakemake waits for.
            now: the time.
            to_submit: names of jobs that are to be submitted, and since when.
            unanswered_since: when the status checks of the run began to fail.
            no_room: what SLURM says to a submission that waits for room; None if none does.
        """
        if jobs is None:
            return self._silence(now)
        self.answered = now
        return [
            *self._unsubmitted(to_submit or {}, no_room, now),
            *self._unanswered(unanswered_since, now),
            *self._stuck(jobs),
            *self._idle(jobs, now),
            *self._never_ending(jobs, now),
            *self._lost(jobs, expected, now),
        ]

    def _silence(self, now: float) -> list[str]:
        if now - max(self.answered, self.reminded) < SILENCE:
            return []
        self.reminded = now
        minutes = (now - self.answered) / 60
        return [f"SLURM has not answered for {minutes:.0f} minutes; waiting, nothing is lost"]

    def _unsubmitted(
        self, to_submit: Mapping[str, float], no_room: str | None, now: float
    ) -> list[str]:
        if to_submit and no_room is not None:
            if not self.is_due("room", now):
                return []
            return [
                f"{len(to_submit)} jobs wait to be submitted: SLURM takes no more for now "
                f"({no_room}); they are tried again every {client.ROOM_PAUSE_SECONDS} s for as "
                "long as you have jobs in the queue (a smaller `jobs` in the profile avoids this)"
            ]
        late = [name for name, since in to_submit.items() if now - since > SUBMITTING]
        if not late or not self.is_due("submitting", now):
            return []
        minutes = (now - min(to_submit.values())) / 60
        return [
            f"{len(late)} jobs could not be submitted for {minutes:.0f} minutes, {late[0]} among "
            "them, though SLURM answers: sbatch may hang (ps -fu $USER); if that goes on, "
            "interrupt this run (Ctrl-C) and start it again"
        ]

    def _unanswered(self, since: float | None, now: float) -> list[str]:
        if since is None or now - since < SILENCE or not self.is_due("status", now):
            return []
        return [
            f"no job could be asked about for {(now - since) / 60:.0f} minutes: "
            "profiles/slurm/bin/sacct fails, or takes longer than a minute; waiting, nothing is "
            "lost"
        ]

    def is_due(self, what: str, now: float) -> bool:
        """Whether something was not said within the last hour; it counts as said now."""
        if now - self.hourly.get(what, -math.inf) < REMINDER:
            return False
        self.hourly[what] = now
        return True

    def _stuck(self, jobs: list[commands.Job]) -> list[str]:
        stuck = [
            job
            for job in jobs
            if job.state in ("PENDING", "SPECIAL_EXIT")
            and (job.state != "PENDING" or any(word in job.reason for word in STUCK))
            and (job.id, job.reason) not in self.told
        ]
        self.told |= {(job.id, job.reason) for job in stuck}
        return [
            f"job {job.id} will not start by itself: {job.state}, {job.reason} "
            f"(scontrol show job {job.id}; scontrol release {job.id}, or scancel {job.id} and "
            "Snakemake tries it again)"
            for job in stuck
        ]

    def _idle(self, jobs: list[commands.Job], now: float) -> list[str]:
        waiting = [job for job in jobs if job.state == "PENDING"]
        if not jobs or any(job.state in RUNS for job in jobs):
            self.ran = now
        due = max(self.ran + FIRST_REMINDER, self.reminded + REMINDER)
        if not waiting or now < due:
            return []
        self.reminded = now
        reasons = Counter(job.reason for job in waiting)
        said = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        minutes = (now - self.ran) / 60
        return [f"nothing has run for {minutes:.0f} minutes; jobs in the queue by reason: {said}"]

    def _never_ending(self, jobs: list[commands.Job], now: float) -> list[str]:
        ending = {job.id: job for job in jobs if job.state == "COMPLETING"}
        self.ending = {job: self.ending.get(job, now) for job in ending}
        late = [
            job
            for job, since in self.ending.items()
            if now - since > ENDING and (job, "ending") not in self.told
        ]
        self.told |= {(job, "ending") for job in late}
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
            if now - since > LOST and (job, "lost") not in self.told
        }
        self.told |= {(job, "lost") for job in lost}
        if not lost:
            return []
        return [
            f"SLURM no longer has job {', '.join(sorted(lost))}, and no word of how it ended; "
            "interrupt this run (Ctrl-C) and start it again"
        ]


def watch(executor: Any, tracker: JobTracker, say: Callable[[str], None]) -> None:
    """Look at the queue once a minute for as long as Snakemake runs."""
    now = time.monotonic()
    state = Watch(answered=now, ran=now)

    def loop() -> None:
        while True:
            time.sleep(SECONDS_BETWEEN)
            try:
                jobs = commands.jobs_named(executor.run_uuid)
            except (commands.SlurmSilentError, InputError):
                jobs = None
            except Exception as error:  # whatever it is, the next look is in a minute
                if state.is_due("look", time.monotonic()):
                    say(f"the queue could not be looked at: {error!r}")
                continue
            now = time.monotonic()
            waiting = tracker.to_submit(), tracker.unanswered_since, client.waits_for_room()
            for line in state.look(jobs, tracker.ids(), now, *waiting):
                say(line)

    threading.Thread(target=loop, daemon=True, name="watch").start()
