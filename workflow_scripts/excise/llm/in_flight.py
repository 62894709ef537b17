"""Limit the number of calls in flight, and decide when to give up on an endpoint."""

import asyncio
from collections import deque
from collections.abc import Callable

from excise.errors import InputError


def loop_time() -> float:
    """Seconds on the running event loop's clock."""
    return asyncio.get_running_loop().time()


class InFlight:
    """Limits the calls in flight by additive increase and multiplicative decrease, as TCP does.

    Args:
        most: largest number of calls, and the initial one.
        adaptation: `generation.llm.adaptation`: `decrease` (factor), `increase` (calls) per
            `window` successes, `cooldown_s` (one cut per burst of refusals).
        clock: seconds, monotonic.
    """

    def __init__(self, most: int, adaptation: dict, clock: Callable[[], float] = loop_time):
        self.most, self.adaptation, self.clock = most, adaptation, clock
        self.allowed, self.active = float(most), 0
        self._successes, self._last_cut = 0, float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        """Wait for a free place."""
        while self.active >= max(1, int(self.allowed)):
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            await place
        self.active += 1

    def release(self) -> None:
        """Free a place."""
        self.active -= 1
        self._wake()

    def succeeded(self) -> None:
        """Count an answer; a full window of answers allows more calls."""
        self._successes += 1
        if self._successes >= self.adaptation["window"]:
            self._successes = 0
            self.allowed = min(self.most, self.allowed + self.adaptation["increase"])
            self._wake()

    def refused(self) -> bool:
        """Reduce the number of calls, once per burst of refusals; return whether it was reduced."""
        now = self.clock()
        self._successes = 0
        if now - self._last_cut < self.adaptation["cooldown_s"]:
            return False
        self._last_cut = now
        self.allowed = max(1.0, self.allowed * self.adaptation["decrease"])
        return True

    def _wake(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return


class Breaker:
    """Ends a run after too long a time with failures only.

    Args:
        after_s: seconds of failures without an answer.
        clock: seconds, monotonic.
    """

    def __init__(self, after_s: float, clock: Callable[[], float] = loop_time):
        self.after_s, self.clock = after_s, clock
        self._failing_since: float | None = None
        self._longest_wait = 0.0

    def succeeded(self) -> None:
        """Note an answer."""
        self._failing_since, self._longest_wait = None, 0.0

    def failed(self, message: str, wait_s: float | None = None) -> None:
        """Note a failure; the longest wait that the server requested does not count.

        Raises:
            InputError: calls have failed for too long.
        """
        now = self.clock()
        if self._failing_since is None:
            self._failing_since = now
        self._longest_wait = max(self._longest_wait, wait_s or 0.0)
        if now - self._failing_since >= self.after_s + self._longest_wait:
            raise InputError(
                f"the endpoint has answered nothing for {now - self._failing_since:.0f} s "
                f"(generation.llm.adaptation.breaker_s: {self.after_s:g}); last: {message}; "
                "all answers are kept: run again later"
            )
