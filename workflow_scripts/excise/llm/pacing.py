"""When the next call may be sent: requests and tokens per minute, pauses, places in flight."""

import asyncio
import math
import random
from collections.abc import Callable

from aiolimiter import AsyncLimiter

from excise.llm.headers import RateLimits
from excise.llm.in_flight import InFlight, loop_time

REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE = 500, 200_000  # until the server says; see the schema
BURST_S = 0.5  # the quota of this many seconds may be sent at once
FIRST_PAUSE_S = 0.1  # after a 429 that names no time; doubles until there is an answer
LONGEST_PAUSE_S = 30.0
LONGEST_ANNOUNCED_S = 90.0  # what `x-ratelimit-reset-*` may ask for


class Rate:
    """Amounts per minute, through aiolimiter's leaky bucket.

    The bucket is small, because one that holds a minute's quota lets all of it go at once; it
    still holds the largest single amount. What a call turns out not to have used is handed on to
    the next ones.
    """

    def __init__(self, per_minute: float, largest: float = 1.0):
        self.carry = 0.0  # used and not yet charged; negative: charged and not used
        self._largest = largest
        self.set(per_minute)

    def set(self, per_minute: float) -> None:
        """Change the rate."""
        self.per_minute = per_minute
        self.capacity = max(per_minute / 60 * BURST_S, self._largest)
        self._limiter = AsyncLimiter(self.capacity, self.capacity * 60 / per_minute)

    async def acquire(self, amount: float) -> None:
        """Wait until `amount` may be spent."""
        if amount > self._largest:
            self._largest = amount
            if amount > self.capacity:
                self.set(self.per_minute)
        charged = min(max(amount + self.carry, 0.0), self.capacity)
        self.carry += amount - charged
        await self._limiter.acquire(charged)


class Pacer:
    """Lets calls through one at a time, in order, each when all limits allow it.

    Args:
        limits: `generation.llm.limits`; a rate that is None is the server's to announce.
        adaptation: `generation.llm.adaptation`.
        clock: seconds, monotonic.
    """

    def __init__(self, limits: dict, adaptation: dict, clock: Callable[[], float] = loop_time):
        self.clock, self.use_headers = clock, limits["use_headers"]
        self.headroom = limits["headroom"]
        self.in_flight = InFlight(limits["max_in_flight"], adaptation, clock)
        self.most_requests = limits["requests_per_minute"]
        self.most_tokens = limits["tokens_per_minute"]
        self.requests = Rate((self.most_requests or REQUESTS_PER_MINUTE) * self.headroom)
        self.tokens = Rate((self.most_tokens or TOKENS_PER_MINUTE) * self.headroom)
        self._longer: set[Rate] = set()  # those whose announced limit is of more than a minute
        self.usual_share = 0.25  # of the worst case, that calls turn out to use
        self._measured = 0  # calls behind that share
        self._refusals = 0  # since the last answer, of calls sent after the last pause
        self._paused_until = float("-inf")
        self._gate = asyncio.Lock()

    async def enter(self, worst_tokens: int) -> float:
        """Wait for leave to send; the tokens charged for the call. Pair it with `leave`."""
        async with self._gate:
            await self.in_flight.acquire()
            try:
                charged = worst_tokens * self.usual_share
                await self.tokens.acquire(charged)
                await self.requests.acquire(1)
                while (wait := self._paused_until - self.clock()) > 0:
                    await asyncio.sleep(wait)
            except BaseException:
                self.in_flight.release()
                raise
        return charged

    def leave(self, charged: float, worst_tokens: int, used: int) -> None:
        """The call is over and used this many tokens (0: it was refused)."""
        self.in_flight.release()
        handed_on = self.tokens.carry + used - charged
        self.tokens.carry = max(handed_on, -self.tokens.capacity / 2)  # no burst of savings
        if used:
            self._measured += 1
            weight = max(0.05, 1 / self._measured)
            self.usual_share += weight * (min(1.0, used / worst_tokens) - self.usual_share)

    def succeeded(self) -> None:
        """An answer came: one more call may be allowed."""
        self._refusals = 0
        self.in_flight.succeeded()

    def refused(self, wait_s: float | None) -> None:
        """HTTP 429: fewer calls at once, and none before the server's time is up."""
        self.in_flight.refused()
        if wait_s:
            self.pause(wait_s + random.uniform(0, min(1.0, wait_s / 10)))
        elif self.clock() >= self._paused_until:
            self._refusals += 1
            longest = min(FIRST_PAUSE_S * 2**self._refusals, LONGEST_PAUSE_S)
            self.pause(random.uniform(longest / 2, longest))

    def pause(self, seconds: float) -> None:
        """Send nothing for this long."""
        self._paused_until = max(self._paused_until, self.clock() + seconds)

    def observe(self, limits: RateLimits) -> None:
        """Take over limits that the server announces, up to those of the settings.

        One that takes longer to be whole again than a minute's (a day's, for instance) raises no
        rate above that of the settings, or the usual one: a day's quota is not a minute's.
        """
        if not self.use_headers:
            return
        announced = (
            (self.requests, limits.limit_requests, limits.reset_requests),
            (self.tokens, limits.limit_tokens, limits.reset_tokens),
        )
        for rate, limit, reset in announced:
            most = self.most_requests if rate is self.requests else self.most_tokens
            usual = REQUESTS_PER_MINUTE if rate is self.requests else TOKENS_PER_MINUTE
            if reset and reset > LONGEST_ANNOUNCED_S:
                self._longer.add(rate)
            if limit and rate in self._longer:
                limit = min(limit, most or usual)  # so many a day are never more in a minute
            allowed = min(limit or math.inf, most or math.inf) * self.headroom
            if limit and allowed != rate.per_minute:
                rate.set(allowed)
        # A longer reset than that is no pause to sleep through unasked: the next call will be told.
        if limits.remaining_requests == 0 and limits.reset_requests:
            self.pause(min(limits.reset_requests, LONGEST_ANNOUNCED_S))
        if limits.remaining_tokens == 0 and limits.reset_tokens:
            self.pause(min(limits.reset_tokens, LONGEST_ANNOUNCED_S))
