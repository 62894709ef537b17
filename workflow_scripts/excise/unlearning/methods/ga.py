"""GA, gradient ascent: L = −CE(forget), the negated token-mean cross-entropy. Unbounded below.

Source: Jang et al. 2023 (arXiv 2210.01504); TOFU (arXiv 2401.06121).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from excise.unlearning.losses import cross_entropy
from excise.unlearning.method import Step, learning_rate

if TYPE_CHECKING:
    import torch

LABEL = "GA (gradient ascent)"
FORGET_REDUCTION = "token mean"


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of gradient ascent."""

    learning_rate: float = learning_rate()


def loss(step: Step, settings: Settings) -> "torch.Tensor":
    """−CE(forget)."""
    return -cross_entropy(step.forget)
