"""Settings of one trajectory, and of the reference that all trajectories share. No torch."""

from dataclasses import dataclass
from typing import Literal

from excise.modeling.settings import ModelSettings
from excise.training.settings import TrainingSettings


@dataclass(frozen=True)
class TrajectorySettings:
    """One point of the sweep: a method with its hyperparameters, saved at `epochs`."""

    model: ModelSettings
    training: TrainingSettings
    method: str
    hyperparameters: dict
    epochs: tuple[int, ...] = ()


@dataclass(frozen=True)
class ReferenceSettings:
    """How answers are scored by the finetuned model before unlearning, in training's precision."""

    model: ModelSettings
    batch_size: int
    autocast: Literal["bfloat16", "none"]
    seed: int
