"""Asking SLURM: its partitions, its settings, our own jobs. Nothing here knows Snakemake.

Everything goes through SLURM's own programs, which exist on every cluster.
"""

import os
import re
import subprocess
from dataclasses import dataclass, field

from excise.errors import InputError

# States in which a job no longer runs and will not run again by itself.
FINAL_STATES = {
    *("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "OUT_OF_MEMORY", "NODE_FAIL"),
    *("PREEMPTED", "DEADLINE", "BOOT_FAIL", "REVOKED"),
}


class SlurmSilentError(Exception):
    """SLURM gave no answer: the program failed, or did not return in time."""


@dataclass
class Partition:
    """What a partition offers.

    Attributes:
        minutes: longest walltime; None for no limit.
        gpus: whether any of its nodes has GPUs.
        memory_mb: memory of its largest node.
        hidden: whether it is not to be named to those who do not know it.
        default: whether a job that names no partition goes there.
    """

    minutes: int | None
    gpus: bool = False
    memory_mb: int = 0
    hidden: bool = False
    default: bool = False


@dataclass(frozen=True)
class Job:
    """One of our jobs in the queue, with SLURM's reason for its state and its nodes, if any."""

    id: str
    name: str
    state: str
    reason: str = field(default="", compare=False)
    nodes: str = field(default="", compare=False)


def ask(*command: str, timeout: float = 30) -> str:
    """What one of SLURM's programs prints.

    Raises:
        InputError: there is no such program here.
        SlurmSilentError: it fails or does not return within `timeout` seconds.
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
        raise SlurmSilentError(f"{command[0]}: no answer within {timeout:g} s") from error
    except OSError as error:  # too many processes, for example
        raise SlurmSilentError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise SlurmSilentError(f"{command[0]}: {' '.join(done.stderr.split())}")
    return done.stdout


def partitions() -> dict[str, Partition]:
    """The partitions of the site by name, hidden ones too."""
    # Not exact, it lists nodes of different sizes as one, with the memory of the smallest.
    query = ["sinfo", "--noheader", "--exact", "--format=%P|%l|%G|%m"]
    found, shown = parse_partitions(ask(*query, "--all")), parse_partitions(ask(*query))
    for name in found.keys() - shown.keys():
        found[name].hidden = True
    return found


def parse_partitions(text: str) -> dict[str, Partition]:
    """The same from the lines of sinfo: one for each kind of node of a partition."""
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
    """Our own jobs in the queue whose name starts so; no finished ones."""
    user = f"--user={os.getuid()}"
    lines = ask("squeue", "--all", user, "--noheader", "--format=%i|%j|%T|%r|%N").splitlines()
    found = [Job(*line.split("|")) for line in lines if line.count("|") == 4]
    return [job for job in found if job.name.startswith(prefix) and job.state not in FINAL_STATES]
