"""Settings of a model: on what it runs, how it is loaded, which adapter is trained. No torch.

The meaning of every key stands in config.schema.yaml, and so does its default.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MachineSettings:
    """On what a program computes."""

    threads: int
    gpu: int


@dataclass(frozen=True)
class Float32Settings(MachineSettings):
    """A model that a program always loads in fp32, and its system message."""

    system_prompt: str | None


@dataclass(frozen=True)
class ModelSettings(Float32Settings):
    """A model that a program loads in the experiment's own precision."""

    dtype: Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class LoraSettings:
    """A fresh LoRA adapter."""

    rank: int
    alpha: float
    dropout: float
    target_modules: str | tuple[str, ...]


@dataclass(frozen=True)
class ModelCheckSettings:
    """Settings that decide whether a model works with the experiment."""

    system_prompt: str | None
    lora: LoraSettings
    max_new_tokens: int
