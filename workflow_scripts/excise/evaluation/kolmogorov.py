"""The distance of Kolmogorov and Smirnov between the answers of models, from plain numbers.

D = sup |F − G| of two distribution functions, 0 = the same distribution, 1 = no overlap. Here both
models answer the same questions, and the answers about one person are not independent. So the
interval and the test treat people as the unit; scipy's p does not.

D cannot be below 0, and its estimate is too large where the truth is 0. Jackknife and percentile
bootstrap therefore fail (docs/statistics.md has their coverage).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri
from scipy.stats import ks_2samp

from excise.evaluation.statistics import (
    ROUNDING,
    Clustered,
    Estimate,
    bonett_price,
    cluster_totals,
)

RESAMPLES = 10_000
POINTS = 200
"""Most points at which the distribution functions are compared for interval and test."""
CONTACT = 0.5
"""How near to the maximum a point counts for the lower limit, in widths of the uniform band."""
SEED = 0


def ks_distance(first: ArrayLike, second: ArrayLike) -> float:
    """D of two samples (n,), (m,), in [0, 1]; NaN if a number is not finite or one is empty.

    Source: Kolmogorov (1933), Smirnov (1948).
    """
    first, second = np.sort(np.asarray(first, float)), np.sort(np.asarray(second, float))
    if not (len(first) and len(second) and np.isfinite([*first, *second]).all()):
        return math.nan
    points = np.concatenate([first, second])
    share = [np.searchsorted(one, points, side="right") / len(one) for one in (first, second)]
    return float(np.abs(share[0] - share[1]).max())


def ks_pvalue(first: ArrayLike, second: ArrayLike) -> float:
    """The p of the two-sample test for independent answers, as TOFU's forget quality; NaN as above.

    It depends on the number of questions, and p > .05 does not show that two models are equal.
    """
    if not math.isfinite(ks_distance(first, second)):
        return math.nan
    return float(ks_2samp(first, second).pvalue)


def ks_interval(
    values: ArrayLike, references: Sequence[ArrayLike], clusters: Sequence, confidence: float = 0.95
) -> Estimate:
    """Mean of D between a model and each reference, with its interval over people.

    With Δ = F − G, estimated at the points x of the sample, and its random part approximated by
    resampling people (signs ±1 of their CR2 residuals, times t/z):

    - high = max over x of the upper limit of |Δ(x)| by `bonett_price`: D is |Δ| at one of the x.
    - low = D − the (1 + confidence)/2 quantile of the maximum of the random part over those x with
      |Δ(x)| within `CONTACT` · c of D, where c is the half-width of the uniform band. If D is at
      most c, all x and both signs count. Never above the largest lower limit at these x.

    Sources: Fang and Santos (2019) for the directional derivative of the supremum; Andrews and
    Soares (2010) for the choice of x; Cameron, Gelbach and Miller (2008) for the signs.

    Args:
        values: one number per question of the model, (n,).
        references: the same questions of each other model, (k, n).
        clusters: the person of each question, (n,).
        confidence: coverage of the interval.
    """
    values = np.asarray(values, dtype=float)
    others = np.array([np.asarray(one, dtype=float) for one in references]).reshape(-1, len(values))
    n, n_clusters = len(values), len(set(np.asarray(clusters, dtype=str)))
    if not n or not len(others):
        return Estimate(None, None, None, 0, 0)
    undefined = int((~np.isfinite(np.vstack([values, others]))).any(axis=0).sum())
    if undefined:
        return Estimate(None, None, None, n, n_clusters, undefined)
    distances = [ks_distance(values, one) for one in others]
    found = Estimate(float(np.mean(distances)), None, None, n, n_clusters)
    if n_clusters < 2:
        return found
    signs = _signs(n_clusters)
    lows, highs, noises = [], [], []
    for one, distance in zip(others, distances, strict=True):
        data = Clustered(_below(values, one), clusters, confidence)
        noise, near = _noise(data, distance, signs)
        noises.append(noise)
        down, up = bonett_price(data)
        lows.append(np.where(data.mean >= 0, down, -up)[near].max())
        highs.append(np.maximum(up, -down).max())
    level = (1 + confidence) / 2
    width = float(np.quantile(np.mean(noises, axis=0), level)) * data.t / ndtri(level)
    low = float(min(found.value - max(width, 0), np.mean(lows)))
    high = max(float(np.mean(highs)), found.value)
    return replace(found, low=max(low, 0.0), high=min(high, 1.0), method="people_signs")


def swap_pvalue(values: ArrayLike, references: Sequence[ArrayLike], clusters: Sequence) -> float:
    """Chance of a mean D at least as large, if chance decided for each person which model answered.

    The test is about these models and not about other seeds. So references that differ in seed
    alone may differ by it too.

    For each person, the model trades all of its answers with a model drawn from itself and the
    references. (1 + draws with at least that D) / (1 + draws); NaN if a number is not finite.
    Valid however the answers about one person depend on each other. Source: Pitman (1937);
    Phipson and Smyth (2010) for the 1.

    Args:
        values: one number per question of the model, (n,).
        references: the same questions of each other model, (k, n).
        clusters: the person of each question, (n,).
    """
    series = np.vstack([np.asarray(one, dtype=float) for one in (values, *references)])
    if len(series) < 2 or not series.size or not np.isfinite(series).all():
        return math.nan
    points = _thinned(np.sort(series.ravel()))
    sums = [cluster_totals((one[:, None] <= points) * 1.0, clusters)[0] for one in series]
    people, draws = len(sums[0]), RESAMPLES - 1
    chosen = np.random.default_rng(SEED).integers(0, len(series), (draws, people))
    own = [(chosen == number).astype(np.float32) for number in range(len(series))]
    traded = sum(mask @ one.astype(np.float32) for mask, one in zip(own, sums, strict=True))
    observed, drawn = 0.0, np.zeros(draws, dtype=np.float32)
    for mask, one in zip(own[1:], sums[1:], strict=True):
        reference = one.sum(axis=0) + mask @ (sums[0] - one).astype(np.float32)
        drawn += np.abs(traded - reference).max(axis=1)
        observed += np.abs((sums[0] - one).sum(axis=0)).max()
    return float((1 + (drawn >= observed - 1e-3).sum()) / (1 + draws))


def _below(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """1(first ≤ x) − 1(second ≤ x) per question, at the points x: (n, points)."""
    points = np.sort(np.concatenate([first, second]))
    if len(points) > POINTS:
        shares = [np.searchsorted(np.sort(one), points, side="right") for one in (first, second)]
        farthest = points[np.abs(shares[0] - shares[1]).argmax()]
        points = np.union1d(_thinned(points), farthest)
    return (first[:, None] <= points).astype(float) - (second[:, None] <= points)


def _thinned(points: np.ndarray) -> np.ndarray:
    """At most `POINTS` of these, evenly by rank."""
    if len(points) <= POINTS:
        return points
    return points[np.linspace(0, len(points) - 1, POINTS).astype(int)]


@lru_cache(maxsize=8)
def _signs(people: int) -> np.ndarray:
    """Signs of the people in each resample: (resamples, people)."""
    generator = np.random.default_rng(SEED)
    return generator.choice(np.array([-1, 1], dtype=np.float32), (RESAMPLES, people))


def _noise(data: Clustered, distance: float, signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The maximum of the random part near the maximum of |Δ|, and which points those are.

    Returns:
        One number per resample, (resamples,), and a mask of the points.
    """
    random = signs @ (data.residuals / data.n).astype(np.float32)
    largest = np.abs(random).max(axis=1)
    band = float(np.quantile(largest, data.confidence))
    near = np.abs(data.mean) >= distance - CONTACT * band - ROUNDING
    if distance <= band:
        return largest, near
    signed = random[:, near] * np.sign(data.mean[near]).astype(np.float32)
    return signed.max(axis=1), near
