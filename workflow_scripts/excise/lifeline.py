"""End a program when the Snakemake that started it ends, so that it writes no more files.

A killed Snakemake leaves its programs running. After `--unlock` the next run makes the same files,
and an old program could replace them with older versions. The Snakefile lists the waiting processes
in an environment variable. There is no check on another machine, in another container, or without
/proc.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

VARIABLE = "EXCISE_SNAKEMAKE"
SNAKEMAKE_ENDED = "the Snakemake that started this program is gone; another one may be running"


def this_process() -> str:
    """Identity of this process: process id, start, machine. Empty without /proc."""
    place = _machine_id()
    try:
        started = _started(os.getpid())
    except OSError:
        return ""
    return f"{os.getpid()},{started},{place}" if started and place else ""


def is_orphaned() -> bool:
    """Whether a Snakemake that waits for this program has ended."""
    return any(_has_ended(pid, started) for pid, started in _waiting_processes())


def end_with_snakemake(seconds: float = 1.0) -> None:
    """Start a thread that ends this process when a Snakemake that waits for it has ended."""
    if not list(_waiting_processes()):
        return
    threading.Thread(target=_watch, args=(seconds,), daemon=True, name="lifeline").start()


def _watch(seconds: float) -> None:
    while not is_orphaned():
        time.sleep(seconds)
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"error: {SNAKEMAKE_ENDED}; this program stops\n".encode())
    os._exit(1)  # from a thread; unfinished files keep their temporary names


def _waiting_processes() -> Iterator[tuple[int, str]]:
    """Process id and start of each Snakemake on this machine that waits for this program."""
    for one in filter(None, os.environ.get(VARIABLE, "").split(";")):
        pid, started, place = one.split(",")
        if place == _machine_id():
            yield int(pid), started


def _has_ended(pid: int, started: str) -> bool:
    """Whether a process has ended; False if this is unknown (for example: too many open files)."""
    try:
        return _started(pid) != started
    except OSError:
        return False


def _started(pid: int) -> str | None:
    """Start of a process in ticks since boot; None if it has ended.

    Raises:
        OSError: /proc cannot be read.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]  # proc(5): state, starttime


def _machine_id() -> str | None:
    """Boot id of the machine, and container; process ids are valid only within these."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None
