"""Ask a model until every call has a usable reply, with a limited number of samples.

A *call* is one unit of a part: a person, or a few facts of a person. A part of the benchmark says
how to turn a call into a request and how to find faults in a reply. The rest is here.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from excise.errors import InputError
from excise.llm import Outcome, Request, Session
from excise.llm.prompts import Prompt
from excise.llm.steps import Check

Call = TypeVar("Call")
MakeRequest = Callable[[Call, Prompt, int], Request]
"""(call, prompt, number of the sample) → request; its subject is the key of the call."""
FindFaults = Callable[[Call, dict, Sequence[str]], list[str]]
"""(call, reply, the prompt's example) → faults; an empty list accepts the reply."""
FindClashes = Callable[[dict[str, dict]], dict[str, str]]
"""{key of a call: accepted reply} → {key of a call to repeat: reason}."""


@dataclass
class Answers:
    """The results of all calls.

    Attributes:
        values: call → its accepted reply.
        failed: call → faults of its last reply.
        refused: failed calls of which every reply was a refusal, in order.
        resampled: number of repeated calls; each repetition counts.
    """

    values: dict[str, dict] = field(default_factory=dict)
    failed: dict[str, list[str]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    resampled: int = 0


@dataclass(frozen=True)
class Asker:
    """Asks the calls of one part.

    Attributes:
        session: sends the requests.
        prompt: the prompt file of the part.
        resample_max: samples of a call after its first.
    """

    session: Session
    prompt: Prompt
    resample_max: int

    def ask(
        self,
        calls: Mapping[str, Call],
        make_request: MakeRequest,
        find_faults: FindFaults,
        *,
        keys: Sequence[str] | None = None,
        on_refusal: Callable[[str], None] | None = None,
        find_clashes: FindClashes | None = None,
    ) -> Answers:
        """Make every call of the part; see `ask`.

        Args:
            calls: key → call; read again for each request, so `on_refusal` may replace a call.
            make_request: makes the request of a call.
            find_faults: finds faults in a reply.
            keys: the calls to make; None: all.
            on_refusal: as of `ask`.
            find_clashes: as of `ask`.
        """
        return ask(
            self.session,
            list(calls) if keys is None else keys,
            lambda key, sample: make_request(calls[key], self.prompt, sample),
            lambda request, value: find_faults(calls[request.subject], value, self.prompt.example),
            self.resample_max,
            on_refusal=on_refusal,
            find_clashes=find_clashes,
        )


def ask(
    session: Session,
    calls: Sequence[str],
    make_request: Callable[[str, int], Request],
    check: Check,
    resample_max: int,
    *,
    on_refusal: Callable[[str], None] | None = None,
    find_clashes: FindClashes | None = None,
) -> Answers:
    """Make every call. Repeat those without a usable reply, as another sample.

    All calls come first, then all that failed, and so on. The replies alone decide which calls a
    round repeats. So a run that was killed continues to the same records.

    Args:
        session: sends the requests.
        calls: keys of the calls, each the subject of its requests.
        make_request: makes the request of a call and a sample number.
        check: finds faults in a reply.
        resample_max: samples of a call after its first.
        on_refusal: is called with each refused call before the call is repeated.
        find_clashes: finds faults of accepted replies taken together: call to repeat → reason.

    Raises:
        InputError: some calls got no reply, because of the service or the budget. The journal
            keeps all answers.
    """
    answers = Answers()
    waiting, refusals = list(calls), Counter()
    for sample in range(resample_max + 1):
        requests = [make_request(call, sample) for call in waiting]
        outcomes = session.complete(requests, check, again=sample > 0)
        stop_at_silence(waiting, outcomes)
        answers.failed = {}
        for call, outcome in zip(waiting, outcomes, strict=True):
            if outcome.value is not None:
                answers.values[call] = outcome.value
                continue
            answers.failed[call] = outcome.errors or [outcome.status]
            refusals[call] += outcome.status == "refused"
            if outcome.status == "refused" and on_refusal and sample < resample_max:
                on_refusal(call)
        for call, reason in (find_clashes(answers.values) if find_clashes else {}).items():
            del answers.values[call]
            answers.failed[call] = [reason]
        waiting = [call for call in calls if call in answers.failed]
        if not waiting:
            break
        answers.resampled += len(waiting) if sample < resample_max else 0
    answers.refused = [call for call in answers.failed if refusals[call] > resample_max]
    return answers


def stop_at_silence(calls: Sequence[str], outcomes: Sequence[Outcome]) -> None:
    """Check that the service answered every call.

    Raises:
        InputError: it did not; the message gives the first silent call.
    """
    silent = [
        (call, outcome)
        for call, outcome in zip(calls, outcomes, strict=True)
        if outcome.status == "unavailable"
    ]
    if silent:
        call, outcome = silent[0]
        reason = "; ".join(outcome.errors) or "no reply"
        raise InputError(
            f"{outcome.request.part}: {len(silent)} of {len(calls)} calls got no answer "
            f"({call}: {reason}); all answers are kept: run again to continue"
        )
