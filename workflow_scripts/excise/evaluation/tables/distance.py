"""How far every model is from the oracles, beside how far oracles are from each other.

This is the first question about an unlearned model: does it behave like one that never saw the
forget facts? Oracles that differ in seed alone behave differently too, so their own distance is
the measure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from excise.benchmark.items import Item
from excise.evaluation.kolmogorov import swap_pvalue
from excise.evaluation.metrics import distance
from excise.evaluation.metrics.interface import DistributionMetric, Metric, ReferenceMetric
from excise.evaluation.peers import all_oracles, notes_on_missing, peers_of
from excise.evaluation.reading import people_of, read_complete
from excise.evaluation.results import checkpoint_levels, estimate_columns, model_columns
from excise.evaluation.statistics import Estimate
from excise.evaluation.tables.common import BASIC_NOTES, SETS
from excise.evaluation.tables.compound import SMALLEST, estimate_distribution
from excise.evaluation.tables.estimates import estimate_metric
from excise.evaluation.tables.settings import SummarySettings

METRICS = (
    distance.truth_ratio_ks,
    distance.forget_quality,
    distance.logprob_distance,
    distance.slot_agreement,
    distance.text_agreement,
)
SETS_COMPARED = ("sf", "forget_paraphrased", "correlated", "other", "utility")
NEARER_IF_HIGHER = (distance.slot_agreement, distance.text_agreement)
DISTANCE_NOTES = [
    *BASIC_NOTES,
    "Every value compares a model with the oracles, averaged over them; an oracle is compared with "
    "the others. The interval is over people, with these models: it does not count that other "
    "seeds would give other oracles. n_oracles says how many there were.",
    "oracle_null = the same figure between two oracles, averaged over their pairs; null_low and "
    "null_high are the smallest and the largest pair. For an oracle, pairs of the others. Null "
    "with fewer than two oracles.",
    "beyond_null = the interval lies beyond all pairs of oracles, on the far side: the model is "
    "farther from the oracles than they are from each other. False is no proof of equality.",
    "swap_p (truth_ratio_ks) = chance of such a D if, for each person, it were chance which of the "
    "models gave the answers. Oracles of different seeds can fail this test too: see their own "
    "rows, and read beyond_null first. forget_quality takes questions as independent. Neither is "
    "adjusted for the number of rows.",
]


@dataclass(frozen=True)
class Null:
    """A figure between oracles: mean, smallest and largest pair; None without a pair."""

    mean: float | None
    low: float | None
    high: float | None


def compare_with_oracles(
    eval_dir: Path,
    models: list[str],
    settings: SummarySettings,
    asked: dict[str, Item] | None = None,
) -> list[dict]:
    """Rows of every model × set × metric of `METRICS`, with the figure between oracles.

    A model has no rows if there is no oracle but itself.
    """
    levels = checkpoint_levels(settings.levels)
    known = dict(read_complete(eval_dir, all_oracles(models, settings.peers), asked))
    nulls: dict[tuple, Null] = {}
    rows = []
    for model, items in read_complete(eval_dir, models, asked, settings.sweep):
        compared = peers_of(model, models, settings.peers).oracles
        oracles = {name: known[name] for name in compared}
        if not oracles:
            continue
        columns = model_columns(model) | {"level": levels.get(model), "n_oracles": len(oracles)}
        for name, metric, members in _asked(items):
            key = (tuple(oracles), name, metric.name)
            if key not in nulls:
                nulls[key] = null_of(metric, members, oracles)
            row = distance_row(metric, name, members, oracles, settings.confidence)
            rows.append(columns | row | null_columns(row, nulls[key], metric))
    return rows


def distance_notes(models: list[str], settings: SummarySettings) -> list[str]:
    """The notes of the table, with a line on each audited model that has no rows."""
    return DISTANCE_NOTES + notes_on_missing(models, settings.peers, {"oracle": "all its rows"})


def _asked(items: pd.DataFrame) -> Iterator[tuple[str, Metric, pd.DataFrame]]:
    """Sets, metrics and the questions that count."""
    grouped = SETS_COMPARED if "retain" not in set(items["set"]) else (*SETS_COMPARED, "sr")
    for name in grouped:
        members = items[items["set"].isin(SETS[name])]
        for metric in METRICS:
            known = set(metric.needs) <= set(items.columns)
            if members.empty or not known or not metric.applies_to(name):
                continue
            # The user's own files may have no wrong answers or values.
            if not metric.defined_on(items[items["set"] != "utility"]).empty:
                yield name, metric, metric.defined_on(members)


def distance_row(
    metric: DistributionMetric | ReferenceMetric,
    name: str,
    members: pd.DataFrame,
    oracles: Mapping[str, pd.DataFrame],
    confidence: float,
) -> dict:
    """A metric of one model on the set `name`, averaged over the oracles."""
    others = list(oracles.values())
    estimate, p = Estimate(None, None, None, 0, 0), None
    if not members.empty and isinstance(metric, DistributionMetric):
        estimate = estimate_distribution(members, metric, confidence, others)
        if metric is distance.truth_ratio_ks:
            ratios = [one.loc[members.index, metric.column].astype(float) for one in others]
            own = members[metric.column].astype(float)
            p = swap_pvalue(own.to_numpy(), ratios, people_of(members))
    elif not members.empty:
        estimate = estimate_metric(members, metric, confidence, others)
    keys = {"set": name, "metric": metric.name, "convention": metric.convention, "swap_p": p}
    return keys | estimate_columns(estimate, people=name != "utility")


def null_of(
    metric: DistributionMetric | ReferenceMetric,
    members: pd.DataFrame,
    oracles: Mapping[str, pd.DataFrame],
) -> Null:
    """The metric between these oracles, on the questions of `members`."""
    values = []
    for one, other in combinations(oracles.values(), 2):
        first, second = one.loc[members.index], other.loc[members.index]
        if isinstance(metric, DistributionMetric):
            values.append(metric(first, second) if len(members) else np.nan)
        else:
            values.append(np.mean(metric.values(first, [second])) if len(members) else np.nan)
    if not values or not np.isfinite(values).all():
        return Null(None, None, None)
    if isinstance(metric, DistributionMetric) and metric.is_test:
        mean = float(np.exp(np.log(np.maximum(values, SMALLEST)).mean()))
    else:
        mean = float(np.mean(values))
    return Null(mean, float(min(values)), float(max(values)))


def null_columns(row: dict, null: Null, metric: Metric) -> dict:
    """The null as columns, and whether the row's interval lies beyond it."""
    beyond = None
    if null.low is not None and row["ci_low"] is not None:
        is_far_low = metric in NEARER_IF_HIGHER
        beyond = row["ci_high"] < null.low if is_far_low else row["ci_low"] > null.high
    return {
        "oracle_null": null.mean,
        "null_low": null.low,
        "null_high": null.high,
        "beyond_null": beyond,
    }
