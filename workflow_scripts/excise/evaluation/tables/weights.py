"""Rows about weights: computed, not sampled; of the whole model and of each block."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from excise.evaluation.results import estimate_columns
from excise.evaluation.statistics import Estimate


def by_layer(matrices: Iterable[str]) -> Iterator[tuple[int | None, list[str]]]:
    """Names of all matrices with layer None, then those of each block with its number from 1.

    A block is the first number in a name: `model.layers.0.mlp.up_proj.weight` is in layer 1, whose
    output is hidden state 1. Names without a number are only in the first group.
    """
    names = list(matrices)
    yield None, names
    blocks: dict[int, list[str]] = {}
    for name in names:
        if number := re.search(r"(?:^|\.)(\d+)\.", name):
            blocks.setdefault(int(number[1]) + 1, []).append(name)
    yield from sorted(blocks.items())


def summed(parts: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Sums over matrices, key by key; NaN, which JSON holds as null, stays NaN."""
    nan = float("nan")
    return {key: sum(nan if part[key] is None else part[key] for part in parts) for key in parts[0]}


def fixed_row(metric: str, value: float | None, layer: int | None = None) -> dict:
    """A row about weights; null where the value is undefined, as of weights that are NaN."""
    undefined = value is not None and not math.isfinite(value)
    if value is None or undefined:
        estimate = Estimate(None, None, None, 1, 0, int(undefined))
    else:
        estimate = Estimate(value, value, value, 1, 0, method="fixed")
    columns = {"set": None, "metric": metric, "layer": layer}
    return columns | estimate_columns(estimate, people=False)
