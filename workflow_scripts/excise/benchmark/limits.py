"""All thresholds for the dataset; `--hp` can change them.

The checks are in `excise.red_team.dataset`. Their docstrings quote the measurements on TOFU that
the thresholds follow. For example, TOFU's forget10 questions give away 31 % of their answers'
content words.
"""

import json
from dataclasses import dataclass, fields
from typing import TypeVar

from excise.errors import InputError


@dataclass(frozen=True)
class ValidationLimits:
    """Limits of `validate_dataset`; ratios are token-sort ratios of rapidfuzz, 0–100.

    Attributes:
        near_duplicate: ratio from which two questions are near duplicates.
        masked_near_duplicate: the same, with the name and the values masked.
        incomplete_people: largest share of people that may be dropped because a file lacks records
            of them. With 0, missing records are faults.
        people: number of people in the dataset; None: all. The first complete people are taken.
            Further people in the files are spare and replace incomplete ones.
    """

    near_duplicate: float = 90
    masked_near_duplicate: float = 85
    incomplete_people: float = 0
    people: int | None = None


@dataclass(frozen=True)
class RedTeamLimits:
    """Limits of `red_team_dataset`.

    Attributes:
        leak_ratio: token-set ratio (0–100) from which a retain text contains an incident value.
        premise_mean: largest mean share of an answer's content words in its question.
        premise_max: share from which a single question is at fault.
        length_tolerance: largest relative difference of the mean lengths of wrong and true answers.
        length_p: two-sided p below which true answers of a slot are systematically longer or
            shorter (divided by the number of slots).
        max_surname_reuse: largest number of people with the same surname.
        minimum_age: smallest age in years at the event.
        min_correlated: smallest number of retain facts about the event of the incident.
        split_jaccard: word 5-gram Jaccard index from which a paraphrased question repeats a
            trained one.
        split_ratio: token-sort ratio (0–100) from which it does.
        style_auc: AUC above which the style of questions gives their set away (reported only).
        max_value_share: largest share of people with the same value of a slot.
    """

    leak_ratio: float = 85
    premise_mean: float = 0.15
    premise_max: float = 0.5
    length_tolerance: float = 0.10
    length_p: float = 0.01
    max_surname_reuse: int = 2
    minimum_age: int = 18
    min_correlated: int = 3
    split_jaccard: float = 0.5
    split_ratio: float = 90
    style_auc: float = 0.6
    max_value_share: float = 0.15


Limits = TypeVar("Limits", ValidationLimits, RedTeamLimits)


def parse_limits(text: str, kind: type[Limits]) -> Limits:
    """Read limits from the JSON object of `--hp`; missing keys keep their default.

    Raises:
        InputError: not a JSON object, an unknown key, or a value that is not a number ≥ 0.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--hp: not JSON ({error.msg}, column {error.colno})") from error
    if not isinstance(values, dict):
        raise InputError(f"--hp: {text!r} is not a JSON object")
    known = [field.name for field in fields(kind)]
    for key, value in values.items():
        if key not in known:
            raise InputError(f"--hp: unknown key {key!r}; allowed are {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise InputError(f"--hp: {key} is {value!r}; a number of at least 0 is needed")
    return kind(**values)
