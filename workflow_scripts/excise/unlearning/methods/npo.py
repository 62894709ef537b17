"""NPO, negative preference optimisation: L = −(2/β)·mean_i log σ(β(S_i − S_i^ref)) + λ·CE(retain).

S is a sum over tokens, S^ref that of the finetuned model. At the start, where S = S^ref, the
loss is 2·log 2/β. Its gradient is then that of sequence-sum gradient ascent, −(1/B)·Σ ∇S_i, for
every β. It fades as S_i grows past its reference.

Source: Zhang et al. 2024 (arXiv 2404.05868), eq. 3.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from excise.settings import setting
from excise.unlearning.losses import preference, with_retain
from excise.unlearning.method import Needs, Step, learning_rate, retain_weight

if TYPE_CHECKING:
    import torch

LABEL = "NPO (negative preference)"
FORGET_REDUCTION = "sequence sum"


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of NPO."""

    learning_rate: float = learning_rate()
    beta: float = setting(
        "Inverse temperature; towards 0 the method becomes gradient ascent.",
        above=0,
    )
    retain_weight: float = retain_weight(default=0.0)


def needs(settings: Settings) -> Needs:
    """The reference, and a retain batch if it has a weight."""
    return Needs(reference_sums=True, retain=settings.retain_weight > 0)


def loss(step: Step, settings: Settings) -> "torch.Tensor":
    """−(2/β)·mean log σ(β(S − S^ref)) + λ·CE(retain); S is −`sums`."""
    excess = step.reference_sums - step.forget.sums  # S_i − S_i^ref
    return with_retain(preference(excess, settings.beta), step, settings.retain_weight)
