"""How far hidden states moved, and whether further than two oracles are apart: drift rows.

Records come from `results/repr/<model>/items.jsonl`: one line per question × position, with the
drift and the angle of every layer.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from excise.benchmark.completeness import check_ids
from excise.benchmark.items import HIDDEN_STATE_SETS, Item
from excise.errors import InputError
from excise.evaluation.reading import people_of, read_items
from excise.evaluation.results import estimate_columns, model_columns
from excise.evaluation.statistics import ANGLE, DRIFT, Estimate, mean_intervals
from excise.evaluation.tables.common import BASIC_NOTES, OPTIONAL_SETS, SETS
from excise.evaluation.tables.settings import DriftSettings

DRIFT_NOTES = [
    *BASIC_NOTES,
    "drift = ||h_model - h_reference|| / ||h_reference - mean||, mean = the reference's states at "
    "that position averaged over all questions: 0 = the same state, 1 = as far away as a question "
    "is from the average question.",
    "noise_floor = the same drift between oracles that differ in seed alone; below_floor is true "
    "where ci_high is smaller. Layer 0 is the embedding output, the last is before the final norm.",
]


def summarize_representations(
    repr_dir: Path,
    models: list[str],
    settings: DriftSettings,
    asked: dict[str, Item] | None = None,
) -> list[dict]:
    """Rows of drift and angle per model × set × position, at the layer of the settings.

    Every model's drift is measured from finetuned, except that of later oracles: from the first
    oracle of `models`. Those give the noise floor.

    Raises:
        InputError: a model's records are missing, broken or not those that belong there; no such
            layer.
    """
    confidence, layer = settings.confidence, settings.layer
    floors = noise_floors(repr_dir, models, layer, confidence)
    expected, whose = None, "the first model's records" if asked is None else "the benchmark"
    rows = []
    for model in models:
        items = read_states(repr_dir / model / "items.jsonl")
        expected = expected or _states(items) if asked is None else _states_of(items, asked)
        check_ids(repr_dir / model / "items.jsonl", _states(items), expected, whose)
        columns = model_columns(model)
        columns["reference"] = reference_of(model, models)
        for row in drift_rows(items, layer, confidence):
            floor = floors.get((row["set"], row["position"], row["metric"], row["layer"]))
            rows.append(columns | row | floor_columns(row, floor))
    return rows


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


def reference_of(model: str, models: list[str]) -> str:
    """The model that `model`'s drift is measured from."""
    return _first_oracle(models) if model in _later_oracles(models) else "finetuned"


def _first_oracle(models: Iterable[str]) -> str:
    return next(model for model in models if model.startswith("oracle/"))


def _later_oracles(models: Iterable[str]) -> list[str]:
    return [model for model in models if model.startswith("oracle/")][1:]


def noise_floors(
    repr_dir: Path, models: list[str], layer: int | str, confidence: float
) -> dict[tuple, float | None]:
    """Mean drift of the later oracles from the first, by (set, position, metric, layer)."""
    oracles = [read_states(repr_dir / model / "items.jsonl") for model in _later_oracles(models)]
    if not oracles:
        return {}
    rows = drift_rows(pd.concat(oracles), layer, confidence)
    keys = ("set", "position", "metric", "layer")
    return {tuple(row[key] for key in keys): row["value"] for row in rows}


def floor_columns(row: dict, floor: float | None) -> dict:
    """The noise floor beside a row, and whether the row's interval lies wholly below it."""
    known = floor is not None and row["ci_high"] is not None
    return {"noise_floor": floor, "below_floor": row["ci_high"] < floor if known else None}


def drift_rows(items: pd.DataFrame, layer: int | str, confidence: float) -> Iterator[dict]:
    """Mean drift and angle with intervals: sets × positions × layers."""
    for name in (one for one in SETS if one not in OPTIONAL_SETS):
        members = items[items["set"].isin(SETS[name])]
        for position, here in members.groupby("position"):
            for metric, scale in (("drift", DRIFT), ("angle_degrees", ANGLE)):
                values = np.array(here[metric].to_list(), dtype=float)  # (questions, layers)
                layers = chosen_layers(layer, values.shape[1])
                estimates = mean_intervals(values[:, layers], people_of(here), scale, confidence)
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
