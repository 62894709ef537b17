"""Decide when to send a failed call again, with tenacity.

tenacity's loop, its full-jitter exponential wait and its async support fit. Its stop conditions do
not fit: a 429 or an absent endpoint delays a request, but must not use up its attempts. So attempts
are counted here. The circuit breaker ends a run in which only such failures occur.
"""

import random

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential


class TryAgainError(Exception):
    """A call failed, but another attempt may succeed.

    Args:
        message: the failure.
        wait_s: waiting time that the server requests.
        rate_limited: HTTP 429; it does not count as an attempt.
        away: an earlier call found the endpoint away; this does not count as an attempt either.
    """

    def __init__(
        self,
        message: str,
        wait_s: float | None = None,
        rate_limited: bool = False,
        away: bool = False,
    ):
        super().__init__(message)
        self.wait_s, self.rate_limited, self.away = wait_s, rate_limited, away


def retrying(settings: dict) -> AsyncRetrying:
    """A retry loop for one call, from `generation.llm.retry`; raises the last `TryAgainError`."""
    failures = 0

    def attempts_used(state: RetryCallState) -> bool:
        nonlocal failures
        failure = _failure(state)
        failures += not (failure.rate_limited or failure.away)
        return failures >= settings["attempts"]

    backoff = wait_random_exponential(multiplier=1, max=settings["max_wait_s"])

    def wait(state: RetryCallState) -> float:
        failure = _failure(state)
        if failure.wait_s is None and not (failure.rate_limited or failure.away):
            return backoff(state)
        # The pacer or the outage pauses all calls; this wait only spreads them afterwards.
        return (failure.wait_s or 0.0) + random.uniform(0, min(1.0, settings["max_wait_s"]))

    return AsyncRetrying(
        retry=retry_if_exception_type(TryAgainError), stop=attempts_used, wait=wait, reraise=True
    )


def _failure(state: RetryCallState) -> TryAgainError:
    return state.outcome.exception()
