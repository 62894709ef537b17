"""The smoke experiment on SLURM: who submits it, what breaks meanwhile, what was seen."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from one_machine import OneMachine, output, wait_for

from workflow.conftest import SMOKE, Workspace

PROFILE = "profiles/slurm/profile.yaml"
RESULTS = "experiments/smoke/results"

# What a user sets, and what makes a test quick.
SITE = {
    "slurm_account: CHANGE_ME": "slurm_account: study",
    "jobs: 100": "jobs: 4",
    "status-checks: 20": "status-checks: 4",
    "per-second: 0.2": "per-second: 1",
    "latency-wait: 60": "latency-wait: 30",
    "baselines: 8": "baselines: 4",
    # The experiment computes on CPUs; SLURM hands out a GPU all the same.
    "    slurm_partition: gpu\n": "    slurm_partition: gpu\n    gpu: 1\n",
}
# Too little memory at first; too little time for one oracle, which will hang at its first attempt.
TOO_LITTLE = {
    "  reference_logprobs: *gpu\n": "  reference_logprobs: {slurm_partition: gpu, gpu: 1, "
    "mem_mb: 400 * attempt ** 2}\n",
    "  train_retain_model: *gpu\n": "  train_retain_model: {slurm_partition: gpu, gpu: 1, "
    "runtime: \"1 if wildcards.seed == '1' and attempt == 1 else 30\"}\n",
}


def hear_interrupts() -> None:
    """As in a terminal: these tests may run in a shell's background, where SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass(frozen=True)
class Submitter(Workspace):
    """A workspace whose Snakemake submits to SLURM."""

    def command(self, *arguments: str, config: str | None = SMOKE) -> list[str]:
        overlay = [f"--configfile={config}"] if config else []
        profile = ["--workflow-profile", "profiles/slurm"]
        return [sys.executable, "-m", "snakemake", *profile, *overlay, *arguments]

    def set_profile(self, changes: dict[str, str]) -> None:
        """Edit the profile, as a user does."""
        file = self / PROFILE
        text = file.read_text()
        for old, new in changes.items():
            assert old in text, f"{old!r} is not in the profile"
            text = text.replace(old, new, 1)
        file.write_text(text)

    def copy(self, folder: Path) -> "Submitter":
        """A copy with its times and Snakemake's memory of what was made from what."""
        return Submitter(super().copy(folder).folder)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen]:
        """Snakemake in the background, ended at the end whatever happens."""
        with (self / "run.log").open("wb") as log:
            process = subprocess.Popen(
                self.command(*arguments),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                start_new_session=True,
                preexec_fn=hear_interrupts,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def said(self) -> str:
        """What the Snakemake in the background has said."""
        return (self / "run.log").read_text()


@dataclass(frozen=True)
class Seen:
    """A job at one moment, from `scontrol show job`."""

    id: str
    what: str
    state: str
    partition: str
    node: str
    gpu: str | None
    restarts: int

    @classmethod
    def all(cls) -> list["Seen"]:
        """Every job that the controller knows; none while it is away."""
        command = ["scontrol", "--details", "--oneliner", "show", "job"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return [cls._parse(line) for line in done.stdout.splitlines() if "JobId=" in line]

    @classmethod
    def _parse(cls, line: str) -> "Seen":
        def value(key: str) -> str:
            match = re.search(rf"(?:^| ){key}=(\S+)", line)
            return match[1] if match else ""

        gpu = re.search(r"GRES=gpu\S*\(IDX:([\d,-]+)\)", line)
        return cls(
            value("JobId"),
            value("Comment"),
            value("JobState"),
            value("Partition"),
            value("NodeList"),
            gpu and gpu[1],
            int(value("Restarts") or 0),
        )


@dataclass(eq=False)
class Trouble(threading.Thread):
    """Looks at the queue twice a second and breaks something at the first sight of each rule.

    Attributes:
        folder: the study's; processes elsewhere are left alone.
        seen: every job at every look, with the time since the start.
        timeline: what was done, and when.
        faults: what went wrong here; empty in a good run.
    """

    machine: OneMachine
    folder: Path
    ended: threading.Event = field(default_factory=threading.Event)
    seen: list[tuple[float, list[Seen]]] = field(default_factory=list)
    timeline: list[tuple[float, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self):
        super().__init__(daemon=True)
        self.began = time.monotonic()
        self.todo = {
            "rule_train_retain_model_wildcards_1": self.hang_oracle,
            "rule_benchmark": self.node_dies,
            "rule_unlearn_wildcards_ga": self.requeue,
            "rule_evaluate_unlearned_wildcards_ga": self.accounting_away,
            # Not while GPU jobs wait: a controller of 22.05 that has just started hands out nodes
            # whose GPUs it has not counted yet; the job fails and the card stays booked.
            "rule_tables": self.controller_away,
        }

    def run(self) -> None:
        """Until `ended` is set."""
        while not self.ended.wait(0.5):
            jobs = Seen.all()
            self.seen.append((self.now(), jobs))
            for job in jobs:
                starts = [one for one in self.todo if job.what.startswith(one)]
                if job.state == "RUNNING" and starts:
                    self.make(starts[0], job)

    def make(self, start: str, job: Seen) -> None:
        """Make one trouble, once."""
        try:
            if self.todo[start](job) is not False:
                del self.todo[start]
        except (AssertionError, OSError, TimeoutError, subprocess.SubprocessError) as error:
            self.faults.append(f"{start}: {error}")
            del self.todo[start]

    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.began

    def tell(self, what: str) -> None:
        """Put a line on the timeline."""
        self.timeline.append((self.now(), what))

    def hang_oracle(self, job: Seen) -> bool:
        """An oracle's program stops, as on a dead file system; its walltime ends it."""
        pid = process_of("train_retain_model.py", "oracle/seed_1", self.folder)
        if pid is None:
            return False  # not there yet
        os.kill(pid, signal.SIGSTOP)
        self.tell(f"job {job.id} hangs ({job.what})")
        return True

    def requeue(self, job: Seen) -> None:
        """An administrator puts a running job back."""
        output("scontrol", "requeue", job.id)
        self.tell(f"job {job.id} requeued ({job.what})")

    def accounting_away(self, job: Seen) -> None:
        """slurmdbd is away: sacct fails."""
        self.tell(f"slurmdbd stopped (job {job.id} runs)")
        self.machine.stop_daemon("slurmdbd")
        time.sleep(15)
        self.machine.start_daemon("slurmdbd")
        self.tell("slurmdbd started")

    def controller_away(self, job: Seen) -> None:
        """slurmctld restarts, and takes its time."""
        self.tell(f"slurmctld stopped (job {job.id} runs)")
        self.machine.stop_daemon("slurmctld")
        time.sleep(8)
        self.machine.start_daemon("slurmctld")
        self.tell("slurmctld started")

    def node_dies(self, job: Seen) -> None:
        """A node dies with everything on it, and comes back after SLURM has noticed."""
        self.tell(f"{job.node} dies (job {job.id} runs)")
        self.machine.kill_node(job.node)
        wait_for(self.machine.is_down(job.node), 90, f"{job.node} down")
        self.tell(f"SLURM has noticed; {job.node} comes back")
        self.machine.start_node(job.node)


def process_of(program: str, argument: str, workspace: Path) -> int | None:
    """Id of the Python that runs a program with an argument in a workspace, on any node."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text().split("\0")
            own = (folder / "cwd").resolve() == workspace.resolve()
        except OSError:
            continue
        is_program = "python" in command[0] and command[1:2] and command[1].endswith(program)
        if own and is_program and any(argument in one for one in command):
            return int(folder.name)
    return None


@dataclass
class Study:
    """The smoke experiment after its run, and what happened meanwhile."""

    workspace: Submitter
    trouble: Trouble
    said: str
    exit_status: int | None

    def attempts(self, what: str) -> list[dict[str, str]]:
        """The submissions of the jobs whose comment begins so, from accounting, in order."""
        fields = "JobIDRaw,State,Partition,NodeList,ReqMem,TimelimitRaw,Comment,Submit"
        query = ["sacct", "-X", "--noheader", "--parsable2", f"--format={fields}"]
        rows = [line.split("|") for line in output(*query, "--starttime=now-1day").splitlines()]
        jobs = [dict(zip(fields.split(","), row, strict=True)) for row in rows]
        return [job for job in jobs if job["Comment"].startswith(what)]
