"""Show the progress of a run in one line: calls, tokens, money and remaining time."""

import json
import os
import select
import stat
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column

from excise.llm.tally import Tally

LINE_EVERY_S = 30.0
TELL_EVERY_S = 0.5  # the line of the whole run


class ProgressLine:
    """Shows a bar on a terminal; elsewhere, prints a line every half minute, or nothing.

    If the output goes to a log, the bar appears on the terminal that EXCISE_BAR names. If it names
    the pipe of the line of the whole run, the state appears there.

    Args:
        label: name of the calls.
        tally: counts of the calls; the session updates them.
        shown: False: print nothing.
        console: the output; stdout by default.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        label: str,
        tally: Tally,
        shown: bool = True,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.label, self.tally, self.first = label, tally, tally.waiting
        self.console, self.clock = console or Console(soft_wrap=True), clock
        self.shown, self._bar = shown, None
        self.started = self._last_line = self._last_told = clock()
        self._has_lines = shown and not self.console.is_terminal
        screen = terminal() if self._has_lines else self.console
        rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # cut off on a narrow screen
        if shown and screen is not None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=16),
                MofNCompleteColumn(),
                TextColumn("{task.fields[facts]}", table_column=rest),
                console=screen,
                expand=True,
                get_time=clock,
            )
            self._task = self._bar.add_task(
                label, total=tally.total, completed=tally.accepted, facts="accepted"
            )
            self._bar.start()

    def update(self, in_flight: int, tokens: int, usd: float, away_s: float | None = None) -> None:
        """Show the current state."""
        if not self.shown:
            return
        if self._bar is not None:
            facts = f"accepted, {self.facts(in_flight, tokens, usd, away_s)}{self.time_left()}"
            self._bar.update(self._task, completed=self.tally.accepted, facts=facts)
        if self._has_lines and self.clock() - self._last_told >= TELL_EVERY_S:
            self._last_told = self.clock()
            tell_run(program=self.label, line=self.line(in_flight, tokens, usd, away_s))
        if self._has_lines and self.clock() - self._last_line >= LINE_EVERY_S:
            self._last_line = self.clock()
            self.console.print(self.line(in_flight, tokens, usd, away_s), highlight=False)

    def facts(self, in_flight: int, tokens: int, usd: float, away_s: float | None = None) -> str:
        """Numbers of rejected, repeated and running calls, and the cost so far."""
        tally = self.tally
        round_text = f"round {tally.round}, " if tally.round > 1 else ""
        away = "" if away_s is None else f"no answer for {away_s:.0f} s, "
        money = f", ${usd:.2f}" if usd else ""
        return (
            f"{tally.rejected} rejected, {tally.asked_again} asked again, {round_text}{away}"
            f"{in_flight} in flight, {tokens:,} tokens{money}"
        )

    def line(self, in_flight: int, tokens: int, usd: float, away_s: float | None = None) -> str:
        """The whole line, in plain text."""
        facts = self.facts(in_flight, tokens, usd, away_s)
        count = f"{self.tally.accepted} of {self.tally.total} accepted"
        return f"{self.label}: {count}, {facts}{self.time_left()}"

    def time_left(self) -> str:
        """Remaining time of this round, in words; empty before its first outcome."""
        left = self.seconds_left()
        return "" if not left else f", about {left / 60:.0f} min left"

    def seconds_left(self) -> float | None:
        """Remaining seconds of this round at its current pace; None before its first outcome."""
        made = self.first - self.tally.waiting
        elapsed = self.clock() - self.started
        return self.tally.waiting * elapsed / made if made else None

    def say(self, line: str) -> bool:
        """Print a line above the bar; return whether there is a bar."""
        if self._bar is None:
            return False
        self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)
        return True

    @property
    def has_lines(self) -> bool:
        """Whether lines and the bar have different outputs."""
        return self._has_lines

    def close(self, in_flight: int, tokens: int, usd: float, away_s: float | None = None) -> None:
        """Stop, and leave the last state on the screen."""
        if self._bar is not None:
            self._bar.stop()
        if self._has_lines:
            tell_run(program=self.label, line="")
            self.console.print(self.line(in_flight, tokens, usd, away_s), highlight=False)


def say(line: str, progress: ProgressLine | None = None) -> None:
    """Print a line for the user: in the log, and on the terminal if there is one.

    Args:
        line: the line.
        progress: the bar that may be on the terminal.
    """
    above_bar = progress is not None and progress.say(line)
    if not above_bar or progress.has_lines:
        print(line, flush=True)
    screen = None if above_bar or sys.stdout.isatty() else terminal()
    if screen is not None:
        screen.print(line, highlight=False, markup=False, soft_wrap=True)
    elif not above_bar:
        tell_run(say=line)


def tell_run(**message: str) -> None:
    """Send a message to the line of the whole run (`excise.workflow.run_line`), if there is one.

    Args:
        message: `program` and `line` (empty: it has ended), or `say`.
    """
    named = os.environ.get("EXCISE_BAR") or os.devnull
    text = (json.dumps(message, ensure_ascii=False) + "\n").encode()
    try:
        # Longer texts could mix with those of other programs.
        if not stat.S_ISFIFO(os.stat(named).st_mode) or len(text) > select.PIPE_BUF:  # noqa: PTH116
            return
        pipe = os.open(named, os.O_WRONLY | os.O_NONBLOCK)
        with os.fdopen(pipe, "wb", buffering=0) as run:
            run.write(text)
    except OSError:  # the run has ended, or it is on another machine
        return


def terminal() -> Console | None:
    """The terminal whose device file EXCISE_BAR names, or None."""
    try:
        named = os.environ.get("EXCISE_BAR") or os.devnull
        if stat.S_ISFIFO(os.stat(named).st_mode):  # noqa: PTH116
            return None  # the line of the whole run; `tell_run` writes to it
        file = open(named, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    except OSError:
        return None
    console = Console(file=file)
    return console if console.is_terminal else None
