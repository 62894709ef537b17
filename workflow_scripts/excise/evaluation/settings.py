"""Settings of asking a model and reading it; meanings: config.schema.yaml. No torch."""

from dataclasses import dataclass
from typing import Literal

from excise.modeling.settings import Float32Settings, MachineSettings, ModelSettings


@dataclass(frozen=True)
class EvaluationSettings(ModelSettings):
    """How questions are asked and answers scored."""

    batch_size: int
    max_new_tokens: int


@dataclass(frozen=True)
class ProbingSettings(EvaluationSettings):
    """The same, with the probes that are asked besides (`excise.benchmark.probes`)."""

    probes: tuple[str, ...]


@dataclass(frozen=True)
class QuantizationSettings(Float32Settings):
    """How a quantized model is asked the same; it is merged in fp32.

    Attributes:
        sets: of questions, some of `QUANTIZED_SETS`; None: all but `holdout`.
    """

    batch_size: int
    max_new_tokens: int
    sets: tuple[str, ...] | None


@dataclass(frozen=True)
class RepresentationSettings(Float32Settings):
    """How hidden states are read, in fp32."""

    batch_size: int
    positions: tuple[str, ...]


@dataclass(frozen=True)
class DepthSettings(Float32Settings):
    """How states are patched into the finetuned model and probed, in fp32.

    Attributes:
        depth_sets: of questions, some of `DEPTH_SETS`; None: all.
    """

    batch_size: int
    depth_sets: tuple[str, ...] | None


@dataclass(frozen=True)
class ForecastSettings(Float32Settings):
    """How gradients and hidden states of facts are read before unlearning, in fp32."""

    batch_size: int
    middle_layer: int


@dataclass(frozen=True)
class EmbeddingSettings(MachineSettings):
    """How the texts of a dataset are read for the diversity report."""

    dtype: Literal["float32", "bfloat16", "float16"]
    batch_size: int
