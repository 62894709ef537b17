"""`sacct` and `sbatch` as the SLURM plugin of Snakemake should see them.

profiles/slurm/bin puts them before the real ones, in the PATH of Snakemake itself. The plugin
(2.8.0) forgets its jobs when a status query fails, does not know all of sacct's words, and gives
a job up when the controller is away for the moment of its submission, or takes no more for now. The
faults, one by one: docs/cluster.md.
"""

import contextlib
import itertools
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

BIN = Path(__file__).parents[3] / "profiles" / "slurm" / "bin"
STATUS_QUERY = "--format=JobIdRaw,State"
# The plugin gives a query 60 s: sacct and then squeue must fit.
QUERY_SECONDS = 25
# It asks for the steps of each failed job, ten times one after the other, and can do without.
DETAIL_SECONDS = 3
# sbatch itself tries for a minute or two; one that still hangs then is ended.
SUBMIT_SECONDS = 180
# How long a submission waits for a controller that is away.
PATIENCE_SECONDS = 20 * 60
# Between questions to it; and what it gets to work off a submission that broke off.
PAUSE_SECONDS = 5
# Between two tries of a submission that waits for room.
ROOM_PAUSE_SECONDS = 30
# Environment variable with a folder in which such a submission leaves word of why it waits. Without
# it nobody would tell the user: then it does not wait.
ROOM_FOLDER = "EXCISE_NO_ROOM"

# What sacct says of a job that SLURM may have put back into the queue: only squeue knows.
MAYBE_REQUEUED = {"PREEMPTED", "NODE_FAIL", "REQUEUED"}

CONTROLLER_AWAY = re.compile(
    "unable to contact slurm controller|socket timed out|connection refused|connect failure"
    "|communication connection failure|zero bytes were transmitted",
    re.IGNORECASE,
)
# A limit of how many jobs a user, an account or a cluster may have: there is room when some end.
# The second line says that the cluster is full; sbatch itself has tried for two minutes by then.
NO_ROOM = re.compile(
    r"\b(?:Assoc|QOS)(?:Max|Grp)SubmitJobs?\w*Limit\b"
    "|job queue full|temporarily un(?:available|able to accept job)",
    re.IGNORECASE,
)


def real_program(name: str) -> str | None:
    """Path of the program that ours stands before; None when there is none."""
    places = [place for place in os.get_exec_path() if Path(place).resolve() != BIN.resolve()]
    return shutil.which(name, path=os.pathsep.join(places))


def sacct(arguments: Sequence[str]) -> int:
    """The status query answered so that no job is forgotten; everything else by the real sacct.

    Returns:
        The exit status: 0 for every status query. An empty answer means "nothing new" to the
        plugin, a failed one makes it forget all its jobs.
    """
    program = real_program("sacct")
    if STATUS_QUERY in arguments:
        name = arguments[list(arguments).index("--name") + 1]
        for job, state in job_states(program, list(arguments), name).items():
            print(f"{job}|{state}")
        return 0
    if program is None:
        print("sacct: this cluster has none", file=sys.stderr)
        return 1
    try:
        return subprocess.run([program, *arguments], timeout=DETAIL_SECONDS).returncode
    except subprocess.TimeoutExpired:
        print(f"sacct: no answer within {DETAIL_SECONDS} s", file=sys.stderr)
        return 1


def job_states(program: str | None, arguments: list[str], name: str) -> dict[str, str]:
    """States of the jobs of a name, in words that the plugin knows.

    sacct is asked first; squeue where sacct fails (accounting off or away) or cannot know.
    Where neither answers, nothing is said of any job.
    """
    accounted = _table([program, *arguments]) if program else None
    if accounted is not None and not MAYBE_REQUEUED & set(accounted.values()):
        return accounted
    query = ["--all", "--noheader", "--states=all", "--format=%i|%T", "--name", name]
    queued = _table(["squeue", *query])
    if accounted is None:
        return {job: lost_is_failed(state) for job, state in (queued or {}).items()}
    return {
        job: in_queue(job, queued) if state in MAYBE_REQUEUED else state
        for job, state in accounted.items()
    }


def in_queue(job: str, queued: dict[str, str] | None) -> str:
    """State of a job that may be back in the queue, by what the queue holds (None: no answer)."""
    if queued is None:
        return "PENDING"  # it is asked again
    return lost_is_failed(queued.get(job, "FAILED"))


def lost_is_failed(state: str) -> str:
    """A job whose node died or that was preempted, and that SLURM does not run again, failed.

    The plugin would wait for a preempted one for ever, and exclude nodes by what sacct calls them,
    `None assigned` among them; SLURM keeps jobs off a dead node without its help.
    """
    return "FAILED" if state in MAYBE_REQUEUED else state


def _table(command: list[str]) -> dict[str, str] | None:
    """`job|state` lines, of a state its first word (`CANCELLED by 0`); None: no answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    rows = (line.split("|") for line in done.stdout.splitlines() if "|" in line)
    return {job: state.split()[0] for job, state, *_ in rows if state.strip()}


def sbatch(arguments: Sequence[str]) -> int:
    """Submit a job; while the controller is away or has no room, wait for it instead of failing.

    A controller that broke off may have taken the job all the same: it is looked up by its name and
    what it runs before it is submitted again, and never submitted again without that.
    """
    program = real_program("sbatch")
    if program is None:
        print("sbatch: there is none on this machine", file=sys.stderr)
        return 1
    script = sys.stdin.read() if arguments and arguments[-1] == "/dev/stdin" else None
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        done = _submit_with_room([program, *arguments], script)
        away = done.returncode and CONTROLLER_AWAY.search(done.stderr)
        found = _taken(list(arguments), script, deadline) if away else None
        if found:
            print(found)
            return 0
        if found is None:
            # The id alone: a site's sbatch may say more, and the plugin would not know which it is.
            sys.stdout.write("".join(done.stdout.splitlines(keepends=True)[-1:]))
            sys.stderr.write(done.stderr)
            return done.returncode


def _submit_with_room(command: list[str], script: str | None) -> subprocess.CompletedProcess[str]:
    """The real sbatch, again and again while there is no room and our own jobs may make some."""
    word = Path(os.environ.get(ROOM_FOLDER, os.devnull)) / str(os.getpid())
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        while True:
            done = _submit(command, script)
            if not done.returncode or not no_room(done.stderr) or not word.parent.is_dir():
                return done
            if _have_jobs():
                deadline = time.monotonic() + PATIENCE_SECONDS
            if time.monotonic() > deadline:
                return done
            word.write_text(" ".join(done.stderr.split()))
            time.sleep(ROOM_PAUSE_SECONDS)
    finally:
        with contextlib.suppress(OSError):
            word.unlink()


def no_room(said: str) -> bool:
    """Whether SLURM takes no more jobs for now, by what sbatch says."""
    return bool(NO_ROOM.search(said))


def _have_jobs() -> bool:
    """Whether the user has jobs in the queue: each that ends makes room."""
    try:
        return bool(_answer("squeue", "--all", "--noheader", f"--user={os.getuid()}"))
    except (OSError, subprocess.SubprocessError):
        return False


def waits_for_room() -> str | None:
    """What sbatch says to a submission that waits for room; None if none does."""
    for word in Path(os.environ.get(ROOM_FOLDER, os.devnull)).glob("*"):
        with contextlib.suppress(OSError):  # it has just ended
            return word.read_text()
    return None


def _submit(command: list[str], script: str | None) -> subprocess.CompletedProcess[str]:
    """The real sbatch; one that does not return counts as a controller that is away.

    Not if who asked is gone meanwhile: the next run would submit the same job.
    """
    if _nobody_listens():
        return subprocess.CompletedProcess(command, 1, "", "")
    try:
        return subprocess.run(
            command, input=script, capture_output=True, text=True, timeout=SUBMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        said = f"sbatch: error: Socket timed out (ended after {SUBMIT_SECONDS} s)\n"
        return subprocess.CompletedProcess(command, 1, "", said)


def _nobody_listens() -> bool:
    """Whether the other end of our output is closed, as it is when Snakemake was killed."""
    output = select.poll()
    output.register(1, 0)
    return any(event & select.POLLERR for _, event in output.poll(0))


def _taken(arguments: list[str], script: str | None, deadline: float) -> str | None:
    """Id of the job if it was taken, `""` if it was not; None: no answer until the deadline."""
    while time.monotonic() < deadline:
        time.sleep(PAUSE_SECONDS)
        try:
            _answer("scontrol", "ping")
            return _submitted(arguments, script)
        except (OSError, subprocess.SubprocessError):
            continue
    return None


def _submitted(arguments: list[str], script: str | None) -> str:
    """Id of the waiting or running job that does the work of this script; empty if there is none.

    Perhaps that of an earlier attempt, which was given up when its submission was not answered.
    """
    wrapped = [one.removeprefix("--wrap=") for one in arguments if one.startswith("--wrap=")]
    wanted = script or "".join(wrapped)
    options = dict(itertools.pairwise(arguments))
    if not wanted or "--job-name" not in options:
        return ""
    query = ["--all", "--noheader", "--states=PD,CF,R,S", "--format=%i"]
    for job in _answer("squeue", *query, "--name", options["--job-name"]).split():
        written = _answer("scontrol", "write", "batch_script", job, "-")
        if wanted in written or (work_of(wanted) and work_of(wanted) == work_of(written)):
            return job
    return ""


def work_of(script: str) -> list[str]:
    """The jobs of Snakemake that a script runs, whatever the attempt; none if it names none."""
    found = re.search(r"--target-jobs (.*?) --allowed-rules ", script)
    return sorted(found[1].split()) if found else []


def _answer(*command: str) -> str:
    """What a program prints.

    Raises:
        OSError, subprocess.SubprocessError: it failed, or did not return in time.
    """
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=QUERY_SECONDS
    ).stdout
