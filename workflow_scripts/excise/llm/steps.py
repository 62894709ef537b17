"""Decide the next step of a request from its answers; a rerun decides in the same way."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from excise.llm.journal import Attempt
from excise.llm.repair import judge
from excise.llm.replies import Reply
from excise.llm.requests import Outcome, Request

Check = Callable[[Request, dict], list[str]]


@dataclass(frozen=True)
class Ask:
    """Send the request; with `error`, it is the one re-ask.

    Attributes:
        limit: length limit of the answer, in tokens.
        error: faults of the previous answer, one per line.
        previous_reply: the previous answer.
    """

    limit: int
    error: str | None = None
    previous_reply: str = ""


def next_step(
    request: Request, answers: Iterable[tuple[Attempt, Reply]], check: Check, longer_max: int
) -> Outcome | Ask:
    """The outcome of a request, or what to send next.

    Args:
        request: the request.
        answers: its classified answers, oldest first; the first good one counts.
        check: finds faults in a value that fits the schema.
        longer_max: how often truncated answers may double the limit.
    """
    limit, error, previous_reply = request.max_tokens, None, ""
    asked_again = cut = False
    for attempt, reply in answers:
        if reply.kind == "resample":
            return Outcome(request, "refused", None, [reply.message])
        if reply.kind == "rejected":
            if attempt.sent_now or any(attempt.billed or ()):
                return Outcome(request, "invalid", None, [reply.message])
            continue  # unpaid, from an earlier run: the server may be configured anew
        if reply.kind not in ("ok", "repair", "longer"):
            continue
        whole = reply.kind != "longer"
        judged = judge(reply.text, request.schema, lambda value: check(request, value), whole)
        if judged.value is not None:
            return Outcome(request, judged.status, judged.value, [])
        cut = not whole
        if cut:
            limit = max(limit, attempt.limit * 2)
            continue
        error, previous_reply = "\n".join(judged.errors), judged.sendable
        # Another version of the prompt or of its schema may ask once more.
        asked_again |= attempt.again and attempt.prompt_version == request.prompt_version
    if cut and limit > request.max_tokens * 2**longer_max:
        return Outcome(request, "invalid", None, [_cut_off(limit // 2, attempt)])
    if asked_again:
        return Outcome(request, "invalid", None, error.split("\n"))
    return Ask(limit, error, previous_reply)


def _cut_off(limit: int, attempt: Attempt) -> str:
    """The reason if no answer was complete; an early end indicates a small context."""
    tokens = (attempt.billed or (0, 0))[1]
    short = (
        f", after {tokens}: the server's context may be too small"
        if 0 < tokens < limit // 2
        else ""
    )
    return (
        f"the answer was cut off at {limit} tokens{short} "
        "(a higher generation.llm.retry.longer_max asks again)"
    )
