"""Settings of a model: on what it runs, how it is loaded, which adapter is trained. No torch.

The meaning of every key stands in config.schema.yaml, and so does its default.
"""

from dataclasses import dataclass
from typing import Literal

from excise.settings import json_of


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


@dataclass(frozen=True)
class Location:
    """Where a model lies that does not lie among the study's own.

    Attributes:
        base: folder of the model, or of the model that the adapter belongs to.
        adapter: folder of a LoRA adapter; None: the model is `base` itself.
    """

    base: str
    adapter: str | None


@dataclass(frozen=True)
class Located:
    """Name of a model → where it lies."""

    models: dict[str, Location]


def locations(text: str) -> dict[str, Location]:
    """The type of the argument `--located`.

    Raises:
        InputError: not JSON, or not such a mapping.
    """
    return json_of(Located, "--located")(f'{{"models": {text}}}').models
