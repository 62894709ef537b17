"""The retain comparison: do facts of the forgotten event suffer more than others?"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from excise.benchmark.items import Item
from excise.errors import InputError
from excise.evaluation.metrics.interface import ItemMetric
from excise.evaluation.metrics.likelihood import probability
from excise.evaluation.metrics.rouge import rouge_l_f1, rouge_l_recall
from excise.evaluation.metrics.slot import slot_accuracy
from excise.evaluation.metrics.truth_ratio import win_rate
from excise.evaluation.reading import read_complete
from excise.evaluation.results import checkpoint_levels, estimate_columns, model_columns
from excise.evaluation.statistics import Estimate, difference_interval
from excise.evaluation.tables.common import BASIC_NOTES
from excise.evaluation.tables.estimates import estimate_metric
from excise.evaluation.tables.settings import SummarySettings

GAP_NOTES = [
    *BASIC_NOTES,
    "gap = other - correlated, over pairs of questions about the same person whose slots are "
    "partners (same value type and question form); positive = correlated facts suffer more.",
    "Rows with a slot are the gap of that correlated slot with its partner alone.",
]
METRICS = (slot_accuracy, probability, win_rate, rouge_l_recall, rouge_l_f1)
"""The metrics that are compared; one is added here by its name."""


def compare_retain(
    eval_dir: Path,
    models: list[str],
    settings: SummarySettings,
    asked: dict[str, Item] | None = None,
) -> list[dict]:
    """Rows of correlated, other and their paired gap, per model × metric and per slot."""
    confidence, levels = settings.confidence, checkpoint_levels(settings.levels)
    rows = []
    for model, items in read_complete(eval_dir, models, asked, settings.sweep):
        columns = model_columns(model) | {"level": levels.get(model), "slot": None, "partner": None}
        for metric in METRICS:
            if not items.empty and not set(metric.needs) <= set(items.columns):
                continue
            retained = items[items["set"].isin(("correlated", "other"))]
            if not retained.empty and metric.defined_on(retained).empty:
                continue  # own files without wrong answers or values
            found = [*group_rows(items, metric, confidence), *gap_rows(items, metric, confidence)]
            keys = {"metric": metric.name, "convention": metric.convention}
            rows += [columns | keys | row for row in found]
    return rows


def group_rows(items: pd.DataFrame, metric: ItemMetric, confidence: float) -> Iterator[dict]:
    """The metric on correlated and on other items, all of them."""
    for group in ("correlated", "other"):
        estimate = estimate_metric(items[items["set"] == group], metric, confidence)
        yield {"set": group} | estimate_columns(estimate)


def gap_rows(items: pd.DataFrame, metric: ItemMetric, confidence: float) -> Iterator[dict]:
    """The gap other − correlated over partner questions: overall, then by correlated slot."""
    pairs = partner_pairs(items)
    if pairs.empty:
        yield {"set": "gap"} | estimate_columns(Estimate(None, None, None, 0, 0))
        return
    retained = metric.defined_on(items[items["set"].isin(("correlated", "other"))])
    pairs = pairs[pairs["other"].isin(retained.index) & pairs["correlated"].isin(retained.index)]
    values = pd.Series(metric.values(retained), index=retained.index)
    pairs = pairs.assign(other=values[pairs["other"]].to_numpy())
    pairs = pairs.assign(correlated=values[pairs["correlated"]].to_numpy())
    for slots, members in [((None, None), pairs), *pairs.groupby(["slot", "partner"])]:
        estimate = difference_interval(
            members["other"],
            members["correlated"],
            members["person_id"],
            metric.scale,
            confidence,
        )
        slot, partner = slots
        yield {"set": "gap", "slot": slot, "partner": partner} | estimate_columns(estimate)


def partner_pairs(items: pd.DataFrame) -> pd.DataFrame:
    """Ids of partner questions: columns person_id, slot, partner, correlated, other.

    Raises:
        InputError: a correlated item names a partner slot that its person lacks.
    """
    correlated = items[(items["set"] == "correlated") & items["slot"].notna()]
    if correlated.empty:
        return pd.DataFrame(columns=["person_id", "slot", "partner", "correlated", "other"])
    correlated = correlated[correlated["partner"].notna()]
    other = items[items["set"] == "other"].set_index(["person_id", "slot"])["id"]
    keys = list(zip(correlated["person_id"], correlated["partner"], strict=True))
    for item_id, key in zip(correlated["id"], keys, strict=True):
        if key not in other.index:
            raise InputError(f"item {item_id!r}: no item of set other with its partner slot {key}")
    columns = correlated[["person_id", "slot", "partner"]].reset_index(drop=True)
    return columns.assign(correlated=correlated["id"].to_numpy(), other=other[keys].to_numpy())
