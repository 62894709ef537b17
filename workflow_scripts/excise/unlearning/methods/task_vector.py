"""Task vector: learn the forget set even better, then subtract what was learned.

θ = θ_ft − α·(θ_reinforced − θ_ft). θ_reinforced is the finetuned adapter trained further on the
forget set by descent; epoch e of the trajectory uses e epochs of this training. Only arithmetic
on adapters is left to do. With ΔW = s·B·A it is exact:

ΔW = (1 + α)·ΔW_ft − α·ΔW_reinforced = s·[(1 + α)·B_ft, −α·B_r]·[A_ft; A_r],

an adapter of twice the rank.

Source: Ilharco et al. 2023 (arXiv 2212.04089); as an unlearning baseline in MUSE
(arXiv 2407.06460), where both models are fully finetuned.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from excise.settings import setting
from excise.unlearning.losses import cross_entropy
from excise.unlearning.method import Adapter, Step, learning_rate

if TYPE_CHECKING:
    import torch

LABEL = "TV (task vector)"
FORGET_REDUCTION = "token mean"


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of the task vector."""

    learning_rate: float = learning_rate()
    alpha: float = setting(
        "How far to go back; 0 gives the finetuned model.",
        default=1.0,
        minimum=0,
    )


def loss(step: Step, settings: Settings) -> "torch.Tensor":
    """+CE(forget): the model learns the forget set even better."""
    return cross_entropy(step.forget)


def checkpoint(finetuned: Adapter, trained: Adapter, settings: Settings) -> Adapter:
    """(1 + α)·finetuned − α·trained."""
    from excise.unlearning.arithmetic import combined

    return combined([(1 + settings.alpha, finetuned), (-settings.alpha, trained)])
