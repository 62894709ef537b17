"""Do compute nodes see our files? One tiny job a partition finds out before the real ones.

Without it, a results folder on the login node's own disk shows as jobs that fail without a log.
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

MEMORY = Path(".snakemake/cluster_probe.json")
# A full cluster must not keep the real jobs out of the queue.
PATIENCE_SECONDS = 300
LATENCY_SECONDS = 60
NO_PYTHON, CANNOT_WRITE, FIRST_PATH = 10, 11, 20
# States in which the exit status is our script's answer. In others something else ended it.
ANSWERED = ("COMPLETED", "FAILED")


class Asks(Protocol):
    """What is asked for: partition, account, arguments for GPUs and others of the site's."""

    partition: str | None
    account: str | None
    gpu: tuple[str, ...]
    extra: tuple[str, ...]


def probe(
    requests: Sequence[Asks],
    folders: Mapping[str, Path],
    files: Mapping[str, Path],
    name: str,
    say: Callable[[str], None],
    patience: float = PATIENCE_SECONDS,
    among_others: Collection[str] = (),
) -> None:
    """Check from a node of every partition that our folders, files and Python are there.

    What was seen once is not asked again, as long as `.snakemake` is kept.

    Args:
        requests: one a partition.
        folders: what nodes must share with us, by config key: a file made here must be seen there.
            The first one must be writable there.
        files: what they must see besides; not written to.
        name: of the jobs.
        say: prints one line for the user.
        patience: seconds to wait for a free node.
        among_others: partitions that jobs can do without: if one refuses the probe, it is said,
            as it is where SLURM takes no more jobs for now.

    Raises:
        InputError: a folder is not the same there, is read-only, or Python or a file is missing.
    """
    known = json.loads(MEMORY.read_text()) if MEMORY.is_file() else []
    paths = [path.resolve() for path in (*folders.values(), *files.values())]
    mark = [sys.executable, *sorted(map(str, paths))]
    new = [one for one in requests if [one.partition, *mark] not in known]
    if not new:
        return
    say(f"probing compute nodes of {', '.join(str(one.partition) for one in new)} …")
    token = f".excise-probe-{uuid.uuid4().hex}"
    tokens = {key: folder.resolve() / token for key, folder in folders.items()}
    for file in tokens.values():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    looked_for = tokens | files
    first = next(iter(tokens.values()))
    try:
        jobs = {}
        for one in new:
            try:
                jobs[_submit(one, looked_for, first, name)] = one.partition
            except InputError as error:
                if one.partition not in among_others and not client.no_room(str(error)):
                    raise
                say(f"partition {one.partition}: not probed ({error})")
        for job, partition in jobs.items():
            state, code = _end(job, patience)
            if state not in ANSWERED:
                say(f"partition {partition}: not probed ({state})")
                continue
            _check(code, partition, looked_for)
            _wait_for_answer(first.with_name(f"{token}-{job}"))
            known.append([partition, *mark])
    finally:
        for file in tokens.values():
            for left in file.parent.glob(f"{token}*"):
                left.unlink(missing_ok=True)
    MEMORY.write_text(json.dumps(known))


def _submit(request: Asks, looked_for: Mapping[str, Path], answer: Path, name: str) -> str:
    tests = [
        f"test -e {shlex.quote(str(path))} || exit {status}"
        for status, path in enumerate(looked_for.values(), start=FIRST_PATH)
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
    # Not with a GPU at first: cards may be taken for hours. Some sites let no job in without one.
    ways = [(), request.gpu] if request.gpu else [()]
    for gpu in ways:
        try:
            return commands.ask("sbatch", *options, *gpu, *wrapped).split(";")[0].strip()
        except commands.SlurmSilentError as error:
            refusal = error
    raise InputError(f"executor slurm: the probe was refused: {refusal}") from refusal


def _end(job: str, patience: float) -> tuple[str, int]:
    """State of a job that has ended, and its exit status; why it is not known, after `patience`."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            shown = commands.ask("scontrol", "--all", "--oneliner", "show", "job", job)
        except commands.SlurmSilentError:
            shown = ""
        fields = dict(pair.partition("=")[::2] for pair in shown.split())
        if fields.get("JobState") in commands.FINAL_STATES:
            code, _, signal = fields["ExitCode"].partition(":")
            return fields["JobState"], int(code) or int(signal)
        time.sleep(1)
    try:
        commands.ask("scancel", job)
    except commands.SlurmSilentError:
        return "SLURM does not answer", 0
    return f"no free node within {patience:.0f} s", 0


def _check(code: int, partition: str | None, looked_for: Mapping[str, Path]) -> None:
    if code == 0:
        return
    where = f"a node of partition {partition}"
    folders = [f"{key}: {path.parent}" for key, path in looked_for.items()]
    reasons = {
        NO_PYTHON: f"{sys.executable}: {where} cannot run it; put the environment on the file "
        "system that login and compute nodes share",
        CANNOT_WRITE: f"{folders[0]}: {where} cannot write there",
    }
    reasons |= {
        status: f"{folder}: {where} does not see this folder; use one on the file system that "
        "login and compute nodes share"
        for status, folder in enumerate(folders, start=FIRST_PATH)
    }
    raise InputError(reasons.get(code, f"the probe failed on {where} with exit status {code}"))


def _wait_for_answer(file: Path) -> None:
    deadline = time.monotonic() + LATENCY_SECONDS
    while not file.exists():
        if time.monotonic() > deadline:
            raise InputError(
                f"{file.parent}: what a compute node writes is not seen here within "
                f"{LATENCY_SECONDS} s"
            )
        list(file.parent.iterdir())  # makes network file systems look again
        time.sleep(0.5)
