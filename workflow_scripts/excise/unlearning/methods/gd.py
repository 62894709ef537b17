"""GD, gradient difference: L = −CE(forget) + λ·CE(retain), both means over tokens.

Source: Liu et al. 2022 (arXiv 2203.12817); GradDiff with NLL in open-unlearning.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from excise.unlearning.losses import cross_entropy, with_retain
from excise.unlearning.method import Needs, Step, learning_rate, retain_weight

if TYPE_CHECKING:
    import torch

LABEL = "GD (gradient difference)"
FORGET_REDUCTION = "token mean"


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of gradient difference."""

    learning_rate: float = learning_rate()
    retain_weight: float = retain_weight()


def needs(settings: Settings) -> Needs:
    """A retain batch."""
    return Needs(retain=True)


def loss(step: Step, settings: Settings) -> "torch.Tensor":
    """−CE(forget) + λ·CE(retain)."""
    return with_retain(-cross_entropy(step.forget), step, settings.retain_weight)
