"""The table of comparisons: what methods keep at the same degree of forgetting, and why.

Every model is read once. Rows of a trajectory depend on its own checkpoints, on the finetuned
model and on the oracles; only `p_holm`, `chosen` and `chosen_share` and the rows of a method
depend on other trajectories.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from excise.benchmark.items import Item
from excise.errors import InputError
from excise.evaluation.comparisons.curves import (
    LEVELS,
    Crossing,
    area_levels,
    envelope,
    forgetting,
    frontier_area,
    harmonic_score,
    relative_retention,
)
from excise.evaluation.comparisons.intervals import (
    Sampled,
    freedom_of,
    holm,
    p_value,
    resampled_interval,
    seed_difference,
)
from excise.evaluation.comparisons.regression import (
    TERMS,
    ClusteredRegression,
    describe_facts,
)
from excise.evaluation.comparisons.resampling import resampled_mean
from excise.evaluation.metrics.interface import ItemMetric
from excise.evaluation.metrics.likelihood import probability
from excise.evaluation.metrics.membership import loss
from excise.evaluation.metrics.slot import slot_accuracy
from excise.evaluation.reading import people_of, read_complete
from excise.evaluation.results import estimate_columns, model_columns
from excise.evaluation.statistics import MINIMUM_FORGOTTEN, Estimate, difference_interval
from excise.evaluation.tables.common import BASIC_NOTES, SETS
from excise.evaluation.tables.retain_gap import partner_pairs
from excise.evaluation.tables.settings import SummarySettings

COMPARISON_NOTES = [
    *BASIC_NOTES,
    "matched_forgetting: the metric at the place where a trajectory first reaches a forget "
    "accuracy (`matched_at`, slot accuracy on sf), on the straight line between two checkpoints; "
    "the finetuned model is epoch 0. A level that is not reached has a null value and a reason; "
    "nothing is extrapolated. reached_share = share of resamples of people that reach it.",
    "frontier_area: mean over 100 forget accuracies from the finetuned model's to the oracles' of "
    "the best retention that the method's settings reach there; 0 where none arrives "
    "(covered = share of the range that is reached). 1 = forgets like the oracles, damages nothing.",
    "forget_retain_score: harmonic mean of forgetting = 1 - (sf - oracle)/(finetuned - oracle) and "
    "of slot accuracy on sr relative to finetuned, both cut to 0 to 1. The method's checkpoint "
    "with the highest score is `chosen`, at equal scores the one with fewer epochs. chosen_share "
    "= share of resamples of people in which it is chosen. The interval does not allow for the "
    "choice, so the score of a chosen checkpoint is a little too high.",
    "regression: damage of retain facts on four properties (`term`), within people. logprob_drop = "
    "fall of the log-probability per token since finetuned, in nats; slot_lost = 1 if the "
    "finetuned model states the value and this model does not, among the facts that it states. "
    "tfidf_distance (0 to 1) is a distance of words, not of meanings. inflation = variance "
    "inflation factor: above 5 the term cannot be told from the others.",
    "gap: other - correlated over partner slots, positive = correlated facts suffer more. p_value "
    "inverts the interval; p_holm corrects it for all rows of the same comparison and metric.",
    "difference: this model - difference_to, paired by question; seeds of the oracle are a level "
    "of their own (n_seeds). With one seed its error over seeds is unknown.",
]
METRICS = (slot_accuracy, probability)
RETAINED = ("correlated", "other", "sr", "utility")
COMPARED = ("sf", "sr", "utility")
"""Sets whose difference to the finetuned model and to the oracles has a row."""

UNDEFINED = "a model gives undefined scores"
NOTHING_FORGOTTEN = "no oracle knows less of the forget facts than the finetuned model"
EMPTY = {
    **dict.fromkeys(("comparison", "matched_at", "forget_accuracy", "reached_share", "covered")),
    **dict.fromkeys(("chosen", "chosen_share", "term", "inflation", "difference_to", "n_seeds")),
    **dict.fromkeys(("p_value", "p_holm", "reason")),
}


@dataclass(frozen=True)
class Series:
    """One metric on one set: a number per question and model.

    Attributes:
        set: of the row.
        metric: of the row.
        clusters: the person of each question, or the question itself, (n,).
        values: model → its numbers, (n,).
    """

    set: str
    metric: ItemMetric
    clusters: np.ndarray
    values: dict[str, np.ndarray]

    @property
    def by_people(self) -> bool:
        """Whether clusters are people."""
        return self.set != "utility"

    @property
    def kind(self) -> str:
        """What decides the interval (`Sampled`)."""
        if self.set != "gap":
            return "share"
        return "tied" if self.metric.scale.kind == "proportion" else "score"


class Answers:
    """All models' numbers, by series, and their means under every resample of people."""

    def __init__(self, folder: Path, models: Sequence[str], asked: dict[str, Item] | None):
        self.series: dict[tuple[str, str], Series] = {}
        self.pairs: dict[tuple[str, str], list[np.ndarray]] = {}  # other, correlated
        self.losses: dict[str, np.ndarray] = {}
        self.facts = pd.DataFrame()
        self.fact_people = np.array([])
        for model, items in read_complete(folder, models, asked):
            self._add(model, items.sort_index())
        forget = self.series.get(("sf", slot_accuracy.name))
        if "finetuned" not in models or forget is None:
            raise InputError(f"{folder}: records of the model 'finetuned' are needed")
        self.forget = forget
        self.oracles = sorted(model for model in models if model.startswith("oracle/"))
        self.people = sorted(
            {one for s in self.series.values() if s.by_people for one in s.clusters}
        )
        self._means: dict[tuple, np.ndarray] = {}

    def _add(self, model: str, items: pd.DataFrame) -> None:
        for metric in METRICS:
            for name in ("sf", *RETAINED):
                members = items[items["set"].isin(SETS[name])]
                if not members.empty:
                    self._put(name, metric, model, people_of(members), metric.values(members))
            pairs = partner_pairs(items)
            if not pairs.empty:
                sides = [metric.values(items.loc[pairs[side]]) for side in ("other", "correlated")]
                self.pairs[metric.name, model] = sides
                self._put("gap", metric, model, pairs["person_id"], sides[0] - sides[1])
        retained = items[items["set"].isin(("correlated", "other"))]
        self.losses[model] = loss.values(retained) if len(retained) else np.array([])
        if model == "finetuned":
            self.facts, self.fact_people = describe_facts(items), people_of(retained).to_numpy(str)

    def _put(self, name: str, metric: ItemMetric, model: str, people, values) -> None:
        clusters = np.asarray(people, dtype=str)
        new = Series(name, metric, clusters, {})
        self.series.setdefault((name, metric.name), new).values[model] = values

    def retained(self) -> list[Series]:
        """What is read off at matched forgetting."""
        names = (*RETAINED, "gap")
        return [
            self.series[n, m.name] for n in names for m in METRICS if (n, m.name) in self.series
        ]

    def drawn(self, series: Series, model: str) -> np.ndarray:
        """The mean in the study, then in each resample, (1 + resamples,)."""
        key = (series.set, series.metric.name, model)
        if key in self._means:
            return self._means[key]
        names = self.people if series.by_people else sorted(set(series.clusters))
        found = resampled_mean(series.values[model], series.clusters, names)
        if model == "finetuned" or model.startswith("oracle/"):
            self._means[key] = found
        return found

    @cached_property
    def oracle_level(self) -> np.ndarray | None:
        """Mean forget accuracy of the oracles, (1 + resamples,); None without oracles."""
        if not self.oracles:
            return None
        return np.mean([self.drawn(self.forget, model) for model in self.oracles], axis=0)

    @cached_property
    def tuned_level(self) -> np.ndarray:
        """Forget accuracy of the finetuned model, (1 + resamples,)."""
        return self.drawn(self.forget, "finetuned")

    def sampled(self, series: Series) -> Sampled:
        """What the interval of a quantity of this series needs to know."""
        units = min(len(self.people), len(set(series.clusters)))
        freedom = freedom_of(series.clusters, self.forget.clusters)
        return Sampled(series.kind, series.clusters, units, freedom)


@dataclass(frozen=True)
class Trajectory:
    """The checkpoints of one method and setting, by epoch.

    Attributes:
        name: its folder, as `unlearn/ga/lr0.0002`.
        models: its checkpoints.
    """

    name: str
    models: tuple[str, ...]

    @property
    def columns(self) -> dict:
        """Keys of its rows."""
        return model_columns(self.models[0]) | {"model": self.name, "epoch": None}

    @property
    def method(self) -> str:
        """Its method."""
        return self.name.split("/")[1]


def trajectories_of(models: Sequence[str]) -> list[Trajectory]:
    """The trajectories among models, in the order of their first checkpoints."""
    found: dict[str, list[str]] = {}
    for model in models:
        if model.startswith("unlearn/"):
            found.setdefault(model.rpartition("/")[0], []).append(model)
    return [
        Trajectory(name, tuple(sorted(members, key=lambda model: model_columns(model)["epoch"])))
        for name, members in sorted(found.items())
    ]


def compare_methods(
    eval_dir: Path,
    models: list[str],
    settings: SummarySettings,
    asked: dict[str, Item] | None = None,
) -> list[dict]:
    """All rows of the table; see `COMPARISON_NOTES`.

    Raises:
        InputError: records are missing or broken, or no model is `finetuned`.
    """
    answers, confidence = Answers(eval_dir, models, asked), settings.confidence
    trajectories = trajectories_of(models)
    rows = []
    for trajectory in trajectories:
        rows += matched_rows(answers, trajectory, confidence)
    rows += area_rows(answers, trajectories, confidence)
    rows += score_rows(answers, trajectories, confidence)
    checkpoints = [model for one in trajectories for model in one.models]
    rows += gap_rows(answers, checkpoints, confidence)
    rows += regression_rows(answers, checkpoints, confidence)
    rows += difference_rows(answers, checkpoints, confidence)
    rows = [EMPTY | row for row in rows]
    _correct(rows)
    return rows


def matched_rows(answers: Answers, trajectory: Trajectory, confidence: float) -> Iterator[dict]:
    """Retention and gap of a trajectory at the same degrees of forgetting."""
    points = ["finetuned", *trajectory.models]
    forget = np.stack([answers.drawn(answers.forget, model) for model in points], axis=-1)
    levels = {f"{level:g}": np.full(len(forget), level) for level in LEVELS}
    if answers.oracle_level is not None:
        levels["oracle"] = answers.oracle_level
    crossing = Crossing(forget, np.stack(list(levels.values()), axis=-1))
    for series in answers.retained():
        drawn = np.stack([answers.drawn(series, model) for model in points], axis=-1)
        continued, sampled = crossing.continued(drawn), answers.sampled(series)
        for place, (name, level) in enumerate(levels.items()):
            keys = trajectory.columns | {
                "comparison": "matched_forgetting",
                "matched_at": name,
                "forget_accuracy": float(level[0]),
                "reached_share": float(crossing.reached[1:, place].mean()),
            }
            near = crossing.earlier[0, place]
            mixed = _mixed(series, points[near : near + 2], float(crossing.share[0, place]))
            estimate = _nothing(series)
            reason = _why_not(crossing, forget[0], place)
            if reason is None:
                undefined = int((~np.isfinite(mixed)).sum())
                estimate = Estimate(None, None, None, len(mixed), estimate.n_clusters, undefined)
                reason = UNDEFINED if undefined else None
            tests = {}
            if reason is None:
                column = continued[:, place]
                estimate = resampled_interval(column, sampled, confidence, mixed)
                if series.set == "gap":
                    tests["p_value"] = p_value(
                        lambda c, column=column, mixed=mixed, sampled=sampled: resampled_interval(
                            column, sampled, c, mixed
                        )
                    )
            yield keys | _of(series, estimate) | tests | {"reason": reason}


def _mixed(series: Series, around: Sequence[str], share: float) -> np.ndarray:
    """Each question's number on the line between two models; a model without weight is left out."""
    before, after = (series.values[model] for model in around)
    if share in (0, 1):
        return after if share else before
    return before + share * (after - before)


def _nothing(series: Series) -> Estimate:
    return Estimate(None, None, None, len(series.clusters), len(set(series.clusters)))


def _of(series: Series, estimate: Estimate) -> dict:
    columns = estimate_columns(estimate, people=series.by_people)
    return {"set": series.set, "metric": series.metric.name} | columns


def _why_not(crossing: Crossing, forget: np.ndarray, place: int) -> str | None:
    """Why the study has no value at a level; None if it has one."""
    if crossing.reached[0, place]:
        return None
    if math.isnan(crossing.share[0, place]):
        return f"the finetuned model is already below: its forget accuracy is {forget[0]:.3f}"
    return f"not reached: the lowest forget accuracy is {forget.min():.3f}"


def retention_curves(answers: Answers, trajectory: Trajectory) -> dict[tuple, np.ndarray]:
    """Retention at every level of the frontier: (set, metric) → (1 + resamples, levels).

    Empty without oracles, or if they know as much of the forget facts as the finetuned model.
    """
    oracle, tuned = answers.oracle_level, answers.tuned_level
    if oracle is None or tuned[0] - oracle[0] <= MINIMUM_FORGOTTEN:
        return {}
    points = ["finetuned", *trajectory.models]
    forget = np.stack([answers.drawn(answers.forget, model) for model in points], axis=-1)
    crossing = Crossing(forget, area_levels(tuned, oracle))
    found = {}
    for series in answers.retained():
        if series.set != "gap":
            drawn = np.stack([answers.drawn(series, model) for model in points], axis=-1)
            found[series.set, series.metric.name] = crossing.read(drawn)
    return found


def area_rows(
    answers: Answers, trajectories: Sequence[Trajectory], confidence: float
) -> Iterator[dict]:
    """Area under the frontier of each trajectory, and of each method over its settings."""
    for members in by_method(trajectories).values():
        best: dict[tuple, np.ndarray] = {}
        for one in members:
            curves = retention_curves(answers, one)
            yield from _areas(answers, one.columns, one.models, curves, confidence)
            best = {key: envelope(best.get(key), curve) for key, curve in curves.items()}
        columns = dict.fromkeys(members[0].columns) | {"method": members[0].method}
        models = [model for one in members for model in one.models]
        yield from _areas(answers, columns, models, best, confidence)


def by_method(trajectories: Sequence[Trajectory]) -> dict[str, list[Trajectory]]:
    """Method → its trajectories."""
    found: dict[str, list[Trajectory]] = {}
    for one in trajectories:
        found.setdefault(one.method, []).append(one)
    return found


def _areas(
    answers: Answers,
    columns: dict,
    models: Sequence[str],
    curves: Mapping[tuple, np.ndarray],
    confidence: float,
) -> Iterator[dict]:
    for series in answers.retained():
        if series.set == "gap":
            continue
        keys = columns | {"comparison": "frontier_area"}
        frontier = curves.get((series.set, series.metric.name))
        read = ["finetuned", *models]
        undefined = sum(int((~np.isfinite(series.values[model])).sum()) for model in read)
        if frontier is None or undefined:
            nothing = replace(_nothing(series), n_undefined=undefined)
            reason = UNDEFINED if undefined else NOTHING_FORGOTTEN
            yield keys | _of(series, nothing) | {"reason": reason}
            continue
        drawn = frontier_area(frontier)
        estimate = resampled_interval(drawn, answers.sampled(series), confidence)
        yield keys | _of(series, estimate) | {"covered": float(np.isfinite(frontier[0]).mean())}


def score_rows(
    answers: Answers, trajectories: Sequence[Trajectory], confidence: float
) -> Iterator[dict]:
    """The score of every checkpoint, and which one is chosen for its method."""
    kept = answers.series.get(("sr", slot_accuracy.name))
    if answers.oracle_level is None or kept is None:
        return
    for group in by_method(trajectories).values():
        members = [model for one in group for model in one.models]
        ordered = sorted(members, key=lambda model: (model_columns(model)["epoch"], model))
        scores = np.stack([_scores(answers, kept, model) for model in ordered])
        first = np.nan_to_num(scores, nan=-1.0).argmax(axis=0)
        for place, model in enumerate(ordered):
            estimate = resampled_interval(scores[place], answers.sampled(kept), confidence)
            known = estimate.value is not None
            yield model_columns(model) | {
                "comparison": "forget_retain_score",
                "set": None,
                "metric": "forget_retain_score",
                **estimate_columns(estimate),
                "chosen": bool(first[0] == place) if known else None,
                "chosen_share": float((first[1:] == place).mean()) if known else None,
                "reason": None if known else NOTHING_FORGOTTEN,
            }


def _scores(answers: Answers, kept: Series, model: str) -> np.ndarray:
    accuracy = answers.drawn(answers.forget, model)
    forgotten = forgetting(accuracy, answers.tuned_level, answers.oracle_level)
    retained = relative_retention(answers.drawn(kept, model), answers.drawn(kept, "finetuned"))
    return harmonic_score(forgotten, retained)


def gap_rows(answers: Answers, checkpoints: Sequence[str], confidence: float) -> Iterator[dict]:
    """The gap of every checkpoint with its p value; the rows are those of `compare_retain`."""
    for metric in METRICS:
        series = answers.series.get(("gap", metric.name))
        for model in checkpoints if series else ():
            arguments = (*answers.pairs[metric.name, model], series.clusters, metric.scale)
            estimate = difference_interval(*arguments, confidence)
            tested = p_value(lambda c, arguments=arguments: difference_interval(*arguments, c))
            yield model_columns(model) | {
                "comparison": "gap",
                **_of(series, estimate),
                "p_value": tested,
            }


def regression_rows(
    answers: Answers, checkpoints: Sequence[str], confidence: float
) -> Iterator[dict]:
    """What explains the damage of a retain fact: a row per checkpoint, outcome and term."""
    matches = answers.series.get(("sr", slot_accuracy.name))
    if matches is None:
        return
    known = matches.values["finetuned"] == 1
    predictors, people = answers.facts.to_numpy(float), answers.fact_people
    designs = {}
    for outcome, rows in (("logprob_drop", np.full(len(known), True)), ("slot_lost", known)):
        designs[outcome] = (
            rows,
            (ClusteredRegression(predictors[rows], people[rows]) if rows.any() else None),
        )
    for model in checkpoints:
        damage = {
            "logprob_drop": answers.losses[model] - answers.losses["finetuned"],
            "slot_lost": 1.0 - matches.values[model],
        }
        for outcome, (rows, design) in designs.items():
            if design is None:
                continue
            found = dict(
                zip(design.kept, design.fit(damage[outcome][rows], confidence), strict=True)
            )
            inflation = dict(zip(design.kept, design.inflation, strict=True))
            for number, term in enumerate(TERMS):
                nothing = Estimate(None, None, None, design.n, design.people)
                reason = None
                if number not in found:
                    reason = "within people it does not vary or follows from the terms before it"
                yield model_columns(model) | {
                    "comparison": "regression",
                    "set": "sr",
                    "metric": outcome,
                    "term": term,
                    **estimate_columns(found.get(number, nothing)),
                    "inflation": float(inflation[number]) if number in inflation else None,
                    "reason": reason,
                }


def difference_rows(
    answers: Answers, checkpoints: Sequence[str], confidence: float
) -> Iterator[dict]:
    """Paired differences of every checkpoint to the finetuned model and to the oracles."""
    references = {"finetuned": ["finetuned"], "oracle": answers.oracles}
    for metric in METRICS:
        for name in COMPARED:
            series = answers.series.get((name, metric.name))
            if series is None:
                continue
            for target, models in references.items():
                if not models:
                    continue
                second = np.stack([series.values[model] for model in models])
                for model in checkpoints:
                    first = series.values[model][None]
                    estimate = seed_difference(
                        first, second, series.clusters, metric.scale, confidence
                    )
                    yield model_columns(model) | {
                        "comparison": "difference",
                        **_of(series, estimate),
                        "difference_to": target,
                        "n_seeds": len(models),
                    }


def _correct(rows: list[dict]) -> None:
    """Write `p_holm` beside every `p_value`: one family per comparison and metric."""
    families: dict[tuple, list[dict]] = {}
    for row in rows:
        if row["p_value"] is not None:
            families.setdefault((row["comparison"], row["metric"]), []).append(row)
    for family in families.values():
        for row, corrected in zip(family, holm([row["p_value"] for row in family]), strict=True):
            row["p_holm"] = corrected
