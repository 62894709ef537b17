"""Do compute nodes see our files? One tiny job a partition finds out before the real ones.

Without it, a results folder on the login node's own disk shows as jobs that fail without a log.
"""

import json
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from excise import slurm
from excise.errors import InputError

MEMORY = Path(".snakemake/cluster_probe.json")
# A full cluster must not keep the real jobs out of the queue.
PATIENCE_SECONDS = 300
LATENCY_SECONDS = 60
NO_PYTHON, CANNOT_WRITE, FIRST_FOLDER = 10, 11, 20


class Asks(Protocol):
    """What is asked for: partition and account, and the arguments for GPUs."""

    partition: str | None
    account: str | None
    gpu: tuple[str, ...]


def probe(
    requests: Sequence[Asks],
    folders: Mapping[str, Path],
    name: str,
    say: Callable[[str], None],
    patience: float = PATIENCE_SECONDS,
) -> None:
    """Check from a node of every partition that our folders and our Python are there.

    What was seen once is not asked again, as long as `.snakemake` is kept.

    Raises:
        InputError: a folder is not the same there, is read-only, or Python is missing.
    """
    known = json.loads(MEMORY.read_text()) if MEMORY.is_file() else []
    mark = sorted(str(folder.resolve()) for folder in folders.values())
    new = [one for one in requests if [one.partition, *mark] not in known]
    if not new:
        return
    say(f"probing compute nodes of {', '.join(str(one.partition) for one in new)} …")
    token = f".excise-probe-{uuid.uuid4().hex}"
    keys = list(folders)
    tokens = [folder.resolve() / token for folder in folders.values()]
    for file in tokens:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    try:
        jobs = {_submit(one, tokens, name): one.partition for one in new}
        for job, partition in jobs.items():
            code = _exit_code(job, patience)
            if code is None:
                slurm.ask("scancel", job)
                say(f"partition {partition}: no free node within {patience:.0f} s; not probed")
                continue
            _check(code, partition, keys, tokens)
            _wait_for_answer(tokens[0].with_name(f"{token}-{job}"))
            known.append([partition, *mark])
    except slurm.SlurmSilentError as error:
        raise InputError(f"executor slurm: the probe was refused: {error}") from error
    finally:
        for file in tokens:
            for left in file.parent.glob(f"{token}*"):
                left.unlink(missing_ok=True)
    MEMORY.write_text(json.dumps(known))


def _submit(request: Asks, tokens: list[Path], name: str) -> str:
    tests = [f"test -e '{file}' || exit {FIRST_FOLDER + i}" for i, file in enumerate(tokens)]
    lines = [
        *tests,
        f"'{sys.executable}' -c '' || exit {NO_PYTHON}",
        f"touch '{tokens[0]}'-$SLURM_JOB_ID || exit {CANNOT_WRITE}",
    ]
    place = [f"--partition={request.partition}"] if request.partition else []
    place += [f"--account={request.account}"] if request.account else []
    options = ["--parsable", "--job-name", name, "--time=2", "--mem=200", "--chdir=/"]
    options += ["--output=/dev/null", *place]
    wrapped = ["--wrap", "\n".join(lines)]
    try:
        job = slurm.ask("sbatch", *options, *wrapped)
    except slurm.SlurmSilentError:
        if not request.gpu:
            raise
        # Not at first: cards may be taken for hours. Some sites let no job in without one.
        job = slurm.ask("sbatch", *options, *request.gpu, *wrapped)
    return job.split(";")[0].strip()


def _exit_code(job: str, patience: float) -> int | None:
    """How a job ended; None when it has not within `patience` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        shown = slurm.ask("scontrol", "--oneliner", "show", "job", job)
        fields = dict(pair.partition("=")[::2] for pair in shown.split())
        if fields.get("JobState") in slurm.FINAL_STATES:
            return int(fields["ExitCode"].split(":")[0])
        time.sleep(1)
    return None


def _check(code: int, partition: str | None, keys: list[str], tokens: list[Path]) -> None:
    if code == 0:
        return
    where = f"a node of partition {partition}"
    if code >= FIRST_FOLDER and code - FIRST_FOLDER < len(keys):
        key, folder = keys[code - FIRST_FOLDER], tokens[code - FIRST_FOLDER].parent
        raise InputError(
            f"{key}: {folder}: {where} does not see this folder; use one on the file system that "
            "login and compute nodes share"
        )
    reasons = {
        NO_PYTHON: f"{sys.executable}: {where} cannot run it; put the environment on the file "
        "system that login and compute nodes share",
        CANNOT_WRITE: f"{keys[0]}: {tokens[0].parent}: {where} cannot write there",
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
