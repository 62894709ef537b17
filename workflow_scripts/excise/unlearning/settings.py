"""Settings of one trajectory, and of the reference that all trajectories share. No torch."""

from dataclasses import dataclass
from typing import Any, Literal

from excise.modeling.settings import ModelSettings
from excise.training.settings import TrainingSettings


@dataclass(frozen=True)
class TrajectorySettings:
    """One point of the sweep.

    Attributes:
        model: how the base model is loaded.
        training: of the loop; its seed also chooses alternative answers.
        method: a name in `excise.unlearning.methods`, or a user's own file.
        hyperparameters: of the method: a mapping, or its `Settings` once they are parsed.
        epochs: where the adapter is saved; the trajectory runs to the last one.
    """

    model: ModelSettings
    training: TrainingSettings
    method: str
    hyperparameters: dict | Any
    epochs: tuple[int, ...] = ()


@dataclass(frozen=True)
class ReferenceSettings:
    """How answers are scored by the finetuned model before unlearning, in training's precision."""

    model: ModelSettings
    batch_size: int
    autocast: Literal["bfloat16", "none"]
    seed: int
