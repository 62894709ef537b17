"""Figures that are not means over questions: distances of distributions, and means of means."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from excise.evaluation.harmonic import harmonic_mean_interval
from excise.evaluation.kolmogorov import ks_interval
from excise.evaluation.metrics.interface import CompositeMetric, DistributionMetric
from excise.evaluation.reading import people_of
from excise.evaluation.statistics import Estimate
from excise.evaluation.tables.common import SETS

SMALLEST = 1e-300
"""A p below it counts as it: its logarithm must be finite."""


def estimate_distribution(
    items: pd.DataFrame,
    metric: DistributionMetric,
    confidence: float,
    references: Sequence[pd.DataFrame],
) -> Estimate:
    """A distance D, averaged over the references, with its interval; a p without one."""
    items = metric.defined_on(items)
    if items.empty:
        return Estimate(None, None, None, 0, 0)
    others = [one.loc[items.index, list(metric.needs)] for one in references]
    people = people_of(items)
    if not metric.is_test:
        values, *of_others = (
            one[metric.column].astype(float).to_numpy() for one in (items, *others)
        )
        return ks_interval(values, of_others, people, confidence)
    found = np.array([metric(items, one) for one in others])
    undefined = int((~np.isfinite(found)).sum())
    value = None if undefined else float(np.exp(np.log(np.maximum(found, SMALLEST)).mean()))
    return Estimate(value, None, None, len(items), people.nunique(), undefined)


def estimate_composite(
    items: pd.DataFrame, metric: CompositeMetric, confidence: float
) -> Estimate | None:
    """A metric made of the means of others; None where a set that it needs is missing.

    The interval is over people and over the questions about nobody; only people are counted.
    """
    parts = []
    for name, part in metric.parts:
        members = part.defined_on(items[items["set"].isin(SETS[name])])
        if members.empty:
            return None
        parts.append((part.values(members), people_of(members)))
    names = [name for part, _ in metric.parts for name in SETS[part]]
    people = items.loc[items["set"].isin(names), "person_id"].nunique()
    return replace(harmonic_mean_interval(parts, confidence), n_clusters=people)
