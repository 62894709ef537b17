"""Running programs and counting their CPU seconds; the fastest matrix product of this machine."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from excise.provenance import DRAFT
from excise.workflow import forking
from excise.workflow.imports import import_closure

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


def cpu_seconds(
    commands: Sequence[Command], threads: int, log: Path, forked: bool = False
) -> float:
    """Run programs one after another; return user and system seconds of all their processes.

    Args:
        commands: the programs.
        threads: CPU threads of each.
        log: file for all they print; it is written anew.
        forked: whether a fork server imports the packages once for all of them, as in a run of the
            workflow. Its seconds count. The first argument must be `python`, and all commands must
            add the same to the environment.

    Raises:
        SystemExit: a program failed; the message has its last lines.
    """
    environment = os.environ | dict.fromkeys(THREADS, str(threads)) | {"HF_HUB_OFFLINE": "1"}
    log.parent.mkdir(parents=True, exist_ok=True)
    environment |= commands[0].environment
    before = _children()
    with log.open("wb") as out, _python_of(commands, environment, forked) as own:
        for command in commands:
            done = subprocess.run(
                [str(argument) for argument in command.arguments],
                env=environment | command.environment | own,
                cwd=command.folder,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
            if done.returncode:
                last = log.read_text(errors="replace").splitlines()[-15:]
                raise SystemExit("\n".join([*last, f"error: {log}: a program failed"]))
    return _children() - before


@contextmanager
def _python_of(
    commands: Sequence[Command], environment: Mapping[str, str], forked: bool
) -> Iterator[dict[str, str]]:
    """Variables with which `python` is this Python, or a fork of a server for these programs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    if not forked:
        yield {"PATH": path}
        return
    programs = {str(command.arguments[1]) for command in commands}
    used = {file for one in programs for file in (one, *import_closure(one, root=LIBRARY))}
    with tempfile.TemporaryDirectory(prefix="excise-fork-") as folder:
        statements = json.dumps(forking.import_statements(sorted(used)))
        Path(folder, forking.IMPORTS).write_text(statements, encoding="utf-8")
        place = Path(folder, "place")
        place.mkdir()
        server = forking.start_server(place, environment | {"PATH": path})
        try:
            draft = str(Path(folder, "job.json"))
            yield {"PATH": f"{place}{os.pathsep}{path}", DRAFT: draft}
            forked_jobs = Path(folder, forking.PROCESSES)
            count = len(forked_jobs.read_text().split()) if forked_jobs.exists() else 0
            if count != len(commands):
                raise SystemExit(f"error: {count} of {len(commands)} programs were forked")
        finally:
            forking.end_server(server)


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
