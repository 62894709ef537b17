"""From per-question records to rows with intervals: the tables of the study.

Evaluation, retain comparison and quantization. `evaluation/item_metrics.py` says what a metric
means, `evaluation/statistics.py` how an interval is made; here is which questions are averaged.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from excise.benchmark.completeness import check_ids
from excise.benchmark.items import JOINT_SETS, Item
from excise.errors import InputError
from excise.evaluation.item_metrics import METRICS, SCALES, asked_of, item_values, measurable
from excise.evaluation.results import checkpoint_levels, estimate_columns, model_columns
from excise.evaluation.statistics import (
    MINIMUM_FORGOTTEN,
    Estimate,
    difference_interval,
    mean_interval,
    recovery_interval,
)
from excise.records import read_json

SETS = {
    "sf": ("sf",),
    "forget_paraphrased": ("forget_paraphrased",),
    "correlated": ("correlated",),
    "other": ("other",),
    "sr": ("correlated", "other"),
    "utility": ("utility",),
    "forget_joint": ("forget_joint",),
    "retain_joint": ("retain_joint",),
}
"""Sets of questions in result files, and the sets of the records they are made of."""

BASIC_NOTES = [
    "Intervals: over people (over questions for utility), not adjusted for the number of rows; "
    "`interval` names the method (docs/statistics.md). Limits are null if all inputs were "
    "equal and the metric is unbounded: the width is then unknown. fixed: computed, not sampled.",
    "A value is null if any of its n inputs was NaN or infinite (n_undefined says how many).",
]
EVAL_NOTES = [
    *BASIC_NOTES,
    "truth_ratio = P(paraphrased truth)/P(wrong), geometric mean; lower = more forgotten. "
    "truth_ratio_tofu follows TOFU with R = P(wrong)/P(truth): min(R, 1/R) on sf, max(0, 1-R) "
    "elsewhere.",
    "truth_ratio, truth_ratio_tofu and win_rate use only the questions that have wrong "
    "answers; n is their number. The value is null if there are none.",
    "slot_accuracy: the answer states the value in any spelling; it is not denied, left open or "
    "one of several. slot_accuracy_strict: the answer has its exact words. Metrics in _ascii "
    "use only a-z and 0-9, as rouge_score does; rougeL_recall and rougeL_f1 use every script.",
    "diverged = training broke off (loss or gradient not finite) before this checkpoint, which "
    "holds the last finite weights.",
    "forget_joint and retain_joint: a forget question and one about a correlated fact of the same "
    "person in one prompt, either first; forget_joint looks for the forget value in the "
    "answer to both, retain_joint for the other. Compare with finetuned, which was "
    "trained on single questions.",
    "guess_rate is the slot accuracy of naming another person's value of the slot: what knowing "
    "the slot's values, but nothing about the person, reaches.",
]
GAP_NOTES = [
    *BASIC_NOTES,
    "gap = other - correlated, over pairs of questions about the same person whose slots are "
    "partners (same value type and question form); positive = correlated facts suffer more.",
    "Rows with a slot are the gap of that correlated slot with its partner alone.",
]
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
GAP_METRICS = ["rougeL_recall", "rougeL_f1", "slot_accuracy", "probability", "win_rate"]
RECOVERY_METRICS = ["slot_accuracy", "rougeL_recall", "probability"]
RECOVERY_SETS = ["sf", "forget_paraphrased"]
RECORD_FIELDS = {"slot_accuracy": "slot_match"}
"""Field of a record that a metric averages, if its name differs."""


def confidence_of(hp: dict) -> float:
    """Coverage of every interval, from a program's `--hp`."""
    return hp.get("confidence", 0.95)


def read_items(path: str | Path) -> pd.DataFrame:
    """Per-question records as a frame, indexed by id; empty if the file is.

    Raises:
        InputError: the file is missing, a line is not JSON, or lacks id, set or person_id.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    records = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise InputError(f"{path}:{number}: not JSON ({error.msg})") from error
    if not records:
        return pd.DataFrame(columns=["id", "set", "person_id", "slot"]).set_index("id")
    items = pd.DataFrame(records)
    if {"id", "set", "person_id"} - set(items.columns):
        raise InputError(f"{path}:1: a record needs id, set and person_id")
    return items.set_index("id", drop=False)


def read_complete(
    folder: Path, models: Iterable[str], asked: dict[str, Item] | None = None
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each model's `items.jsonl`, which holds an answer to every question.

    Args:
        folder: of the models' folders.
        models: names.
        asked: id → question, everything that models are asked; without it, the first model's
            records define the questions.

    Raises:
        InputError: a file is missing or broken, lacks a question, or has an unexpected one.
    """
    expected, whose = asked, "the benchmark"
    for model in models:
        path = folder / model / "items.jsonl"
        items = read_items(path)
        if expected is None:
            expected, whose = items.index, f"the records of {model}"
        check_ids(path, items.index, expected, whose)
        yield model, items


def people_of(items: pd.DataFrame) -> pd.Series:
    """The clusters: the person a question is about, or the question itself (utility)."""
    return items["person_id"].where(items["person_id"].notna(), items["id"])


def summarize_eval(
    eval_dir: Path, models: list[str], hp: dict, asked: dict[str, Item] | None = None
) -> list[dict]:
    """Rows of every model × set × metric; `hp.levels` names the checkpoints of each level."""
    confidence, levels = confidence_of(hp), checkpoint_levels(hp.get("levels", {}))
    rows = []
    for model, items in read_complete(eval_dir, models, asked):
        diverged = bool(items["diverged"].any()) if "diverged" in items else None
        columns = model_columns(model) | {"level": levels.get(model), "diverged": diverged}
        rows += [columns | row for row in metric_rows(items, confidence)]
    return rows


def metric_rows(items: pd.DataFrame, confidence: float) -> Iterator[dict]:
    """One row for each set and metric; null rows if there are no items at all."""
    for name, parts in SETS.items():
        members = items[items["set"].isin(parts)]
        if members.empty and not items.empty:
            continue
        for metric in METRICS:
            if items.empty or asked_of(name, metric):
                estimate = estimate_metric(members, metric, confidence)
                people = estimate_columns(estimate, people=name != "utility")
                yield {"set": name, "metric": metric} | people


def estimate_metric(items: pd.DataFrame, metric: str, confidence: float) -> Estimate:
    """A metric's mean over these items, geometric where the metric is a ratio."""
    items = measurable(items, metric)
    if items.empty:
        return Estimate(None, None, None, 0, 0)
    return mean_interval(item_values(items, metric), people_of(items), SCALES[metric], confidence)


def compare_retain(
    eval_dir: Path, models: list[str], hp: dict, asked: dict[str, Item] | None = None
) -> list[dict]:
    """Rows of correlated, other and their paired gap, per model × metric and per slot."""
    confidence, levels = confidence_of(hp), checkpoint_levels(hp.get("levels", {}))
    rows = []
    for model, items in read_complete(eval_dir, models, asked):
        columns = model_columns(model) | {"level": levels.get(model), "slot": None, "partner": None}
        for metric in GAP_METRICS:
            found = [*group_rows(items, metric, confidence), *gap_rows(items, metric, confidence)]
            rows += [columns | {"metric": metric} | row for row in found]
    return rows


def group_rows(items: pd.DataFrame, metric: str, confidence: float) -> Iterator[dict]:
    """The metric on correlated and on other items, all of them."""
    for group in ("correlated", "other"):
        estimate = estimate_metric(items[items["set"] == group], metric, confidence)
        yield {"set": group} | estimate_columns(estimate)


def gap_rows(items: pd.DataFrame, metric: str, confidence: float) -> Iterator[dict]:
    """The gap other − correlated over partner questions: overall, then by correlated slot."""
    pairs = partner_pairs(items)
    if pairs.empty:
        yield {"set": "gap"} | estimate_columns(Estimate(None, None, None, 0, 0))
        return
    retained = measurable(items[items["set"].isin(("correlated", "other"))], metric)
    pairs = pairs[pairs["other"].isin(retained.index) & pairs["correlated"].isin(retained.index)]
    values = pd.Series(item_values(retained, metric), index=retained.index)
    pairs = pairs.assign(other=values[pairs["other"]].to_numpy())
    pairs = pairs.assign(correlated=values[pairs["correlated"]].to_numpy())
    for slots, members in [((None, None), pairs), *pairs.groupby(["slot", "partner"])]:
        estimate = difference_interval(
            members["other"],
            members["correlated"],
            members["person_id"],
            SCALES[metric],
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


def summarize_quantize(
    quantize_dir: Path,
    eval_dir: Path,
    models: list[str],
    hp: dict,
    asked: dict[str, Item] | None = None,
) -> tuple[list[dict], list[str]]:
    """Rows of every model × precision × set × metric, the recoveries, the size of the update.

    Full precision is read from `eval_dir`, the quantized models from `quantize_dir`; an empty
    file means that this model does not run in that precision; weights.json gives the reason.

    Returns:
        The rows, and notes on what could not be run.
    """
    confidence, levels = confidence_of(hp), checkpoint_levels(hp.get("levels", {}))
    ((_, finetuned),) = read_complete(eval_dir, ["finetuned"], asked)
    rows, notes = [], []
    for model, full in read_complete(eval_dir, models, asked):
        columns = model_columns(model) | {"level": levels.get(model), "of": None}
        weights = read_json(quantize_dir / model / "weights.json")
        versions = {"full": full}
        for precision in hp["precisions"]:
            path = quantize_dir / model / f"{precision}.jsonl"
            versions[precision] = read_items(path)
            if precision not in weights.get("unsupported", {}):
                found = versions[precision]
                paired = found["set"].isin(JOINT_SETS).any()  # usually not asked again
                expected = full.index if paired else full.index[~full["set"].isin(JOINT_SETS)]
                check_ids(path, found.index, expected, "the records at full precision")
        for precision, items in versions.items():
            found = list(metric_rows(items, confidence))
            if items.empty:
                notes.append(f"{model}: no records at precision {precision}; its values are null.")
            elif precision != "full" and columns["method"] is not None:
                noise = weights.get("batch_noise", {}).get(precision, {})
                found += recovery_rows(items, full, finetuned, confidence, noise)
            rows += [columns | {"precision": precision} | row for row in found]
        rows += [columns | row for row in weight_rows(weights, hp["precisions"])]
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
        for metric in RECOVERY_METRICS:
            after = item_values(members, metric)
            before = item_values(_same_questions(full, members), metric)
            estimate = recovery_interval(
                after,
                before,
                item_values(_same_questions(finetuned, members), metric),
                people_of(members),
                SCALES[metric],
                confidence,
            )
            change = noise.get(RECORD_FIELDS.get(metric, metric))
            yield {
                "set": name,
                "metric": "recovery",
                "of": metric,
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


def weight_rows(weights: dict, precisions: list[str]) -> Iterator[dict]:
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
