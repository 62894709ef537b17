"""The forecast table: how well predictors from before unlearning foretell the damage."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from excise.benchmark.completeness import check_ids
from excise.benchmark.items import Item
from excise.evaluation.rank_statistics import (
    auc_interval,
    rank_correlation_interval,
    rank_correlation_within,
)
from excise.evaluation.reading import people_of, read_complete
from excise.evaluation.results import checkpoint_levels, estimate_columns, model_columns
from excise.evaluation.tables.common import BASIC_NOTES, SETS
from excise.evaluation.tables.settings import ScoreSettings
from excise.records import read_jsonl

FORECAST_NOTES = [
    *BASIC_NOTES,
    "of = the predictor, computed from the finetuned model before unlearning "
    "(docs/updates-and-forecast.md). "
    "Damage = log-probability per token of finetuned - of the checkpoint.",
    "spearman = rank correlation of predictor and damage over all facts of the set, -1 to 1; "
    "spearman_within_person = mean of the same within each person. Positive = a higher predictor "
    "foretells more damage; 0 = no forecast.",
    "auc_lost = probability that a lost fact has the higher predictor than a kept one; .5 = no "
    "forecast. Of the facts that finetuned answers right, those that the checkpoint does not are "
    "lost. Null if none is lost or none is kept; limits are null if the lost or the kept facts are "
    "about fewer than 5 people.",
]
FORECAST_SETS = ("sr", "correlated", "other")
TWO_VALUES = ("same_event",)
"""Predictors without an AUC: its interval covers too rarely where most facts tie."""
KEYS = ("id", "person_id", "slot", "set")


def score_forecast(
    forecast: Path,
    eval_dir: Path,
    models: list[str],
    settings: ScoreSettings,
    asked: dict[str, Item] | None = None,
) -> list[dict]:
    """Rows of every model × set × predictor.

    Args:
        forecast: `forecast.jsonl`.
        eval_dir: folder of the records, also of `finetuned`.
        models: the unlearned models.
        settings: coverage and levels.
        asked: what models were asked.

    Raises:
        InputError: a file is missing or broken, or the forecast lacks a retain fact.
    """
    levels = checkpoint_levels(settings.levels)
    predicted = pd.DataFrame(read_jsonl(forecast, "forecast")).set_index("id", drop=False)
    ((_, finetuned),) = read_complete(eval_dir, ["finetuned"], asked)
    retained = finetuned.index[finetuned["set"].isin(SETS["sr"])]
    check_ids(forecast, predicted.index, retained, "the records of finetuned")
    has_values = bool(finetuned.loc[retained, "slot_match"].notna().any())
    rows = []
    for model, items in read_complete(eval_dir, models, asked):
        columns = model_columns(model) | {"level": levels.get(model)}
        facts = happened(predicted, finetuned, items)
        found = forecast_rows(facts, settings.confidence, has_values)
        rows += [columns | row for row in found]
    return rows


def happened(predicted: pd.DataFrame, finetuned: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """The forecast with what happened to each fact.

    Returns:
        `predicted` with `damage`, nats per token, NaN where undefined; `known` and `lost`, bool.
    """
    before, after = finetuned.loc[predicted.index], items.loc[predicted.index]
    per_token = [
        one["logprob_answer"].astype(float) / one["n_tokens_answer"] for one in (before, after)
    ]
    known = before["slot_match"] == 1
    return predicted.assign(
        damage=per_token[0] - per_token[1],
        known=known,
        lost=known & (after["slot_match"] == 0),
    )


def forecast_rows(
    facts: pd.DataFrame, confidence: float, has_values: bool = True
) -> Iterator[dict]:
    """Rows of one model: set × predictor × metric.

    Args:
        facts: from `happened`.
        confidence: coverage of the intervals.
        has_values: whether it is known which facts a model answers right; without, there are no
            rows of `auc_lost`.
    """
    predictors = [name for name in facts.columns if name not in (*KEYS, "damage", "known", "lost")]
    for name in FORECAST_SETS:
        members = facts[facts["set"].isin(SETS[name])]
        if members.empty:
            continue
        known = members[members["known"]]
        for predictor in predictors:
            scores, people = members[predictor].astype(float), people_of(members)
            if scores.isna().all():
                continue  # own files whose retain facts share nobody with the forget facts
            estimates = {
                "spearman": rank_correlation_interval(
                    scores, members["damage"], people, confidence
                ),
            }
            if members["person_id"].notna().any():
                estimates["spearman_within_person"] = rank_correlation_within(
                    scores, members["damage"], people, confidence
                )
            if predictor not in TWO_VALUES and has_values:
                estimates["auc_lost"] = auc_interval(
                    known[predictor].astype(float),
                    known["lost"].astype(float),
                    people_of(known),
                    confidence,
                )
            for metric, estimate in estimates.items():
                keys = {"set": name, "metric": metric, "of": predictor}
                yield keys | estimate_columns(estimate)
