"""How far hidden states moved, towards what, and whether further than two oracles are apart.

Records come from `results/repr/<model>/items.jsonl`: one line per question × position, with the
measures of every layer (`excise.modeling.hidden_states`).

Noise floor: each oracle's drift from the other oracles, which differ in seed alone. `noise_floor`
is the mean over oracles. `noise_floor_low` is the smallest of their lower limits over people. Few
oracles give no usable interval over seeds, so the oracle that is nearest to the others stands for
the floor. Only where the whole interval of a drift lies below that limit may the word "zero" be
used (`equivalent`). The two intervals then do not overlap, which errs on the careful side.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from excise.benchmark.completeness import check_ids
from excise.benchmark.items import HIDDEN_STATE_SETS, UNGROUPED_SET, Item
from excise.errors import InputError
from excise.evaluation.peers import notes_on_missing
from excise.evaluation.reading import people_of, read_items
from excise.evaluation.results import estimate_columns, model_columns
from excise.evaluation.statistics import ANGLE, COSINE, DRIFT, Estimate, Scale, mean_intervals
from excise.evaluation.tables.common import BASIC_NOTES, OPTIONAL_SETS, SETS
from excise.evaluation.tables.settings import DriftSettings

DRIFT_NOTES = [
    *BASIC_NOTES,
    "drift = ||h_model - h_reference|| / ||h_reference - mean||, mean = the reference's states at "
    "that position averaged over all questions: 0 = the same state, 1 = as far away as a question "
    "is from the average question.",
    "oracle_drift = the same distance, in the same unit, from an oracle; erasure = 1 - "
    "||h_model - h_oracle|| / ||h_finetuned - h_oracle||: 1 = the oracle's state, 0 = as far from "
    "it as finetuned; direction_cosine = cosine of h_model - h_finetuned and h_oracle - "
    "h_finetuned. Means over the oracles; compare with the rows of the oracles, each of which is "
    "compared with the others.",
    "noise_floor = drift of oracles from each other (they differ in seed alone), mean over "
    "oracles; noise_floor_low = the smallest lower limit of one oracle's. below_floor: ci_high < "
    "noise_floor. equivalent: ci_high < noise_floor_low; only then say that nothing moved. "
    "Layer 0 is the embedding output, the last is before the final norm.",
]

ERASURE = Scale("unbounded", -math.inf, 1)
SCALES = {
    "drift": DRIFT,
    "angle_degrees": ANGLE,
    "oracle_drift": DRIFT,
    "erasure": ERASURE,
    "direction_cosine": COSINE,
}
"""Measure → its scale, in the order of rows."""
FLOOR_OF = {"drift": "oracle_drift", "angle_degrees": "oracle_angle_degrees"}
"""Measure → the measure of the oracles that is its noise floor."""
DIRECTED_SETS = ("sf", "correlated", "other")
"""Sets with rows about the oracles' direction; `sr` too where retain facts have no groups."""


def summarize_representations(
    repr_dir: Path,
    models: list[str],
    settings: DriftSettings,
    asked: dict[str, Item] | None = None,
) -> list[dict]:
    """Rows of every measure per model × set × position, at the layer of the settings.

    Raises:
        InputError: a model's records are missing, broken or not those that belong there; no such
            layer.
    """
    confidence, layer = settings.confidence, settings.layer
    compared = {model: _floor_of(model, models, settings) for model in models}
    floors = {
        oracles: noise_floors(repr_dir, oracles, layer, confidence)
        for oracles in set(compared.values())
    }
    expected, whose = None, "the first model's records" if asked is None else "the benchmark"
    rows = []
    for model in models:
        items = read_states(repr_dir / model / "items.jsonl")
        expected = expected or _states(items) if asked is None else _states_of(items, asked)
        check_ids(repr_dir / model / "items.jsonl", _states(items), expected, whose)
        columns = model_columns(model)
        for row in drift_rows(items, layer, confidence):
            columns["reference"] = "oracles" if row["metric"] == "oracle_drift" else "finetuned"
            floor = floors[compared[model]].get(
                (row["set"], row["position"], row["metric"], row["layer"])
            )
            rows.append(columns | row | floor_columns(row, floor))
    return rows


def _floor_of(model: str, models: list[str], settings: DriftSettings) -> tuple[str, ...]:
    """The oracles whose distances are a model's noise floor, itself among them if it is one."""
    if model in settings.peers:
        return settings.peers[model].oracles
    return tuple(one for one in models if one.startswith("oracle/"))


def drift_notes(models: list[str], settings: DriftSettings) -> list[str]:
    """The notes of the table, with a line on what an audited model lacks."""
    needing = "oracle_drift, erasure, direction_cosine, noise_floor"
    return DRIFT_NOTES + notes_on_missing(models, settings.peers, {"oracle": needing})


def read_states(path: Path) -> pd.DataFrame:
    """`read_items` of records about hidden states, of which there is at least one.

    Raises:
        InputError: the file is missing, broken or empty, or a record names no position.
    """
    items = read_items(path)
    if items.empty:
        raise InputError(f"{path}: no records; every model has hidden states")
    if "position" not in items or items["position"].isna().any():
        raise InputError(f"{path}: a record lacks its position")
    return items


def _states(items: pd.DataFrame) -> list[str]:
    """A name for each record: question and position."""
    return [f"{one} at {where}" for one, where in zip(items["id"], items["position"], strict=True)]


def _states_of(items: pd.DataFrame, asked: dict[str, Item]) -> list[str]:
    """Names of the expected records: every question at each position that occurs.

    Joint and reworded questions have no hidden states. A question without a name has no subject.
    """
    positions = items["position"].unique()
    looked_into = [item for item in asked.values() if item.set in HIDDEN_STATE_SETS]
    return [
        f"{item.id} at {position}"
        for item in looked_into
        for position in positions
        if position != "last_subject" or item.subject
    ]


@dataclass(frozen=True)
class Floor:
    """How far oracles are from each other: mean over oracles, and smallest lower limit."""

    value: float | None
    low: float | None


def noise_floors(
    repr_dir: Path, oracles: Sequence[str], layer: int | str, confidence: float
) -> dict[tuple, Floor]:
    """Distances between oracles by (set, position, metric, layer); none with a single oracle."""
    found = defaultdict(list)
    for model in oracles:
        items = read_states(repr_dir / model / "items.jsonl")
        if "oracle_drift" in items:
            floors = {metric: items[own] for metric, own in FLOOR_OF.items()}
            for row in drift_rows(items.assign(**floors), layer, confidence, tuple(FLOOR_OF)):
                key = tuple(row[name] for name in ("set", "position", "metric", "layer"))
                found[key].append((row["value"], row["ci_low"]))
    return {
        key: Floor(
            None if None in (values := [value for value, _ in pairs]) else float(np.mean(values)),
            None if None in (lows := [low for _, low in pairs]) else min(lows),
        )
        for key, pairs in found.items()
    }


def floor_columns(row: dict, floor: Floor | None) -> dict:
    """The noise floor beside a row, and whether the row's interval lies wholly below it."""
    value, low, high = floor and floor.value, floor and floor.low, row["ci_high"]
    return {
        "noise_floor": value,
        "noise_floor_low": low,
        "below_floor": None if None in (value, high) else high < value,
        "equivalent": None if None in (low, high) else high < low,
    }


def drift_rows(
    items: pd.DataFrame,
    layer: int | str,
    confidence: float,
    measures: tuple[str, ...] = tuple(SCALES),
) -> Iterator[dict]:
    """Means of the measures with intervals: sets × positions × measures × layers."""
    directed = {*DIRECTED_SETS, *("sr" for name in set(items["set"]) if name == UNGROUPED_SET)}
    for name in (one for one in SETS if one not in OPTIONAL_SETS):
        members = items[items["set"].isin(SETS[name])]
        for position, here in members.groupby("position"):
            for metric in measures:
                if metric not in here or (metric not in FLOOR_OF and name not in directed):
                    continue
                values = np.array(here[metric].to_list(), dtype=float)  # (questions, layers)
                layers = chosen_layers(layer, values.shape[1])
                columns = values[:, layers]
                estimates = mean_intervals(columns, people_of(here), SCALES[metric], confidence)
                keys = {"set": name, "position": position, "metric": metric}
                for number, estimate in zip(layers, estimates, strict=True):
                    estimate = _fixed_if_zero(estimate)
                    columns = estimate_columns(estimate, people=name != "utility")
                    yield keys | {"layer": number} | columns


def _fixed_if_zero(estimate: Estimate) -> Estimate:
    """Whether all states are equal bit for bit: the weights are the same, so drift is exactly 0."""
    if estimate.value != 0 or estimate.n_clusters < 2:
        return estimate
    return replace(estimate, low=0.0, high=0.0, method="fixed")


def chosen_layers(layer: int | str, n_layers: int) -> list[int]:
    """Layer numbers for "all", "last" or a number.

    Raises:
        InputError: the model has no such layer.
    """
    if layer == "all":
        return list(range(n_layers))
    if layer == "last":
        return [n_layers - 1]
    if isinstance(layer, int) and 0 <= layer < n_layers:
        return [layer]
    raise InputError(f"layer {layer!r}: allowed are last, all and 0 to {n_layers - 1}")
