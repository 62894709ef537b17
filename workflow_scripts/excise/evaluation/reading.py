"""Records of evaluated models as frames, checked for completeness."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from excise.benchmark.completeness import check_ids
from excise.benchmark.items import Item
from excise.benchmark.probes import PROBES
from excise.errors import InputError
from excise.evaluation.sweep import EVERYTHING, Sweep


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
    folder: Path,
    models: Iterable[str],
    asked: dict[str, Item] | None = None,
    sweep: Sweep = EVERYTHING,
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each model's `items.jsonl`, which holds an answer to every question it was asked.

    Args:
        folder: of the models' folders.
        models: names.
        asked: id → question, everything that models are asked; without it, the first model's
            records define the questions. A probe that no record belongs to was not asked.
        sweep: what checkpoints were asked of it.

    Raises:
        InputError: a file is missing or broken, lacks a question, or has an unexpected one.
    """
    sets = None if asked is None else {key: item.set for key, item in asked.items()}
    whose = "the benchmark"
    for model in models:
        path = folder / model / "items.jsonl"
        items = read_items(path)
        if sets is None:
            sets, whose = items["set"].to_dict(), f"the records of {model}"
        left_out = set(PROBES) - set(items["set"]) if asked is not None else set()
        expected = [
            key for key, name in sets.items() if name not in left_out and sweep.asks(model, name)
        ]
        check_ids(path, items.index, expected, whose)
        yield model, items


def people_of(items: pd.DataFrame) -> pd.Series:
    """The clusters: the person a question is about, or the question itself (utility)."""
    people = items["person_id"]
    is_about = people.notna()
    return people if is_about.all() else people.where(is_about, items["id"])
