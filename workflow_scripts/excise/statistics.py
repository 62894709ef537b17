"""Intervals by bootstrap over people: numbers in, numbers out; no files, no models.

The questions about one person are not independent, so *people* are resampled, not questions.
A resample is a vector of how often each person was drawn; every statistic here is a function of
sums over people, so all resamples are one matrix product and the same draw of people serves
every quantity that is compared (the pairing is exact).

Percentile intervals of a dozen people are a little too narrow (about 92 % for 95 %), and an
interval of zero width says that everybody had the same mean, not that the value is certain.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

MINIMUM_FORGOTTEN = 0.1
"""Recovery is defined only where the lower limit of what was forgotten exceeds this."""


@dataclass(frozen=True)
class Estimate:
    """A value with its interval and what it rests on.

    `value` is None if any of the `n` inputs was undefined (`n_undefined` says how many: NaN and
    infinities, as collapsed models give) or if there was nothing to average. `low` and `high`
    are None as well with fewer than two clusters.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    n_clusters: int
    n_undefined: int = 0


@lru_cache(maxsize=16)
def resamples(n_clusters: int, samples: int, seed: int) -> np.ndarray:
    """How often each cluster is drawn in each resample: counts, shape (samples, n_clusters)."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=samples)


def bootstrap_mean(
    values: ArrayLike,
    clusters: Sequence,
    samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Mean of all values with a percentile interval from resampling whole clusters.

    In a resample the mean is Σ sums of the drawn clusters / Σ their sizes (a ratio of sums), so
    clusters of unequal size weigh as they do in the mean itself. Source: Davison and Hinkley,
    *Bootstrap Methods and their Application* (1997), §3.8.

    Args:
        values: one number per question, shape (n,).
        clusters: the person each question is about, shape (n,).
        samples: number of resamples.
        confidence: coverage of the interval, in (0, 1).
        seed: same seed and number of clusters, same draws.
    """
    column = np.asarray(values, dtype=float).reshape(-1, 1)
    return bootstrap_columns(column, clusters, samples, confidence, seed)[0]


def bootstrap_columns(
    values: ArrayLike,
    clusters: Sequence,
    samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Estimate]:
    """`bootstrap_mean` of every column of `values` (n, k), all on the same draws."""
    values = np.asarray(values, dtype=float)
    n, n_columns = values.shape
    if n == 0:
        return [Estimate(None, None, None, 0, 0)] * n_columns
    undefined = (~np.isfinite(values)).sum(axis=0)
    totals, sizes = cluster_totals(np.where(np.isfinite(values), values, 0.0), clusters)
    draws = resamples(len(sizes), samples, seed)
    lows, highs = _limits((draws @ totals) / (draws @ sizes)[:, None], confidence)
    means = totals.sum(axis=0) / n
    return [
        _estimate(means[k], lows[k], highs[k], n, len(sizes), int(undefined[k]))
        for k in range(n_columns)
    ]


def bootstrap_geometric_mean(
    values: ArrayLike,
    clusters: Sequence,
    samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """exp of `bootstrap_mean` of the logarithms; values ≤ 0 have none and count as undefined."""
    values = np.asarray(values, dtype=float)
    logs = np.log(values, out=np.full(values.shape, np.nan), where=values > 0)
    mean = bootstrap_mean(logs, clusters, samples, confidence, seed)
    value, low, high = (
        None if x is None else math.exp(x) for x in (mean.value, mean.low, mean.high)
    )
    return Estimate(value, low, high, mean.n, mean.n_clusters, mean.n_undefined)


def bootstrap_median(
    values: ArrayLike,
    clusters: Sequence,
    samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Median of all values, with a percentile interval from resampling whole clusters.

    The median of a resample is that of the values of the drawn clusters, each as often as its
    cluster was drawn. Arguments as of `bootstrap_mean`.
    """
    values = np.asarray(values, dtype=float)
    if not len(values):
        return Estimate(None, None, None, 0, 0)
    names, membership = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    undefined = int((~np.isfinite(values)).sum())
    drawn = resamples(len(names), samples, seed)[:, membership]  # (samples, n)
    medians = [np.median(np.repeat(values, times)) for times in drawn]
    low, high = _limits(np.array(medians), confidence)
    return _estimate(np.median(values), low, high, len(values), len(names), undefined)


def bootstrap_difference(
    first: ArrayLike,
    second: ArrayLike,
    clusters: Sequence,
    samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Mean of `first − second` over pairs, resampling the people who own both sides."""
    difference = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    return bootstrap_mean(difference, clusters, samples, confidence, seed)


def bootstrap_recovery(
    quantized: ArrayLike,
    full: ArrayLike,
    finetuned: ArrayLike,
    clusters: Sequence,
    samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Share of what was forgotten that quantization brings back.

    recovery = (quantized − full) / (finetuned − full), each the mean of the same questions:
    0 = nothing came back, 1 = as good as finetuned, negative = quantization forgets more.
    Numerator and denominator use the same draws. The value is None where nothing was forgotten:
    where the lower limit of finetuned − full does not exceed `MINIMUM_FORGOTTEN`; a ratio over
    a denominator that may be zero has no bounded interval (Fieller 1954).

    Args:
        quantized: scores of the unlearned model after quantization, one per question, (n,).
        full: the same questions, the unlearned model at full precision.
        finetuned: the same questions, the model before unlearning, at full precision.
        clusters: the person each question is about.
        samples: number of resamples.
        confidence: coverage of the interval.
        seed: of the draws.
    """
    full = np.asarray(full, dtype=float)
    parts = np.column_stack(
        [np.asarray(quantized, float) - full, np.asarray(finetuned, float) - full]
    )
    returned, forgotten = bootstrap_columns(parts, clusters, samples, confidence, seed)
    undefined = int((~np.isfinite(parts)).any(axis=1).sum())
    if undefined or forgotten.low is None or forgotten.low <= MINIMUM_FORGOTTEN:
        return Estimate(None, None, None, returned.n, returned.n_clusters, undefined)
    totals, _ = cluster_totals(parts, clusters)
    drawn = resamples(len(totals), samples, seed) @ totals
    positive = drawn[:, 1] > 0
    low, high = _limits(drawn[positive, 0] / drawn[positive, 1], confidence)
    return _estimate(
        returned.value / forgotten.value, low, high, returned.n, returned.n_clusters, 0
    )


def cluster_totals(values: np.ndarray, clusters: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the rows of `values` (n, k) in each cluster, and the cluster sizes: (c, k), (c,)."""
    names, membership = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    totals = np.zeros((len(names), values.shape[1]))
    np.add.at(totals, membership, values)
    return totals, np.bincount(membership, minlength=len(names))


def _limits(statistics: np.ndarray, confidence: float) -> np.ndarray:
    tail = (1 - confidence) / 2
    return np.quantile(statistics, [tail, 1 - tail], axis=0)


def _estimate(value, low, high, n: int, n_clusters: int, n_undefined: int) -> Estimate:
    if n_undefined:
        return Estimate(None, None, None, n, n_clusters, n_undefined)
    if n_clusters < 2:
        return Estimate(float(value), None, None, n, n_clusters)
    return Estimate(float(value), float(low), float(high), n, n_clusters)
