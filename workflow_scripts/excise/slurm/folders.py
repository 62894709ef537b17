"""Threads that report a file system that does not answer: Snakemake itself would hang in silence.

They read from a folder and write nothing to it. They start no programs and import nothing, because
these files may be on the same file system. They print only to stderr, not to Snakemake's log.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

SECONDS_BETWEEN = 60
TIMEOUT = 60  # a normal answer takes milliseconds
REMINDER = 3600


def print_line(line: str) -> None:
    """Print one line on stderr."""
    os.write(2, f"{line}\n".encode())  # sys.stderr may be locked by a thread that hangs


def query_folder(folder: Path) -> None:
    """Read from a folder; return when the file system has answered, also with an error."""
    with contextlib.suppress(OSError):
        folder.stat()
        with os.scandir(folder) as entries:
            next(entries, None)


def watch_folder(
    folder: Path,
    report: Callable[[str], None] = print_line,
    query: Callable[[Path], None] = query_folder,
    interval: float = SECONDS_BETWEEN,
    timeout: float = TIMEOUT,
    reminder: float = REMINDER,
) -> None:
    """Query a folder again and again, in threads; report when its file system does not answer.

    Args:
        folder: the folder.
        report: prints one line for the user.
        query: returns when the folder has answered.
        interval: seconds between two queries.
        timeout: seconds after which a query without answer is reported.
        reminder: seconds until the next report.
    """

    def answer(answered: threading.Event) -> None:
        query(folder)
        answered.set()

    def loop() -> None:
        while True:
            began, answered, limit = time.monotonic(), threading.Event(), timeout
            threading.Thread(target=answer, args=(answered,), daemon=True, name="query").start()
            while not answered.wait(limit):
                report(
                    f"{folder}: its file system has not answered for {_since(began)}; Snakemake "
                    "cannot continue until it does"
                )
                limit = reminder
            if limit == reminder:
                report(f"{folder}: its file system answers again, after {_since(began)}")
            time.sleep(interval)

    threading.Thread(target=loop, daemon=True, name="watch_folder").start()


def _since(began: float) -> str:
    seconds = time.monotonic() - began
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} minutes"
