"""Settings of writing the benchmark; meanings: config.schema.yaml. No torch.

Each class holds the keys that decide one file. `backend` names the author. `llm` holds the keys of
generation.llm that decide the answers of a model; without a model it is null.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class AuthorSettings:
    """Who writes."""

    backend: Literal["offline", "openai"]
    llm: dict | None


@dataclass(frozen=True)
class WritingLimits:
    """What a model's texts are held to while it writes them: some limits of the later checks.

    They are always the defaults of config.schema.yaml: a changed threshold in a config must not
    make the model write everything again. Meanings: `excise.benchmark.limits`.
    """

    near_duplicate: float
    leak_ratio: float
    premise_mean: float
    premise_max: float
    split_jaccard: float
    split_ratio: float


@dataclass(frozen=True)
class TextSettings(AuthorSettings):
    """Who writes, and what a model's texts are held to meanwhile; without a model it is null."""

    limits: WritingLimits | None


@dataclass(frozen=True)
class PeopleSettings(AuthorSettings):
    """Who is drawn.

    Attributes:
        reserve: share of spare people; without a model it is 0.
        entanglement: share of correlated facts that are bound to a forget fact.
        shared_answers: share of people with a retain fact that has another person's forget value.
    """

    preset: Literal["smoke", "small", "paper", "xl"]
    people: int
    holdout: int
    reserve: float
    seed: int
    max_value_share: float
    entanglement: float
    shared_answers: float


@dataclass(frozen=True)
class QuestionSettings(TextSettings):
    """How the facts are asked; `perturbed_candidates` wrong answers are written for each."""

    seed: int
    perturbed_candidates: int


@dataclass(frozen=True)
class ParaphraseSettings(TextSettings):
    """How many held-out questions each forget fact gets."""

    forget_paraphrases: int


@dataclass(frozen=True)
class PreviewSettings(PeopleSettings, TextSettings):
    """Settings of all four files: they decide the texts of the people shown."""

    perturbed_candidates: int
    forget_paraphrases: int


@dataclass(frozen=True)
class JudgedCases:
    """How many cases the judge will be asked; `cases` null takes all."""

    cases: int | None
    planted: int


@dataclass(frozen=True)
class BudgetSettings:
    """What a model must know of the whole dataset before its first call; it decides no text.

    Attributes:
        people: how many are wanted.
        holdout: how many more are wanted whom no model is taught about.
        incomplete_people: largest share of either that may stay without a text.
        forget_paraphrases: held-out questions for each forget fact.
        judge: what a judge will be asked afterwards, if any.
    """

    people: int
    holdout: int
    incomplete_people: float
    forget_paraphrases: int
    judge: JudgedCases | None


@dataclass(frozen=True)
class TwinSettings:
    """How the offline frames write about the people of a dataset that a model wrote."""

    seed: int
    forget_paraphrases: int


@dataclass(frozen=True)
class PretrainingSettings:
    """How the embedded base model is made."""

    people: int
    fresh_share: float
    utility_share: float
    paired_share: float
    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    seed: int
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    threads: int
