"""Resamples of people: weights that are drawn once, and means of every quantity under them."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from excise.evaluation.statistics import cluster_totals

RESAMPLES = 10_000
SEED = 0


@cache
def weights_of(clusters: int, resamples: int = RESAMPLES) -> np.ndarray:
    """How often each cluster is drawn: the study itself, then the resamples.

    The same number of clusters always gives the same weights. So all models have the same
    resamples, and a further model changes nothing for the others.

    Returns:
        (1 + resamples, clusters); the first row is all ones.
    """
    generator = np.random.default_rng([SEED, clusters])
    drawn = generator.multinomial(clusters, np.full(clusters, 1 / clusters), resamples)
    return np.vstack([np.ones(clusters), drawn])


def resampled_mean(
    values: np.ndarray, clusters: Sequence, names: Sequence, resamples: int = RESAMPLES
) -> np.ndarray:
    """Mean of all values in the study and in each resample of its clusters.

    Args:
        values: one number per question, (n,); the mean is NaN if any is undefined.
        clusters: the cluster of each question, (n,).
        names: all clusters of the study, whether or not they have a question here, sorted.
        resamples: their number.

    Returns:
        (1 + resamples,), the study first; NaN in a resample that draws no question.
    """
    sums = np.zeros((len(names), 2))
    position = {name: number for number, name in enumerate(names)}
    known = sorted(set(clusters))
    totals, sizes = cluster_totals(np.asarray(values, dtype=float).reshape(-1, 1), clusters)
    rows = [position[name] for name in known]
    sums[rows, 0], sums[rows, 1] = totals[:, 0], sizes
    drawn = weights_of(len(names), resamples) @ np.nan_to_num(sums)
    undefined = not np.isfinite(sums).all()
    with np.errstate(invalid="ignore", divide="ignore"):
        means = drawn[:, 0] / drawn[:, 1]
    return np.full_like(means, np.nan) if undefined else means


def resampled_variance(values: np.ndarray, clusters: int) -> float:
    """Variance of a quantity over the resamples, with the bootstrap's bias of (g − 1)/g removed.

    Resamples in which it is undefined do not count. Source: Efron and Tibshirani (1993), 5.3.

    Args:
        values: the study, then the resamples, (1 + resamples,).
        clusters: number of clusters g that were resampled.
    """
    drawn = values[1:][np.isfinite(values[1:])]
    if len(drawn) < 2 or clusters < 2:
        return float("nan")
    return float(drawn.var(ddof=1) * clusters / (clusters - 1))
