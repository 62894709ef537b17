"""The mean of one metric over questions, with its interval over people."""

from collections.abc import Sequence

import pandas as pd

from excise.evaluation.metrics.interface import ItemMetric, ReferenceMetric
from excise.evaluation.reading import people_of
from excise.evaluation.statistics import Estimate, mean_interval


def estimate_metric(
    items: pd.DataFrame,
    metric: ItemMetric | ReferenceMetric,
    confidence: float,
    *references: Sequence[pd.DataFrame],
) -> Estimate:
    """A metric's mean over these items, geometric where the metric is a ratio."""
    items = metric.defined_on(items)
    if items.empty:
        return Estimate(None, None, None, 0, 0)
    values = metric.values(items, *references)
    return mean_interval(values, people_of(items), metric.scale, confidence)
