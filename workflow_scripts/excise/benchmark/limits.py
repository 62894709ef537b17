"""Every threshold the dataset is held to; the defaults stand in config.schema.yaml.

Sources: `excise.red_team.dataset` names the check; the numbers follow the measurements on TOFU
quoted there (its forget10 questions, for one, give away 31 % of their answers' content words).
"""

from dataclasses import dataclass


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

    near_duplicate: float
    masked_near_duplicate: float
    incomplete_people: float
    people: int | None


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


@dataclass(frozen=True)
class WritingLimits:
    """What a model's texts are held to while it writes them: some limits of the later checks.

    A changed threshold in the config must not make the model write everything again. So these are
    fixed; a test keeps them at the defaults of the config. Meanings: as above.
    """

    near_duplicate: float = 90
    leak_ratio: float = 85
    premise_mean: float = 0.15
    premise_max: float = 0.5
    split_jaccard: float = 0.5
    split_ratio: float = 90


WRITING_LIMITS = WritingLimits()
