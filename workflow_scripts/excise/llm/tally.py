"""Count accepted and rejected calls, and recognise a weak author."""

from collections import Counter
from dataclasses import dataclass, field

from excise.llm.requests import Outcome
from excise.llm.steps import Ask

FIRST_REPLIES = 10
WEAK = 0.5  # if at most this share of the first replies is accepted, print advice
ADVICE = {  # reason of rejections → what usually helps
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
        total: calls that need an answer; repetitions in further rounds do not count.
        accepted: calls with an accepted answer.
        rejected: requests without a usable reply, over all rounds.
        asked_again: requests sent again with the faults of their reply, and repeated calls.
        round: 1 for first calls, 2 for repeated ones, and so on.
        waiting: requests of this round without an outcome.
        replies: judged replies.
    """

    total: int = 0
    accepted: int = 0
    rejected: int = 0
    asked_again: int = 0
    round: int = 0
    waiting: int = 0
    replies: int = 0
    _accepted_replies: int = 0
    _before: int = 0  # accepted in earlier batches of calls
    _batch: int = 0
    _reasons: Counter = field(default_factory=Counter)

    def begin(self, requests: int, again: bool) -> None:
        """Start a round.

        Args:
            requests: number of requests.
            again: whether they replace failed or withdrawn requests of the previous round.
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
        """Count the outcome of a request."""
        self.waiting -= 1
        if outcome.value is None:
            self.rejected += 1
        else:
            self.accepted += 1

    def count_reply(self, kind: str, step: Outcome | Ask) -> bool:
        """Count a judged reply.

        Args:
            kind: kind of the reply (see `replies`).
            step: the next step of its request.

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
        """One line about the first replies, with advice for a weak author."""
        line = f"{self._accepted_replies} of the first {FIRST_REPLIES} replies accepted"
        if not self._reasons:
            return line
        reasons = self._reasons.most_common()
        line += f" (rejected: {', '.join(f'{name} {count}' for name, count in reasons)})"
        if self._accepted_replies > WEAK * FIRST_REPLIES:
            return line
        advice = [ADVICE[name].format(rung=rung) for name, _ in reasons]
        advice = dict.fromkeys([*advice, ADVICE["content"]])
        return f"{line}; what usually helps: {'; '.join(advice)}"


def _reason(kind: str, errors: list[str]) -> str:
    named = {"longer": "cut off", "rejected": "too long", "resample": "refused"}
    if kind in named:
        return named[kind]
    form = errors and (errors[0].startswith(("the reply ", "$")) or not errors[0])
    return "form" if form else "content"
