"""Every threshold the dataset is held to, in one place, and how `--hp` sets them.

Sources: `excise.red_team.dataset` names the check; the numbers follow the measurements on TOFU
quoted there (its forget10 questions, for one, give away 31 % of their answers' content words).
"""

import json
from dataclasses import dataclass, fields
from typing import TypeVar

from excise.errors import InputError


@dataclass(frozen=True)
class ValidationLimits:
    """What counts as a duplicate; ratios are rapidfuzz token-sort ratios, 0–100.

    Attributes:
        near_duplicate: two questions at or above it are near duplicates.
        masked_near_duplicate: the same with the name and the values masked.
        incomplete_people: largest share of the people that may be dropped because a file lacks
            records of them; with 0, what is missing is a fault.
        people: how many there are to be: the first complete ones; None takes all. With more in the
            files, the others are spare: they take the places of incomplete ones.
    """

    near_duplicate: float = 90
    masked_near_duplicate: float = 85
    incomplete_people: float = 0
    people: int | None = None


@dataclass(frozen=True)
class RedTeamLimits:
    """What the red team lets pass.

    Attributes:
        leak_ratio: token-set ratio (0–100) from which a retain text holds an incident value.
        premise_mean: largest mean share of an answer's content words its question may hold.
        premise_max: share from which a single question is at fault.
        length_tolerance: largest relative difference of mean length, wrong vs true paraphrase.
        length_p: two-sided p below which a slot's true answers are systematically longer or
            shorter (divided by the number of slots).
        max_surname_reuse: people that may share a surname.
        minimum_age: least age in years at the event.
        min_correlated: least number of retain facts sharing the incident's event.
        split_jaccard: word 5-gram Jaccard from which a held-out question repeats a trained one.
        split_ratio: token-sort ratio (0–100) from which it does.
        style_auc: AUC above which question style gives the set away (reported only).
        max_value_share: largest share of people holding the same value of a slot.
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
    """Limits from the JSON object of `--hp`; keys it leaves out keep their default.

    Raises:
        InputError: not a JSON object, an unknown key, or a value that is no number ≥ 0.
    """
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--hp: not JSON ({error.msg}, column {error.colno})") from error
    if not isinstance(given, dict):
        raise InputError(f"--hp: {text!r} is not a JSON object")
    known = [field.name for field in fields(kind)]
    for key, value in given.items():
        if key not in known:
            raise InputError(f"--hp: unknown key {key!r}; allowed are {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise InputError(f"--hp: {key} is {value!r}; a number of at least 0 is needed")
    return kind(**given)
