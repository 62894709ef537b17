"""Ask a language model whether a dataset is sound, and measure the quality of this judge.

Texts of the dataset reach the judge as JSON data, never as part of its instructions.
`excise.red_team.judge.cases` makes the questions.
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
DRAW_TEMPERATURE = 0.7  # for cases with several draws
NOTES = [
    "pass_rate: share of the dataset's cases that the judge finds sound. recall: share of planted "
    "defects to which it objects. false_positive_rate: share of the sound twins to which it "
    "objects.",
    "recall_excess: recall minus false_positive_rate, over pairs in which the judge answered both "
    "questions. useful: the difference is more than chance: the lower limit of its interval is "
    "above 0; null if no defect was planted. The interval is wider than the others, because it "
    "covers all checks at once (Bonferroni). So a judge that answers at random passes in no check, "
    "with the probability that confidence sets. A check that is not useful has no pass rate, "
    "because the rate would say nothing about the data.",
    f"one_answer is drawn {DRAWS} times at temperature {DRAW_TEMPERATURE:g}. It is sound if all "
    "replies agree on the true answer.",
    f"The planted defects are {len(HINTS)} different hints (joint_inference) and {len(SEVERE)} "
    "different harms (severity), combined with different people. Their recall says nothing about "
    "other hints and harms, and its interval, over people, is too narrow for them.",
    "n: cases that the judge answered. n_undefined: cases that it refused or never answered in the "
    "required form; no rate includes them.",
    "The judge never stops the workflow. judge.jsonl contains its objections for people to read.",
]


def read_prompts(folder: str | Path) -> dict[str, Prompt]:
    """All judge prompts, by their names without `judge_`.

    Raises:
        InputError: a file is missing or lacks its placeholder.
    """
    return {name: read_prompt(Path(folder) / f"judge_{name}.md", ("data",)) for name in PROMPTS}


def requests_of(cases: Sequence[Case], prompts: dict[str, Prompt]) -> list[Request]:
    """The requests of all cases, in order; a case with several draws has one request per draw."""
    return [
        Request(
            part=f"judge_{case.check}",
            subject=case.id,
            system=prompts[case.prompt].system,
            user=prompts[case.prompt].fill(data=case.data),
            schema=prompts[case.prompt].schema,
            prompt_version=prompts[case.prompt].version,
            max_tokens=MAX_TOKENS,
            temperature=DRAW_TEMPERATURE if case.draws > 1 else 0.0,
            sample=draw,
        )
        for case in cases
        for draw in range(case.draws)
    ]


def judge(session: Session, cases: Sequence[Case], prompts: dict[str, Prompt]) -> list[dict]:
    """Ask about all cases.

    Returns:
        One record per case: {check, id, person_id, planted, twin, statuses and replies (one per
        draw), sound (None if unknown), data}.
    """
    requests = requests_of(cases, prompts)
    outcomes = iter(session.complete(requests, lambda _request, _value: []))
    return [record(case, list(islice(outcomes, case.draws))) for case in cases]


def record(case: Case, outcomes: Sequence[Outcome]) -> dict:
    """The record of one case."""
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
    """Whether all replies find the case sound; None if none objects and one is missing."""
    verdicts = [None if reply is None else bool(case.passes(reply)) for reply in replies]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def judge_rows(records: list[dict], confidence: float) -> list[dict]:
    """Rows of pass rate, recall, false-positive rate and their difference, for every check.

    Intervals are over people. The pass rate of a check that is not useful is None.

    Args:
        records: records of `judge`.
        confidence: coverage of an interval.
    """
    rows = []
    for check in CHECKS:
        of_check = [case for case in records if case["check"] == check]
        sound = [case for case in of_check if not case["planted"]]
        twins = [case for case in sound if case["twin"] is not None]
        planted = [case for case in of_check if case["planted"]]
        excess, missing = recall_excess(planted, twins, confidence)
        useful = excess.low is not None and excess.low > 0 if planted else None
        groups = {
            "pass_rate": (sound, True),
            "recall": (planted, False),
            "false_positive_rate": (twins, False),
        }
        for metric, (cases, verdict) in groups.items():
            row = _row(check, metric, *_share(cases, verdict, confidence), useful)
            if metric == "pass_rate" and not useful:
                row |= dict.fromkeys(("value", "ci_low", "ci_high"))
            rows.append(row)
        rows.append(_row(check, "recall_excess", excess, missing, useful))
    return rows


def recall_excess(
    planted: list[dict], twins: list[dict], confidence: float
) -> tuple[Estimate, int]:
    """How much more often a judge objects to planted defects than to their sound twins.

    It is the mean over pairs of the difference of two 0/1 verdicts: recall − false positives. The
    interval is over people, and simultaneous over all checks (Bonferroni: Dunn 1961).

    Returns:
        The estimate, and the number of pairs with a missing verdict.
    """
    sound = {case["twin"]: case["sound"] for case in twins}
    pairs = [(case, sound.get(case["twin"])) for case in planted]
    both = [(case, twin) for case, twin in pairs if None not in (case["sound"], twin)]
    missing = len(pairs) - len(both)
    if not both:
        return Estimate(None, None, None, 0, 0), missing
    objects = [float(not case["sound"]) for case, _ in both]
    objects_to_twin = [float(not twin) for _, twin in both]
    people = [case["person_id"] for case, _ in both]
    wide = 1 - (1 - confidence) / len(CHECKS)
    return difference_interval(objects, objects_to_twin, people, PROPORTION, wide), missing


def usefulness_notes(rows: list[dict]) -> list[str]:
    """Notes about the checks without a pass rate, with the reasons."""
    useful = {row["check"]: row["useful"] for row in rows}
    useless = [check for check, known in useful.items() if known is False]
    untested = [check for check, known in useful.items() if known is None]
    notes = []
    if useless:
        notes.append(
            f"The judge is useless in {len(useless)} of {len(useful)} checks "
            f"({', '.join(useless)}): it does not object to planted defects more often than to "
            "their sound twins. Their pass rates are left out."
        )
    if untested:
        notes.append(
            f"No defect was planted in {', '.join(untested)}, so the reliability of these "
            "verdicts is unknown. Their pass rates are left out (red_team.judge.planted)."
        )
    return notes


def _share(cases: list[dict], verdict: bool, confidence: float) -> tuple[Estimate, int]:
    """Share of the answered cases with this verdict, and number of unanswered cases."""
    answered = [case for case in cases if case["sound"] is not None]
    people = [case["person_id"] for case in answered]
    if answered:
        values = [float(case["sound"] == verdict) for case in answered]
        estimate = proportion_interval(values, people, confidence)
    else:
        estimate = Estimate(None, None, None, 0, 0)
    return estimate, len(cases) - len(answered)


def _row(check: str, metric: str, estimate: Estimate, missing: int, useful: bool | None) -> dict:
    empty = ("model", "method", "epoch", "seed", "learning_rate", "beta", "retain_weight", "set")
    keys = dict.fromkeys(empty) | {"check": check, "metric": metric, "useful": useful}
    return keys | estimate_columns(estimate) | {"n_undefined": missing}
