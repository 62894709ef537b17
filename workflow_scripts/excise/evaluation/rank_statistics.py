"""Rank correlation and AUC of a forecast, with intervals over people.

Both are smooth in the distribution of the facts, so the jackknife over people gives their standard
error. It is taken on a scale where the ends are far away: atanh for a correlation, the logit for
an AUC. Coverage: docs/statistics.md (`perf/coverage.py rank rank_within lost`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, stdtrit
from scipy.stats import rankdata

from excise.evaluation.statistics import COSINE, Estimate, mean_interval

LEAST_FACTS = 3
"""Facts that a person needs for a rank correlation within the person."""
LEAST_PEOPLE = 5
"""People that the positives, and the negatives, must be about for an AUC to have limits."""


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's ρ: Pearson's correlation of the mid-ranks, −1 to 1; NaN if one side is constant.

    Source: Spearman (1904).
    """
    one, two = (rankdata(side) - (len(side) + 1) / 2 for side in (first, second))
    size = math.sqrt(float(one @ one) * float(two @ two))
    return float(one @ two) / size if size else math.nan


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """P(score of a positive > score of a negative) + ½ P(equal), 0 to 1; NaN without both.

    Source: Mann and Whitney (1947).

    Args:
        scores: (n,).
        positive: which are positive, (n,), bool.
    """
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        return math.nan
    return (rankdata(scores)[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros)


def rank_correlation_interval(
    first: ArrayLike, second: ArrayLike, people: Sequence, confidence: float = 0.95
) -> Estimate:
    """Spearman's ρ over all facts, tanh(atanh ρ ± t · jackknife error of atanh ρ).

    Args:
        first: one number per fact, (n,).
        second: another, (n,).
        people: the person of each fact, (n,).
        confidence: coverage of the interval.
    """
    sides = np.column_stack([np.asarray(first, float), np.asarray(second, float)])

    def statistic(rows: np.ndarray) -> float:
        return spearman(rows[:, 0], rows[:, 1])

    def stretch(value: np.ndarray) -> np.ndarray:
        return np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))

    return _jackknife(statistic, sides, people, (stretch, np.tanh), "jackknife_atanh", confidence)


def rank_correlation_within(
    first: ArrayLike, second: ArrayLike, people: Sequence, confidence: float = 0.95
) -> Estimate:
    """Mean over people of Spearman's ρ among the facts of one person: mean ± t · error.

    Differences between people, such as how well a person was learned, have no influence. People
    with fewer than `LEAST_FACTS` facts or with a constant side are left out.

    Args: as `rank_correlation_interval`. `n` counts the facts of the people who remain.
    """
    sides = np.column_stack([np.asarray(first, float), np.asarray(second, float)])
    names, of_person = np.unique(np.asarray(people, dtype=str), return_inverse=True)
    undefined = int((~np.isfinite(sides).all(axis=1)).sum()) if len(sides) else 0
    if undefined or not len(sides):
        return Estimate(None, None, None, len(sides), len(names), undefined)
    found, n = [], 0
    for person in range(len(names)):
        rows = sides[of_person == person]
        value = spearman(rows[:, 0], rows[:, 1]) if len(rows) >= LEAST_FACTS else math.nan
        if math.isfinite(value):
            found.append(value)
            n += len(rows)
    estimate = mean_interval(np.clip(found, -1, 1), range(len(found)), COSINE, confidence)
    return replace(estimate, n=n)


def auc_interval(
    scores: ArrayLike, positive: ArrayLike, people: Sequence, confidence: float = 0.95
) -> Estimate:
    """AUC of scores over all facts, expit(logit ± t · jackknife error of the logit).

    There are no limits if the positives or the negatives are about fewer than `LEAST_PEOPLE`
    people. Coverage would be too low: .90 for two people.

    Args:
        scores: one number per fact, (n,); not only two values, of which many facts would tie.
        positive: 1 for a positive, 0 for a negative, (n,).
        people: the person of each fact, (n,).
        confidence: coverage of the interval.
    """
    sides = np.column_stack([np.asarray(scores, float), np.asarray(positive, float)])
    ones = int((sides[:, 1] == 1).sum())
    least = 0.5 / max(ones * (len(sides) - ones), 1)  # half of the smallest step of an AUC

    def statistic(rows: np.ndarray) -> float:
        return auc(rows[:, 0], rows[:, 1] == 1)

    def stretch(value: np.ndarray) -> np.ndarray:
        return logit(np.clip(value, least, 1 - least))

    found = _jackknife(statistic, sides, people, (stretch, expit), "jackknife_logit", confidence)
    who = np.asarray(people, dtype=str)
    if min(len({*who[sides[:, 1] == one]}) for one in (0, 1)) < LEAST_PEOPLE:
        return replace(found, low=None, high=None, method=None)
    return found


def _jackknife(
    statistic: Callable[[np.ndarray], float],
    rows: np.ndarray,
    people: Sequence,
    scale: tuple[Callable, Callable],
    method: str,
    confidence: float,
) -> Estimate:
    """A statistic of the rows with limits on another scale, to and from it."""
    who = np.asarray(people, dtype=str)
    names = np.unique(who)
    n, g = len(rows), len(names)
    undefined = int((~np.isfinite(rows).all(axis=1)).sum()) if n else 0
    value = math.nan if undefined or not n else statistic(rows)
    if not math.isfinite(value):
        return Estimate(None, None, None, n, g, undefined)
    found = Estimate(value, None, None, n, g)
    if g < 2:
        return found
    left = np.array([statistic(rows[who != name]) for name in names])
    if not np.isfinite(left).all():
        return found
    to, back = scale
    left, middle = to(left), float(to(np.array(value)))
    error = math.sqrt((g - 1) / g * ((left - left.mean()) ** 2).sum())
    spread = float(stdtrit(g - 1, (1 + confidence) / 2)) * error
    if spread < 1e-12:
        return found
    low, high = float(back(middle - spread)), float(back(middle + spread))
    return replace(found, low=min(low, value), high=max(high, value), method=method)
