"""What a file in `methods/`, or a user's own file, holds. No torch: Snakemake imports this.

A method is one Python file:

- `LABEL`: its name in figures, such as "NPO (negative preference)".
- `FORGET_REDUCTION`: over what the forget loss is summed or averaged. It goes into each
  `training_log.json`, because a weight means something else for a sum than for a mean.
- `Settings`: a frozen dataclass of numbers, the hyperparameters. Each field is made with
  `excise.settings.setting`; `learning_rate` is one of them. The config's keys, their ranges and
  defaults, the names of trajectories and the columns of results come from this class.
- `needs(settings)`: what one step must hold, as `Needs`. Without it: the forget batch.
- `loss(step, settings)`: the scalar to minimise, from a `Step`. It changes nothing.
- `check(settings, model_config)`, optional: raises `excise.errors.InputError` if the settings do
  not fit the model. `model_config` is the content of its config.json. Excise calls it before the
  first job.
- `prepare(start, settings)`, optional: computes something once, before the first step.
- `checkpoint(finetuned, trained, settings)`, optional: the adapter to save in place of the
  trained one, by arithmetic on both.

Snakemake imports the file to check the config, so functions import torch when they are called.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from typing import TYPE_CHECKING, Any

from excise.settings import setting

if TYPE_CHECKING:
    import torch

    from excise.modeling.differentiable_logprobs import AnswerLogprobs

BATCHES = ("forget", "retain", "alternatives")


@dataclass(frozen=True)
class Needs:
    """What the loss of a method reads, besides the log-probabilities of the forget answers.

    Attributes:
        retain: a batch of the retain set.
        alternatives: the forget questions with an "I don't know" answer each.
        reference_sums: log-probabilities of the forget answers under the finetuned model. All
            trajectories share them; they are computed once.
        finetuned: names of batches that the finetuned model reads too, in each step.
        logits: every reading also has the logits of its answer tokens.
        layers: every reading also has the hidden states of its answer tokens behind these
            blocks; 0 is the embeddings.
        logprobs: readings have log-probabilities. If false, the output head is not computed.
    """

    retain: bool = False
    alternatives: bool = False
    reference_sums: bool = False
    finetuned: tuple[str, ...] = ()
    logits: bool = False
    layers: tuple[int, ...] = ()
    logprobs: bool = True


@dataclass(frozen=True)
class Start:
    """What `prepare` knows of the model.

    Attributes:
        blocks: number of transformer blocks.
        width: size of a hidden state.
        device: where the model is.
        seed: of the trajectory.
    """

    blocks: int
    width: int
    device: "torch.device"
    seed: int


@dataclass(frozen=True)
class Readings:
    """What one model gives for the batches of a step; None for a batch that no loss needs."""

    forget: "AnswerLogprobs | None" = None
    retain: "AnswerLogprobs | None" = None
    alternatives: "AnswerLogprobs | None" = None


@dataclass(frozen=True)
class Step(Readings):
    """What a loss is made of.

    Attributes:
        forget: the forget batch under the model being trained, with gradients.
        retain: the retain batch, the same way.
        alternatives: the questions of the forget batch with other answers, in the same order.
        reference_sums: log-probabilities of the forget answers under the finetuned model, (B,).
        finetuned: the same batches under the finetuned model: no gradients, no dropout, the
            precision of the model being trained.
        prepared: what the method's `prepare` returned.
    """

    reference_sums: "torch.Tensor | None" = None
    finetuned: Readings = Readings()
    prepared: Any = None


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter as on disk.

    Attributes:
        config: content of `adapter_config.json`.
        tensors: content of `adapter_model.safetensors`, fp32.
    """

    config: Mapping[str, Any]
    tensors: "Mapping[str, torch.Tensor]" = field(default_factory=dict)


def learning_rate() -> Any:
    """The hyperparameter that every method has."""
    return setting(
        "Learning rate of AdamW, constant after warm-up.",
        above=0,
        maximum=1,
    )


def retain_weight(default: float = MISSING) -> Any:
    """λ, the weight of the loss on the retain set; 0 is allowed if there is a default."""
    if default is MISSING:
        return setting("Weight of the loss on sr.", above=0)
    return setting(
        "Weight of the loss on sr; 0 leaves it out, also from the name.",
        default=default,
        minimum=0,
    )
