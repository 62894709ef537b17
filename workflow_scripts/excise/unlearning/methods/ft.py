"""FT, retain finetuning: L = CE(retain), the mean over tokens. A control, and the mildest method.

The loss has no forget term. The trajectory takes as many steps as the other methods and only
trains further on the facts to keep. So it shows how much forgetting, damage and drift come from
such training alone.

Source: the baseline "fine-tuning" of Golatkar et al. 2020 (arXiv 1911.04933).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from excise.unlearning.losses import cross_entropy
from excise.unlearning.method import Needs, Step, learning_rate

if TYPE_CHECKING:
    import torch

LABEL = "FT (retain finetuning)"
FORGET_REDUCTION = "no forget term"


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of retain finetuning."""

    learning_rate: float = learning_rate()


def needs(settings: Settings) -> Needs:
    """A retain batch."""
    return Needs(retain=True)


def loss(step: Step, settings: Settings) -> "torch.Tensor":
    """CE(retain)."""
    return cross_entropy(step.retain)
