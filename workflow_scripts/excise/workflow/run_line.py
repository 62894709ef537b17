"""One line on the terminal for a whole run: stage, jobs done, time left (`make run`).

Elsewhere (a pipe, a file), it is a plain line every few jobs and every minute. Programs whose own
line changes (`excise.llm.progress`) send it here through a named pipe, so only one bar is drawn.
Every job imports this module, so it must not import torch.
"""

import contextlib
import json
import math
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text

from excise.workflow.time_left import Plan, TimeLeft

LINES = 20
"""So many plain lines for the jobs of a run, if it has as many jobs."""

LINE_EVERY_S = 60.0
"""A plain line also after so many seconds without one."""

REFRESH_S = 1.0

TOLD_S = 10.0
"""A program that has told nothing for so long has ended."""


class RunLine:
    """Shows what a run does.

    Args:
        console: the output; stderr by default.
        clock: seconds, monotonic.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic):
        self.console = console or Console(stderr=True, soft_wrap=True)
        self.clock = clock
        self.work: TimeLeft | None = None
        self.titles: dict[int, str] = {}  # of running jobs, the latest last
        self.told: dict[str, tuple[float, str]] = {}  # program → when it told which line
        self._bar: Progress | None = None
        self._last_line, self._lines_at = clock(), 0
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._folder: Path | None = None
        self.pipe = self._open_pipe() if self.console.is_terminal else ""

    # --- what happens ---

    def begin(self, plan: Plan) -> None:
        """The first job is about to start."""
        with self._lock:
            self.work = TimeLeft(plan, self.clock())
            self._last_line = self.clock()
            if self.console.is_terminal:
                self._start_bar(f"jobs, {self.work.estimate(self.clock())}".removesuffix(", "))
            threading.Thread(target=self._refresh, daemon=True).start()

    def start(self, number: int, title: str) -> None:
        """A job starts; `title` is its message or its rule."""
        with self._lock:
            self.titles.pop(number, None)
            self.titles[number] = title
            if self.work is not None:
                self.work.start(number, self.clock())
        self._show()

    def finish(self, number: int) -> None:
        """A job has finished."""
        with self._lock:
            if self.work is not None:
                self.work.finish(number, self.clock())
        self._show()
        with self._lock:
            self.titles.pop(number, None)

    def fail(self, number: int) -> None:
        """A job has failed."""
        with self._lock:
            self.titles.pop(number, None)
            if self.work is not None:
                self.work.fail(number)

    def drop(self, number: int) -> None:
        """A job need not run after all."""
        with self._lock:
            if self.work is not None:
                self.work.drop(number)

    def say(self, text: str, style: str = "") -> None:
        """Print a message above the line."""
        self.console.print(Text(text, style=style), soft_wrap=True)

    def close(self) -> None:
        """Remove the bar and print the last state."""
        with self._lock:
            self._closed.set()
            if self._bar is not None:
                self._bar.stop()
                self._bar = None
            if self.work is not None:
                self.say(self.last_line())
                self.work = None
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None

    # --- what it says ---

    def stage(self) -> str:
        """What runs now: the latest line of a program, or the titles of the running jobs."""
        told = [line for when, line in self.told.values() if self.clock() - when < TOLD_S]
        if told:
            return told[-1]
        *others, latest = self.titles.values() or [""]
        return f"{latest} (and {len(others)} more)" if others else latest

    def line(self) -> str:
        """The state in plain text."""
        left = str(self.work.estimate(self.clock()))
        parts = [f"{self.work.done} of {self.work.total} jobs done", *([left] if left else [])]
        return ", ".join(parts) + (f": {self.stage()}" if self.stage() else "")

    def last_line(self) -> str:
        """The state after the last job."""
        seconds = self.clock() - self.work.began
        took = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
        return f"{self.work.done} of {self.work.total} jobs done in {took}"

    # --- drawing ---

    def _start_bar(self, facts: str) -> None:
        rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # cut off on a narrow screen
        self._bar = Progress(
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}", table_column=rest, markup=False),
            console=self.console,
            expand=True,
            transient=True,
            get_time=self.clock,
            refresh_per_second=2,
        )
        self._task = self._bar.add_task("", total=self.work.total, facts=facts)
        self._bar.start()

    def _show(self) -> None:
        with self._lock:
            if self.work is None:
                return
            if self._bar is not None:
                left = str(self.work.estimate(self.clock()))
                facts = ", ".join(filter(None, ["jobs", left])) + f": {self.stage()}"
                self._bar.update(
                    self._task, completed=self.work.done, total=self.work.total, facts=facts
                )
                return
            every = math.ceil(self.work.total / LINES)
            late = self.clock() - self._last_line >= LINE_EVERY_S
            if late or self.work.done >= self._lines_at + every:
                self._last_line, self._lines_at = self.clock(), self.work.done
                self.say(self.line())

    def _refresh(self) -> None:
        while not self._closed.wait(REFRESH_S):
            self._show()

    # --- lines of programs ---

    def _open_pipe(self) -> str:
        """Make the pipe and read it; return its path, or nothing if there can be none."""
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="excise-line-"))
            pipe = self._folder / "line"
            os.mkfifo(pipe, 0o600)
            # Opened for writing too: else it would end with the first program.
            descriptor = os.open(pipe, os.O_RDWR)
        except OSError:
            return ""
        threading.Thread(target=self._listen, args=(descriptor,), daemon=True).start()
        return str(pipe)

    def _listen(self, descriptor: int) -> None:
        with os.fdopen(descriptor, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    self.hear(json.loads(line))

    def hear(self, message: dict[str, str]) -> None:
        """Take a message of a program: `line` to show (empty at its end), or `say` to print."""
        with self._lock:
            if "say" in message:
                self.say(str(message["say"]))
                return
            self.told.pop(message["program"], None)
            if message["line"]:
                self.told[message["program"]] = (self.clock(), str(message["line"]))
        self._show()
