"""Asking a language model whether a dataset is sound, and whether the judge is any good.

Candidate texts reach the judge as JSON data, never as part of its instructions. What it is asked
is in `excise.red_team.judge.cases`.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from excise.evaluation.results import estimate_columns
from excise.evaluation.statistics import (
    PROPORTION,
    Estimate,
    difference_interval,
    proportion_interval,
)
from excise.llm import Outcome, Request, Session
from excise.llm.prompts import Prompt, read_prompt
from excise.red_team.judge.cases import CHECKS, DRAWS, HINTS, PROMPTS, SEVERE, Case

MAX_TOKENS = 300
DRAWN_AT = 0.7  # temperature, where a case is asked several times
NOTES = [
    "pass_rate: share of the dataset's own cases that the judge finds sound. recall: share of "
    "planted defects that it objects to. false_positive_rate: share of those cases' sound twins "
    "that it objects to.",
    "recall_excess: how much more often it objects to a planted defect than to its sound twin, "
    "over pairs in which it answered both. useful: the difference is more than chance, that is, "
    "the lower limit of its interval is above 0; null if nothing was planted. The interval is "
    "wider than the others, because it covers all checks at once (Bonferroni). So a judge that "
    "answers at random passes in no check, with the probability that confidence sets. A check "
    "that is not useful has no pass rate, because the rate would say nothing about the data.",
    f"one_answer is drawn {DRAWS} times at temperature {DRAWN_AT:g}; it is sound if all replies "
    "agree on the true answer.",
    f"Planted are {len(HINTS)} different hints (joint_inference) and {len(SEVERE)} different harms "
    "(severity), put to different people: their recall tells nothing of other hints and harms, and "
    "its interval, over people, is too narrow for those.",
    "n: cases the judge answered; n_undefined: those it refused or never answered in the form "
    "asked for; they are in no rate.",
    "The judge never stops the workflow: its objections are in judge.jsonl for a person to read.",
]


def read_prompts(folder: str | Path) -> dict[str, Prompt]:
    """Every judge prompt, by its name without `judge_`.

    Raises:
        InputError: a file is missing or lacks its placeholder.
    """
    return {name: read_prompt(Path(folder) / f"judge_{name}.md", ("data",)) for name in PROMPTS}


def requests_of(cases: Sequence[Case], prompts: dict[str, Prompt]) -> list[Request]:
    """The requests of every case in turn: one at temperature 0, or several draws at `DRAWN_AT`."""
    return [
        Request(
            part=f"judge_{case.check}",
            subject=case.id,
            system=prompts[case.prompt].system,
            user=prompts[case.prompt].fill(data=case.data),
            schema=prompts[case.prompt].schema,
            prompt_version=prompts[case.prompt].version,
            max_tokens=MAX_TOKENS,
            temperature=DRAWN_AT if case.draws > 1 else 0.0,
            sample=draw,
        )
        for case in cases
        for draw in range(case.draws)
    ]


def judge(session: Session, cases: Sequence[Case], prompts: dict[str, Prompt]) -> list[dict]:
    """Ask about every case.

    Returns:
        one record a case: {check, id, person_id, planted, twin, statuses and replies (one a draw),
        sound (None where that cannot be told), data}.
    """
    requests = requests_of(cases, prompts)
    outcomes = iter(session.complete(requests, lambda _request, _value: []))
    return [record(case, list(islice(outcomes, case.draws))) for case in cases]


def record(case: Case, outcomes: Sequence[Outcome]) -> dict:
    """What the judge said of one case."""
    replies = [outcome.value for outcome in outcomes]
    return {
        "check": case.check,
        "id": case.id,
        "person_id": case.person_id,
        "planted": case.planted,
        "twin": case.twin,
        "statuses": [outcome.status for outcome in outcomes],
        "sound": is_sound(case, replies),
        "replies": replies,
        "data": case.data,
    }


def is_sound(case: Case, replies: Sequence[dict | None]) -> bool | None:
    """Whether every reply finds the case sound; None if none objects and one is missing."""
    verdicts = [None if reply is None else bool(case.passes(reply)) for reply in replies]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def judge_rows(records: list[dict], confidence: float) -> list[dict]:
    """Pass rate, recall, false-positive rate and their difference, for every check.

    Intervals are over people. A check that is not useful has the pass rate None.

    Args:
        records: what `record` makes.
        confidence: coverage of an interval.
    """
    rows = []
    for check in CHECKS:
        own = [one for one in records if one["check"] == check]
        sound = [one for one in own if not one["planted"]]
        twins = [one for one in sound if one["twin"] is not None]
        planted = [one for one in own if one["planted"]]
        excess, missing = recall_excess(planted, twins, confidence)
        useful = excess.low is not None and excess.low > 0 if planted else None
        groups = {
            "pass_rate": (sound, True),
            "recall": (planted, False),
            "false_positive_rate": (twins, False),
        }
        for metric, (members, wanted) in groups.items():
            row = _row(check, metric, *_share(members, wanted, confidence), useful)
            if metric == "pass_rate" and not useful:
                row |= dict.fromkeys(("value", "ci_low", "ci_high"))
            rows.append(row)
        rows.append(_row(check, "recall_excess", excess, missing, useful))
    return rows


def recall_excess(
    planted: list[dict], twins: list[dict], confidence: float
) -> tuple[Estimate, int]:
    """How much more often a judge objects to planted defects than to their sound twins.

    The mean, over pairs, of the difference of two 0/1 verdicts: recall − false positives. Its
    interval is over people, and simultaneous over all checks (Bonferroni: Dunn 1961).

    Returns:
        The estimate, and the number of pairs with a missing verdict.
    """
    sound = {one["twin"]: one["sound"] for one in twins}
    pairs = [(one, sound.get(one["twin"])) for one in planted]
    both = [(one, twin) for one, twin in pairs if None not in (one["sound"], twin)]
    missing = len(pairs) - len(both)
    if not both:
        return Estimate(None, None, None, 0, 0), missing
    objects = [float(not one["sound"]) for one, _ in both]
    objects_to_twin = [float(not twin) for _, twin in both]
    people = [one["person_id"] for one, _ in both]
    wide = 1 - (1 - confidence) / len(CHECKS)
    return difference_interval(objects, objects_to_twin, people, PROPORTION, wide), missing


def usefulness_notes(rows: list[dict]) -> list[str]:
    """Which checks have no pass rate, and why."""
    useful = {row["check"]: row["useful"] for row in rows}
    useless = [check for check, known in useful.items() if known is False]
    untested = [check for check, known in useful.items() if known is None]
    notes = []
    if useless:
        notes.append(
            f"The judge is useless in {len(useless)} of {len(useful)} checks "
            f"({', '.join(useless)}): in these cases it objects to planted defects no "
            "more often than to their sound twins. Their pass rates are left out."
        )
    if untested:
        notes.append(
            f"No defect was planted in {', '.join(untested)}, so nobody knows how reliable "
            "the verdicts are. These pass rates are left out (red_team.judge.planted)."
        )
    return notes


def _share(members: list[dict], wanted: bool, confidence: float) -> tuple[Estimate, int]:
    """Share of the answered members with the verdict `wanted`; number of unanswered ones."""
    answered = [one for one in members if one["sound"] is not None]
    people = [one["person_id"] for one in answered]
    if answered:
        values = [float(one["sound"] == wanted) for one in answered]
        estimate = proportion_interval(values, people, confidence)
    else:
        estimate = Estimate(None, None, None, 0, 0)
    return estimate, len(members) - len(answered)


def _row(check: str, metric: str, estimate: Estimate, missing: int, useful: bool | None) -> dict:
    empty = ("model", "method", "epoch", "seed", "learning_rate", "beta", "retain_weight", "set")
    keys = dict.fromkeys(empty) | {"check": check, "metric": metric, "useful": useful}
    return keys | estimate_columns(estimate) | {"n_undefined": missing}
