"""Check with one tiny job per partition that compute nodes see our files, before the real jobs.

Without this check, jobs fail without a log if the results folder is on a disk of the login node.
"""

import json
import shlex
import sys
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from excise.errors import InputError
from excise.slurm import client, commands

CACHE_FILE = Path(".snakemake/cluster_probe.json")
# The real jobs must get into the queue even if no node is free for the probe.
MAX_WAIT_SECONDS = 300
LATENCY_SECONDS = 60
NO_PYTHON, CANNOT_WRITE, FIRST_PATH = 10, 11, 20
# In these states the exit status comes from our script. In others, something else ended the job.
ANSWERED = ("COMPLETED", "FAILED")


class ProbeRequest(Protocol):
    """Partition, account, arguments that request GPUs, and other arguments of the site."""

    partition: str | None
    account: str | None
    gpu: tuple[str, ...]
    extra: tuple[str, ...]


def probe(
    requests: Sequence[ProbeRequest],
    folders: Mapping[str, Path],
    files: Mapping[str, Path],
    name: str,
    report: Callable[[str], None],
    timeout: float = MAX_WAIT_SECONDS,
    optional_partitions: Collection[str] = (),
) -> None:
    """Check on a node of every partition that our folders, files and Python are there.

    A successful probe is not repeated while the folder `.snakemake` exists.

    Args:
        requests: one per partition.
        folders: folders that nodes must share with this machine, by config key: a node must see a
            file made here. The first folder must be writable on the node.
        files: other files that nodes must see.
        name: job name.
        report: prints one line for the user.
        timeout: seconds to wait for a free node.
        optional_partitions: partitions that no job depends on. If one refuses the probe, this is
            only reported. The same holds if SLURM accepts no more jobs for now.

    Raises:
        InputError: on the node, a folder differs or is read-only, or Python or a file is missing.
    """
    known = json.loads(CACHE_FILE.read_text()) if CACHE_FILE.is_file() else []
    paths = [path.resolve() for path in (*folders.values(), *files.values())]
    environment = [sys.executable, *sorted(map(str, paths))]
    new = [one for one in requests if [one.partition, *environment] not in known]
    if not new:
        return
    report(f"probing compute nodes of {', '.join(str(one.partition) for one in new)} …")
    token = f".excise-probe-{uuid.uuid4().hex}"
    tokens = {key: folder.resolve() / token for key, folder in folders.items()}
    for file in tokens.values():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    expected_paths = tokens | files
    first = next(iter(tokens.values()))
    try:
        jobs = {}
        for one in new:
            try:
                jobs[_submit(one, expected_paths, first, name)] = one.partition
            except InputError as error:
                if one.partition not in optional_partitions and not client.queue_is_full(
                    str(error)
                ):
                    raise
                report(f"partition {one.partition}: not probed ({error})")
        for job, partition in jobs.items():
            state, code = _wait_for_end(job, timeout)
            if state not in ANSWERED:
                report(f"partition {partition}: not probed ({state})")
                continue
            _raise_for_exit_status(code, partition, expected_paths)
            _wait_for_answer(first.with_name(f"{token}-{job}"))
            known.append([partition, *environment])
    finally:
        for file in tokens.values():
            for left in file.parent.glob(f"{token}*"):
                left.unlink(missing_ok=True)
    CACHE_FILE.write_text(json.dumps(known))


def _submit(
    request: ProbeRequest, expected_paths: Mapping[str, Path], answer: Path, name: str
) -> str:
    tests = [
        f"test -e {shlex.quote(str(path))} || exit {status}"
        for status, path in enumerate(expected_paths.values(), start=FIRST_PATH)
    ]
    lines = [
        *tests,
        f"{shlex.quote(sys.executable)} -c '' || exit {NO_PYTHON}",
        f"touch {shlex.quote(str(answer))}-$SLURM_JOB_ID || exit {CANNOT_WRITE}",
    ]
    place = [f"--partition={request.partition}"] if request.partition else []
    place += [f"--account={request.account}"] if request.account else []
    options = ["--parsable", "--job-name", name, "--time=2", "--mem=200", "--chdir=/"]
    options += ["--output=/dev/null", *place, *request.extra]
    wrapped = ["--wrap", "\n".join(lines)]
    # First without a GPU: all cards may be in use for hours. Some sites refuse a job without one.
    alternatives = [(), request.gpu] if request.gpu else [()]
    for gpu in alternatives:
        try:
            return commands.ask("sbatch", *options, *gpu, *wrapped).split(";")[0].strip()
        except commands.NoAnswerError as error:
            refusal = error
    raise InputError(f"executor slurm: SLURM refused the probe: {refusal}") from refusal


def _wait_for_end(job: str, timeout: float) -> tuple[str, int]:
    """Final state and exit status of a job; after `timeout` seconds, why there is none."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            shown = commands.ask("scontrol", "--all", "--oneliner", "show", "job", job)
        except commands.NoAnswerError:
            shown = ""
        fields = dict(pair.partition("=")[::2] for pair in shown.split())
        if fields.get("JobState") in commands.FINAL_STATES:
            code, _, signal = fields["ExitCode"].partition(":")
            return fields["JobState"], int(code) or int(signal)
        time.sleep(1)
    try:
        commands.ask("scancel", job)
    except commands.NoAnswerError:
        return "SLURM does not answer", 0
    return f"no free node within {timeout:.0f} s", 0


def _raise_for_exit_status(
    code: int, partition: str | None, expected_paths: Mapping[str, Path]
) -> None:
    if code == 0:
        return
    where = f"a node of partition {partition}"
    folders = [f"{key}: {path.parent}" for key, path in expected_paths.items()]
    reasons = {
        NO_PYTHON: f"{sys.executable}: {where} cannot run it; put the environment on a file "
        "system that login and compute nodes share",
        CANNOT_WRITE: f"{folders[0]}: {where} cannot write there",
    }
    reasons |= {
        status: f"{folder}: {where} does not see this folder; use one on a file system that "
        "login and compute nodes share"
        for status, folder in enumerate(folders, start=FIRST_PATH)
    }
    raise InputError(reasons.get(code, f"the probe failed on {where} with exit status {code}"))


def _wait_for_answer(file: Path) -> None:
    """Wait until the file that the probe wrote is visible on this machine."""
    deadline = time.monotonic() + LATENCY_SECONDS
    while not file.exists():
        if time.monotonic() > deadline:
            raise InputError(
                f"{file.parent}: a file that a compute node writes does not appear here within "
                f"{LATENCY_SECONDS} s"
            )
        list(file.parent.iterdir())  # makes network file systems refresh their view
        time.sleep(0.5)
