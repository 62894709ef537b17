"""A real SLURM of three nodes on this machine, for tests: start, stop, and break parts of it.

    python tests/slurm/one_machine.py start     # as root, after install.sh; then sinfo, sbatch …
    python tests/slurm/one_machine.py stop

Nodes cpu1, cpu2 and gpu1 are three slurmd, each in its own process namespace. So a node can die
with everything on it, or only its slurmd. gpu1 has two fake GPUs: SLURM assigns them like real
ones, but no program can compute on them. Partitions: cpu (default), gpu, urgent (preempts jobs on
the CPU nodes) and elsewhere (cpu2, which does not mount the folder `hidden`).

This program owns the daemons, their state below one folder, and links in /etc/slurm. Jobs of the
plugin drop SLURM_CONF, so the configuration must be at its built-in place. A machine that already
has a SLURM is not touched. A SLURM started by hand runs until it is stopped or the tests start
their own.
"""

import argparse
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

FOLDER = Path("/var/tmp/excise-slurm")
# Lock of the process that uses our SLURM; there is one per machine.
LOCK = Path("/var/tmp/excise-slurm.lock")
ETC = Path("/etc/slurm")
# In the order in which they depend on each other; with their ports.
DAEMONS = {"munged": None, "mariadbd": 13306, "slurmdbd": 16819, "slurmctld": 16817}
NODES = {"cpu1": 17001, "cpu2": 17002, "gpu1": 17003}
PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "sacct", "unshare")
CONFIG_FILES = ("slurm.conf", "gres.conf", "cgroup.conf", "slurmdbd.conf")

SLURM_CONF = """\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=16817
AuthType=auth/munge
# A requeued job waits as long as its old credential lives.
AuthInfo=cred_expire=5
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
# No cgroups: SLURM measures the memory of the processes once a second.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SwitchType=switch/none
MailProg=/bin/true
# Nodes may have more CPUs and memory than the machine.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=5,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
KillWait=3
CompleteWait=0
MinJobAge=600
SlurmctldTimeout=30
SlurmdTimeout=15
InactiveLimit=0
Waittime=0
MessageTimeout=10
TCPTimeout=2
{accounting}
NodeName=cpu[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[17001-17002] CPUs=4 RealMemory=6000
NodeName=gpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port=17003 CPUs=4 RealMemory=12000 \
Gres=gpu:fake:2
PartitionName=cpu Nodes=cpu[1-2] Default=YES MaxTime=600 DefMemPerCPU=200 PriorityTier=1
PartitionName=gpu Nodes=gpu1 MaxTime=600 DefMemPerCPU=200 PriorityTier=1
PartitionName=urgent Nodes=cpu[1-2] MaxTime=60 DefMemPerCPU=200 PriorityTier=10
PartitionName=elsewhere Nodes=cpu2 MaxTime=60 DefMemPerCPU=200 PriorityTier=1
"""

ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=16819
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=limits
AccountingStoreFlags=job_comment
"""

# Any character device works: nothing reads it. Its index in the list is the number of the GPU.
GRES_CONF = """\
AutoDetect=off
NodeName=gpu1 Name=gpu Type=fake File=/dev/null
NodeName=gpu1 Name=gpu Type=fake File=/dev/zero
"""

CGROUP_CONF = "ConstrainCores=no\nConstrainDevices=no\nConstrainRAMSpace=no\n"

SLURMDBD_CONF = """\
AuthType=auth/munge
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=16819
SlurmUser=root
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=13306
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
"""

DATABASE = """
create user if not exists slurm@'127.0.0.1' identified by 'slurm';
create user if not exists slurm@localhost identified by 'slurm';
create database if not exists slurm_acct_db;
grant all on slurm_acct_db.* to slurm@'127.0.0.1';
grant all on slurm_acct_db.* to slurm@localhost;
"""


def reason_not_to_start() -> str | None:
    """The reason why no SLURM can be started here; None if it can."""
    if os.geteuid() != 0:
        return "a SLURM of several nodes on one machine needs root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"SLURM is not installed ({', '.join(missing)}); tests/slurm/install.sh does it"
    foreign = [name for name in CONFIG_FILES if (ETC / name).exists() and not _is_ours(ETC / name)]
    if foreign:
        return f"this machine has a SLURM of its own ({ETC / foreign[0]})"
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"]
    if subprocess.run(namespaces, capture_output=True).returncode:
        return "process namespaces cannot be made here (unshare)"
    taken = [port for port in (*DAEMONS.values(), *NODES.values()) if port and in_use(port)]
    if taken and not any(map(OneMachine().is_running, (*DAEMONS, *NODES))):
        return f"port {taken[0]} is in use by something else"
    return None


def in_use(port: int) -> bool:
    """Whether some process listens on a port."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("", port))
        except OSError:
            return True
    return False


def _is_ours(path: Path) -> bool:
    return path.is_symlink() and path.readlink().is_relative_to(FOLDER)


def output(*command: str, timeout: float = 60) -> str:
    """Output of a command, which must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it does not hold in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s (logs: {FOLDER}/log)")
        time.sleep(0.2)


def succeeds(*command: str, timeout: float = 30) -> Callable[[], bool]:
    """The condition that a command exits with 0 in time."""

    def condition() -> bool:
        quiet = {"stdin": subprocess.DEVNULL, "capture_output": True}
        try:
            return subprocess.run(command, **quiet, timeout=timeout).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    return condition


class OneMachine:
    """The daemons; each has a name, and a file with its process id in `pids/`."""

    def __init__(self, folder: Path = FOLDER):
        self.folder = folder
        self.hidden = folder / "hidden"
        self.lock: IO | None = None

    def reserve(self, seconds: float) -> None:
        """Lock SLURM on this machine until this process ends.

        Raises:
            TimeoutError: another process holds the lock for longer.
        """
        self.lock = LOCK.open("w")
        wait_for(self._locked, seconds, f"{LOCK}, which another test run holds")

    def _locked(self) -> bool:
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def start(self) -> None:
        """Start everything, after removing the remains of an earlier start."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        spool = [f"spool/{node}" for node in NODES]
        for name in ("etc", "log", "run", "state", "pids", "hidden", *spool):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._configure(accounting=True)
        self.start_daemon("munged")
        self._start_database()
        self.start_daemon("slurmdbd")
        for what in ("cluster lab", "account study cluster=lab", "user root account=study"):
            output("sacctmgr", "-i", "add", *what.split())
        self.mend()

    def stop(self) -> None:
        """End all daemons and nodes by their recorded ids; remove the links."""
        for node in NODES:
            self.kill_node(node)
        for name in reversed(DAEMONS):
            self.stop_daemon(name)
        for name in CONFIG_FILES:
            if _is_ours(ETC / name):
                (ETC / name).unlink()

    def mend(self) -> None:
        """Start what does not run, cancel all jobs, wait until every node and GPU is free."""
        for name in DAEMONS:
            if not self.is_running(name):
                self.start_daemon(name)
        for node in NODES:
            if not self.is_running(node):
                self.start_node(node)
            elif not in_use(NODES[node]):
                self.start_slurmd(node)
        self.clear()
        self.wait_for_gpus()

    def clear(self) -> None:
        """Cancel the jobs of all users, and wait until the nodes are free."""
        succeeds("scancel", "--user=root")()
        wait_for(self._becomes_idle, 300, "nodes idle")

    def _becomes_idle(self) -> bool:
        for node, state in (line.split() for line in self.states()):
            if state.startswith("drain"):  # one of its jobs took too long to end
                succeeds("scontrol", "update", f"NodeName={node}", "State=RESUME")()
        return self.all_idle()

    def wait_for_gpus(self) -> None:
        """Wait until a job gets both GPUs.

        If a GPU job ends while the controller (22.05) is stopped, the next jobs start before the
        node has reported its GPUs. They get none, and all GPUs stay booked until SLURM counts them
        again.
        """
        job = ["srun", "--partition=gpu", "--gpus=2", "--time=1", "--immediate=30", "true"]

        def given() -> bool:
            if succeeds(*job, timeout=60)():
                return True
            succeeds("scontrol", "reconfigure")()
            return False

        wait_for(given, 400, "both GPUs for one job")

    def all_idle(self) -> bool:
        """Whether every node is up and free."""
        return self.states() == {f"{node} idle" for node in NODES}

    def is_down(self, node: str) -> Callable[[], bool]:
        """The condition that SLURM reports a node as down."""
        return lambda: f"{node} down" in {state.rstrip("*") for state in self.states()}

    def states(self) -> set[str]:
        """Nodes with their states; empty while SLURM does not answer."""
        command = ["sinfo", "-h", "-N", "-o", "%N %T"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        except subprocess.TimeoutExpired:
            return set()
        return set(done.stdout.splitlines())

    def set_accounting(self, on: bool) -> None:
        """Switch accounting on or off; all jobs are cancelled."""
        self._configure(on)
        self.clear()
        self.stop_daemon("slurmctld")
        self.mend()

    @contextmanager
    def submit_limit(self, jobs: int) -> Iterator[None]:
        """Limit the number of waiting and running jobs of the user."""
        modify = ["sacctmgr", "-i", "modify", "user", "root", "where", "account=study", "set"]
        output(*modify, f"MaxSubmitJobs={jobs}")
        try:
            yield
        finally:
            output(*modify, "MaxSubmitJobs=-1")

    def start_daemon(self, name: str) -> None:
        """Start a daemon and wait until it answers."""
        run = self.folder / "run"
        server = [f"--datadir={self.folder}/db", f"--socket={run}/mysql.sock", "--port=13306"]
        server += [f"--pid-file={run}/mariadbd.pid", "--bind-address=127.0.0.1", "--skip-log-bin"]
        server += ["--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2"]
        server += ["--innodb-lock-wait-timeout=900", "--performance-schema=off"]
        commands = {
            "munged": [
                *("munged", "--foreground", "--num-threads=2"),
                f"--key-file={self._munge_key()}",
                *("--socket=/run/munge/munge.socket.2", f"--pid-file={run}/munged.pid"),
                f"--seed-file={run}/munged.seed",
                f"--log-file={self.folder}/log/munged.log",
            ],
            "mariadbd": ["mariadbd", "--no-defaults", "--user=root", *server],
            "slurmdbd": ["slurmdbd", "-D"],
            "slurmctld": ["slurmctld", "-D"],
        }
        answers = {
            "munged": succeeds("munge", "-n"),
            "mariadbd": succeeds(*self._database_client(), "select 1"),
            "slurmdbd": succeeds("sacctmgr", "-n", "list", "cluster"),
            "slurmctld": succeeds("scontrol", "ping"),
        }
        self._launch(name, commands[name])
        wait_for(answers[name], 180, name)

    def start_node(self, node: str) -> None:
        """Start a node with its own process and mount namespaces, and its slurmd.

        The first process of the namespace is a shell, which reaps orphans. So slurmd may die alone.
        """
        hide = f"mount -t tmpfs none {self.hidden}; " if node == "cpu2" else ""
        command = f"{hide}slurmd -D -N {node} & while true; do sleep 1; done"
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._launch(node, [*namespaces, "bash", "-c", command])

    def kill_slurmd(self, node: str) -> None:
        """Kill the slurmd of a node; its slurmstepd and the programs of jobs continue."""
        (slurmd,) = self._slurmd(node)
        slurmd.kill()
        wait_for(lambda: not in_use(NODES[node]), 60, f"end of slurmd of {node}")

    def start_slurmd(self, node: str) -> None:
        """Start the slurmd of a node again, in the namespace of the running programs."""
        (first,) = psutil.Process(int((self.folder / "pids" / node).read_text())).children()
        enter = ["nsenter", f"--target={first.pid}", "--mount", "--pid"]
        with (self.folder / "log" / f"{node}.out").open("ab") as log:
            subprocess.Popen(
                [*enter, "slurmd", "-D", "-N", node],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(lambda: in_use(NODES[node]), 60, f"slurmd of {node}")

    def _slurmd(self, node: str) -> list[psutil.Process]:
        return [
            one
            for one in psutil.process_iter(["cmdline"])
            if one.info["cmdline"] == ["slurmd", "-D", "-N", node]
        ]

    def kill_node(self, node: str) -> None:
        """Kill a node at once, with everything that runs on it."""
        was_running = self.is_running(node)
        self.stop_daemon(node, signal.SIGKILL)  # unshare --kill-child also kills the namespace
        if was_running:  # its slurmd ends a moment later and then frees the port
            wait_for(lambda: not in_use(NODES[node]), 60, f"end of {node}")

    def stop_daemon(self, name: str, kind: int = signal.SIGTERM) -> None:
        """End a daemon and wait until it is gone."""
        file = self.folder / "pids" / name
        if self.is_running(name):
            pid = int(file.read_text())
            os.kill(pid, kind)
            try:
                wait_for(lambda: not self.is_running(name), 20, f"end of {name}")
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                wait_for(lambda: not self.is_running(name), 10, f"end of {name}")
        file.unlink(missing_ok=True)

    def is_running(self, name: str) -> bool:
        """Whether the recorded process is still that daemon."""
        try:
            pid = int((self.folder / "pids" / name).read_text())
            command = Path(f"/proc/{pid}/cmdline").read_text()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError):
            return False
        return name in command and state != "Z"

    def _launch(self, name: str, command: list[str]) -> None:
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        (self.folder / "pids" / name).write_text(str(process.pid))

    def _munge_key(self) -> Path:
        key = self.folder / "munge.key"
        if not key.exists():
            key.write_bytes(os.urandom(128))
            key.chmod(0o400)
        Path("/run/munge").mkdir(mode=0o755, exist_ok=True)
        return key

    def _configure(self, accounting: bool) -> None:
        values = {
            "host": socket.gethostname().split(".")[0],
            "folder": self.folder,
            "accounting": ACCOUNTING if accounting else "",
        }
        texts = (SLURM_CONF, GRES_CONF, CGROUP_CONF, SLURMDBD_CONF)
        ETC.mkdir(exist_ok=True)
        for name, text in zip(CONFIG_FILES, texts, strict=True):
            file = self.folder / "etc" / name
            file.write_text(text.format(**values))
            file.chmod(0o600 if name == "slurmdbd.conf" else 0o644)  # slurmdbd requires it
            (ETC / name).unlink(missing_ok=True)
            (ETC / name).symlink_to(file)

    def _start_database(self) -> None:
        install = ["mariadb-install-db", "--no-defaults", "--user=root", "--skip-test-db"]
        install += [f"--datadir={self.folder}/db", "--auth-root-authentication-method=socket"]
        output(*install, timeout=300)
        self.start_daemon("mariadbd")
        output(*self._database_client(), DATABASE)

    def _database_client(self) -> list[str]:
        return ["mariadb", "--no-defaults", f"--socket={self.folder}/run/mysql.sock", "-e"]


def main() -> None:
    """Start or stop SLURM by hand, unless tests use it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("start", "stop"))
    action = parser.parse_args().action
    machine = OneMachine()
    try:
        machine.reserve(seconds=0)
    except TimeoutError:
        raise SystemExit(f"error: a test run holds {LOCK}") from None
    if action == "stop":
        machine.stop()
    elif reason := reason_not_to_start():
        raise SystemExit(f"error: {reason}")
    else:
        machine.start()
        print(output("sinfo"), end="")


if __name__ == "__main__":
    main()
