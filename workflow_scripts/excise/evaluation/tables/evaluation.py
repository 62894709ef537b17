"""The evaluation tables: every metric of every set, with intervals, for every model.

`excise.evaluation.metrics` says what a metric means and `excise.evaluation.statistics` how an
interval is made. Which questions are averaged is decided here.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from excise.benchmark.items import Item
from excise.evaluation.answer_types import AnswerSorter
from excise.evaluation.metrics.answer_type import COLUMN as ANSWER_TYPE
from excise.evaluation.metrics.interface import (
    CompositeMetric,
    DistributionMetric,
    Metric,
    ReferenceMetric,
    RescaledMetric,
    TwoSetMetric,
)
from excise.evaluation.metrics.registry import METRICS
from excise.evaluation.peers import Peers, notes_on_missing, peers_of
from excise.evaluation.reading import read_complete
from excise.evaluation.results import checkpoint_levels, estimate_columns, model_columns
from excise.evaluation.statistics import Estimate
from excise.evaluation.sweep import EVERYTHING, Sweep
from excise.evaluation.tables.common import BASIC_NOTES, OPTIONAL_SETS, SETS, members_of
from excise.evaluation.tables.compound import estimate_composite, estimate_distribution
from excise.evaluation.tables.estimates import estimate_metric, estimate_two_sets
from excise.evaluation.tables.settings import SummarySettings
from excise.evaluation.tables.token_columns import with_tokens

EVAL_NOTES = [
    *BASIC_NOTES,
    "convention says which of the forms in circulation a metric is. R, c and w of the truth "
    "ratios: c = P(paraphrased truth), w = P(wrong), both per token, R = w/c.",
    "Metrics that compare truth and wrong answers use only the questions that have wrong "
    "answers; n is their number. The value is null if there are none.",
    "truth_ratio_ks, forget_quality, logprob_distance, slot_agreement and text_agreement compare "
    "with the oracles (an oracle: with the others); distance_results.json also has the same "
    "figures between oracles. model_utility_6 has no set: it is of sr and utility.",
    "answer_*: rates of five types of answers, which add up to 1 (docs/architecture.md).",
    "slot_accuracy: the answer states the value in any spelling; it is not denied, left open or "
    "one of several. slot_accuracy_strict: the answer has its exact words. Metrics in _ascii "
    "use only a-z and 0-9, as rouge_score does; rougeL_recall and rougeL_f1 use every script.",
    "diverged = training broke off (loss or gradient not finite) before this checkpoint, which "
    "holds the last finite weights.",
    "forget_joint and retain_joint: a forget question and one about a correlated fact of the same "
    "person in one prompt, either first; forget_joint looks for the forget value in the "
    "answer to both, retain_joint for the other. Compare with finetuned, which was "
    "trained on single questions.",
    "forget_reversed (value given, person asked), forget_two_hop (person described by another "
    "fact) and forget_alias (another form of the name) are probes. A probe that finetuned cannot "
    "answer shows nothing: read every value beside that of finetuned. retain_same_answer: the "
    "retain facts whose value is also a forget value. No rows: it has no questions.",
    "guess_rate is the slot accuracy of naming another person's value of the slot: what knowing "
    "the slot's values, but nothing about the person, reaches.",
    "extraction_strength, exact_memorization, min_k and min_k_plus_plus do not count the "
    "end-of-turn token; probability, loss and truth ratios do.",
    "auc_*: forget facts against facts of people whom no model was trained on (holdout); 1 = "
    "clearly members, 0.5 = as if never trained on. n counts the questions of both sets.",
    "privleak, in percent, compares auc_min_k with the mean of the oracles (an oracle: of the "
    "other oracles), which are taken as they are: 0 = like them, -100 = clearly members.",
    "s_mia = (A1 - A) / (A1 - A0), with A = auc_min_k, A1 that of finetuned, A0 the mean of the "
    "oracles (an oracle: of the other oracles): 0 = like finetuned, 1 = like the oracles. If it is "
    "null, reason says why: without a clear A1 - A0 it has no meaning.",
    "excess_loss = loss - mean loss of the oracles (an oracle: of the other oracles), in nats per "
    "token.",
]

References = Mapping[str, Sequence[pd.DataFrame]]
"""Records of the models that others are compared with: `finetuned` and `oracle`."""


def summarize_eval(
    eval_dir: Path,
    models: list[str],
    settings: SummarySettings,
    asked: dict[str, Item] | None = None,
) -> list[dict]:
    """Rows of every model × set × metric."""
    confidence, levels = settings.confidence, checkpoint_levels(settings.levels)
    baselines = [model for model in models if not model.startswith(("unlearn/", "audit/"))]
    known = dict(read_answers(eval_dir, baselines, asked))
    rows, sorter = [], None
    for model, items in read_answers(eval_dir, models, asked, settings.sweep):
        sorter = sorter or AnswerSorter(next(iter(known.values()), items), list(known.values()))
        items = sorter.with_types(items)
        diverged = bool(items["diverged"].any()) if "diverged" in items else None
        columns = model_columns(model) | {"level": levels.get(model), "diverged": diverged}
        compared = references_of(peers_of(model, models, settings.peers), known)
        found = metric_rows(items, confidence, compared)
        rows += [columns | row for row in found]
    return rows


def read_answers(
    eval_dir: Path,
    models: list[str],
    asked: dict[str, Item] | None = None,
    sweep: Sweep = EVERYTHING,
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each model's records with the columns of tokens that metrics need (`read_complete`)."""
    for model, items in read_complete(eval_dir, models, asked, sweep):
        yield model, with_tokens(items, eval_dir / model / "tokens.parquet")


def references_of(peers: Peers, known: Mapping[str, pd.DataFrame]) -> dict[str, list[pd.DataFrame]]:
    """The records that a model is compared with.

    Args:
        peers: what the model is compared with.
        known: model → records.
    """
    return {
        "oracle": [known[name] for name in peers.oracles],
        "finetuned": [known[peers.finetuned]] if peers.finetuned else [],
    }


def eval_notes(models: list[str], settings: SummarySettings) -> list[str]:
    """The notes of an evaluation table, with a line on what an audited model lacks."""
    without = {
        kind: ", ".join(sorted(needing))
        for kind in ("finetuned", "oracle")
        if (needing := [name for name, one in METRICS.items() if kind in _references(one)])
    }
    return EVAL_NOTES + notes_on_missing(models, settings.peers, without)


def _references(metric: Metric) -> tuple[str, ...]:
    """The kinds of models that a metric compares with."""
    if isinstance(metric, RescaledMetric):
        return metric.references
    own = getattr(metric, "reference", None)
    own = own or getattr(getattr(metric, "score", None), "reference", None)
    return (own,) if own else ()


def metric_rows(
    items: pd.DataFrame, confidence: float, references: References | None = None
) -> Iterator[dict]:
    """One row for each set and metric; null rows if there are no items at all.

    A metric has no row where the records lack a column that it needs, its reference model or the
    set that it compares with, or where no question about a person has what it needs.

    Args:
        items: records of one model.
        confidence: coverage of the intervals.
        references: see `References`.
    """
    missing = _never_defined(items)
    for name in SETS:
        members = members_of(items, name)
        if members.empty and (not items.empty or name in OPTIONAL_SETS):
            continue
        for metric in METRICS.values():
            if not items.empty and not metric.applies_to(name):
                continue
            if metric.name in missing and name != "utility":
                continue
            estimate = _estimate_row(metric, name, members, items, confidence, references or {})
            if estimate is not None:
                yield _row(name, metric, estimate)
    for metric in METRICS.values():
        if isinstance(metric, CompositeMetric) and set(metric.needs) <= set(items.columns):
            estimate = estimate_composite(items, metric, confidence)
            if estimate is not None:
                yield _row(None, metric, estimate)


def compared_membership_rows(
    items: pd.DataFrame, confidence: float, references: References
) -> Iterator[dict]:
    """Rows of the membership metrics that compare with other models, which `metric_rows` without
    references lacks: `auc_reference`, `privleak`, `s_mia`.

    Args: as `metric_rows`; `items` is not empty.
    """
    for metric in METRICS.values():
        if not isinstance(metric, TwoSetMetric) or not _references(metric):
            continue
        if set(metric.needs) <= set(items.columns):
            estimate = estimate_two_sets(items, metric, confidence, references)
            if estimate is not None:
                yield _row(metric.members, metric, estimate)


def _never_defined(items: pd.DataFrame) -> set[str]:
    """Metrics that no question about a person defines: own files without values, for example."""
    asked = items if items.empty else items[items["set"] != "utility"]
    return {
        metric.name
        for metric in METRICS.values()
        if not asked.empty
        and set(metric.needs) <= set(asked.columns)
        and metric.defined_on(asked).empty
    }


def _row(name: str | None, metric: Metric, estimate: Estimate) -> dict:
    """The row of a metric on a set; None: on no single set."""
    keys = {"set": name, "metric": metric.name, "convention": metric.convention or None}
    why = {"reason": estimate.reason} if isinstance(metric, RescaledMetric) else {}
    return keys | estimate_columns(estimate, people=name != "utility") | why


def _estimate_row(
    metric: Metric,
    name: str,
    members: pd.DataFrame,
    items: pd.DataFrame,
    confidence: float,
    references: References,
) -> Estimate | None:
    """A metric on the set `name`; None if these records cannot give it."""
    given = set(metric.needs) - {ANSWER_TYPE} if items.empty else set(items.columns)
    if not set(metric.needs) <= given:
        return None
    if isinstance(metric, TwoSetMetric):
        found = name == metric.members and not items.empty
        return estimate_two_sets(items, metric, confidence, references) if found else None
    if isinstance(metric, CompositeMetric):
        return None
    if isinstance(metric, DistributionMetric):
        compared = references.get(metric.reference)
        return estimate_distribution(members, metric, confidence, compared) if compared else None
    if isinstance(metric, ReferenceMetric):
        compared = references.get(metric.reference)
        return estimate_metric(members, metric, confidence, compared) if compared else None
    return estimate_metric(members, metric, confidence)
