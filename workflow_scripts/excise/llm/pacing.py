"""Decide when the next call may start: rates per minute, pauses, and calls in flight."""

import asyncio
import math
import random
from collections.abc import Callable

from aiolimiter import AsyncLimiter

from excise.llm.headers import RateLimits
from excise.llm.in_flight import InFlight, loop_time

REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE = 500, 200_000  # until the server announces limits
BURST_S = 0.5  # the quota of this many seconds may be sent at once
FIRST_PAUSE_S = 0.1  # after a 429 without a waiting time; doubles until an answer arrives
LONGEST_PAUSE_S = 30.0
LONGEST_ANNOUNCED_S = 90.0  # the longest accepted `x-ratelimit-reset-*`


class Rate:
    """An amount per minute, limited by aiolimiter's leaky bucket.

    The bucket is small, because a bucket with a minute's quota would release all of it at once.
    It still holds the largest single amount. The unused part of a call's charge goes to the next
    calls.
    """

    def __init__(self, per_minute: float, largest: float = 1.0):
        self.carry = 0.0  # used but not yet charged; negative: charged but not used
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
    """Lets calls start one at a time, in order, when all limits allow it.

    Args:
        limits: `generation.llm.limits`; if a rate is None, the server announces it.
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
        self._longer: set[Rate] = set()  # rates whose announced limit covers more than a minute
        self.usual_share = 0.25  # of the worst case that calls actually use
        self._measured = 0  # calls that this share is based on
        self._refusals = 0  # refusals since the last answer, of calls sent after the last pause
        self._paused_until = float("-inf")
        self._gate = asyncio.Lock()

    async def enter(self, worst_tokens: int) -> float:
        """Wait until a call may start; return the tokens charged. `leave` must follow."""
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
        """Note the end of a call, and the tokens it used (0 if it was refused)."""
        self.in_flight.release()
        carry = self.tokens.carry + used - charged
        self.tokens.carry = max(carry, -self.tokens.capacity / 2)  # avoid a burst of saved tokens
        if used:
            self._measured += 1
            weight = max(0.05, 1 / self._measured)
            self.usual_share += weight * (min(1.0, used / worst_tokens) - self.usual_share)

    def succeeded(self) -> None:
        """Note an answer; it may allow one more call in flight."""
        self._refusals = 0
        self.in_flight.succeeded()

    def refused(self, wait_s: float | None) -> None:
        """Note HTTP 429: allow fewer calls in flight, and pause for the requested time."""
        self.in_flight.refused()
        if wait_s:
            self.pause(wait_s + random.uniform(0, min(1.0, wait_s / 10)))
        elif self.clock() >= self._paused_until:
            self._refusals += 1
            longest = min(FIRST_PAUSE_S * 2**self._refusals, LONGEST_PAUSE_S)
            self.pause(random.uniform(longest / 2, longest))

    def pause(self, seconds: float) -> None:
        """Start no call for this long."""
        self._paused_until = max(self._paused_until, self.clock() + seconds)

    def observe(self, limits: RateLimits) -> None:
        """Adopt the limits that the server announces, up to those of the settings.

        A limit may cover more than a minute, for instance a day; its reset time shows this. Such a
        limit never raises a rate above the settings, or above the default rate.
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
                limit = min(limit, most or usual)
            allowed = min(limit or math.inf, most or math.inf) * self.headroom
            if limit and allowed != rate.per_minute:
                rate.set(allowed)
        # Longer resets are cut: the next call learns from the server whether to wait.
        if limits.remaining_requests == 0 and limits.reset_requests:
            self.pause(min(limits.reset_requests, LONGEST_ANNOUNCED_S))
        if limits.remaining_tokens == 0 and limits.reset_tokens:
            self.pause(min(limits.reset_tokens, LONGEST_ANNOUNCED_S))
