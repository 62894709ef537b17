"""Running programs and counting their CPU seconds; the fastest matrix product of this machine."""

import os
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "workflow_scripts"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)}
"""What rules/common.smk sets for Excise's own programs."""


@dataclass(frozen=True)
class Command:
    """A program to run: its arguments, what it adds to the environment, and its working folder."""

    arguments: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = ROOT


def cpu_seconds(commands: Sequence[Command], threads: int, log: Path) -> float:
    """Run programs one after another; return user and system seconds of all their processes.

    Args:
        commands: the programs.
        threads: CPU threads of each.
        log: file for all they print; it is written anew.

    Raises:
        SystemExit: a program failed; the message has its last lines.
    """
    environment = os.environ | dict.fromkeys(THREADS, str(threads)) | {"HF_HUB_OFFLINE": "1"}
    log.parent.mkdir(parents=True, exist_ok=True)
    before = _children()
    with log.open("wb") as out:
        for command in commands:
            done = subprocess.run(
                [str(argument) for argument in command.arguments],
                env=environment | command.environment,
                cwd=command.folder,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
            if done.returncode:
                last = log.read_text(errors="replace").splitlines()[-15:]
                raise SystemExit("\n".join([*last, f"error: {log}: a program failed"]))
    return _children() - before


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def matrix_peak(threads: int, size: int = 1536, rounds: int = 12) -> float:
    """Floating-point operations per CPU second of the best of some fp32 products (size, size)."""
    import torch

    torch.set_num_threads(threads)
    left, right = torch.randn(size, size), torch.randn(size, size)
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        torch.mm(left, right)
        best = min(best, time.process_time() - started)
    return 2 * size**3 / best
