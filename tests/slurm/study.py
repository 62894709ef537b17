"""The smoke experiment on SLURM: who submits it, what breaks meanwhile, what was seen."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from one_machine import OneMachine, output, succeeds, wait_for

from excise.slurm.client import STATUS_QUERY, target_jobs
from workflow.conftest import ROOT, SMOKE, Workspace

PROFILE = "profiles/slurm/profile.yaml"
SACCT = "profiles/slurm/bin/sacct"
RESULTS = "experiments/smoke/results"

# What a user sets, and what makes a test quick.
SITE = {
    "  slurm_account: CHANGE_ME\n": "  slurm_account: study\n",
    "  slurm_partition: CHANGE_ME\n": "  slurm_partition: cpu\n",
    "jobs: 100": "jobs: 4",
    "status-checks: 20": "status-checks: 4",
    "per-second: 0.2": "per-second: 1",
    "latency-wait: 60": "latency-wait: 30",
    "baselines: 8": "baselines: 4",
    # The experiment computes on CPUs; SLURM hands out a GPU all the same.
    "    slurm_partition: CHANGE_ME\n": "    slurm_partition: gpu\n    gpu: 1\n",
}
# Too little memory at first; too little time for one oracle, which will hang at its first attempt:
# two minutes, enough for its program to begin on a slow machine.
TOO_LITTLE = {
    "  reference_logprobs: *gpu\n": "  reference_logprobs: {slurm_partition: gpu, gpu: 1, "
    "mem_mb: 400 * attempt ** 2}\n",
    "  train_retain_model: *gpu\n": "  train_retain_model: {slurm_partition: gpu, gpu: 1, "
    "runtime: \"2 if wildcards.seed == '1' and attempt == 1 else 30\"}\n",
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
    def running(self, *arguments: str, **more: str) -> Iterator[subprocess.Popen]:
        """Snakemake in the background, ended at the end whatever happens."""
        with (self / "run.log").open("wb") as log:
            process = subprocess.Popen(
                self.command(*arguments),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"} | more,
                start_new_session=True,
                preexec_fn=hear_interrupts,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    @contextmanager
    def without_sacct(self) -> Iterator[Path]:
        """Our `sacct` cannot start, as where Python cannot; yields a file with a word a call.

        Until `mend_sacct`, or the end.
        """
        asked = self / "asked"
        asked.touch()
        (self / SACCT).write_text(f"#!/bin/sh\necho asked >> {asked}\nexit 127\n")
        try:
            yield asked
        finally:
            self.mend_sacct()

    def mend_sacct(self) -> None:
        """Ours, as in the repository."""
        shutil.copy(ROOT / SACCT, self / SACCT)

    def said(self) -> str:
        """What the Snakemake in the background has said."""
        return (self / "run.log").read_text()

    def queued(self) -> list[str]:
        """Ids of its jobs that wait or run."""
        lines = [line.split("|") for line in output("squeue", "-h", "-o", "%i|%Z").splitlines()]
        return [job for job, folder in lines if folder == str(self.folder)]


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
    time_limit: str

    @classmethod
    def all(cls) -> list["Seen"]:
        """Every job that the controller knows; none while it is away."""
        command = ["scontrol", "--details", "--oneliner", "show", "job"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
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
            value("TimeLimit"),
        )


def gpu_jobs(jobs: Iterable[Seen], *states: str) -> list[Seen]:
    """Snakemake's jobs on the GPU partition that are in one of these states."""
    ours = [job for job in jobs if job.partition == "gpu" and job.what.startswith("rule_")]
    return [job for job in ours if job.state in states]


def job_processes(folder: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Processes of jobs that work in a folder, on any node: id, job, command."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            place = (process / "cwd").readlink()
            command = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            variables = (process / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended
            continue
        jobs = [one.partition("=")[2] for one in variables if one.startswith("SLURM_JOB_ID=")]
        if place == folder.resolve() and jobs:
            yield int(process.name), jobs[0], command


def send(pid: int, kind: int) -> bool:
    """Send a signal; whether there was such a process."""
    try:
        os.kill(pid, kind)
    except ProcessLookupError:
        return False
    return True


def signal_program(job: str, folder: Path, kind: int) -> bool:
    """Send a signal to the program that a job is for; whether it runs already."""
    sent = [
        send(pid, kind)
        for pid, its_job, command in job_processes(folder)
        if its_job == job and "".join(command[1:2]).startswith("workflow_scripts/")
    ]
    return any(sent)


def preempt(job: Seen) -> None:
    """Something urgent takes the whole node for a moment."""
    urgent = ["sbatch", "--parsable", "-p", "urgent", "-w", job.node, "--exclusive", "-t", "1"]
    taker = output(*urgent, "-o", "/dev/null", "--wrap", "sleep 2").strip()
    wait_for(lambda: job.id not in running(), 240, "preemption")
    output("scancel", taker)


def running() -> list[str]:
    """Ids of all running jobs."""
    return output("squeue", "-h", "-t", "R", "-o", "%i").split()


def put_before(program: str, folder: Path, *lines: str) -> str:
    """A program of that name before the real one, as lines of shell; the PATH with it."""
    folder.mkdir()
    file = folder / program
    file.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    file.chmod(0o755)
    return os.pathsep.join([str(folder), os.environ["PATH"]])


@dataclass(frozen=True)
class Spy:
    """A `sacct` before the real one, which writes down how the questions for our jobs end."""

    folder: Path

    def path(self) -> str:
        """Put it there; the PATH with it."""
        return put_before(
            "sacct",
            self.folder,
            "began=$(date +%s.%N)",
            f'{shutil.which("sacct")} "$@"',
            "status=$?",
            f'case "$*" in *{STATUS_QUERY}*) echo $began $status >> {self.folder}/log ;; esac',
            "exit $status",
        )

    def since(self, time: float) -> list[int]:
        """Exit statuses of the questions asked since a time."""
        log = self.folder / "log"
        lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        return [int(status) for began, status in lines if float(began) > time]


@dataclass(frozen=True)
class Gate:
    """An `sbatch` before the real one, which holds Snakemake's submissions up until it is opened
    and writes down how they end. Probes pass.
    """

    folder: Path

    def path(self) -> str:
        """Put it there; the PATH with it."""
        real = shutil.which("sbatch")
        return put_before(
            "sbatch",
            self.folder,
            f'case "$*" in *--comment*) ;; *) exec {real} "$@" ;; esac',
            f"touch {self.folder}/waits",
            f"until test -e {self.folder}/open; do sleep 0.1; done",
            f'{real} "$@"',
            "status=$?",
            f"echo $status >> {self.folder}/ends",
            "exit $status",
        )

    def someone_waits(self) -> bool:
        """Whether a submission has come."""
        return (self.folder / "waits").exists()

    def open(self) -> None:
        """Let submissions pass from now on."""
        (self.folder / "open").touch()

    def ends(self) -> list[str]:
        """Exit statuses of the real sbatch so far."""
        file = self.folder / "ends"
        return file.read_text().split() if file.exists() else []


@dataclass(eq=False)
class Trouble(threading.Thread):
    """Looks at the queue twice a second and breaks something when a job of a rule runs.

    Attributes:
        folder: the study's; processes elsewhere are left alone.
        spy: tells when Snakemake asks for its jobs.
        timeline: the file for what was done, and when.
        seen: every job at every look, with the time since the start.
        outages: how the questions for jobs ended while a daemon was away.
        began_without_controller: the job that had just begun when the controller went away.
        faults: what went wrong here; empty in a good run.
    """

    machine: OneMachine
    folder: Path
    spy: Spy
    timeline: Path
    ended: threading.Event = field(default_factory=threading.Event)
    seen: list[tuple[float, list[Seen]]] = field(default_factory=list)
    outages: dict[str, list[int]] = field(default_factory=dict)
    began_without_controller: str | None = None
    faults: list[str] = field(default_factory=list)

    def __post_init__(self):
        super().__init__(daemon=True)
        self.began = time.monotonic()
        self.todo = {
            "rule_generate_facts": self.preempt,
            "rule_benchmark": self.node_dies,
            "rule_finetune_lora": self.wait_for_company,
            "rule_train_retain_model_wildcards_1": self.hang_oracle,
            "rule_unlearn_wildcards_ga": self.requeue,
            "rule_evaluate_unlearned_wildcards_ga": self.accounting_away,
            # One of these runs after the last GPU job, whichever that is.
            "rule_(tables|diversity_report|red_team_models)": self.controller_away,
        }

    def run(self) -> None:
        """Until `ended` is set, whatever happens."""
        while not self.ended.wait(0.5):
            try:
                self.look()
            except subprocess.TimeoutExpired:
                continue  # a busy machine; there are more looks
            except Exception as error:
                self.fault(f"a look: {error!r}")

    def look(self) -> None:
        """See every job, and make the trouble that is due."""
        jobs = Seen.all()
        self.seen.append((self.now(), jobs))
        for job in jobs:
            for start in [one for one in self.todo if re.match(one, job.what)]:
                if job.state == "RUNNING":
                    self.make(start, job)

    def make(self, start: str, job: Seen) -> None:
        """Make one trouble, once; one that says False is tried again at the next look."""
        try:
            made = self.todo[start](job) is not False
        except subprocess.TimeoutExpired:
            made = False
        except Exception as error:
            self.fault(f"{start}: {error!r}")
            made = True
        if made:
            del self.todo[start]

    def fault(self, what: str) -> None:
        """Note what went wrong, once."""
        if what not in self.faults:
            self.faults.append(what)

    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.began

    def tell(self, what: str) -> None:
        """Put a line on the timeline."""
        with self.timeline.open("a") as file:
            file.write(f"{self.now():6.0f} s  {what}\n")

    def wait_for_company(self, job: Seen) -> bool:
        """A program stands still until two GPU jobs have been seen at once.

        Without it, whether both cards are ever used at once would be a matter of timing. Something
        always can run beside this one: the oracles need none of what it makes.
        """
        together = len([one for one in gpu_jobs(self.seen[-1][1], "RUNNING") if one.gpu]) == 2
        signal_program(job.id, self.folder, signal.SIGCONT if together else signal.SIGSTOP)
        return together

    def hang_oracle(self, job: Seen) -> bool:
        """An oracle's program stops, as on a dead file system; its walltime ends it."""
        if job.time_limit != "00:02:00":
            self.tell(f"job {job.id} is a further attempt: the first did not get to hang")
        elif signal_program(job.id, self.folder, signal.SIGSTOP):
            self.tell(f"job {job.id} hangs ({job.what})")
        else:
            return False  # not there yet
        return True

    def preempt(self, job: Seen) -> bool:
        """Something urgent takes the node; the job stands still until then."""
        processes = list(job_processes(self.folder))
        stopped = [pid for pid, one, _ in processes if one == job.id and send(pid, signal.SIGSTOP)]
        if not stopped:
            return False  # not there yet
        preempt(job)
        self.tell(f"job {job.id} preempted ({job.what})")
        return True

    def requeue(self, job: Seen) -> None:
        """An administrator puts a running job back."""
        output("scontrol", "requeue", job.id)
        self.tell(f"job {job.id} requeued ({job.what})")

    def node_dies(self, job: Seen) -> None:
        """A node dies with everything on it, and comes back after SLURM has noticed."""
        self.tell(f"{job.node} dies (job {job.id} runs)")
        self.machine.kill_node(job.node)
        try:
            wait_for(self.machine.is_down(job.node), 240, f"{job.node} down")
        finally:
            self.machine.start_node(job.node)
        self.tell(f"SLURM has noticed; {job.node} comes back")

    def accounting_away(self, job: Seen) -> bool:
        """slurmdbd is away: sacct fails. The job is held, so that tables are left for later."""
        if not signal_program(job.id, self.folder, signal.SIGSTOP):
            return False
        self.tell(f"accounting goes away (job {job.id} runs)")
        try:
            self.take_away("slurmdbd", 45)
        finally:
            signal_program(job.id, self.folder, signal.SIGCONT)
        return True

    def controller_away(self, job: Seen) -> bool:
        """slurmctld restarts, and takes its time; no GPU job runs then (`wait_for_gpus`).

        The job has just begun: its `srun` finds no controller for ten seconds, and it fails. What
        else runs goes on, or fails like it.
        """
        *before, (_, now) = self.seen
        if gpu_jobs(now, "PENDING", "CONFIGURING", "RUNNING", "COMPLETING"):
            return False
        if job.id in {one.id for _, jobs in before for one in jobs if one.state == "RUNNING"}:
            return False
        self.began_without_controller = job.id
        self.tell(f"the controller goes away (job {job.id} begins: {job.what})")
        try:
            self.open_partitions(False)  # else jobs get GPUs before those are counted
            self.take_away("slurmctld", 12)
        finally:
            self.open_partitions(True)
        self.machine.wait_for_gpus()
        self.tell("both GPUs can be had")
        return True

    def open_partitions(self, are_open: bool) -> None:
        """Let jobs start, or let none start for now."""
        for name in ("cpu", "gpu"):
            state = "UP" if are_open else "DOWN"
            update = succeeds("scontrol", "update", f"PartitionName={name}", f"State={state}")
            wait_for(update, 120, f"partition {name} {state}")

    def take_away(self, daemon: str, seconds: float) -> None:
        """Stop a daemon for a while, and until Snakemake has asked for its jobs meanwhile."""
        self.machine.stop_daemon(daemon)
        began = time.time()
        try:
            wait_for(
                lambda: time.time() > began + seconds and self.spy.since(began),
                300,
                f"a question for jobs without {daemon}",
            )
            self.outages[daemon] = self.spy.since(began)
        finally:
            self.machine.start_daemon(daemon)
        self.tell(f"{daemon} is back; sacct was asked meanwhile: {self.outages[daemon]}")


@dataclass
class Study:
    """The smoke experiment after its run, and what happened meanwhile.

    Attributes:
        jobs: every submission of the run, from accounting.
    """

    workspace: Submitter
    trouble: Trouble
    said: str
    exit_status: int | None
    jobs: list[dict[str, str]]

    def attempts(self, what: str) -> list[dict[str, str]]:
        """The submissions of the jobs whose comment begins so, in order."""
        return [job for job in self.jobs if job["Comment"].startswith(what)]


def accounted() -> list[dict[str, str]]:
    """Snakemake's submissions so far, from accounting, in order."""
    fields = "JobIDRaw,State,Partition,NodeList,ReqMem,TimelimitRaw,Submit,End,Comment"
    query = ["sacct", "-X", "--noheader", "--parsable2", f"--format={fields}"]
    rows = [line.split("|") for line in output(*query, "--starttime=now-1day").splitlines()]
    jobs = [dict(zip(fields.split(","), row, strict=True)) for row in rows]
    ours = [job for job in jobs if job["Comment"].startswith("rule_")]
    return sorted(ours, key=lambda job: int(job["JobIDRaw"]))


def work(jobs: Iterable[str]) -> dict[str, set[str]]:
    """What submissions are to do, jobs of Snakemake, by the id of the submission."""
    fields = ["--parsable2", "--format=JobIDRaw,SubmitLine"]
    rows = output("sacct", "-X", "--noheader", *fields, "--jobs", ",".join(jobs)).splitlines()
    return {job: set(target_jobs(line)) for job, _, line in (row.partition("|") for row in rows)}
