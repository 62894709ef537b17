"""Query SLURM: its partitions, its settings and the user's jobs, independent of Snakemake.

All queries use SLURM's own programs, which exist on every cluster.
"""

import os
import re
import subprocess
from dataclasses import dataclass, field

from excise.errors import InputError

# States of jobs that have ended and that SLURM does not start again.
FINAL_STATES = {
    *("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "OUT_OF_MEMORY", "NODE_FAIL"),
    *("PREEMPTED", "DEADLINE", "BOOT_FAIL", "REVOKED"),
}


class NoAnswerError(Exception):
    """SLURM did not answer: its program failed or did not finish in time."""


@dataclass
class Partition:
    """What a partition offers.

    Attributes:
        minutes: longest walltime; None for no limit.
        gpus: whether any of its nodes has GPUs.
        memory_mb: memory of its largest node.
        hidden: whether SLURM hides it; messages do not list it.
        default: whether it takes jobs that name no partition.
    """

    minutes: int | None
    gpus: bool = False
    memory_mb: int = 0
    hidden: bool = False
    default: bool = False


@dataclass(frozen=True)
class Job:
    """One of the user's jobs in the queue; `reason` is SLURM's reason for its state."""

    id: str
    name: str
    state: str
    reason: str = field(default="", compare=False)
    nodes: str = field(default="", compare=False)


def ask(*command: str, timeout: float = 30) -> str:
    """The output of one of SLURM's programs.

    Raises:
        InputError: this machine has no such program.
        NoAnswerError: it fails or does not finish within `timeout` seconds.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout
        )
    except FileNotFoundError as error:
        raise InputError(
            f"executor slurm: no program {command[0]} here; start Snakemake on a login node"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise NoAnswerError(f"{command[0]}: no answer within {timeout:g} s") from error
    except OSError as error:  # too many processes, for example
        raise NoAnswerError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise NoAnswerError(f"{command[0]}: {' '.join(done.stderr.split())}")
    return done.stdout


def partitions() -> dict[str, Partition]:
    """The partitions of the site by name, including hidden ones."""
    # Without --exact, sinfo merges nodes of different sizes and gives the memory of the smallest.
    query = ["sinfo", "--noheader", "--exact", "--format=%P|%l|%G|%m"]
    found, shown = parse_partitions(ask(*query, "--all")), parse_partitions(ask(*query))
    for name in found.keys() - shown.keys():
        found[name].hidden = True
    return found


def parse_partitions(text: str) -> dict[str, Partition]:
    """Partitions from the output of sinfo, one line for each kind of node of a partition."""
    found: dict[str, Partition] = {}
    for line in text.splitlines():
        name, limit, resources, memory = line.split("|")
        is_default, name = name.endswith("*"), name.rstrip("*")
        partition = found.setdefault(name, Partition(minutes_of(limit), default=is_default))
        partition.gpus |= bool(re.search(r"\bgpu\b", resources))
        partition.memory_mb = max(partition.memory_mb, int(memory.rstrip("+")))
    return found


def minutes_of(limit: str) -> int | None:
    """Minutes of a time as SLURM writes it, `[days-]hours:minutes:seconds`; None: no limit."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)
    if match is None:
        return None
    days, hours, minutes, _ = (int(group or 0) for group in match.groups())
    return (days * 24 + hours) * 60 + minutes


def settings() -> dict[str, str]:
    """The controller's settings, such as `AccountingStorageType` and `MinJobAge`."""
    lines = ask("scontrol", "show", "config").splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def jobs_named(prefix: str) -> list[Job]:
    """The user's unfinished jobs whose names start with a prefix."""
    user = f"--user={os.getuid()}"
    lines = ask("squeue", "--all", user, "--noheader", "--format=%i|%j|%T|%r|%N").splitlines()
    found = [Job(*line.split("|")) for line in lines if line.count("|") == 4]
    return [job for job in found if job.name.startswith(prefix) and job.state not in FINAL_STATES]
