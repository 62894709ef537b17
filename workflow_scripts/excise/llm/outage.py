"""Wait while the endpoint is away, and tell the user.

A server that restarts resets the calls in flight, refuses connections, and answers 502, 503 or 504
until it has loaded its model. The requests are not at fault. Only the first one that fails after it
was sent uses up an attempt. So a request that crashes the server is given up after some attempts.
The circuit breaker limits the outage (`generation.llm.adaptation.breaker_s`).
"""

import asyncio
import random
from collections.abc import Callable

from excise.llm.in_flight import loop_time

FIRST_WAIT_S = 0.5  # doubles with each call that finds the endpoint away
LONGEST_WAIT_S = 10.0
REPORT_AFTER_S = 5.0  # if connections work, because a busy endpoint sometimes answers 503


class Outage:
    """Knows whether the endpoint is away. While it refuses connections, calls try one at a time.

    Args:
        longest_s: longest wait between two trials, `generation.llm.retry.max_wait_s`.
        breaker_s: longest outage, for the message.
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
        self._refuses = self._reported = False
        self._calls = 0
        self._trial = asyncio.Lock()

    @property
    def seconds(self) -> float | None:
        """Duration of the outage; None while the endpoint answers."""
        return None if self.since is None else self.clock() - self.since

    async def wait(self) -> bool:
        """Wait until a call may be sent; return at once unless the endpoint refuses connections.

        Returns:
            Whether this call is a trial. If so, `trial_ended` must follow.
        """
        if not self._refuses:
            return False
        await self._trial.acquire()
        if not self._refuses:  # another call got an answer
            self._trial.release()
            return False
        wait = min(self.longest_s, FIRST_WAIT_S * 2 ** min(self._calls, 10))
        try:
            await asyncio.sleep(random.uniform(wait / 2, wait))
        except BaseException:
            self._trial.release()
            raise
        return True

    def trial_ended(self) -> None:
        """Note the end of a trial."""
        self._trial.release()

    def away(self, message: str, refused: bool) -> bool:
        """Note that a call did not reach the model.

        Args:
            message: the failure, with the endpoint's name.
            refused: whether the connection was refused.

        Returns:
            Whether it is the first failure since an answer.
        """
        first = self.since is None
        self.since = self.clock() if first else self.since
        self._calls += 1
        self._refuses |= refused
        if not self._reported and (refused or self.seconds >= REPORT_AFTER_S):
            self._reported = True
            self.say(
                f"{message}; trying again for up to {self.breaker_s:g} s "
                "(generation.llm.adaptation.breaker_s)"
            )
        return first

    def ended(self, host: str, sent: float) -> None:
        """Note that the endpoint has answered.

        Args:
            host: the endpoint, for the message.
            sent: when the call was sent, by the clock. An answer to a call from before the outage
                says nothing: it may have been under way when the endpoint went.
        """
        if self.since is not None and sent < self.since:
            return
        if self._reported:
            self.say(f"{host} answers again, after {self.seconds:.0f} s")
        self.since, self._calls = None, 0
        self._refuses = self._reported = False
