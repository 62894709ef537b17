"""The smoke experiment on SLURM: its workspace, the faults during its run, the observed jobs."""

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

# Values that a user sets, and values that make the tests quick.
SITE = {
    "  slurm_account: CHANGE_ME\n": "  slurm_account: study\n",
    "  slurm_partition: CHANGE_ME\n": "  slurm_partition: cpu\n",
    "jobs: 100": "jobs: 4",
    "status-checks: 20": "status-checks: 4",
    "per-second: 0.2": "per-second: 1",
    "latency-wait: 60": "latency-wait: 30",
    "baselines: 8": "baselines: 4",
    # The experiment computes on CPUs, but SLURM assigns a GPU.
    "    slurm_partition: CHANGE_ME\n": "    slurm_partition: gpu\n    gpu: 1\n",
}
# Too little memory for one rule at first, and too little time for one oracle, which hangs at its
# first attempt. Its two minutes are sufficient to start the program on a slow machine.
TOO_LITTLE = {
    "  reference_logprobs: *gpu\n": "  reference_logprobs: {slurm_partition: gpu, gpu: 1, "
    "mem_mb: 400 * attempt ** 2}\n",
    "  train_retain_model: *gpu\n": "  train_retain_model: {slurm_partition: gpu, gpu: 1, "
    "runtime: \"2 if wildcards.seed == '1' and attempt == 1 else 30\"}\n",
}


def enable_interrupts() -> None:
    """Handle SIGINT as in a terminal; a shell ignores it for background processes."""
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
        """A copy with time stamps and Snakemake's metadata."""
        return Submitter(super().copy(folder).folder)

    @contextmanager
    def running(self, *arguments: str, **more: str) -> Iterator[subprocess.Popen]:
        """Snakemake in the background; killed at the end of the block if it still runs."""
        with (self / "run.log").open("wb") as log:
            process = subprocess.Popen(
                self.command(*arguments),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"} | more,
                start_new_session=True,
                preexec_fn=enable_interrupts,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    @contextmanager
    def without_sacct(self) -> Iterator[Path]:
        """Our `sacct` fails to start until `mend_sacct` or the end of the block.

        Yields a file to which each call adds a word.
        """
        asked = self / "asked"
        asked.touch()
        (self / SACCT).write_text(f"#!/bin/sh\necho asked >> {asked}\nexit 127\n")
        try:
            yield asked
        finally:
            self.mend_sacct()

    def mend_sacct(self) -> None:
        """Restore our `sacct`."""
        shutil.copy(ROOT / SACCT, self / SACCT)

    def output(self) -> str:
        """Output of the Snakemake in the background so far."""
        return (self / "run.log").read_text()

    def queued(self) -> list[str]:
        """Ids of its waiting and running jobs."""
        lines = [line.split("|") for line in output("squeue", "-h", "-o", "%i|%Z").splitlines()]
        return [job for job, folder in lines if folder == str(self.folder)]


@dataclass(frozen=True)
class Seen:
    """State of a job at one time, from `scontrol show job`."""

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
        """All jobs that the controller knows; empty while it does not answer."""
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
    """Snakemake's jobs on the GPU partition with one of these states."""
    ours = [job for job in jobs if job.partition == "gpu" and job.what.startswith("rule_")]
    return [job for job in ours if job.state in states]


def job_processes(folder: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Process id, job id and command of job processes in a folder, on any node."""
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
    """Send a signal; return whether the process exists."""
    try:
        os.kill(pid, kind)
    except ProcessLookupError:
        return False
    return True


def signal_program(job: str, folder: Path, kind: int) -> bool:
    """Send a signal to the program of a job; return whether it runs already."""
    sent = [
        send(pid, kind)
        for pid, its_job, command in job_processes(folder)
        if its_job == job and "".join(command[1:2]).startswith("workflow_scripts/")
    ]
    return any(sent)


def preempt(job: Seen) -> None:
    """Preempt a job: an urgent job takes its whole node for a moment."""
    urgent = ["sbatch", "--parsable", "-p", "urgent", "-w", job.node, "--exclusive", "-t", "1"]
    taker = output(*urgent, "-o", "/dev/null", "--wrap", "sleep 2").strip()
    wait_for(lambda: job.id not in running(), 240, "preemption")
    output("scancel", taker)


def running() -> list[str]:
    """Ids of all running jobs."""
    return output("squeue", "-h", "-t", "R", "-o", "%i").split()


def put_before(program: str, folder: Path, *lines: str) -> str:
    """Put a shell program before the real one; return the new PATH."""
    folder.mkdir()
    file = folder / program
    file.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    file.chmod(0o755)
    return os.pathsep.join([str(folder), os.environ["PATH"]])


@dataclass(frozen=True)
class Spy:
    """A `sacct` before the real one that logs the exit status of status queries."""

    folder: Path

    def path(self) -> str:
        """Install it; return the new PATH."""
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
        """Exit statuses of the queries since a time."""
        log = self.folder / "log"
        lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        return [int(status) for began, status in lines if float(began) > time]


@dataclass(frozen=True)
class Gate:
    """An `sbatch` before the real one that holds Snakemake's submissions until it is opened.

    It logs their exit statuses. Probes pass at once.
    """

    folder: Path

    def path(self) -> str:
        """Install it; return the new PATH."""
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

    def has_waiting_submission(self) -> bool:
        """Whether a submission has arrived."""
        return (self.folder / "waits").exists()

    def open(self) -> None:
        """Let submissions pass."""
        (self.folder / "open").touch()

    def ends(self) -> list[str]:
        """Exit statuses of the real sbatch so far."""
        file = self.folder / "ends"
        return file.read_text().split() if file.exists() else []


@dataclass(eq=False)
class FaultInjector(threading.Thread):
    """Checks the queue twice a second and makes a fault when a job of a certain rule runs.

    Attributes:
        folder: folder of the study; processes elsewhere are not touched.
        spy: logs the status queries of Snakemake.
        timeline: log file of the faults.
        seen: all jobs at every check, with the time since the start.
        outages: exit statuses of the status queries while a daemon was stopped.
        began_without_controller: the job that had just started when the controller stopped.
        errors: errors of this thread; empty in a good run.
    """

    machine: OneMachine
    folder: Path
    spy: Spy
    timeline: Path
    ended: threading.Event = field(default_factory=threading.Event)
    seen: list[tuple[float, list[Seen]]] = field(default_factory=list)
    outages: dict[str, list[int]] = field(default_factory=dict)
    began_without_controller: str | None = None
    errors: list[str] = field(default_factory=list)

    def __post_init__(self):
        super().__init__(daemon=True)
        self.began = time.monotonic()
        self.todo = {
            "rule_generate_facts": self.preempt,
            "rule_benchmark": self.node_dies,
            "rule_finetune_lora": self.wait_for_second_gpu_job,
            "rule_train_retain_model_wildcards_1": self.hang_oracle,
            "rule_unlearn_wildcards_ga": self.requeue,
            "rule_evaluate_unlearned_wildcards_ga": self.stop_accounting,
            # One of these runs after the last GPU job.
            "rule_(tables|diversity_report|red_team_models)": self.stop_controller,
        }

    def run(self) -> None:
        """Run until `ended` is set, also after errors."""
        while not self.ended.wait(0.5):
            try:
                self.check()
            except subprocess.TimeoutExpired:
                continue  # the machine is busy; the next check comes soon
            except Exception as error:
                self.report_error(f"a check: {error!r}")

    def check(self) -> None:
        """Record all jobs, and make the faults that are due."""
        jobs = Seen.all()
        self.seen.append((self.now(), jobs))
        for job in jobs:
            for start in [one for one in self.todo if re.match(one, job.what)]:
                if job.state == "RUNNING":
                    self.make(start, job)

    def make(self, start: str, job: Seen) -> None:
        """Make one fault, once; if its function returns False, the next check repeats it."""
        try:
            made = self.todo[start](job) is not False
        except subprocess.TimeoutExpired:
            made = False
        except Exception as error:
            self.report_error(f"{start}: {error!r}")
            made = True
        if made:
            del self.todo[start]

    def report_error(self, error: str) -> None:
        """Record an error, once."""
        if error not in self.errors:
            self.errors.append(error)

    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.began

    def log(self, event: str) -> None:
        """Write a line to the timeline."""
        with self.timeline.open("a") as file:
            file.write(f"{self.now():6.0f} s  {event}\n")

    def wait_for_second_gpu_job(self, job: Seen) -> bool:
        """Stop a program until two GPU jobs run at once.

        Otherwise only timing would decide whether both GPUs are used at once. The oracles can
        always run at the same time, because they do not depend on this job.
        """
        together = len([one for one in gpu_jobs(self.seen[-1][1], "RUNNING") if one.gpu]) == 2
        signal_program(job.id, self.folder, signal.SIGCONT if together else signal.SIGSTOP)
        return together

    def hang_oracle(self, job: Seen) -> bool:
        """Stop an oracle's program, as a dead file system does; its walltime ends it."""
        if job.time_limit != "00:02:00":
            self.log(f"job {job.id} is a retry: the first attempt failed before it could hang")
        elif signal_program(job.id, self.folder, signal.SIGSTOP):
            self.log(f"job {job.id} hangs ({job.what})")
        else:
            return False  # not started yet
        return True

    def preempt(self, job: Seen) -> bool:
        """Stop a job and let an urgent job take its node."""
        processes = list(job_processes(self.folder))
        stopped = [pid for pid, one, _ in processes if one == job.id and send(pid, signal.SIGSTOP)]
        if not stopped:
            return False  # not started yet
        preempt(job)
        self.log(f"job {job.id} preempted ({job.what})")
        return True

    def requeue(self, job: Seen) -> None:
        """Requeue a running job, as an administrator does."""
        output("scontrol", "requeue", job.id)
        self.log(f"job {job.id} requeued ({job.what})")

    def node_dies(self, job: Seen) -> None:
        """Kill a node with everything on it; start it again after SLURM has noticed."""
        self.log(f"{job.node} dies (job {job.id} runs)")
        self.machine.kill_node(job.node)
        try:
            wait_for(self.machine.is_down(job.node), 240, f"{job.node} down")
        finally:
            self.machine.start_node(job.node)
        self.log(f"SLURM has noticed it; {job.node} starts again")

    def stop_accounting(self, job: Seen) -> bool:
        """Stop slurmdbd, so that sacct fails; the job is held, so that tables come later."""
        if not signal_program(job.id, self.folder, signal.SIGSTOP):
            return False
        self.log(f"accounting stops (job {job.id} runs)")
        try:
            self.stop_for("slurmdbd", 45)
        finally:
            signal_program(job.id, self.folder, signal.SIGCONT)
        return True

    def stop_controller(self, job: Seen) -> bool:
        """Stop slurmctld for a while, when no GPU job runs (`wait_for_gpus`).

        The job has just started: its `srun` finds no controller for ten seconds and fails. Other
        running jobs continue, or fail in the same way.
        """
        *before, (_, now) = self.seen
        if gpu_jobs(now, "PENDING", "CONFIGURING", "RUNNING", "COMPLETING"):
            return False
        if job.id in {one.id for _, jobs in before for one in jobs if one.state == "RUNNING"}:
            return False
        self.began_without_controller = job.id
        self.log(f"the controller stops (job {job.id} starts: {job.what})")
        try:
            self.open_partitions(False)  # otherwise jobs get GPUs before SLURM has counted them
            self.stop_for("slurmctld", 12)
        finally:
            self.open_partitions(True)
        self.machine.wait_for_gpus()
        self.log("both GPUs are available")
        return True

    def open_partitions(self, are_open: bool) -> None:
        """Let jobs start, or prevent it."""
        for name in ("cpu", "gpu"):
            state = "UP" if are_open else "DOWN"
            update = succeeds("scontrol", "update", f"PartitionName={name}", f"State={state}")
            wait_for(update, 120, f"partition {name} {state}")

    def stop_for(self, daemon: str, seconds: float) -> None:
        """Stop a daemon for some seconds, and at least until Snakemake has sent a status query."""
        self.machine.stop_daemon(daemon)
        began = time.time()
        try:
            wait_for(
                lambda: time.time() > began + seconds and self.spy.since(began),
                300,
                f"a status query without {daemon}",
            )
            self.outages[daemon] = self.spy.since(began)
        finally:
            self.machine.start_daemon(daemon)
        self.log(f"{daemon} runs again; exit statuses of sacct: {self.outages[daemon]}")


@dataclass
class Study:
    """The smoke experiment after its run.

    Attributes:
        faults: the faults of the run.
        output: what Snakemake printed.
        jobs: every submission of the run, from accounting.
    """

    workspace: Submitter
    faults: FaultInjector
    output: str
    exit_status: int | None
    jobs: list[dict[str, str]]

    def attempts(self, what: str) -> list[dict[str, str]]:
        """Submissions whose comment starts with `what`, in order."""
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
    """SLURM job id → Snakemake jobs that it runs."""
    fields = ["--parsable2", "--format=JobIDRaw,SubmitLine"]
    rows = output("sacct", "-X", "--noheader", *fields, "--jobs", ",".join(jobs)).splitlines()
    return {job: set(target_jobs(line)) for job, _, line in (row.partition("|") for row in rows)}
