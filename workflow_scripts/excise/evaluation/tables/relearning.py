"""The relearning table: what further training brings back, beyond what it teaches an oracle."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from excise.benchmark.completeness import check_ids
from excise.benchmark.items import Item
from excise.errors import InputError
from excise.evaluation.metrics.interface import ItemMetric
from excise.evaluation.metrics.likelihood import probability
from excise.evaluation.metrics.slot import slot_accuracy
from excise.evaluation.peers import peers_of
from excise.evaluation.reading import people_of, read_items
from excise.evaluation.results import checkpoint_levels, estimate_columns, model_columns
from excise.evaluation.statistics import (
    SHARE,
    Estimate,
    changes_interval,
    difference_interval,
    mean_interval,
)
from excise.evaluation.tables.common import BASIC_NOTES
from excise.evaluation.tables.settings import RelearningTableSettings

RELEARN_NOTES = [
    *BASIC_NOTES,
    "attack: what was trained on. forget_part = the forget facts of a part of the people; "
    "correlated, other = retain facts of all people; forget_all = all forget facts. step counts "
    "optimizer steps; 0 is the model before the attack.",
    "shown: whether the attacker trained on the very facts that are scored. Only shown = false "
    "tells of facts that were forgotten and come back; shown = true tells how fast facts are "
    "learned. No row mixes the two.",
    "change = value at step - value at step 0, the same questions. change_beyond_oracles = change "
    "- mean change of the oracles under the same attack, paired by question; an oracle is compared "
    "with the others. beyond_oracles = value - mean value of the oracles at the same step. "
    "Intervals are over people, for these oracles.",
    "area = area under the values over the steps (trapezoids), divided by the last step: a mean "
    "value over the attack, from 0 to 1. area_beyond_oracles = area - mean area of the oracles, "
    "paired by question. Unlike change, it also counts what was known at step 0.",
    "steps_to_half = first measured step at which the mean is at least half of finetuned's on the "
    "same questions. Null: never, or finetuned's mean is 0. It has no interval.",
    "finetuned is not attacked; its rows at step 0 are the reference of steps_to_half.",
]
RELEARNED = (slot_accuracy, probability)
"""The metrics that are followed; probability is exp of the mean log-probability of a token."""


class Side(NamedTuple):
    """The facts of an attack that were shown, or those that were not.

    Attributes:
        shown: which of the two.
        questions: ids.
        people: the person of each question.
    """

    shown: bool
    questions: pd.Index
    people: pd.Series


Curves = Mapping[str, pd.DataFrame]
"""Metric → its values, a row for each question and a column for each step."""


def summarize_relearn(
    relearn_dir: Path,
    eval_dir: Path,
    models: list[str],
    settings: RelearningTableSettings,
    asked: dict[str, Item] | None = None,
) -> list[dict]:
    """Rows of every model × attack × shown or not × step × metric, and of whole curves.

    Args:
        relearn_dir: folder of the records under attack.
        eval_dir: folder of the evaluations; finetuned's are read.
        models: names; at least the oracles among them are the baseline.
        settings: of the table.
        asked: id → question of the benchmark; None: those of finetuned.

    Raises:
        InputError: a file is missing or broken, lacks a question, or models were not shown the
            same facts.
    """
    levels = checkpoint_levels(settings.levels)
    finetuned = read_items(eval_dir / "finetuned" / "items.jsonl")
    finetuned = finetuned[finetuned["set"] == "sf"]
    if asked is not None:
        wanted = [key for key, item in asked.items() if item.set == "sf"]
        check_ids(eval_dir / "finetuned/items.jsonl", finetuned.index, wanted, "the benchmark")
    metrics = [one for one in RELEARNED if not one.defined_on(finetuned).empty]
    rows = []
    for attack in settings.attacks:
        sides, curves = read_attack(relearn_dir, attack, models, settings.steps, finetuned, metrics)
        before = {one.name: pd.Series(one.values(finetuned), finetuned.index) for one in metrics}
        for model in ["finetuned", *models]:
            columns = model_columns(model) | {"level": levels.get(model), "attack": attack}
            oracles = [curves[one] for one in peers_of(model, models, {}).oracles]
            for side in sides:
                for metric in metrics:
                    known = before[metric.name].loc[side.questions].to_numpy(float)
                    if model == "finetuned":
                        found = finetuned_rows(metric, known, side, settings.confidence)
                    else:
                        own = curves[model][metric.name].loc[side.questions]
                        others = [one[metric.name].loc[side.questions] for one in oracles]
                        found = curve_rows(metric, own, others, known, side, settings.confidence)
                    rows += [columns | {"set": "sf", "shown": side.shown} | row for row in found]
    return rows


def read_attack(
    folder: Path,
    attack: str,
    models: Sequence[str],
    steps: Sequence[int],
    finetuned: pd.DataFrame,
    metrics: Sequence[ItemMetric],
) -> tuple[list[Side], dict[str, Curves]]:
    """The two sides of an attack, and model → its curves.

    Raises:
        InputError: as in `summarize_relearn`.
    """
    shown, curves = None, {}
    for model in models:
        columns = {metric.name: {} for metric in metrics}
        for step in steps:
            path = folder / model / attack / f"step_{step}.jsonl"
            items = read_items(path)
            check_ids(path, items.index, finetuned.index, "the records of finetuned")
            items = items.loc[finetuned.index]
            own = items["shown"].astype(bool)
            shown = own if shown is None else shown
            if not own.equals(shown):
                raise InputError(f"{path}: shows other facts than the first file of this attack")
            for metric in metrics:
                columns[metric.name][step] = metric.values(items)
        curves[model] = {
            name: pd.DataFrame(found, index=finetuned.index) for name, found in columns.items()
        }
    people = people_of(finetuned)
    sides = [
        Side(flag, finetuned.index[shown == flag], people[shown == flag])
        for flag in (True, False)
        if shown is not None and (shown == flag).any()
    ]
    return sides, curves


def finetuned_rows(
    metric: ItemMetric, values: np.ndarray, side: Side, confidence: float
) -> Iterator[dict]:
    """The one value of the model before unlearning."""
    estimate = mean_interval(values, side.people, metric.scale, confidence)
    keys = {"step": 0, "metric": metric.name, "convention": metric.convention or None}
    yield keys | estimate_columns(estimate)


def curve_rows(
    metric: ItemMetric,
    curve: pd.DataFrame,
    oracles: Sequence[pd.DataFrame],
    finetuned: np.ndarray,
    side: Side,
    confidence: float,
) -> Iterator[dict]:
    """All rows of one model about one metric on one side of an attack.

    Args:
        metric: the metric.
        curve: its values, (questions, steps), the first column before the attack.
        oracles: those of the oracles, in the same order. Without any, nothing is beyond them.
        finetuned: the values of finetuned, (questions,).
        side: the questions.
        confidence: coverage of an interval.
    """
    values, people = curve.to_numpy(float), side.people
    reference = np.mean([one.to_numpy(float) for one in oracles], axis=0) if oracles else None
    beyond = {"reference": "oracles", "n_oracles": len(oracles)}
    for number, step in enumerate(curve.columns):
        now, start = values[:, number], values[:, 0]
        keys = {"step": int(step)}
        estimate = mean_interval(now, people, metric.scale, confidence)
        named = {"metric": metric.name, "convention": metric.convention or None}
        yield keys | named | estimate_columns(estimate)
        keys |= {"of": metric.name}
        if reference is not None:
            estimate = difference_interval(
                now, reference[:, number], people, metric.scale, confidence
            )
            yield keys | {"metric": "beyond_oracles"} | beyond | estimate_columns(estimate)
        if number == 0:
            continue
        estimate = difference_interval(now, start, people, metric.scale, confidence)
        yield keys | {"metric": "change"} | estimate_columns(estimate)
        if reference is not None:
            learned = reference[:, number] - reference[:, 0]
            estimate = changes_interval(now - start, learned, people, metric.scale, confidence)
            named = {"metric": "change_beyond_oracles"} | beyond
            yield keys | named | estimate_columns(estimate)
    keys, steps = {"step": None, "of": metric.name}, [int(step) for step in curve.columns]
    own = areas(values, steps)
    estimate = mean_interval(own, people, SHARE, confidence)
    yield keys | {"metric": "area"} | estimate_columns(estimate)
    if reference is not None:
        estimate = difference_interval(own, areas(reference, steps), people, SHARE, confidence)
        yield keys | {"metric": "area_beyond_oracles"} | beyond | estimate_columns(estimate)
    first = steps_to_half(values.mean(axis=0), steps, float(finetuned.mean()))
    estimate = Estimate(first, None, None, len(values), people.nunique())
    yield keys | {"metric": "steps_to_half"} | estimate_columns(estimate)


def areas(values: np.ndarray, steps: Sequence[int]) -> np.ndarray:
    """Area under each question's curve by trapezoids, divided by the span of the steps, (n,).

    Args:
        values: (n, steps).
        steps: where the values were measured, ascending.
    """
    widths = np.diff(steps)
    heights = (values[:, 1:] + values[:, :-1]) / 2
    return heights @ widths / widths.sum()


def steps_to_half(means: np.ndarray, steps: Sequence[int], finetuned: float) -> int | None:
    """The first measured step with at least half of finetuned's mean; None: never or no mean."""
    if not finetuned > 0:
        return None
    return next(
        (step for step, one in zip(steps, means, strict=True) if one >= finetuned / 2), None
    )
