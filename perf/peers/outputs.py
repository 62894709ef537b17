"""What a model said, in one form for all ways, and how far two ways agree."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

LEAST_EQUAL = 0.99
"""Share of generations that must be equal. A tie between two tokens may break either way."""
MOST_NATS = 0.05
"""Largest allowed difference of an answer's log-probability, in nats."""


@dataclass(frozen=True)
class Said:
    """One model's answer to one question.

    Attributes:
        text: the greedy generation.
        logprobs: of the true answer, the paraphrase and each wrong answer, in nats; none in a
            joint set.
    """

    text: str
    logprobs: tuple[float, ...]


@dataclass
class Agreement:
    """How far two ways agree over models and questions."""

    generations: int = 0
    equal: int = 0
    answers: int = 0
    nats: float = 0.0

    @property
    def good(self) -> bool:
        """Whether the ways did the same work."""
        enough = self.equal >= LEAST_EQUAL * self.generations
        return enough and self.generations > 0 and self.nats <= MOST_NATS

    def __str__(self) -> str:
        return (
            f"{self.equal} of {self.generations} generations equal, {self.answers} "
            f"log-probabilities within {self.nats:.1e} nats"
        )


def compare(
    agreement: Agreement, ours: Mapping[str, Said], theirs: Mapping[str, Said], spaces: bool = True
) -> None:
    """Add one model to an agreement.

    Args:
        agreement: to add to.
        ours: item id → what the model said, as one way measured it.
        theirs: the same as another way measured it.
        spaces: whether spaces count.

    Raises:
        ValueError: the ways asked different questions or scored a different number of answers.
    """
    if ours.keys() != theirs.keys():
        raise ValueError(f"{len(ours)} and {len(theirs)} questions, which are not the same")
    for key, own in ours.items():
        other = theirs[key]
        texts = [one.text if spaces else "".join(one.text.split()) for one in (own, other)]
        agreement.generations += 1
        agreement.equal += texts[0] == texts[1]
        for one, two in zip(own.logprobs, other.logprobs, strict=True):
            agreement.answers += 1
            difference = abs(one - two)
            agreement.nats = max(agreement.nats, math.inf if math.isnan(difference) else difference)


def adapter_distance(start: Path, ours: Path, theirs: Path) -> float:
    """‖theirs − ours‖ / ‖ours − start‖ over all tensors of three adapter folders."""
    begin, own, other = (
        load_file(folder / "adapter_model.safetensors") for folder in (start, ours, theirs)
    )
    apart = torch.stack([(other[name] - own[name]).norm() for name in own]).norm()
    moved = torch.stack([(own[name] - begin[name]).norm() for name in own]).norm()
    return float(apart / moved)
