"""The table of comparisons: what methods keep at the same degree of forgetting, and why.

Every model is read once. Rows of a trajectory depend on its own checkpoints, on the finetuned
model and on the oracles; only `p_holm`, `chosen` and `chosen_share` and the rows of a method
depend on other trajectories.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from excise.benchmark.items import Item
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
    holm,
    p_value,
    resampled_interval,
    seed_difference,
)
from excise.evaluation.comparisons.regression import (
    TERMS,
    ClusteredRegression,
)
from excise.evaluation.metrics.slot import slot_accuracy
from excise.evaluation.results import estimate_columns, model_columns
from excise.evaluation.statistics import MINIMUM_FORGOTTEN, Estimate, difference_interval
from excise.evaluation.tables.common import BASIC_NOTES
from excise.evaluation.tables.compared_answers import (
    METRICS,
    Answers,
    Series,
    Trajectory,
    trajectories_of,
)
from excise.evaluation.tables.settings import SummarySettings

COMPARISON_NOTES = [
    *BASIC_NOTES,
    "matched_forgetting: the metric at the place where a trajectory first reaches a forget "
    "accuracy (`matched_at`, slot accuracy on sf), on the straight line between two checkpoints; "
    "the finetuned model is epoch 0. A level that is not reached has a null value and a reason; "
    "nothing is extrapolated. The gap without a method is the mean over all trajectories that get "
    "there. reached_share = share of resamples of people that reach it.",
    "frontier_area: mean over 100 forget accuracies from the finetuned model's to the oracles' of "
    "the best retention that the method's settings reach there; 0 if none reaches it "
    "(covered = share of the range that is reached). 1 = forgets as the oracles, damages nothing.",
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
COMPARED = ("sf", "sr", "utility")
"""Sets whose difference to the finetuned model and to the oracles has a row."""

NOT_ASKED = "no checkpoint was asked this with generated answers"
UNDEFINED = "a model gives undefined scores"
NOTHING_FORGOTTEN = "no oracle knows less of the forget facts than the finetuned model"
EMPTY = {
    **dict.fromkeys(("comparison", "matched_at", "forget_accuracy", "reached_share", "covered")),
    **dict.fromkeys(("chosen", "chosen_share", "term", "inflation", "difference_to", "n_seeds")),
    **dict.fromkeys(("p_value", "p_holm", "reason")),
}


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
    answers, confidence = Answers(eval_dir, models, asked, settings.sweep), settings.confidence
    trajectories = trajectories_of(models)
    rows = []
    for trajectory in trajectories:
        rows += matched_rows(answers, trajectory, confidence)
    rows += pooled_rows(answers, trajectories, confidence)
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
    levels = {f"{level:g}": np.full_like(answers.tuned_level, level) for level in LEVELS}
    if answers.oracle_level is not None:
        levels["oracle"] = answers.oracle_level
    grid = np.stack(list(levels.values()), axis=-1)
    for series in answers.retained():
        points = answers.points(trajectory, series)
        known = {name: (place, float(grid[0, place])) for place, name in enumerate(levels)}
        crossing = None
        if len(points) > 1:
            forget = np.stack([answers.drawn(answers.forget, model) for model in points], axis=-1)
            drawn = np.stack([answers.drawn(series, model) for model in points], axis=-1)
            crossing = Crossing(forget, grid)
            continued = crossing.continued(drawn)
        for name, (place, level) in known.items():
            keys = trajectory.columns | {
                "comparison": "matched_forgetting",
                "matched_at": name,
                "forget_accuracy": level,
            }
            if crossing is None:
                yield keys | _of(series, _nothing(series)) | {"reason": NOT_ASKED}
                continue
            keys |= {"reached_share": float(crossing.reached[1:, place].mean())}
            if reason := _why_not(crossing, forget[0], place):
                yield keys | _of(series, _nothing(series)) | {"reason": reason}
                continue
            near = crossing.earlier[0, place]
            mixed = _mixed(series, points[near : near + 2], float(crossing.share[0, place]))
            yield keys | _matched(answers, series, continued[:, place], mixed, confidence)


def pooled_rows(
    answers: Answers, trajectories: Sequence[Trajectory], confidence: float
) -> Iterator[dict]:
    """The gap at a degree of forgetting, averaged over all trajectories that reach it.

    `n` counts pairs of questions, each with its mean over these trajectories.
    """
    for series in (one for one in answers.retained() if one.set == "gap"):
        for level in LEVELS:
            found = [
                reading
                for trajectory in trajectories
                if (reading := _reading(answers, trajectory, series, level)) is not None
            ]
            if not found:
                continue
            drawn, mixed = (np.mean(side, axis=0) for side in zip(*found, strict=True))
            yield dict.fromkeys(trajectories[0].columns) | {
                "comparison": "matched_forgetting",
                "matched_at": f"{level:g}",
                "forget_accuracy": level,
                **_matched(answers, series, drawn, mixed, confidence),
            }


def _reading(
    answers: Answers, trajectory: Trajectory, series: Series, level: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """A series where a trajectory first reaches a forget accuracy, as `_matched` takes it."""
    points = answers.points(trajectory, series)
    if len(points) < 2:
        return None
    forget = np.stack([answers.drawn(answers.forget, model) for model in points], axis=-1)
    crossing = Crossing(forget, np.full((len(forget), 1), level))
    if _why_not(crossing, forget[0], 0):
        return None
    drawn = np.stack([answers.drawn(series, model) for model in points], axis=-1)
    near = crossing.earlier[0, 0]
    mixed = _mixed(series, points[near : near + 2], float(crossing.share[0, 0]))
    return crossing.continued(drawn)[:, 0], mixed


def _matched(
    answers: Answers, series: Series, drawn: np.ndarray, mixed: np.ndarray, confidence: float
) -> dict:
    """The keys of a value at a level that is reached.

    Args:
        answers: of all models.
        series: what is read off.
        drawn: the value in the study, then in each resample, (1 + resamples,).
        mixed: the interpolated number of each question, (n,).
        confidence: coverage of the interval.
    """
    if undefined := int((~np.isfinite(mixed)).sum()):
        nothing = replace(_nothing(series), n_undefined=undefined)
        return _of(series, nothing) | {"reason": UNDEFINED}
    sampled = answers.sampled(series)

    def interval(at: float) -> Estimate:
        return resampled_interval(drawn, sampled, at, mixed)

    tested = {"p_value": p_value(interval)} if series.set == "gap" else {}
    return _of(series, interval(confidence)) | tested


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
    metric = series.metric
    return {"set": series.set, "metric": metric.name, "convention": metric.convention} | columns


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
    levels = area_levels(tuned, oracle)
    crossings: dict[tuple, Crossing] = {}
    found = {}
    for series in answers.retained():
        points = answers.points(trajectory, series)
        if series.set == "gap" or len(points) < 2:
            continue
        if tuple(points) not in crossings:  # most series have the same points
            forget = [answers.drawn(answers.forget, model) for model in points]
            crossings[tuple(points)] = Crossing(np.stack(forget, axis=-1), levels)
        drawn = np.stack([answers.drawn(series, model) for model in points], axis=-1)
        found[series.set, series.metric.name] = crossings[tuple(points)].read(drawn)
    return found


def area_rows(
    answers: Answers, trajectories: Sequence[Trajectory], confidence: float
) -> Iterator[dict]:
    """Area under the frontier of each trajectory, and of each method over its settings."""
    for members in by_method(trajectories).values():
        best: dict[tuple, np.ndarray] = {}
        for one in members:
            curves = retention_curves(answers, one)
            yield from _areas(answers, one.columns, [one], curves, confidence)
            best |= {key: envelope(best.get(key), curve) for key, curve in curves.items()}
        columns = dict.fromkeys(members[0].columns) | {"method": members[0].method}
        yield from _areas(answers, columns, members, best, confidence)


def by_method(trajectories: Sequence[Trajectory]) -> dict[str, list[Trajectory]]:
    """Method → its trajectories."""
    found: dict[str, list[Trajectory]] = {}
    for one in trajectories:
        found.setdefault(one.method, []).append(one)
    return found


def _areas(
    answers: Answers,
    columns: dict,
    members: Sequence[Trajectory],
    curves: Mapping[tuple, np.ndarray],
    confidence: float,
) -> Iterator[dict]:
    for series in answers.retained():
        if series.set == "gap":
            continue
        keys = columns | {"comparison": "frontier_area"}
        frontier = curves.get((series.set, series.metric.name))
        read = {model for one in members for model in answers.points(one, series)}
        undefined = sum(int((~np.isfinite(series.values[model])).sum()) for model in read)
        if frontier is None or undefined:
            nothing = replace(_nothing(series), n_undefined=undefined)
            reason = NOT_ASKED if len(read) < 2 else NOTHING_FORGOTTEN
            reason = UNDEFINED if undefined else reason
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
        known = {model for one in group for model in answers.points(one, kept)}
        members = sorted(known - {"finetuned"})
        if not members:
            continue
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
        for model in (one for one in checkpoints if series and one in series.values):
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
    if matches is None or answers.facts.empty:
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
        damage = {"logprob_drop": answers.losses[model] - answers.losses["finetuned"]}
        if model in matches.values:
            damage["slot_lost"] = 1.0 - matches.values[model]
        for outcome, (rows, design) in designs.items():
            if design is None or outcome not in damage:
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
                for model in (one for one in checkpoints if one in series.values):
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
