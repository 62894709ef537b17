"""RMU, representation misdirection: steer hidden states of forget answers to one random vector.

L = mean ‖h − c·u‖²/d over the answer tokens of the forget batch
  + λ·mean ‖h − h^ref‖²/d over the answer tokens of the retain batch.

h is the hidden state behind one block, at the answer's own tokens (its end of turn is one of
them), d its size. h^ref is that of the finetuned model. u is a unit vector, drawn once from the
seed; its entries are uniform in [0, 1) before it is scaled, as in the authors' code. Blocks
behind the layer get no gradient, so their adapters stay as they are.

Source: Li et al. 2024, WMDP (arXiv 2403.03218), eq. 1 and 2; masked to answer tokens as in
open-unlearning.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from excise.errors import InputError
from excise.modeling.config_file import number_of_blocks
from excise.settings import setting
from excise.unlearning.method import Needs, Start, Step, learning_rate, retain_weight

if TYPE_CHECKING:
    import torch

LABEL = "RMU (representation misdirection)"
FORGET_REDUCTION = "mean over tokens and dimensions"


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of RMU."""

    learning_rate: float = learning_rate()
    steering_layer: int = setting(
        "Block behind which hidden states are steered; 1 is the first one.",
        minimum=1,
    )
    steering_scale: float = setting(
        "c, length of the vector that hidden states are steered to.",
        above=0,
    )
    retain_weight: float = retain_weight(default=1.0)


def needs(settings: Settings) -> Needs:
    """Hidden states of one layer; if retain has a weight, also those of the finetuned model."""
    keep = settings.retain_weight > 0
    return Needs(
        retain=keep,
        layers=(settings.steering_layer,),
        finetuned=("retain",) if keep else (),
        logprobs=False,
    )


def check(settings: Settings, model_config: Mapping[str, Any]) -> None:
    """See that the model has a block with the number of the layer.

    Raises:
        InputError: it has none.
    """
    blocks = number_of_blocks(model_config)
    if blocks is not None and settings.steering_layer > blocks:
        raise InputError(
            f"steering_layer: found {settings.steering_layer}; "
            f"allowed: 1 to {blocks}, the blocks of this model"
        )


def prepare(start: Start, settings: Settings) -> "torch.Tensor":
    """u, the unit vector (d,)."""
    import torch

    generator = torch.Generator().manual_seed(start.seed)
    vector = torch.rand(start.width, generator=generator)
    return (vector / vector.norm()).to(start.device)


def loss(step: Step, settings: Settings) -> "torch.Tensor":
    """Mean squared distance to c·u, plus λ times that of retain answers to where they were."""
    layer = settings.steering_layer
    target = settings.steering_scale * step.prepared
    steered = (step.forget.states[layer] - target).square().mean()
    if step.retain is None:
        return steered
    before = step.finetuned.retain.states[layer]
    moved = (step.retain.states[layer] - before).square().mean()
    return steered + settings.retain_weight * moved
