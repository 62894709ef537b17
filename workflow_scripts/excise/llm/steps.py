"""What a request needs next, judged from the answers it has, in a live run as in a rerun."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from excise.llm.journal import Attempt
from excise.llm.repair import judge
from excise.llm.replies import Reply
from excise.llm.requests import Outcome, Request

Check = Callable[[Request, dict], list[str]]


@dataclass(frozen=True)
class Ask:
    """Send the request, with this length limit; `error` makes it the one re-ask.

    Attributes:
        limit: of the answer, in tokens.
        error: faults of the previous answer, one per line.
        said: the previous answer.
    """

    limit: int
    error: str | None = None
    said: str = ""


def next_step(
    request: Request, answers: Iterable[tuple[Attempt, Reply]], check: Check, longer_max: int
) -> Outcome | Ask:
    """What the answers so far come to, or what to ask.

    Args:
        request: the request.
        answers: its classified answers, oldest first; the first good one counts.
        check: what is wrong with a value that fits the schema.
        longer_max: how often a truncated answer may double the limit.
    """
    limit, error, said, asked_again, cut = request.max_tokens, None, "", False, False
    for attempt, reply in answers:
        if reply.kind == "resample":
            return Outcome(request, "refused", None, [reply.message])
        if reply.kind == "rejected":
            if attempt.sent_now or any(attempt.billed or ()):
                return Outcome(request, "invalid", None, [reply.message])
            continue  # unpaid and from an earlier run: the server may have been reconfigured since
        if reply.kind not in ("ok", "repair", "longer"):
            continue
        whole = reply.kind != "longer"
        judged = judge(reply.text, request.schema, lambda value: check(request, value), mend=whole)
        if judged.value is not None:
            return Outcome(request, judged.status, judged.value, [])
        cut = not whole
        if cut:
            limit = max(limit, attempt.limit * 2)
            continue
        error, said = "\n".join(judged.errors), judged.said
        # Another version of the prompt, or of its schema, may ask once more.
        asked_again |= attempt.again and attempt.prompt_version == request.prompt_version
    if cut and limit > request.max_tokens * 2**longer_max:
        return Outcome(request, "invalid", None, [_cut_off(limit // 2, attempt)])
    if asked_again:
        return Outcome(request, "invalid", None, error.split("\n"))
    return Ask(limit, error, said)


def _cut_off(limit: int, attempt: Attempt) -> str:
    """Reason: no answer was complete. A server that stops long before the limit has no room."""
    made = (attempt.billed or (0, 0))[1]
    short = (
        f", after {made}: the server's context may be too small" if 0 < made < limit // 2 else ""
    )
    return (
        f"the answer was cut off at {limit} tokens{short} "
        "(a higher generation.llm.retry.longer_max asks again)"
    )
