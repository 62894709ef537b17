"""A file system that hangs blocks Snakemake itself, which then says nothing: threads that do.

They ask a folder and write nothing to it; they start no programs and import nothing, for those may
lie on the same file system. What they say goes to stderr alone, not to Snakemake's log.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

SECONDS_BETWEEN = 60
PATIENCE = 60  # a look takes milliseconds
REMINDER = 3600


def say(line: str) -> None:
    """One line on stderr."""
    os.write(2, f"{line}\n".encode())  # sys.stderr may be locked by a thread that hangs


def look_into(folder: Path) -> None:
    """Ask the file system: it returns when it has answered, be it with an error."""
    with contextlib.suppress(OSError):
        folder.stat()
        with os.scandir(folder) as entries:
            next(entries, None)


def watch_folder(
    folder: Path,
    say: Callable[[str], None] = say,
    look: Callable[[Path], None] = look_into,
    between: float = SECONDS_BETWEEN,
    patience: float = PATIENCE,
    reminder: float = REMINDER,
) -> None:
    """Look into a folder for as long as this process runs, in threads; say when it does not answer.

    Args:
        folder: the folder.
        say: prints one line for the user.
        look: returns when the folder has answered.
        between: seconds between two looks.
        patience: seconds that a look may take.
        reminder: seconds until it is said again.
    """

    def answer(answered: threading.Event) -> None:
        look(folder)
        answered.set()

    def loop() -> None:
        while True:
            began, answered, limit = time.monotonic(), threading.Event(), patience
            threading.Thread(target=answer, args=(answered,), daemon=True, name="look").start()
            while not answered.wait(limit):
                say(
                    f"{folder}: its file system has not answered for {_since(began)}; Snakemake "
                    "stands still until it does"
                )
                limit = reminder
            if limit == reminder:
                say(f"{folder}: its file system answers again, after {_since(began)}")
            time.sleep(between)

    threading.Thread(target=loop, daemon=True, name="watch_folder").start()


def _since(began: float) -> str:
    seconds = time.monotonic() - began
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} minutes"
