"""Settings of a model: how it is loaded, on what it runs, which adapter is trained. No torch."""

from dataclasses import dataclass
from typing import Literal

from excise.settings import setting


@dataclass(frozen=True)
class ModelSettings:
    """What every program that loads a model needs to know; meanings: config.schema.yaml."""

    dtype: Literal["float32", "bfloat16", "float16"]
    system_prompt: str | None
    threads: int
    gpu: int


@dataclass(frozen=True)
class LoraSettings:
    """A fresh LoRA adapter; meanings: config.schema.yaml."""

    rank: int
    alpha: float
    target_modules: str | tuple[str, ...]
    dropout: float = setting("Dropout of the adapter's input in training.", default=0.0)
