"""A cap on tokens and money. It cannot be exceeded: each call first reserves its worst case."""

import asyncio
import json
from dataclasses import dataclass

from excise.errors import InputError

BYTES_PER_TOKEN = 4  # of English prose; for estimates, not for the cap
CALL_OVERHEAD = 64  # upper bound of the tokens that a chat template adds to two messages

Cost = tuple[int, int]  # tokens in, tokens out


def worst_case(payload: dict, limit: int, extra_body: dict) -> Cost:
    """The highest cost of a call: a token is at least one byte, and the answer ends at its limit.

    Args:
        payload: the body of the call.
        limit: length limit of the answer, in tokens.
        extra_body: what the settings add to the body; the server may pass it to the model.
    """
    sent = {key: payload.get(key) for key in ("messages", "response_format")} | extra_body
    return len(json.dumps(sent, ensure_ascii=False).encode()) + CALL_OVERHEAD, limit


def expected(worst: Cost) -> Cost:
    """The expected cost of such a call: ordinary prose, and an answer of half the limit."""
    return worst[0] // BYTES_PER_TOKEN, worst[1] // 2


@dataclass(frozen=True)
class Prices:
    """US dollars per million tokens."""

    tokens_in: float
    tokens_out: float

    def usd(self, cost: Cost) -> float:
        """Price of a cost."""
        return (cost[0] * self.tokens_in + cost[1] * self.tokens_out) / 1e6


class BudgetSpentError(InputError):
    """The rest of the budget does not cover the worst case of another call."""


class Budget:
    """Counts the costs so far and the possible costs of calls in flight.

    Args:
        settings: `generation.llm.budget`.
        spent: tokens in and out spent earlier, according to all journals of the folder.
    """

    def __init__(self, settings: dict, spent: Cost = (0, 0)):
        self.max_usd, self.max_tokens = settings["usd"], settings["tokens"]
        self.prices = Prices(settings["usd_per_million_in"], settings["usd_per_million_out"])
        self.spent, self.reserved, self.calls = spent, (0, 0), 0
        self._freed = asyncio.Event()

    def fits(self, *costs: Cost) -> bool:
        """Whether the budget covers these costs in addition to the costs so far."""
        total = _sum(self.spent, *costs)
        return (self.max_tokens is None or sum(total) <= self.max_tokens) and (
            self.max_usd is None or self.prices.usd(total) <= self.max_usd
        )

    def check_estimate(self, estimate: Cost, calls: int) -> None:
        """Check before the first call that the budget covers a batch.

        Raises:
            InputError: it does not; the message gives the estimate.
        """
        if not self.fits(estimate):
            raise InputError(
                f"generation.llm.budget: {self.in_words()}; the estimate for {calls} calls is "
                f"{self._in_words(estimate)} on top of {self._in_words(self.spent)} spent; "
                "none of them was sent; raise the budget or choose a smaller preset"
            )

    async def reserve(self, cost: Cost) -> None:
        """Reserve the worst case of a call; wait while calls in flight may free reserved tokens.

        Raises:
            BudgetSpentError: no call is in flight, and the budget does not cover the call.
        """
        while not self.fits(self.reserved, cost):
            if not self.calls:
                raise BudgetSpentError(
                    f"generation.llm.budget: {self.in_words()}; "
                    f"spent {self._in_words(self.spent)}, the next call may cost "
                    f"{self._in_words(cost)}; all answers are kept: raise the budget and run again"
                )
            self._freed.clear()
            await self._freed.wait()
        self.reserved, self.calls = _sum(self.reserved, cost), self.calls + 1

    def settle(self, reserved: Cost, actual: Cost) -> None:
        """Replace the reservation of a call by its actual cost."""
        self.reserved = self.reserved[0] - reserved[0], self.reserved[1] - reserved[1]
        self.spent, self.calls = _sum(self.spent, actual), self.calls - 1
        self._freed.set()

    def in_words(self) -> str:
        """The budget in words."""
        tokens = [] if self.max_tokens is None else [f"{self.max_tokens:,} tokens"]
        money = [] if self.max_usd is None else [f"${self.max_usd:g}"]
        return "allowed: " + " and ".join(tokens + money)

    def _in_words(self, cost: Cost) -> str:
        money = f" (${self.prices.usd(cost):.4g})" if self.max_usd is not None else ""
        return f"{sum(cost):,} tokens{money}"


def _sum(*costs: Cost) -> Cost:
    return sum(cost[0] for cost in costs), sum(cost[1] for cost in costs)
