"""All thresholds for the dataset; the defaults are in config.schema.yaml.

The checks are in `excise.red_team.dataset`. Their docstrings quote the measurements on TOFU that
the thresholds follow. For example, TOFU's forget10 questions give away 31 % of their answers'
content words.
"""

from dataclasses import dataclass


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
        holdout: the same for the people who are held out of all training.
    """

    near_duplicate: float
    masked_near_duplicate: float
    incomplete_people: float
    people: int | None
    holdout: int | None


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
        entanglement: the planted dose: share of bound facts among those that can be bound.
        shared_answers: share of the people with another person's forget value.
    """

    leak_ratio: float
    premise_mean: float
    premise_max: float
    length_tolerance: float
    length_p: float
    max_surname_reuse: int
    minimum_age: int
    min_correlated: int
    split_jaccard: float
    split_ratio: float
    style_auc: float
    max_value_share: float
    entanglement: float
    shared_answers: float
