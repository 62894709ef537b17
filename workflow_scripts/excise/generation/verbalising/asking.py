"""Asking until every call has an answer: what was refused or wrong is drawn again, not for ever."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from excise.errors import InputError
from excise.llm import Request, Session

Check = Callable[[Request, dict], list[str]]


@dataclass
class Answers:
    """What came of the calls.

    Attributes:
        values: call → its accepted reply.
        failed: call → what was wrong with its last reply.
        refused: those of the failed whose every reply was a refusal, in their order.
        resampled: how many calls were drawn again, each time counted.
    """

    values: dict[str, dict] = field(default_factory=dict)
    failed: dict[str, list[str]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    resampled: int = 0


def ask(
    session: Session,
    calls: Sequence[str],
    request: Callable[[str, int], Request],
    check: Check,
    resample_max: int,
    *,
    refused: Callable[[str], None] | None = None,
    clashes: Callable[[dict[str, dict]], dict[str, str]] | None = None,
) -> Answers:
    """Make every call, and make those again, as another sample, that gave nothing to use.

    Rounds: all calls, then all that failed, and so on. What is drawn in which round follows
    from the replies alone, so a run that was killed continues to the same records.

    Args:
        session: where requests go.
        calls: names of the calls, each the subject of its requests.
        request: makes the request of a call and a sample number.
        check: what is wrong with a reply.
        resample_max: samples after the first.
        refused: told of each refused call before it is made again.
        clashes: what is wrong with accepted replies taken together: call to be made again → why.

    Raises:
        InputError: some calls got no reply at all (the service, or the budget); what was
            answered is in the journal.
    """
    answers = Answers()
    waiting, refusals = list(calls), Counter()
    for sample in range(resample_max + 1):
        requests = [request(call, sample) for call in waiting]
        outcomes = session.complete(requests, check, again=sample > 0)
        stop_at_silence(waiting, outcomes)
        answers.failed = {}
        for call, outcome in zip(waiting, outcomes, strict=True):
            if outcome.value is not None:
                answers.values[call] = outcome.value
                continue
            answers.failed[call] = outcome.errors or [outcome.status]
            refusals[call] += outcome.status == "refused"
            if outcome.status == "refused" and refused and sample < resample_max:
                refused(call)
        for call, why in (clashes(answers.values) if clashes else {}).items():
            del answers.values[call]
            answers.failed[call] = [why]
        waiting = [call for call in calls if call in answers.failed]
        if not waiting:
            break
        answers.resampled += len(waiting) if sample < resample_max else 0
    answers.refused = [call for call in answers.failed if refusals[call] > resample_max]
    return answers


def stop_at_silence(calls: Sequence[str], outcomes: Sequence) -> None:
    """An `InputError` if the service did not answer some calls."""
    silent = [
        (call, outcome)
        for call, outcome in zip(calls, outcomes, strict=True)
        if outcome.status == "unavailable"
    ]
    if silent:
        call, outcome = silent[0]
        why = "; ".join(outcome.errors) or "no reply"
        raise InputError(
            f"{outcome.request.part}: {len(silent)} of {len(calls)} calls got no answer "
            f"({call}: {why}); what was answered is kept: run again to go on"
        )
