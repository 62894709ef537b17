"""SimNPO: L = −(2/β)·mean_i log σ(β(S_i/n_i − δ)) + λ·CE(retain); no reference model.

S_i/n_i is the mean negative log-likelihood of answer i, so long answers weigh no more than
short ones. δ is the margin: the force of an answer halves where its mean reaches δ. Towards
β = 0 the gradient is that of length-normalised ascent, −(1/B)·Σ ∇S_i/n_i.

The authors write −(2/β)·log σ(−(β/|y|)·log π(y|x) − γ): their γ is β·δ. open-unlearning weighs
the forget term by 0.125 and the retain term by 1. Only the ratio counts under AdamW, here λ = 8.

Source: Fan et al. 2024 (arXiv 2410.07163), eq. 4.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from excise.settings import setting
from excise.unlearning.losses import preference, with_retain
from excise.unlearning.method import Needs, Step, learning_rate, retain_weight

if TYPE_CHECKING:
    import torch

LABEL = "SimNPO (simple negative preference)"
FORGET_REDUCTION = "mean over answers of token means"


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of SimNPO."""

    learning_rate: float = learning_rate()
    beta: float = setting(
        "Inverse temperature; towards 0 the method becomes length-normalised ascent.",
        default=4.5,
        above=0,
    )
    delta: float = setting(
        "Margin; an answer with this mean negative log-likelihood has half of its force.",
        default=0.0,
        minimum=0,
        unit="nats a token",
    )
    retain_weight: float = retain_weight(default=0.0)


def needs(settings: Settings) -> Needs:
    """A retain batch if it has a weight."""
    return Needs(retain=settings.retain_weight > 0)


def loss(step: Step, settings: Settings) -> "torch.Tensor":
    """−(2/β)·mean log σ(β(S/n − δ)) + λ·CE(retain); S is −`sums`."""
    margins = -step.forget.sums / step.forget.tokens - settings.delta
    return with_retain(preference(margins, settings.beta), step, settings.retain_weight)
