"""Settings of the attacks; meanings: config.schema.yaml. No torch."""

from dataclasses import dataclass

from excise.evaluation.settings import EvaluationSettings
from excise.training.settings import TrainingSettings


@dataclass(frozen=True)
class RelearningSettings:
    """How a model is trained on an attack set, and asked in between.

    Attributes:
        evaluation: how the model is loaded and asked.
        training: of the loop; without warm-up, so the learning rate is constant.
        learning_rate: of AdamW.
        share: of the people whose forget facts the attack `forget_part` shows.
    """

    evaluation: EvaluationSettings
    training: TrainingSettings
    learning_rate: float
    share: float
