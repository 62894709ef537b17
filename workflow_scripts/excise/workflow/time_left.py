"""How much of a run is done and how long the rest takes, from the times of earlier jobs.

Snakemake writes the seconds of every job to a file of `benchmarks/`. Without such a file, the time
of a job is that of other jobs of its stage. Without those, a job with a model takes its estimated
share of what other jobs with a model took; other jobs take the mean time of their kind.
Every job imports this module, so it must not import torch.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

START_S = 10.0
"""At the start of a run, its pace is assumed for so long: one second of work per second."""


@dataclass(frozen=True)
class PlannedJob:
    """A job that is to run.

    Attributes:
        number: Snakemake's number of it.
        stage: name that jobs of the same kind share; None for a job without a program.
        seconds: the time that it took in an earlier run, if known; then its stage has one too.
        estimate: minutes that a job with a model is estimated to take, right only relative to those
            of other jobs; None for a job without a model.
    """

    number: int
    stage: str | None
    seconds: float | None = None
    estimate: float | None = None


@dataclass(frozen=True)
class Plan:
    """The jobs of a run.

    Attributes:
        jobs: all that are to run.
        recorded: stage → mean seconds of its jobs in earlier runs.
        estimates: stage → mean estimate of its jobs, in minutes; only of stages with a model.
    """

    jobs: tuple[PlannedJob, ...]
    recorded: Mapping[str, float] = field(default_factory=dict)
    estimates: Mapping[str, float] = field(default_factory=dict)


def plan_of(
    to_run: Iterable[Any],
    all_jobs: Iterable[Any],
    benchmarks: str,
    estimate_of_rule: Callable[[str], float | None] = lambda name: None,
) -> Plan:
    """The plan of a run, from Snakemake's jobs.

    Args:
        to_run: the jobs that are to run; each has `jobid`, `benchmark` and `rule`.
        all_jobs: these and those that are up to date, whose times are known.
        benchmarks: folder of the times.
        estimate_of_rule: name of a rule → estimated minutes of its jobs, None without a model.
    """
    times: dict[str, list[float]] = {}
    estimates: dict[str, list[float]] = {}
    all_jobs = list(all_jobs)
    rules = {job.rule.name for job in all_jobs}
    minutes = {name: estimate_of_rule(name) for name in rules}
    for job in all_jobs:
        stage, seconds = stage_of(job, benchmarks), recorded_seconds(job.benchmark)
        if stage is not None and seconds is not None:
            times.setdefault(stage, []).append(seconds)
        if stage is not None and minutes[job.rule.name] is not None:
            estimates.setdefault(stage, []).append(minutes[job.rule.name])
    jobs = [
        PlannedJob(
            job.jobid,
            stage_of(job, benchmarks),
            recorded_seconds(job.benchmark),
            minutes[job.rule.name],
        )
        for job in to_run
    ]
    return Plan(
        tuple(jobs), *({one: fmean(found[one]) for one in found} for found in (times, estimates))
    )


def stage_of(job: Any, benchmarks: str) -> str | None:
    """The part of a job's benchmark file that all jobs of its stage share, such as `evaluate`."""
    if job.benchmark is None:
        return None
    path = Path(job.benchmark)
    inside = path.relative_to(benchmarks) if path.is_relative_to(benchmarks) else path
    return inside.parts[0].removesuffix(".jsonl")


def recorded_seconds(benchmark: str | Path | None) -> float | None:
    """Seconds in a benchmark file of Snakemake, the mean of its lines; None without them."""
    if benchmark is None:
        return None
    try:
        lines = Path(benchmark).read_text(encoding="utf-8").splitlines()
        return fmean(float(json.loads(line)["s"]) for line in lines)
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class Estimate:
    """An estimate of the time left.

    Attributes:
        seconds: None if too little is known.
        estimated: number of the jobs left whose stage has no known time.
        jobs: number of the jobs left, without those that have no program.
    """

    seconds: float | None
    estimated: int
    jobs: int

    def __str__(self) -> str:
        """In words; empty if nothing is known or left."""
        if self.seconds is None or not self.jobs:
            return ""
        said = f"{in_words(self.seconds)} left"
        if not self.estimated:
            return said
        partly = "partly " if self.estimated < self.jobs else ""
        return f"{said} ({partly}a rough estimate)"


def in_words(seconds: float) -> str:
    """A duration for the user."""
    if seconds < 60:
        return "less than a minute"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 90 else f"about {seconds / 3600:.1f} h"


class TimeLeft:
    """What a run has done, and how long the rest will take.

    The work of a job is the seconds that it took in an earlier run. The pace is the work done per
    second of this run: more than 1 if jobs run side by side, less on a busier machine. The time
    left is the work left divided by the pace.

    Args:
        plan: the jobs of the run.
        now: seconds, monotonic.
    """

    def __init__(self, plan: Plan, now: float):
        self.jobs = {job.number: job for job in plan.jobs}
        self.recorded, self.estimates = dict(plan.recorded), dict(plan.estimates)
        self.began = now
        self.running: dict[int, float] = {}
        self.took: dict[int, float] = {}  # seconds of finished jobs
        self.seen: dict[str, list[float]] = {}  # of stages that have no earlier time

    @property
    def total(self) -> int:
        """Number of jobs."""
        return len(self.jobs)

    @property
    def done(self) -> int:
        """Number of finished jobs."""
        return len(self.took)

    def start(self, number: int, now: float) -> None:
        """A job starts, maybe once more."""
        if number in self.jobs:
            self.running[number] = now

    def finish(self, number: int, now: float) -> None:
        """A job has finished."""
        if number not in self.jobs or number in self.took:
            return
        seconds = self.took[number] = now - self.running.pop(number, now)
        stage = self.jobs[number].stage
        if stage is not None and stage not in self.recorded:
            self.seen.setdefault(stage, []).append(seconds)

    def fail(self, number: int) -> None:
        """A job has failed; it may start again."""
        self.running.pop(number, None)

    def drop(self, number: int) -> None:
        """A job need not run after all."""
        if number not in self.took:
            self.jobs.pop(number, None)

    def estimate(self, now: float) -> Estimate:
        """The time left; no seconds if nothing is known of jobs with a model, and some are left."""
        waiting = [job for number, job in self.jobs.items() if number not in self.took]
        jobs = sum(job.stage is not None for job in waiting)
        estimated = sum(self._estimated(job) for job in waiting)
        known = self.recorded | {stage: fmean(found) for stage, found in self.seen.items()}
        of_a_minute, typical = self._scale(known), self._typical(known)
        missing = {
            of_a_minute if job.estimate else typical for job in filter(self._estimated, waiting)
        }
        if not known or None in missing:
            return Estimate(None, estimated, jobs)

        def work(job: PlannedJob) -> float:
            if job.stage is None:
                return 0.0
            if job.seconds is not None:
                return job.seconds
            if job.stage in known:
                return known[job.stage]
            return job.estimate * of_a_minute if job.estimate else typical

        done = sum(work(self.jobs[number]) for number in self.took)
        started = {
            number: min(now - since, work(self.jobs[number]))
            for number, since in self.running.items()
        }
        left = sum(map(work, waiting)) - sum(started.values())
        pace = (done + sum(started.values()) + START_S) / (now - self.began + START_S)
        return Estimate(left / pace, estimated, jobs)

    def _estimated(self, job: PlannedJob) -> bool:
        """Whether nothing is known of the time of a job's stage."""
        known = job.stage in self.recorded or job.stage in self.seen
        return job.stage is not None and not known

    def _scale(self, known: Mapping[str, float]) -> float | None:
        """Real seconds per estimated minute, of the stages with a model whose time is known."""
        stages = [stage for stage in known if stage in self.estimates]
        minutes = sum(self.estimates[stage] for stage in stages)
        return sum(known[stage] for stage in stages) / minutes if minutes else None

    def _typical(self, known: Mapping[str, float]) -> float | None:
        """Mean seconds of the known stages without a model; without such, the shortest known."""
        found = [seconds for stage, seconds in known.items() if stage not in self.estimates]
        return fmean(found) if found else min(known.values(), default=None)
