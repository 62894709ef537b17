"""IdkDPO: preference for "I don't know" over the true answer, relative to the finetuned model.

L = −(2/β)·mean_i log σ(β[Δlogp_i(idk) − Δlogp_i(answer)]) + λ·CE(retain), where Δlogp is a
log-probability minus that of the finetuned model, both summed over tokens. It starts at
2·log 2/β.

The "I don't know" of a question is one line of `data/inputs/idk_answers.txt`. It depends on
(seed, epoch, item), so a trajectory sees several and two runs see the same.

Source: Maini et al. 2024, TOFU (arXiv 2401.06121), after DPO (arXiv 2305.18290); the factor
2/β as in open-unlearning.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from excise.settings import setting
from excise.unlearning.losses import preference, with_retain
from excise.unlearning.method import Needs, Step, learning_rate, retain_weight

if TYPE_CHECKING:
    import torch

LABEL = "IdkDPO (prefer “I don't know”)"
FORGET_REDUCTION = "sequence sum"


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of IdkDPO."""

    learning_rate: float = learning_rate()
    beta: float = setting(
        "Inverse temperature; towards 0 the loss is linear in both log-probabilities.",
        default=0.1,
        above=0,
    )
    retain_weight: float = retain_weight(default=0.0)


def needs(settings: Settings) -> Needs:
    """Other answers, both references, and a retain batch if it has a weight."""
    return Needs(
        alternatives=True,
        reference_sums=True,
        finetuned=("alternatives",),
        retain=settings.retain_weight > 0,
    )


def loss(step: Step, settings: Settings) -> "torch.Tensor":
    """−(2/β)·mean log σ(β[Δlogp(idk) − Δlogp(answer)]) + λ·CE(retain)."""
    idk = step.alternatives.sums - step.finetuned.alternatives.sums
    answer = step.forget.sums - step.reference_sums
    return with_retain(preference(idk - answer, settings.beta), step, settings.retain_weight)
