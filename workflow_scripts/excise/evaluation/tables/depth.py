"""How deep erasure goes: Unlearning Depth Score, logit-lens erasure, probes.

Records come from `results/depth/<model>/`. All compare states of a model with those of the oracles,
as the finetuned model reads them (`excise.modeling.patching`). So a score says where the forgotten
value can no longer be read, not whether the model would say it.

Formulas, per question, with the log-probability of the value's tokens (mean over them) under

- the finetuned model alone, p;
- the finetuned model with the oracle's (S1) or the model's (S2) states patched in after block ℓ:
  Δ¹_ℓ = p − p(S1, ℓ), Δ²_ℓ = p − p(S2, ℓ);
- K = {ℓ: Δ¹_ℓ > τ}, the layers that hold knowledge which the oracle lacks;
- LER_ℓ = Δ²_ℓ / Δ¹_ℓ, cut to 0 … 1;

UDS = Σ_K Δ¹_ℓ · LER_ℓ / Σ_K Δ¹_ℓ, 0: as finetuned, 1: at least as unreadable as in the oracle. A
question with empty K has none. Source: the Unlearning Depth Score of gnueaj/unlearning-depth-score,
except that states are outputs of blocks, also those of the last block, and the chat template is
ours.

Logit-lens erasure is the same with p(S, ℓ) = the head of the finetuned model on the states of block
ℓ, and p of the finetuned model's own states at ℓ instead of p.

Both are means over the oracles; an oracle is compared with the others. What oracles reach, not 1,
is the mark to compare with: their seeds differ. Both are cut at 1, so they cannot see that a
model went further than the oracle. `patched_logprob` can.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from excise.benchmark.completeness import check_ids
from excise.benchmark.items import DEPTH_SETS, Item
from excise.errors import InputError
from excise.evaluation.reading import people_of, read_items
from excise.evaluation.results import checkpoint_levels, estimate_columns, model_columns
from excise.evaluation.statistics import (
    CUT_RATIO,
    FIXED,
    PROPORTION,
    SHARE,
    Scale,
    difference_interval,
    mean_interval,
    mean_intervals,
)
from excise.evaluation.tables.common import BASIC_NOTES, row_set
from excise.evaluation.tables.settings import DepthTableSettings

DEPTH_NOTES = [
    *BASIC_NOTES,
    "uds: the model's states are patched into the finetuned model after each block, at the "
    "positions that predict the value; share of the oracle's loss of log-probability that they "
    "cause, over the layers where the oracle's exceeds knowledge_threshold. 0 = as finetuned, 1 = "
    "at least as unreadable as in the oracles. lens_erasure: the same without patching, the "
    "finetuned head reading each block's states. n = questions with such a layer.",
    "uds and lens_erasure are means over the oracles; each oracle is compared with the others, "
    "which shows what a perfect model reaches. On correlated and other the oracle lacks nothing, "
    "so only differences between seeds count there: read patched_logprob instead.",
    "uds_by_layer, lens_erasure_by_layer: the share at one layer, over the questions where it "
    "holds knowledge. knowledge_share: share of questions with such a layer, of each oracle.",
    "patched_logprob, lens_logprob: log-probability of the value, mean over its tokens, from the "
    "states of that layer; of the finetuned model's own states: unpatched.",
    "probe_accuracy: a ridge probe trained on other people finds the value at the last prompt "
    "token; probe_control: the same with values dealt out anew among people; probe_selectivity: "
    "their difference. Only people whose value someone else has are tested.",
]
LOGPROB = Scale("unbounded", -math.inf, 0)


@dataclass(frozen=True)
class Readings:
    """What the finetuned model reads in a model's states, per question and block.

    Attributes:
        drops: name of a score → loss of log-probability against the finetuned model, (n, L).
        logprobs: name of a metric → log-probability, (n, L).
    """

    drops: dict[str, np.ndarray]
    logprobs: dict[str, np.ndarray]


def summarize_depth(
    depth_dir: Path,
    models: list[str],
    settings: DepthTableSettings,
    asked: dict[str, Item] | None = None,
) -> list[dict]:
    """Rows of every model × set, over all layers and per layer, and of its probes.

    Raises:
        InputError: a model's records are missing, broken or not those that belong there; the
            models lack finetuned.
    """
    if "finetuned" not in models:
        raise InputError("models: found no finetuned; its own states are needed for comparison")
    levels = checkpoint_levels(settings.levels)
    sets = settings.depth_sets or DEPTH_SETS
    questions, read = _read_all(depth_dir, models, asked, sets)
    questions = questions.assign(set=questions["set"].map(row_set))
    own = _numbers(read["finetuned"], "lens")
    readings = {model: _readings(items, own) for model, items in read.items()}
    probes, expected = {}, None
    for model in models:
        path = depth_dir / model / "probes.jsonl"
        probes[model] = read_items(path)
        expected = probes[model].index if expected is None else expected
        check_ids(path, probes[model].index, expected, f"the records of {models[0]}")
    rows = []
    for model in models:
        others = [one for one in models if one.startswith("oracle/") and one != model]
        found = [
            *depth_rows(questions, readings[model], [readings[one] for one in others], settings),
            *(knowledge_rows(questions, readings[model], settings) if "oracle/" in model else []),
            *probe_rows(probes[model], settings.confidence),
        ]
        columns = model_columns(model) | {"level": levels.get(model)}
        rows += [columns | row for row in found]
    return rows


def _read_all(
    depth_dir: Path, models: Sequence[str], asked: dict[str, Item] | None, sets: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """The questions of `sets`, and each model's records in the same order."""
    expected, whose = None, "the first model's records"
    if asked is not None:
        expected = [key for key, item in asked.items() if item.set in sets]
        whose = "the benchmark"
    read = {}
    for model in models:
        path = depth_dir / model / "items.jsonl"
        items = read_items(path)
        expected = items.index if expected is None else expected
        check_ids(path, items.index, expected, whose)
        read[model] = items.loc[list(expected)]
    return next(iter(read.values())), read


def _numbers(items: pd.DataFrame, key: str) -> np.ndarray:
    return np.array(items[key].to_list(), dtype=float)


def _readings(items: pd.DataFrame, own_lens: np.ndarray) -> Readings:
    patched, lens = _numbers(items, "patched"), _numbers(items, "lens")
    unpatched = _numbers(items, "logprob")[:, None]
    return Readings(
        {"uds": unpatched - patched, "lens_erasure": own_lens - lens},
        {"patched_logprob": patched, "lens_logprob": lens},
    )


def erased(
    oracle: np.ndarray, model: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of what the oracle lacks that the model lacks too.

    Args:
        oracle: Δ¹, (n, L).
        model: Δ², (n, L).
        threshold: τ.

    Returns:
        Scores (n,), LER (n, L) and K (n, L) as booleans. Where K is empty the score is NaN. Where
        a Δ² in K is NaN the score is NaN too.
    """
    known = oracle > threshold
    weights = np.where(known, oracle, 0.0)
    ratio = np.where(known, np.clip(model / np.where(known, oracle, 1.0), 0, 1), 0.0)
    total = weights.sum(axis=1)
    scores = (weights * ratio).sum(axis=1) / np.where(total > 0, total, np.nan)
    return scores, ratio, known


def _over_oracles(numbers: list[np.ndarray], known: list[np.ndarray]) -> np.ndarray:
    """Mean over the oracles with knowledge; NaN where there is none, or a number is NaN."""
    counts = np.sum(known, axis=0)
    total = np.sum([np.where(has, one, 0.0) for one, has in zip(numbers, known, strict=True)], 0)
    return total / np.where(counts > 0, counts, np.nan)


def depth_rows(
    questions: pd.DataFrame,
    model: Readings,
    oracles: Sequence[Readings],
    settings: DepthTableSettings,
) -> Iterator[dict]:
    """Rows of the scores and of the log-probabilities of a model."""
    people, confidence = people_of(questions), settings.confidence
    members = {name: (questions["set"] == name).to_numpy() for name in map(row_set, DEPTH_SETS)}
    members = {name: here for name, here in members.items() if here.any()}
    for metric, drop in model.drops.items():
        scale = CUT_RATIO if drop.any() else FIXED  # finetuned's own states: 0 by computation
        found = [erased(one.drops[metric], drop, settings.knowledge_threshold) for one in oracles]
        if not found:
            continue
        has = [known.any(axis=1) for _, _, known in found]
        columns = [_over_oracles([score for score, _, _ in found], has)]
        defined = [np.any(has, axis=0)]
        by_layer = _over_oracles([ratio for _, ratio, _ in found], [known for *_, known in found])
        columns += list(by_layer.T)
        defined += list(np.any([known for *_, known in found], axis=0).T)
        for name, here in members.items():
            for layer, (values, known) in enumerate(zip(columns, defined, strict=True)):
                kept = here & known
                estimate = mean_interval(values[kept], people[kept], scale, confidence)
                keys = {"set": name, "metric": f"{metric}_by_layer" if layer else metric}
                keys |= {"layer": layer or None, "reference": "oracles"}
                yield keys | estimate_columns(estimate)
    for metric, values in model.logprobs.items():
        for name, here in members.items():
            estimates = mean_intervals(values[here], people[here], LOGPROB, confidence)
            for layer, estimate in enumerate(estimates, start=1):
                keys = {"set": name, "metric": metric, "layer": layer}
                yield keys | estimate_columns(estimate)


def knowledge_rows(
    questions: pd.DataFrame, oracle: Readings, settings: DepthTableSettings
) -> Iterator[dict]:
    """Share of the questions of which an oracle lacks knowledge at some layer."""
    people = people_of(questions)
    for metric, prefix in (("uds", ""), ("lens_erasure", "lens_")):
        known = (oracle.drops[metric] > settings.knowledge_threshold).any(axis=1)
        for name in map(row_set, DEPTH_SETS):
            here = (questions["set"] == name).to_numpy()
            if here.any():
                values = known[here].astype(float)
                estimate = mean_interval(values, people[here], PROPORTION, settings.confidence)
                keys = {"set": name, "metric": f"{prefix}knowledge_share", "layer": None}
                yield keys | estimate_columns(estimate)


def probe_rows(probes: pd.DataFrame, confidence: float) -> Iterator[dict]:
    """Rows of probes: slots × sets × layers; none if no slot was probed."""
    if probes.empty:
        return
    for (slot, name), here in probes.groupby(["slot", "set"], sort=False):
        people = people_of(here)
        hits, control = _numbers(here, "hit"), _numbers(here, "control")
        found = {
            "probe_accuracy": mean_intervals(hits, people, PROPORTION, confidence),
            "probe_control": mean_intervals(control, people, SHARE, confidence),
            "probe_selectivity": [
                difference_interval(one, other, people, SHARE, confidence)
                for one, other in zip(hits.T, control.T, strict=True)
            ],
        }
        for metric, estimates in found.items():
            for layer, estimate in enumerate(estimates):
                keys = {"set": name, "metric": metric, "layer": layer}
                keys |= {"slot": slot, "position": "last_prompt"}
                yield keys | estimate_columns(estimate)
