"""One line about the run: done, in flight, tokens, money, time left."""

import os
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 30.0


class ProgressLine:
    """A live bar on a terminal; elsewhere a plain line every half minute; or nothing.

    Where the output goes to a log, the bar is shown on the terminal that EXCISE_BAR names.

    Args:
        label: what is being asked.
        total: requests in all.
        done: requests the journal answers.
        shown: False: print nothing.
        console: where to; stdout by default.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        label: str,
        total: int,
        done: int,
        shown: bool = True,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.label, self.total, self.done, self.first = label, total, done, done
        self.console, self.clock = console or Console(soft_wrap=True), clock
        self.shown, self._bar = shown, None
        self.started = self._last_line = clock()
        self._has_lines = shown and not self.console.is_terminal
        screen = terminal() if self._has_lines else self.console
        if shown and screen is not None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[facts]}"),
                TimeRemainingColumn(),
                console=screen,
                get_time=clock,
            )
            self._task = self._bar.add_task(label, total=total, completed=done, facts="")
            self._bar.start()

    def update(self, done: int, in_flight: int, tokens: int, usd: float) -> None:
        """Show where the run stands."""
        self.done = done
        if not self.shown:
            return
        if self._bar is not None:
            facts = self.facts(in_flight, tokens, usd)
            self._bar.update(self._task, completed=done, facts=facts)
        if self._has_lines and self.clock() - self._last_line >= LINE_EVERY_S:
            self._last_line = self.clock()
            self.console.print(self.line(in_flight, tokens, usd), highlight=False)

    def facts(self, in_flight: int, tokens: int, usd: float) -> str:
        """What is in flight and what has been spent."""
        money = f", ${usd:.2f}" if usd else ""
        return f"{in_flight} in flight, {tokens:,} tokens{money}"

    def line(self, in_flight: int, tokens: int, usd: float) -> str:
        """The whole line in plain text."""
        left = self.seconds_left()
        when = "" if left is None else f", about {left / 60:.0f} min left"
        facts = self.facts(in_flight, tokens, usd)
        return f"{self.label}: {self.done} of {self.total} done, {facts}{when}"

    def seconds_left(self) -> float | None:
        """At the pace of this run so far; None before its first answer."""
        made = self.done - self.first
        elapsed = self.clock() - self.started
        return (self.total - self.done) * elapsed / made if made else None

    def close(self, in_flight: int, tokens: int, usd: float) -> None:
        """Leave the last state on the screen."""
        if self._bar is not None:
            self._bar.stop()
        if self._has_lines:
            self.console.print(self.line(in_flight, tokens, usd), highlight=False)


def terminal() -> Console | None:
    """The terminal that EXCISE_BAR names, by its device file; None where there is none."""
    try:
        named = os.environ.get("EXCISE_BAR") or os.devnull
        file = open(named, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    except OSError:
        return None
    console = Console(file=file)
    return console if console.is_terminal else None
