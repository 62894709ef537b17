"""Asking a language model whether a dataset is sound, and whether the judge is any good.

Candidate texts reach the judge as JSON data, never as part of its instructions. What it is asked
is in `excise.judge_cases`.
"""

from collections.abc import Sequence
from pathlib import Path

from excise.generation.verbalising.prompts import Prompt, read_prompt
from excise.judge_cases import CHECKS, PROMPTS, Case
from excise.llm import Outcome, Request, Session
from excise.results import estimate_columns
from excise.statistics import Estimate, bootstrap_mean

MAX_TOKENS = 300
NOTES = [
    "pass_rate: share of the dataset's own cases that the judge finds sound. recall: share of "
    "planted defects that it objects to. false_positive_rate: share of those cases' sound twins "
    "that it objects to. A pass rate is worth what recall and false positives are.",
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
    """One request a case, at temperature 0: the same case, the same question."""
    return [
        Request(
            part=f"judge_{case.check}",
            subject=case.id,
            system=prompts[case.prompt].system,
            user=prompts[case.prompt].fill(data=case.data),
            schema=prompts[case.prompt].schema,
            prompt_version=prompts[case.prompt].version,
            max_tokens=MAX_TOKENS,
            temperature=0.0,
        )
        for case in cases
    ]


def judge(session: Session, cases: Sequence[Case], prompts: dict[str, Prompt]) -> list[dict]:
    """Ask about every case.

    Returns:
        one record a case: {check, id, person_id, planted, twin, status, sound (None where there is
        no answer), reply, data}.
    """
    outcomes = session.complete(requests_of(cases, prompts), lambda _request, _value: [])
    return [record(case, outcome) for case, outcome in zip(cases, outcomes, strict=True)]


def record(case: Case, outcome: Outcome) -> dict:
    """What the judge said of one case."""
    return {
        "check": case.check,
        "id": case.id,
        "person_id": case.person_id,
        "planted": case.planted,
        "twin": case.twin,
        "status": outcome.status,
        "sound": None if outcome.value is None else bool(case.passes(outcome.value)),
        "reply": outcome.value,
        "data": case.data,
    }


def judge_rows(records: list[dict], bootstrap: tuple[int, float, int]) -> list[dict]:
    """Pass rate, recall and false-positive rate of every check, with intervals over people."""
    rows = []
    for check in CHECKS:
        own = [one for one in records if one["check"] == check]
        sound = [one for one in own if not one["planted"]]
        twins = [one for one in sound if one["twin"] is not None]
        groups = {
            "pass_rate": (sound, True),
            "recall": ([one for one in own if one["planted"]], False),
            "false_positive_rate": (twins, False),
        }
        for metric, (members, wanted) in groups.items():
            rows.append(_row(check, metric, members, wanted, bootstrap))
    return rows


def _row(check: str, metric: str, members: list[dict], wanted: bool, bootstrap: tuple) -> dict:
    """The share of answered members whose verdict is `wanted`."""
    answered = [one for one in members if one["sound"] is not None]
    people = [one["person_id"] for one in answered]
    if answered:
        values = [float(one["sound"] == wanted) for one in answered]
        estimate = bootstrap_mean(values, people, *bootstrap)
    else:
        estimate = Estimate(None, None, None, 0, 0)
    empty = ("model", "method", "epoch", "seed", "learning_rate", "beta", "retain_weight", "set")
    keys = dict.fromkeys(empty) | {"check": check, "metric": metric}
    undefined = {"n_undefined": len(members) - len(answered)}
    return keys | estimate_columns(estimate) | undefined
