"""Intervals of resampled quantities, p values by inverting an interval, and several seeds.

| quantity | interval | `method` |
|---|---|---|
| from 0 to 1 | Wilson or Clopper-Pearson, the wider | resampled_share |
| paired difference of 0 and 1 | Bonett-Price | resampled_tied |
| paired difference of other scores | t | resampled_t |
| difference from a mean of several seeds | MOVER | seeds_mover |

The variance is that over resamples of people, at least that of independent questions. The methods
were chosen by simulation (`perf/coverage_comparisons.py`, docs/comparisons.md).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

from excise.evaluation.comparisons.resampling import resampled_variance
from excise.evaluation.statistics import (
    Estimate,
    Scale,
    degrees_of_freedom,
    difference_interval,
    share_limits,
    tied_limits,
)

SMALLEST_P = 1e-6
"""p values below this are written as this."""


@dataclass(frozen=True)
class Sampled:
    """What an interval needs to know of a quantity besides its resamples.

    Attributes:
        kind: `share` (0 to 1), `tied` (differences of 0 and 1) or `score` (other differences).
        clusters: the person of each question, (n,), or the question itself.
        units: number of people, or of questions if that is smaller.
        freedom: degrees of freedom of its variance.
    """

    kind: str
    clusters: np.ndarray
    units: int
    freedom: float


def freedom_of(*clusters: Sequence) -> float:
    """The smallest degrees of freedom of several sets of questions (`degrees_of_freedom`)."""
    found = []
    for one in clusters:
        sizes = np.unique(np.asarray(one, dtype=str), return_counts=True)[1]
        if len(sizes) < 2:
            return 0.0
        found.append(degrees_of_freedom(tuple(sizes.tolist())))
    return min(found)


def resampled_interval(
    drawn: np.ndarray,
    sampled: Sampled,
    confidence: float,
    values: np.ndarray | None = None,
) -> Estimate:
    """A quantity with its interval, from its resamples.

    Args:
        drawn: the study, then the resamples, (1 + resamples,).
        sampled: what is known of the quantity.
        confidence: coverage of the interval.
        values: the number of each question of which the quantity is the mean, (n,), where there
            are such numbers; the variance is at least theirs.
    """
    n, people = len(sampled.clusters), len(set(sampled.clusters))
    value = float(drawn[0])
    if not math.isfinite(value):
        return Estimate(None, None, None, n, people)
    found = Estimate(value, None, None, n, people)
    variance = resampled_variance(drawn, sampled.units)
    if sampled.freedom <= 0 or not math.isfinite(variance):
        return found
    spread = 0.0 if values is None else float(np.var(values))
    variance = max(variance, spread / max(n - 1, 1))
    t = float(stdtrit(sampled.freedom, (1 + confidence) / 2))
    units = float(sampled.units)
    if sampled.kind == "share":
        own = value * (1 - value)
        effective = own / variance if variance > 0 and own > 0 else units
        limits = share_limits(np.array(value), np.array(effective), t, confidence)
        return _limited(found, *limits, "resampled_share")
    constant = math.sqrt(variance) <= 1e-12
    if sampled.kind == "tied" or constant:
        squares = float(np.mean(values**2))
        effective = units if constant or spread == 0 else spread / variance
        limits = tied_limits(np.array(value), np.array(squares), np.array(effective), t)
        return _limited(found, *(np.clip(limits, -1, 1)), "resampled_tied")
    half = t * math.sqrt(variance)
    return _limited(found, max(value - half, -1), min(value + half, 1), "resampled_t")


def _limited(found: Estimate, low: float, high: float, method: str) -> Estimate:
    low, high = min(float(low), found.value), max(float(high), found.value)
    return replace(found, low=low, high=high, method=method)


def p_value(interval: Callable[[float], Estimate]) -> float | None:
    """Two-sided p value of "the difference is 0": the interval that just excludes 0.

    It is 1 − c for the largest confidence c whose interval excludes 0, so it agrees with the
    interval that is reported. None without an interval. Precision: 0.1 % of itself.

    Args:
        interval: the estimate at a confidence.
    """

    def excludes(alpha: float) -> bool:
        found = interval(1 - alpha)
        return found.low is not None and not found.low <= 0 <= found.high

    if interval(0.95).low is None:
        return None
    if excludes(SMALLEST_P):
        return SMALLEST_P
    low, high = math.log(SMALLEST_P), 0.0
    if not excludes(1 - 1e-9):
        return 1.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if excludes(math.exp(middle)) else (middle, high)
    return math.exp(high)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p values corrected for their number: by chance, one is below 5 % in 5 % of studies at most.

    The i-th smallest of m is multiplied by m − i + 1; none is smaller than the one before it, and
    none exceeds 1. None stays None and does not count. Source: Holm (1979).
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    found: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        found[place] = largest
    return found


def seed_difference(
    first: np.ndarray,
    second: np.ndarray,
    clusters: Sequence,
    scale: Scale,
    confidence: float,
) -> Estimate:
    """Mean of `first − second`, paired by question, where each side may have several seeds.

    The questions of a person and the seeds of a side are two sources of error. The interval over
    people (`difference_interval`, of the means over seeds) and the t interval over seeds are
    joined by MOVER: half width = √(half of people² + half of seeds²). The variance of seeds is
    Σ s²/S over the sides with S ≥ 2 seeds, with Welch's degrees of freedom. A side with one seed
    is taken as it is: its error over seeds is unknown. Sources: Zou (2008); Welch (1947).

    Args:
        first: one row per seed, one column per question, (seeds, n).
        second: the other side, (seeds, n).
        clusters: the person of each question, (n,).
        scale: of the scores.
        confidence: coverage of the interval.
    """
    found = difference_interval(
        first.mean(axis=0), second.mean(axis=0), clusters, scale, confidence
    )
    sides = [side.mean(axis=1) for side in (first, second) if len(side) > 1]
    if found.low is None or not sides:
        return found
    errors = [side.var(ddof=1) / len(side) for side in sides]
    total = sum(errors)
    if total <= 1e-24:
        return found
    freedom = total**2 / sum(e**2 / (len(s) - 1) for e, s in zip(errors, sides, strict=True))
    half = float(stdtrit(freedom, (1 + confidence) / 2)) * math.sqrt(total)
    largest = scale.high - scale.low
    low = found.value - math.hypot(found.value - found.low, half)
    high = found.value + math.hypot(found.high - found.value, half)
    return _limited(found, max(low, -largest), min(high, largest), "seeds_mover")
