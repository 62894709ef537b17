"""While the endpoint is away: how long, who tries next, and what the user is told.

A server that restarts resets the calls under way, refuses connections, and answers 502, 503 or
504 until it has loaded its model. That says nothing about the requests: only the one that meets it
first is charged an attempt (so that a request that fells the server is given up some time). How
long it may last is the breaker's to say (`generation.llm.adaptation.breaker_s`).
"""

import asyncio
import random
from collections.abc import Callable

from excise.llm.in_flight import loop_time

FIRST_WAIT_S = 0.5  # doubles with each call that finds the endpoint away
LONGEST_WAIT_S = 10.0
TOLD_AFTER_S = 5.0  # of an endpoint that takes connections: a busy one answers 503 now and then


class Outage:
    """Whether the endpoint is away. While it refuses connections, one call at a time tries.

    Args:
        longest_s: longest wait between two calls, `generation.llm.retry.max_wait_s`.
        breaker_s: how long it may last, for the message.
        say: prints a line for the user.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        longest_s: float,
        breaker_s: float,
        say: Callable[[str], None],
        clock: Callable[[], float] = loop_time,
    ):
        self.longest_s, self.breaker_s = min(longest_s, LONGEST_WAIT_S), breaker_s
        self.say, self.clock = say, clock
        self.since: float | None = None
        self._refuses = self._told = False
        self._calls = 0
        self._turn = asyncio.Lock()

    @property
    def seconds(self) -> float | None:
        """How long the endpoint has been away; None while it is there."""
        return None if self.since is None else self.clock() - self.since

    async def wait(self) -> bool:
        """Wait until a call may be sent: at once unless the endpoint refuses connections.

        Returns:
            Whether it is this call's turn to try; then `tried` must follow.
        """
        if not self._refuses:
            return False
        await self._turn.acquire()
        if not self._refuses:  # another call has found it back
            self._turn.release()
            return False
        wait = min(self.longest_s, FIRST_WAIT_S * 2 ** min(self._calls, 10))
        try:
            await asyncio.sleep(random.uniform(wait / 2, wait))
        except BaseException:
            self._turn.release()
            raise
        return True

    def tried(self) -> None:
        """The call whose turn it was is over."""
        self._turn.release()

    def away(self, message: str, refused: bool) -> bool:
        """A call did not get through to the model.

        Args:
            message: how, with the endpoint's name.
            refused: there was no connection.

        Returns:
            Whether it is the first since an answer.
        """
        first = self.since is None
        self.since = self.clock() if first else self.since
        self._calls += 1
        self._refuses |= refused
        if not self._told and (refused or self.seconds >= TOLD_AFTER_S):
            self._told = True
            self.say(
                f"{message}; trying again for up to {self.breaker_s:g} s "
                "(generation.llm.adaptation.breaker_s)"
            )
        return first

    def back(self, host: str) -> None:
        """The endpoint has answered."""
        if self._told:
            self.say(f"{host} answers again, after {self.seconds:.0f} s")
        self.since, self._calls = None, 0
        self._refuses = self._told = False
