"""The harmonic mean of several means, with its interval: the model utility of TOFU."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from excise.evaluation.statistics import Clustered, Estimate, wilson_clopper_pearson

Part = tuple[ArrayLike, Sequence]
"""Numbers from 0 to 1, one per question, and the person of each question."""


def harmonic_mean(means: ArrayLike) -> float:
    """k / Σ 1/m of means (k,) that are not negative; 0 if one is 0.

    In [0, 1] for means in [0, 1]; the smallest one decides most of it.
    """
    means = np.asarray(means, dtype=float)
    return 0.0 if (means == 0).any() else float(len(means) / (1 / means).sum())


def harmonic_mean_interval(parts: Sequence[Part], confidence: float = 0.95) -> Estimate:
    """The harmonic mean of the parts' means, with its interval over people.

    1/H is the mean of 1/mᵢ. Each mᵢ has limits lᵢ, uᵢ by `wilson_clopper_pearson`, and MOVER
    combines them: with aᵢ = 1/lᵢ − 1/mᵢ and r the correlations of the means over people (0 for
    parts about other people), the upper limit of Σ 1/mᵢ is Σ 1/mᵢ + √(Σᵢⱼ rᵢⱼ aᵢ aⱼ); the lower one
    accordingly. A part with mean 0 enters the upper limit of H with its uᵢ. Source: Zou and
    Donner (2008), Zou, Huang and Zhang (2009).

    Args:
        parts: see `Part`.
        confidence: coverage of the interval.
    """
    columns = [np.asarray(values, dtype=float) for values, _ in parts]
    people = {str(one) for _, clusters in parts for one in clusters}
    n = sum(map(len, columns))
    if not all(map(len, columns)):
        return Estimate(None, None, None, 0, 0)
    undefined = sum(int((~np.isfinite(one)).sum()) for one in columns)
    if undefined:
        return Estimate(None, None, None, n, len(people), undefined)
    data = [
        Clustered(one[:, None], clusters, confidence)
        for one, (_, clusters) in zip(columns, parts, strict=True)
    ]
    means = np.clip([float(one.mean[0]) for one in data], 0, 1)
    value = harmonic_mean(means)
    if min(len(one.sizes) for one in data) < 2:
        return Estimate(value, None, None, n, len(people))
    low, high = _mover(means, data, _correlations(data, parts))
    limits = min(low, value), max(high, value)
    return Estimate(value, *limits, n, len(people), method="mover_harmonic")


def _mover(means: np.ndarray, data: list[Clustered], r: np.ndarray) -> tuple[float, float]:
    limits = np.array([wilson_clopper_pearson(one) for one in data])[:, :, 0]
    lows, highs = limits[:, 0], np.maximum(limits[:, 1], [_stretched(one) for one in data])
    k, known = len(means), np.where(means > 0, means, 1)
    if (lows <= 0).any():
        low = 0.0
    else:
        up = 1 / lows - 1 / known
        low = k / ((1 / known).sum() + math.sqrt(max(up @ r @ up, 0)))
    start = np.where(means > 0, 1 / known, 1 / highs)
    down = start - 1 / highs
    high = k / max(start.sum() - math.sqrt(max(down @ r @ down, 0)), k)
    return low, high


def _stretched(data: Clustered) -> float:
    """m · exp(t · se / m), at most 1: the upper limit of a mean m by logarithms; 0 for m = 0."""
    mean = float(data.mean[0])
    if mean <= 0:
        return 0.0
    return min(mean * math.exp(min(data.t * math.sqrt(data.variance[0]) / mean, 700)), 1.0)


def _correlations(data: list[Clustered], parts: Sequence[Part]) -> np.ndarray:
    """Correlations of the means over the people that parts share: (k, k), 1 on the diagonal."""
    names = sorted({str(one) for _, clusters in parts for one in clusters})
    place = {name: number for number, name in enumerate(names)}
    residuals = np.zeros((len(names), len(parts)))
    for column, (one, (_, clusters)) in enumerate(zip(data, parts, strict=True)):
        rows = [place[name] for name in np.unique(np.asarray(clusters, dtype=str))]
        residuals[rows, column] = one.residuals[:, 0]
    size = np.sqrt((residuals**2).sum(axis=0))
    products = residuals.T @ residuals
    scale = np.outer(size, size)
    r = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    np.fill_diagonal(r, 1)
    return r
