"""Settings of the attacks that ask models; meanings: config.schema.yaml. No torch, no pandas."""

import math
from dataclasses import dataclass
from typing import Literal

from excise.modeling.settings import ModelSettings


@dataclass(frozen=True)
class SelectionSettings(ModelSettings):
    """How wrong answers are scored, drawn and chosen."""

    batch_size: int
    wrong_answers: int
    perturbed_candidates: int
    wrong_rounds: int
    wrong_tolerance: float
    seed: int


@dataclass(frozen=True)
class Gates:
    """What passes: truth ratio within 1 ± t, win rate within 0.5 ± w, slot accuracy of a guess + g.

    Attributes:
        truth_ratio_tolerance: t.
        win_rate_tolerance: w.
        guess_excess: g, over the guess rate; the lower limit of the interval is held to it. The
            same over chance for what the base says of a name alone.
    """

    truth_ratio_tolerance: float
    win_rate_tolerance: float
    guess_excess: float

    def limits(self, metric: str, guess_rate: float) -> tuple[float | None, float | None]:
        """Lowest and highest value that passes; a gate over an undefined guess rate is none."""
        if metric == "truth_ratio_median":
            return 1 - self.truth_ratio_tolerance, 1 + self.truth_ratio_tolerance
        if metric == "win_rate":
            return 0.5 - self.win_rate_tolerance, 0.5 + self.win_rate_tolerance
        if metric == "slot_accuracy" and not math.isnan(guess_rate):
            return None, guess_rate + self.guess_excess
        if metric == "facts_named_excess":
            return None, self.guess_excess
        return None, None


@dataclass(frozen=True)
class GateSettings:
    """What models that never saw the forget facts must not do, and what a failure does."""

    gates: Gates
    on_failure: Literal["report", "stop"]
    confidence: float


@dataclass(frozen=True)
class JudgeSettings:
    """How many cases a judge is asked, and the seed of their choice."""

    cases: int | None
    planted: int
    seed: int
    confidence: float
