"""A cap on tokens and money that is never crossed: the worst case is set aside before each call."""

import asyncio
import json
from dataclasses import dataclass

from excise.errors import InputError

BYTES_PER_TOKEN = 4  # of English prose, for estimates; never for the cap
CALL_OVERHEAD = 64  # tokens that a chat template adds to two messages, generously

Cost = tuple[int, int]  # tokens in, tokens out


def worst_case(payload: dict, limit: int, extra_body: dict) -> Cost:
    """The most a call can cost: a token is at least one byte, and the answer stops at its limit.

    Args:
        payload: the body of the call.
        limit: the answer's length limit, in tokens.
        extra_body: what the settings add to the body; a server may put it before the model.
    """
    sent = {key: payload.get(key) for key in ("messages", "response_format")} | extra_body
    return len(json.dumps(sent, ensure_ascii=False).encode()) + CALL_OVERHEAD, limit


def expected(worst: Cost) -> Cost:
    """What such a call costs in ordinary prose, its answer half as long as the limit."""
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
    """What is left of the budget does not cover the worst case of one more call."""


class Budget:
    """Counts what is spent and what calls under way may still cost.

    Args:
        settings: `generation.llm.budget`.
        spent: tokens in and out spent before, by every journal of the folder.
    """

    def __init__(self, settings: dict, spent: Cost = (0, 0)):
        self.max_usd, self.max_tokens = settings["usd"], settings["tokens"]
        self.prices = Prices(settings["usd_per_million_in"], settings["usd_per_million_out"])
        self.spent, self.reserved, self.calls = spent, (0, 0), 0
        self._freed = asyncio.Event()

    def fits(self, *costs: Cost) -> bool:
        """Whether these costs, on top of what is spent, stay within the budget."""
        total = _sum(self.spent, *costs)
        return (self.max_tokens is None or sum(total) <= self.max_tokens) and (
            self.max_usd is None or self.prices.usd(total) <= self.max_usd
        )

    def check_estimate(self, estimate: Cost, calls: int) -> None:
        """Refuse a batch that would not fit, before its first call.

        Raises:
            InputError: with the estimate.
        """
        if not self.fits(estimate):
            raise InputError(
                f"generation.llm.budget: {self.words()}; the estimate for {calls} calls is "
                f"{self._worth(estimate)} on top of {self._worth(self.spent)} spent; "
                "none of them was sent; raise the budget or choose a smaller preset"
            )

    async def reserve(self, cost: Cost) -> None:
        """Set aside the worst case of a call; waits while calls under way may give some back.

        Raises:
            BudgetSpentError: nothing is under way and the call does not fit.
        """
        while not self.fits(self.reserved, cost):
            if not self.calls:
                raise BudgetSpentError(
                    f"generation.llm.budget: {self.words()}; spent {self._worth(self.spent)}, the "
                    f"next call may cost {self._worth(cost)}; the answers so far are kept: raise "
                    "the budget and run again"
                )
            self._freed.clear()
            await self._freed.wait()
        self.reserved, self.calls = _sum(self.reserved, cost), self.calls + 1

    def settle(self, reserved: Cost, actual: Cost) -> None:
        """Give back what was set aside for a call and count what it cost."""
        self.reserved = self.reserved[0] - reserved[0], self.reserved[1] - reserved[1]
        self.spent, self.calls = _sum(self.spent, actual), self.calls - 1
        self._freed.set()

    def words(self) -> str:
        """The budget in words."""
        tokens = [] if self.max_tokens is None else [f"{self.max_tokens:,} tokens"]
        money = [] if self.max_usd is None else [f"${self.max_usd:g}"]
        return "allowed: " + " and ".join(tokens + money)

    def _worth(self, cost: Cost) -> str:
        money = f" (${self.prices.usd(cost):.4g})" if self.max_usd is not None else ""
        return f"{sum(cost):,} tokens{money}"


def _sum(*costs: Cost) -> Cost:
    return sum(cost[0] for cost in costs), sum(cost[1] for cost in costs)
