"""Positive control: does the gap between other and correlated facts grow with a planted dose?

Every dose is a study of its own, with the same people, forget facts and unbound facts
(`excise.generation.planting`). So a pair of partner questions is compared with itself at dose 0.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from excise.errors import InputError
from excise.evaluation.metrics.slot import slot_accuracy
from excise.evaluation.reading import read_complete
from excise.evaluation.results import estimate_columns, model_columns, read_rows
from excise.evaluation.statistics import (
    Estimate,
    Scale,
    change_interval,
    difference_interval,
    mean_interval,
)
from excise.evaluation.tables.common import BASIC_NOTES
from excise.evaluation.tables.estimates import estimate_metric
from excise.evaluation.tables.retain_gap import partner_pairs
from excise.records import read_json, read_jsonl

DOSE_NOTES = [
    *BASIC_NOTES,
    "dose: generation.entanglement of a run, the share of the correlated facts that can be bound "
    "and have the words of a forget value of the same person. gap = other - correlated over "
    "partner questions; positive = correlated facts suffer more.",
    "gap_response = gap at this dose - gap of the same pairs at dose 0. An instrument that can see "
    "entanglement has a response above 0 for pairs bound, and none for pairs unbound.",
    "The doses forget at different speed: compare rows where slot accuracy on sf is alike.",
    "pairs: all pairs, those whose correlated fact is bound at this dose, or the others. A gap of "
    "dose 0 has all pairs.",
    "Only pairs that finetuned answers on both sides, at this dose and (gap_response) at dose 0: "
    "what was never learned cannot be damaged.",
    "log_probability_change = log P(answer) / tokens minus the same under finetuned, in nats per "
    "token; negative = damaged.",
]
GAP, RESPONSE = "gap", "gap_response"
ACCURACY, CHANGE = slot_accuracy.name, "log_probability_change"
ASKED = {
    ACCURACY: {"metric": ACCURACY, "convention": slot_accuracy.convention},
    CHANGE: {"metric": CHANGE},  # its convention: `excise.evaluation.conventions`
}
REFERENCE = "finetuned"
UNBOUNDED = Scale("unbounded", -math.inf, math.inf)


@dataclass(frozen=True)
class Run:
    """One study.

    Attributes:
        folder: it holds `data` and `results`.
        dose: its `generation.entanglement`.
        config: of its results.
        experiment: its name.
        models: evaluated models.
        bound: (person id, correlated slot) of every bound fact.
    """

    folder: Path
    dose: float
    config: dict
    experiment: str
    models: list[str]
    bound: set[tuple[str, str]]


def read_run(folder: Path) -> Run:
    """Read what a run says of itself, in `results/retain_compare_results.json` and its profiles.

    Raises:
        InputError: a file is missing, or the results have no dose.
    """
    path = folder / "results" / "retain_compare_results.json"
    content, rows = read_json(path), read_rows(path)
    dose = content.get("config", {}).get("generation", {}).get("entanglement")
    if dose is None:
        raise InputError(f"{path}: config.generation.entanglement: missing; needed: the dose")
    people = read_jsonl(folder / "data" / "generated" / "profiles.jsonl", "profile")
    return Run(
        folder=folder,
        dose=float(dose),
        config=content["config"],
        experiment=content["experiment"],
        models=list(dict.fromkeys(rows["model"])),
        bound={(one["person_id"], slot) for one in people for slot in one.get("bound", {})},
    )


def check_comparable(runs: Sequence[Run]) -> None:
    """Check that runs differ in the dose alone, and that one of them has dose 0.

    Raises:
        InputError: they do not.
    """
    first, doses = runs[0], [run.dose for run in runs]
    if 0 not in doses or len(set(doses)) < len(doses) or len(doses) < 2:
        found = ", ".join(f"{dose:g}" for dose in doses)
        raise InputError(f"--runs: found the doses {found}; needed: 0 and others, each once")
    for run in runs:
        for key, value in _without_dose(run.config).items():
            if value != _without_dose(first.config).get(key):
                raise InputError(f"{run.folder}: config.{key} differs from that of {first.folder}")
        if REFERENCE not in run.models:
            raise InputError(f"{run.folder}: no records of {REFERENCE}, with which others compare")
        if run.models != first.models:
            raise InputError(f"{run.folder}: its models differ from those of {first.folder}")


def _without_dose(config: dict) -> dict:
    generation = {key: v for key, v in config["generation"].items() if key != "entanglement"}
    return config | {"generation": generation}


def dose_rows(runs: Sequence[Run], confidence: float) -> list[dict]:
    """Rows of the gap per model, metric, dose and kind of pairs, and of its response.

    Args:
        runs: comparable ones.
        confidence: coverage of the intervals.

    Raises:
        InputError: records are missing or broken.
    """
    runs = sorted(runs, key=lambda run: run.dose)
    tables = {run.dose: dict(read_complete(_records(run), run.models)) for run in runs}
    rows = []
    for model in runs[0].models:
        columns = model_columns(model)
        base = _gaps(tables[0.0][model], tables[0.0][REFERENCE])
        for run in runs:
            items = tables[run.dose][model]
            here = _gaps(items, tables[run.dose][REFERENCE])
            keys = zip(here["person_id"], here["slot"], strict=True)
            here = here.assign(bound=[key in run.bound for key in keys])
            both = here.merge(base, on=["person_id", "slot"], suffixes=("", "_before"))
            if len(both) < len(here):
                raise InputError(f"{run.folder}: its pairs differ from those at dose 0")
            forgotten = estimate_metric(items[items["set"] == "sf"], slot_accuracy, confidence)
            known = {"dose": run.dose, "pairs": None, "set": "sf"} | ASKED[ACCURACY]
            rows.append(columns | known | estimate_columns(forgotten))
            for name, pairs in _kinds(both, run.dose):
                own = columns | {"dose": run.dose, "pairs": name}
                rows += [own | row for row in _pair_rows(pairs, run.dose, confidence)]
    return rows


def _records(run: Run) -> Path:
    return run.folder / "results" / "eval"


def _kinds(pairs: pd.DataFrame, dose: float) -> Iterator[tuple[str, pd.DataFrame]]:
    yield "all", pairs
    if dose:
        yield "bound", pairs[pairs["bound"]]
        yield "unbound", pairs[~pairs["bound"]]


def _gaps(items: pd.DataFrame, finetuned: pd.DataFrame) -> pd.DataFrame:
    """One row per pair of partner questions: both sides and the gap of both metrics, and `known`.

    Args:
        items: records of the model.
        finetuned: records of the model before unlearning.
    """
    pairs = partner_pairs(items)
    finetuned = finetuned.loc[items.index]
    pairs["known"] = True
    for side in ("other", "correlated"):
        pairs["known"] &= slot_accuracy(finetuned).loc[pairs[side]].to_numpy() == 1
    for name, values in (
        (ACCURACY, slot_accuracy(items).astype(float)),
        (CHANGE, _per_token(items) - _per_token(finetuned)),
    ):
        for side in ("other", "correlated"):
            pairs[f"{name}_{side}"] = values.loc[pairs[side]].to_numpy()
        pairs[name] = pairs[f"{name}_other"] - pairs[f"{name}_correlated"]
    return pairs


def _per_token(items: pd.DataFrame) -> pd.Series:
    """log P(answer) / tokens, NaN where it is undefined or not measured."""
    return items["logprob_answer"].astype(float) / items["n_tokens_answer"].astype(float)


def _pair_rows(pairs: pd.DataFrame, dose: float, confidence: float) -> Iterator[dict]:
    known = pairs[pairs["known"]]
    paired = known[known["known_before"]]
    for metric in (ACCURACY, CHANGE):
        yield {"set": GAP} | ASKED[metric] | estimate_columns(_gap(known, metric, confidence))
        if dose:
            response = _response(paired, metric, confidence)
            yield {"set": RESPONSE} | ASKED[metric] | estimate_columns(response)


def _gap(pairs: pd.DataFrame, metric: str, confidence: float) -> Estimate:
    if metric == CHANGE:
        return mean_interval(pairs[metric], pairs["person_id"], UNBOUNDED, confidence)
    sides = pairs[f"{metric}_other"], pairs[f"{metric}_correlated"]
    return difference_interval(*sides, pairs["person_id"], slot_accuracy.scale, confidence)


def _response(pairs: pd.DataFrame, metric: str, confidence: float) -> Estimate:
    gap, before = pairs[metric], pairs[f"{metric}_before"]
    if metric == CHANGE:
        return mean_interval(gap - before, pairs["person_id"], UNBOUNDED, confidence)
    return change_interval(gap, before, pairs["person_id"], confidence)
