"""The quantization table: what was forgotten, and what comes back at low precision."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from excise.benchmark.completeness import check_ids
from excise.benchmark.items import GENERATED_SETS, HOLDOUT_SET, Item
from excise.errors import InputError
from excise.evaluation.metrics.likelihood import probability
from excise.evaluation.metrics.rouge import rouge_l_recall
from excise.evaluation.metrics.slot import slot_accuracy
from excise.evaluation.reading import people_of, read_complete, read_items
from excise.evaluation.results import checkpoint_levels, estimate_columns, model_columns
from excise.evaluation.statistics import MINIMUM_FORGOTTEN, Estimate, recovery_interval
from excise.evaluation.tables.common import BASIC_NOTES
from excise.evaluation.tables.evaluation import metric_rows, read_answers
from excise.evaluation.tables.settings import RecoverySettings
from excise.evaluation.tables.token_columns import with_tokens
from excise.records import read_json

QUANTIZE_NOTES = [
    *BASIC_NOTES,
    "recovery = (quantized - full) / (finetuned - full), finetuned at full precision, the same "
    "questions; 0 = nothing comes back, 1 = as before unlearning. Null where nothing "
    f"was forgotten: the lower limit of finetuned - full does not exceed {MINIMUM_FORGOTTEN}.",
    "batch_noise = mean absolute change of a forget question's result when it is asked alone "
    "instead of in a batch. within_noise: |quantized - full| is at most batch_noise. Such a "
    "recovery does not count as one.",
    "relative_delta = ||dW|| / ||W|| of the adapter over the adapted matrices (Frobenius norm).",
    "adapted_share, quantized_share: of the weights in all matrices (parameters of two or more "
    "dimensions) but embeddings and the output head, the part that the adapter is on, and the part "
    "that is quantized.",
]
RECOVERING = (slot_accuracy, probability, rouge_l_recall)
"""The metrics whose recovery is reported; each averages one field of the records."""
RECOVERY_SETS = ("sf", "forget_paraphrased")


def summarize_quantize(
    quantize_dir: Path,
    eval_dir: Path,
    models: list[str],
    settings: RecoverySettings,
    asked: dict[str, Item] | None = None,
) -> tuple[list[dict], list[str]]:
    """Rows of every model × precision × set × metric, the recoveries, the size of the update.

    Full precision is read from `eval_dir`, the quantized models from `quantize_dir`. An empty file
    means that this model does not run in that precision. weights.json gives the reason.

    Returns:
        The rows, and notes on what could not be run.
    """
    confidence, levels = settings.confidence, checkpoint_levels(settings.levels)
    ((_, finetuned),) = read_complete(eval_dir, ["finetuned"], asked)
    rows, notes = [], []
    for model, full in read_answers(eval_dir, models, asked):
        columns = model_columns(model) | {"level": levels.get(model), "of": None}
        weights = read_json(quantize_dir / model / "weights.json")
        versions = {"full": full}
        for precision in settings.precisions:
            path = quantize_dir / model / f"{precision}.jsonl"
            versions[precision] = read_items(path)
            if precision not in weights.get("unsupported", {}):
                found = versions[precision]
                # These are usually not asked again.
                left_out = {*GENERATED_SETS, HOLDOUT_SET} - {*found["set"]}
                expected = full.index[~full["set"].isin(left_out)]
                check_ids(path, found.index, expected, "the records at full precision")
            versions[precision] = with_tokens(versions[precision], path.with_suffix(".parquet"))
        for precision, items in versions.items():
            found = list(metric_rows(items, confidence))
            if items.empty:
                notes.append(f"{model}: no records at precision {precision}; its values are null.")
            elif precision != "full" and columns["method"] is not None:
                noise = weights.get("batch_noise", {}).get(precision, {})
                found += recovery_rows(items, full, finetuned, confidence, noise)
            rows += [columns | {"precision": precision} | row for row in found]
        rows += [columns | row for row in weight_rows(weights, settings.precisions)]
        notes += share_notes(weights)
    return rows, list(dict.fromkeys(notes))


def recovery_rows(
    quantized: pd.DataFrame,
    full: pd.DataFrame,
    finetuned: pd.DataFrame,
    confidence: float,
    noise: dict[str, float],
) -> Iterator[dict]:
    """How much of the forgotten knowledge quantization brings back, by set of forget questions.

    Args:
        quantized: records of the unlearned model after quantization.
        full: the same model at full precision.
        finetuned: the model before unlearning, at full precision.
        confidence: coverage of an interval.
        noise: {field of a record: its mean change with the batch} (`batch_noise` of
            weights.json).
    """
    for name in RECOVERY_SETS:
        members = quantized[quantized["set"] == name]
        if members.empty:
            continue
        for metric in RECOVERING:
            after = metric.values(members)
            before = metric.values(_same_questions(full, members))
            estimate = recovery_interval(
                after,
                before,
                metric.values(_same_questions(finetuned, members)),
                people_of(members),
                metric.scale,
                confidence,
            )
            (field,) = metric.needs
            change = noise.get(field)
            yield {
                "set": name,
                "metric": "recovery",
                "convention": f"share of what was forgotten; {metric.name}: {metric.convention}",
                "of": metric.name,
                "batch_noise": change,
                "within_noise": None if change is None else _is_within(after, before, change),
            } | estimate_columns(estimate)


def _is_within(after: np.ndarray, before: np.ndarray, change: float) -> bool | None:
    """Whether the mean changes by at most `change`; None where it or `change` is undefined."""
    changed = abs(after.mean() - before.mean())
    return bool(changed <= change) if np.isfinite([changed, change]).all() else None


def _same_questions(items: pd.DataFrame, wanted: pd.DataFrame) -> pd.DataFrame:
    missing = wanted.index.difference(items.index)
    if len(missing):
        raise InputError(
            f"item {missing[0]!r} was not asked at full precision; evaluate and quantize must "
            "see the same questions"
        )
    return items.loc[wanted.index]


def weight_rows(weights: dict, precisions: Sequence[str]) -> Iterator[dict]:
    """The relative size of the update, ‖ΔW‖/‖W‖, and the adapted and quantized shares.

    Args:
        weights: content of `weights.json` beside the quantized records.
        precisions: those of the study; one that failed has no share.
    """
    for metric in ("relative_delta", "adapted_share"):
        yield {"precision": "full"} | _of_weights(metric, weights.get(metric))
    for precision in precisions:
        share = weights.get("quantized_share", {}).get(precision)
        yield {"precision": precision} | _of_weights("quantized_share", share)


def _of_weights(metric: str, value: float | None) -> dict:
    columns = estimate_columns(Estimate(value, None, None, 1, 0), people=False)
    return {"set": None, "metric": metric} | columns


def share_notes(weights: dict) -> list[str]:
    """Why a share of the matrices is less than 1."""
    return [
        f"{metric}: without {why}."
        for metric, key in (("adapted_share", "not_adapted"), ("quantized_share", "not_quantized"))
        for why in weights.get(key, [])
    ]
