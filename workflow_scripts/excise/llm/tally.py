"""Count accepted and rejected calls, and tell whether the author is weak."""

from collections import Counter
from dataclasses import dataclass, field

from excise.llm.requests import Outcome
from excise.llm.steps import Ask

FIRST_REPLIES = 10
WEAK = 0.5  # if at most this share of the first replies is accepted, say what usually helps
WHAT_HELPS = {  # why replies are rejected → what usually helps
    "content": "a larger model",
    "form": "an endpoint that enforces JSON Schemas (structured: here {rung} is in use)",
    "cut off": "a server with a longer context, or a model that thinks less",
    "too long": "a server with a longer context",
    "refused": "a model that refuses less",
}


@dataclass
class Tally:
    """Counts over all rounds of a session.

    Attributes:
        total: calls that need an answer; a call repeated in further rounds counts once.
        accepted: those that have one.
        rejected: requests without a usable reply, over all rounds.
        asked_again: requests sent with the fault of their reply, and calls made again.
        round: 1 for calls made for the first time, 2 for those made again, and so on.
        waiting: requests of this round without an outcome yet.
    """

    total: int = 0
    accepted: int = 0
    rejected: int = 0
    asked_again: int = 0
    round: int = 0
    waiting: int = 0
    replies: int = 0
    _accepted_replies: int = 0
    _before: int = 0  # accepted before this batch of calls
    _batch: int = 0
    _reasons: Counter = field(default_factory=Counter)

    def begin(self, requests: int, again: bool) -> None:
        """Start a round.

        Args:
            requests: their number.
            again: whether they replace requests of the previous round that failed or were
                withdrawn.
        """
        self.waiting = requests
        if again:
            self.round += 1
            self.asked_again += requests
            self.accepted = self._before + self._batch - requests
        else:
            self.round, self._batch, self._before = 1, requests, self.accepted
            self.total += requests

    def settle(self, outcome: Outcome) -> None:
        """Note that a request has its outcome."""
        self.waiting -= 1
        if outcome.value is None:
            self.rejected += 1
        else:
            self.accepted += 1

    def reply(self, kind: str, step: Outcome | Ask) -> bool:
        """Note that a reply was judged.

        Args:
            kind: of the reply, as classified.
            step: the next step.

        Returns:
            Whether it is the last of the first replies.
        """
        self.replies += 1
        if self.replies > FIRST_REPLIES:
            return False
        if isinstance(step, Outcome) and step.value is not None:
            self._accepted_replies += 1
        else:
            errors = [step.error or ""] if isinstance(step, Ask) else step.errors
            self._reasons[_reason(kind, errors)] += 1
        return self.replies == FIRST_REPLIES

    def first_replies(self, rung: str) -> str:
        """One line about the first replies; for a weak author also what usually helps."""
        line = f"{self._accepted_replies} of the first {FIRST_REPLIES} replies accepted"
        if not self._reasons:
            return line
        reasons = self._reasons.most_common()
        line += f" (rejected: {', '.join(f'{name} {count}' for name, count in reasons)})"
        if self._accepted_replies > WEAK * FIRST_REPLIES:
            return line
        helps = [WHAT_HELPS[name].format(rung=rung) for name, _ in reasons]
        more = [] if WHAT_HELPS["content"] in helps else [WHAT_HELPS["content"]]
        return f"{line}; what usually helps: {'; '.join(dict.fromkeys(helps + more))}"


def _reason(kind: str, errors: list[str]) -> str:
    named = {"longer": "cut off", "rejected": "too long", "resample": "refused"}
    if kind in named:
        return named[kind]
    form = errors and (errors[0].startswith(("the reply ", "$")) or not errors[0])
    return "form" if form else "content"
