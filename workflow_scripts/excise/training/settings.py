"""Settings of training an adapter. No torch."""

from dataclasses import dataclass
from typing import Literal

from excise.modeling.settings import LoraSettings, ModelSettings


@dataclass(frozen=True)
class TrainingSettings:
    """What the training loop needs besides a learning rate; meanings: config.schema.yaml."""

    batch_size: int
    warmup_steps: int
    max_grad_norm: float | None
    weight_decay: float
    autocast: Literal["bfloat16", "none"]
    seed: int


@dataclass(frozen=True)
class FinetuningSettings:
    """What makes the finetuned model, or an oracle: `training.seed` is the oracle's own."""

    model: ModelSettings
    training: TrainingSettings
    lora: LoraSettings
    learning_rate: float
    epochs: int
