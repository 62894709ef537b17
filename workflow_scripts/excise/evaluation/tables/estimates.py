"""One metric over questions, with its interval over people."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from excise.evaluation.areas import area_interval, leak_interval, rescaled_interval
from excise.evaluation.metrics.interface import (
    ItemMetric,
    LeakMetric,
    ReferenceMetric,
    RescaledMetric,
    TwoSetMetric,
)
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


def estimate_two_sets(
    items: pd.DataFrame,
    metric: TwoSetMetric,
    confidence: float,
    references: Mapping[str, Sequence[pd.DataFrame]],
) -> Estimate | None:
    """The AUC of a score, its distance from the reference's, or its place between two references.

    Args:
        items: records of one model.
        metric: names the two sets.
        confidence: coverage of the interval.
        references: `finetuned` and `oracle` → records of these models.

    Returns:
        None if there are no records of one of the sets, or of the reference.
    """
    sides = [items[items["set"] == name] for name in (metric.members, metric.others)]
    wanted = getattr(metric.score, "reference", None)
    if any(side.empty for side in sides) or (wanted and not references.get(wanted)):
        return None
    compared = references.get(wanted, ())
    scores = [metric.scores(side, compared) for side in sides]
    members, others = (people_of(side) for side in sides)

    def scores_of(kind: str) -> list[list[np.ndarray]]:
        known = references.get(kind, ())
        return [[metric.scores(one.loc[side.index]) for side in sides] for one in known]

    if isinstance(metric, LeakMetric):
        known = scores_of(metric.reference)
        return leak_interval(scores, known, members, others, confidence) if known else None
    if isinstance(metric, RescaledMetric):
        before, oracles = map(scores_of, metric.references)
        if not before or not oracles:
            return None
        return rescaled_interval(scores, before[0], oracles, members, others, confidence)
    return area_interval(scores[0], members, scores[1], others, confidence)
