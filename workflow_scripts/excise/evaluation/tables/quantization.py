"""The quantization table: what was forgotten, and what comes back at low precision."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from excise.benchmark.completeness import check_ids
from excise.benchmark.items import FORGET_SETS, Item
from excise.errors import InputError
from excise.evaluation.conventions import CONVENTIONS
from excise.evaluation.metrics.interface import ItemMetric
from excise.evaluation.metrics.likelihood import probability
from excise.evaluation.metrics.rouge import rouge_l_recall
from excise.evaluation.metrics.slot import slot_accuracy
from excise.evaluation.peers import Peers, all_oracles, notes_on_missing, peers_of
from excise.evaluation.quantized_sets import asks_holdout, quantized_sets
from excise.evaluation.reading import people_of, read_complete, read_items
from excise.evaluation.results import checkpoint_levels, estimate_columns, model_columns
from excise.evaluation.statistics import (
    MINIMUM_FORGOTTEN,
    changes_interval,
    difference_interval,
    recovery_interval,
)
from excise.evaluation.tables.common import BASIC_NOTES
from excise.evaluation.tables.evaluation import (
    compared_membership_rows,
    metric_rows,
    read_answers,
)
from excise.evaluation.tables.settings import RecoverySettings
from excise.evaluation.tables.token_columns import with_tokens
from excise.evaluation.tables.weights import by_layer, fixed_row, summed
from excise.records import read_json

QUANTIZE_NOTES = [
    *BASIC_NOTES,
    "recovery = (quantized - full) / (finetuned - full), finetuned at full precision, the same "
    "questions; 0 = nothing comes back, 1 = as before unlearning. Null where nothing "
    f"was forgotten: the lower limit of finetuned - full does not exceed {MINIMUM_FORGOTTEN}.",
    "batch_noise = mean absolute change of a forget question's result when it is asked alone "
    "instead of in a batch. within_noise: |quantized - full| is at most batch_noise. Such a "
    "recovery does not count as one.",
    "change = quantized - full, the same questions. change_beyond_oracles = change - mean change "
    "of the oracles, paired by question: what quantization does beyond what it does to models "
    "that never knew the answers. Intervals are over people, for these oracles.",
    "relative_delta = ||dW|| / ||W|| of the adapter over the adapted matrices (Frobenius norm); "
    "relative_update = ||W - W_finetuned|| / ||W_base||, the unlearning update alone.",
    "codes_changed = share of the adapted weights whose code differs from that of the quantized "
    "finetuned model; values_changed = the same of code times scale. One weight that changes a "
    "scale changes all values of its block (4 bit) or row (int8).",
    "update_kept = <Q(W) - Q(W_f), W - W_f> / ||W - W_f||^2, f = finetuned: 0 = the update is "
    "erased, 1 = all of it is left on average. update_cosine = the cosine of the two: what "
    "rounding adds lowers it. layer counts blocks from 1, as hidden states do.",
    "adapted_share, quantized_share: of the weights in all matrices (parameters of two or more "
    "dimensions) but embeddings and the output head, the part that the adapter is on, and the part "
    "that is quantized.",
]
MEMBERSHIP_NOTE = (
    "auc_reference, privleak and s_mia compare with the oracles, s_mia also with finetuned, all of "
    "them in the precision of the row. So they leave out what rounding changes in every model. "
    "privleak in percent: 0 = like the oracles; s_mia: 0 = like finetuned, 1 = like the oracles; "
    "reason says why s_mia is null."
)
RECOVERING = (slot_accuracy, probability, rouge_l_recall)
"""The metrics whose recovery is reported; each averages one field of the records."""

Versions = tuple[pd.DataFrame, dict[str, pd.DataFrame]]
"""Records of one model at full precision, and by precision; empty where it does not run."""


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
    peers = {model: peers_of(model, models, settings.peers) for model in models}
    before = dict.fromkeys(one.finetuned for one in peers.values() if one.finetuned)
    finetuned = dict(read_complete(eval_dir, before, asked))
    wanted = settings.precisions, settings.sets
    with_holdout = asks_holdout(settings.sets)
    compared_with = dict.fromkeys(all_oracles(models, settings.peers))
    if with_holdout:
        compared_with |= dict.fromkeys(name for name in before if name in models)
    known = {
        model: (full, read_precisions(quantize_dir, model, full, *wanted))
        for model, full in read_answers(eval_dir, list(compared_with), asked)
    }
    without = {"finetuned": "recovery", "oracle": "change_beyond_oracles"}
    rows, notes = [], notes_on_missing(models, settings.peers, without)
    notes += [MEMBERSHIP_NOTE] * with_holdout
    for model, full in read_answers(eval_dir, models, asked):
        columns = model_columns(model) | {"level": levels.get(model), "of": None}
        weights = read_json(quantize_dir / model / "weights.json")
        if model in known:
            versions = known[model][1]
        else:
            versions = read_precisions(quantize_dir, model, full, *wanted)
        found = [{"precision": "full"} | row for row in metric_rows(full, confidence)]
        for precision, items in versions.items():
            here = list(metric_rows(items, confidence))
            if items.empty:
                notes.append(f"{model}: no records at precision {precision}; its values are null.")
            else:
                here += change_rows(items, full, confidence)
            if not items.empty and columns["method"] is not None:
                noise = weights.get("batch_noise", {}).get(precision, {})
                if start := peers[model].finetuned:
                    here += recovery_rows(items, full, finetuned[start], confidence, noise)
                oracles = [known[name] for name in peers[model].oracles]
                compared = [(one[precision], before) for before, one in oracles]
                here += beyond_oracle_rows(items, full, compared, confidence)
            found += [{"precision": precision} | row for row in here]
        if with_holdout:
            found += membership_rows((full, versions), peers[model], known, confidence)
        rows += [columns | row for row in found]
        rows += [columns | row for row in weight_rows(weights, settings.precisions)]
        notes += share_notes(weights)
    return rows, list(dict.fromkeys(notes))


def membership_rows(
    records: Versions, peers: Peers, known: Mapping[str, Versions], confidence: float
) -> Iterator[dict]:
    """The membership metrics that compare with other models, in the same precision.

    Args:
        records: of the model.
        peers: what it is compared with.
        known: records of these models; those that are missing are not compared with.
        confidence: coverage of the intervals.
    """

    def in_precision(versions: Versions, precision: str) -> pd.DataFrame:
        return versions[0] if precision == "full" else versions[1][precision]

    names = {"oracle": peers.oracles, "finetuned": (peers.finetuned,)}
    for precision in ("full", *records[1]):
        items = in_precision(records, precision)
        if items.empty:
            continue
        others = {
            kind: [in_precision(known[name], precision) for name in given if name in known]
            for kind, given in names.items()
        }
        compared = {kind: [one for one in own if not one.empty] for kind, own in others.items()}
        for row in compared_membership_rows(items, confidence, compared):
            yield {"precision": precision} | row


def read_precisions(
    quantize_dir: Path,
    model: str,
    full: pd.DataFrame,
    precisions: Sequence[str],
    asked: Sequence[str] | None,
) -> dict[str, pd.DataFrame]:
    """Records of a quantized model, by precision; empty where it does not run.

    `asked` are the sets of questions; None: all.

    Raises:
        InputError: a file is missing or broken, or lacks a question that this model is asked.
    """
    unsupported = read_json(quantize_dir / model / "weights.json").get("unsupported", {})
    versions = {}
    for precision in precisions:
        path = quantize_dir / model / f"{precision}.jsonl"
        items = read_items(path)
        if precision not in unsupported:
            sets = {*quantized_sets(model, asked), *items["set"]}
            expected = full.index[full["set"].isin(sets)]
            check_ids(path, items.index, expected, "the records at full precision")
        versions[precision] = with_tokens(items, path.with_suffix(".parquet"))
    return versions


def recovering(records: pd.DataFrame) -> list[ItemMetric]:
    """The metrics of `RECOVERING` that these questions define; own files may have no values."""
    forget = records[records["set"].isin(FORGET_SETS)]
    return [metric for metric in RECOVERING if not metric.defined_on(forget).empty]


def change_rows(quantized: pd.DataFrame, full: pd.DataFrame, confidence: float) -> Iterator[dict]:
    """The change by quantization, on the forget questions: set × metric."""
    for name, members in _forget_sets(quantized):
        for metric in recovering(quantized):
            estimate = difference_interval(
                metric.values(members),
                metric.values(_same_questions(full, members)),
                people_of(members),
                metric.scale,
                confidence,
            )
            yield {"set": name, "metric": "change", "of": metric.name} | estimate_columns(estimate)


def beyond_oracle_rows(
    quantized: pd.DataFrame,
    full: pd.DataFrame,
    oracles: Sequence[tuple[pd.DataFrame, pd.DataFrame]],
    confidence: float,
) -> Iterator[dict]:
    """The change by quantization minus the mean change of the oracles, paired by question.

    Args:
        quantized: records of the unlearned model after quantization.
        full: the same model at full precision.
        oracles: the same two of each oracle. Without any there are no rows.
        confidence: coverage of an interval.
    """
    oracles = [pair for pair in oracles if not pair[0].empty]
    if not oracles:
        return
    for name, members in _forget_sets(quantized):
        for metric in recovering(quantized):

            def values(records: pd.DataFrame, metric=metric, members=members) -> np.ndarray:
                return metric.values(_same_questions(records, members))

            estimate = changes_interval(
                metric.values(members) - values(full),
                np.mean([values(after) - values(before) for after, before in oracles], axis=0),
                people_of(members),
                metric.scale,
                confidence,
            )
            keys = {"set": name, "metric": "change_beyond_oracles", "of": metric.name}
            yield keys | estimate_columns(estimate)


def _forget_sets(records: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The sets of forget questions that were asked."""
    for name in FORGET_SETS:
        members = records[records["set"] == name]
        if not members.empty:
            yield name, members


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
    for name, members in _forget_sets(quantized):
        for metric in recovering(quantized):
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
                "convention": f"{CONVENTIONS['recovery']}; {metric.name}: {metric.convention}",
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
    """Sizes of the updates, adapted and quantized shares, and what rounding does to the update.

    Args:
        weights: content of `weights.json` beside the quantized records.
        precisions: those of the study; one that failed has no share.
    """
    for metric in ("relative_delta", "adapted_share"):
        yield {"precision": "full"} | fixed_row(metric, weights.get(metric))
    for precision in precisions:
        share = weights.get("quantized_share", {}).get(precision)
        yield {"precision": precision} | fixed_row("quantized_share", share)
    update = weights.get("update")
    if update:
        yield from code_rows(update, weights["code_changes"], precisions)


def code_rows(
    update: dict[str, dict], changes: dict[str, dict], precisions: Sequence[str]
) -> Iterator[dict]:
    """The relative size of the unlearning update, and what rounding leaves of it.

    Over the whole model (`layer` is null) and block by block, from 1. Matrices are stacked.

    Args:
        update: {matrix: sums} of `weights.json` (`attacks.code_changes`).
        changes: {precision: {matrix: sums}}.
        precisions: those of the study; one that failed has null values.
    """
    for layer, matrices in by_layer(update):
        sizes = summed([update[name] for name in matrices])
        size = (sizes["update"] / sizes["base"]) ** 0.5
        yield {"precision": "full"} | fixed_row("relative_update", size, layer)
        for precision in precisions:
            sums = summed([changes.get(precision, {}).get(name, {}) for name in matrices])
            found = dict.fromkeys(
                ("codes_changed", "values_changed", "update_kept", "update_cosine")
            )
            if sums:
                found["codes_changed"] = sums["codes"] / sizes["weights"]
                found["values_changed"] = sums["values"] / sizes["weights"]
            if sums and sizes["update"] > 0:
                found["update_kept"] = sums["product"] / sizes["update"]
            if sums and sums["rounded"] * sizes["update"] > 0:
                lengths = (sums["rounded"] * sizes["update"]) ** 0.5
                found["update_cosine"] = sums["product"] / lengths
            for metric, value in found.items():
                yield {"precision": precision} | fixed_row(metric, value, layer)


def share_notes(weights: dict) -> list[str]:
    """Why a share of the matrices is less than 1."""
    return [
        f"{metric}: without {why}."
        for metric, key in (("adapted_share", "not_adapted"), ("quantized_share", "not_quantized"))
        for why in weights.get(key, [])
    ]
