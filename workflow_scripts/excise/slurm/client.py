"""`sacct` and `sbatch` as Snakemake's SLURM plugin should see them.

profiles/slurm/bin puts these programs before the real ones, in the PATH of Snakemake itself. They
work around faults of the plugin (2.8.0), which docs/cluster.md lists:

- it forgets its jobs when a status query fails;
- it does not know all states that sacct reports;
- it fails a job if the controller does not answer during the submission, or accepts no more jobs.
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
# The plugin gives a status query 60 s. Both sacct and squeue must finish in this time.
QUERY_SECONDS = 25
# The plugin asks for the steps of each failed job, up to ten times, and can work without them.
DETAIL_SECONDS = 3
# sbatch itself retries for a minute or two. After this time it hangs, and it is killed.
SUBMIT_SECONDS = 180
# How long a submission waits for a controller that does not answer.
MAX_WAIT_SECONDS = 20 * 60
# Between two queries to the controller. It needs this time to finish an interrupted submission.
PAUSE_SECONDS = 5
# Between two attempts of a submission while the queue is full.
QUEUE_FULL_PAUSE_SECONDS = 30
# Environment variable that names a folder. A submission that waits for a full queue writes a notice
# there, which `watch` reports. Without this folder a submission does not wait.
QUEUE_FULL_FOLDER = "EXCISE_NO_ROOM"

# sacct reports these states also for a job that SLURM has requeued. Only squeue knows.
MAYBE_REQUEUED = {"PREEMPTED", "NODE_FAIL", "REQUEUED"}

CONTROLLER_AWAY = re.compile(
    "unable to contact slurm controller|socket timed out|connection refused|connect failure"
    "|communication connection failure|zero bytes were transmitted",
    re.IGNORECASE,
)
# First line: limits on the number of jobs of a user, an account or a cluster. When jobs end, SLURM
# accepts new ones. Second line: the cluster is full; sbatch itself has retried for two minutes.
QUEUE_FULL = re.compile(
    r"\b(?:Assoc|QOS)(?:Max|Grp)SubmitJobs?\w*Limit\b"
    "|job queue full|temporarily un(?:available|able to accept job)",
    re.IGNORECASE,
)


def real_program(name: str) -> str | None:
    """Path of the real program behind ours; None if there is none."""
    places = [place for place in os.get_exec_path() if Path(place).resolve() != BIN.resolve()]
    return shutil.which(name, path=os.pathsep.join(places))


def sacct(arguments: Sequence[str]) -> int:
    """Answer the status query so that the plugin forgets no job; pass on all other queries.

    Returns:
        The exit status, 0 for every status query. For the plugin, an empty answer means "nothing
        new". After a failed query it would forget all its jobs.
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
    """States of all jobs with one name, limited to states that the plugin knows.

    sacct is asked first. squeue is asked if sacct fails (accounting is off or does not answer), or
    if a job may have been requeued. If neither answers, the result is empty.
    """
    accounted = _table([program, *arguments]) if program else None
    if accounted is not None and not MAYBE_REQUEUED & set(accounted.values()):
        return accounted
    query = ["--all", "--noheader", "--states=all", "--format=%i|%T", "--name", name]
    queued = _table(["squeue", *query])
    if accounted is None:
        return {job: failed_if_lost(state) for job, state in (queued or {}).items()}
    return {
        job: state_in_queue(job, queued) if state in MAYBE_REQUEUED else state
        for job, state in accounted.items()
    }


def state_in_queue(job: str, queued: dict[str, str] | None) -> str:
    """State of a job that SLURM may have requeued.

    Args:
        job: its id.
        queued: states of the jobs in the queue; None if squeue did not answer.
    """
    if queued is None:
        return "PENDING"  # the plugin asks again
    return failed_if_lost(queued.get(job, "FAILED"))


def failed_if_lost(state: str) -> str:
    """FAILED for a job that was preempted or lost its node and that SLURM does not run again.

    The plugin would wait for a preempted job without end. For a dead node it would exclude nodes by
    the names that sacct prints, `None assigned` among them. SLURM avoids a dead node by itself.
    """
    return "FAILED" if state in MAYBE_REQUEUED else state


def _table(command: list[str]) -> dict[str, str] | None:
    """Job → state from lines `job|state`; None: no answer.

    Of a state only the first word counts (`CANCELLED by 0`).
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    rows = (line.split("|") for line in done.stdout.splitlines() if "|" in line)
    return {job: state.split()[0] for job, state, *_ in rows if state.strip()}


def sbatch(arguments: Sequence[str]) -> int:
    """Submit a job; wait while the controller does not answer or the queue is full.

    A controller that broke the connection may still have accepted the job. So the queue is searched
    for a job with the same name and work. The job is submitted again only if the search finds none.
    """
    program = real_program("sbatch")
    if program is None:
        print("sbatch: there is none on this machine", file=sys.stderr)
        return 1
    script = sys.stdin.read() if arguments and arguments[-1] == "/dev/stdin" else None
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while True:
        done = _submit_while_queue_full([program, *arguments], script)
        away = done.returncode and CONTROLLER_AWAY.search(done.stderr)
        found = _find_accepted_job(list(arguments), script, deadline) if away else None
        if found:
            print(found)
            return 0
        if found is None:
            # Only the id: the sbatch of a site may print more lines, which confuse the plugin.
            sys.stdout.write("".join(done.stdout.splitlines(keepends=True)[-1:]))
            sys.stderr.write(done.stderr)
            return done.returncode


def _submit_while_queue_full(
    command: list[str], script: str | None
) -> subprocess.CompletedProcess[str]:
    """Run the real sbatch again and again while the queue is full and the user has jobs in it."""
    notice = Path(os.environ.get(QUEUE_FULL_FOLDER, os.devnull)) / str(os.getpid())
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    try:
        while True:
            done = _submit(command, script)
            if not done.returncode or not queue_is_full(done.stderr) or not notice.parent.is_dir():
                return done
            if _user_has_jobs():
                deadline = time.monotonic() + MAX_WAIT_SECONDS
            if time.monotonic() > deadline:
                return done
            notice.write_text(" ".join(done.stderr.split()))
            time.sleep(QUEUE_FULL_PAUSE_SECONDS)
    finally:
        with contextlib.suppress(OSError):
            notice.unlink()


def queue_is_full(stderr: str) -> bool:
    """Whether sbatch reports that SLURM accepts no more jobs for now."""
    return bool(QUEUE_FULL.search(stderr))


def _user_has_jobs() -> bool:
    """Whether the user has jobs in the queue; the queue has a free place when one of them ends."""
    try:
        return bool(_output("squeue", "--all", "--noheader", f"--user={os.getuid()}"))
    except (OSError, subprocess.SubprocessError):
        return False


def queue_full_message() -> str | None:
    """The message of sbatch to a submission that waits for a full queue; None if none waits."""
    for notice in Path(os.environ.get(QUEUE_FULL_FOLDER, os.devnull)).glob("*"):
        with contextlib.suppress(OSError):  # that submission has just ended
            return notice.read_text()
    return None


def _submit(command: list[str], script: str | None) -> subprocess.CompletedProcess[str]:
    """Run the real sbatch once; if it hangs, the result is that of a controller without answer.

    If Snakemake is gone, nothing is submitted: the next run would submit the same job.
    """
    if _output_is_closed():
        return subprocess.CompletedProcess(command, 1, "", "")
    try:
        return subprocess.run(
            command, input=script, capture_output=True, text=True, timeout=SUBMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        message = f"sbatch: error: Socket timed out (killed after {SUBMIT_SECONDS} s)\n"
        return subprocess.CompletedProcess(command, 1, "", message)


def _output_is_closed() -> bool:
    """Whether the other end of our output is closed, as after a kill of Snakemake."""
    output = select.poll()
    output.register(1, 0)
    return any(event & select.POLLERR for _, event in output.poll(0))


def _find_accepted_job(arguments: list[str], script: str | None, deadline: float) -> str | None:
    """Id of the job if SLURM has accepted it, `""` if not; None: no answer until the deadline."""
    while time.monotonic() < deadline:
        time.sleep(PAUSE_SECONDS)
        try:
            _output("scontrol", "ping")
            return _find_same_job(arguments, script)
        except (OSError, subprocess.SubprocessError):
            continue
    return None


def _find_same_job(arguments: list[str], script: str | None) -> str:
    """Id of a waiting or running job that does the same work as this script; empty if none.

    It may be the job of an earlier attempt whose submission got no answer.
    """
    wrapped = [one.removeprefix("--wrap=") for one in arguments if one.startswith("--wrap=")]
    wanted = script or "".join(wrapped)
    options = dict(itertools.pairwise(arguments))
    if not wanted or "--job-name" not in options:
        return ""
    targets = target_jobs(wanted)
    query = ["--all", "--noheader", "--states=PD,CF,R,S", "--format=%i"]
    for job in _output("squeue", *query, "--name", options["--job-name"]).split():
        written = _output("scontrol", "write", "batch_script", job, "-")
        if wanted in written or (targets and targets == target_jobs(written)):
            return job
    return ""


def target_jobs(script: str) -> list[str]:
    """The Snakemake jobs that a script runs, independent of the attempt; empty if it has none."""
    found = re.search(r"--target-jobs (.*?) --allowed-rules ", script)
    return sorted(found[1].split()) if found else []


def _output(*command: str) -> str:
    """The output of a program.

    Raises:
        OSError, subprocess.SubprocessError: it failed, or did not finish in time.
    """
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=QUERY_SECONDS
    ).stdout
