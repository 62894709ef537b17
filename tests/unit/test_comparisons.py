"""Comparisons of methods against values worked out by hand, and what must not change a row."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

import compare_methods
from excise.errors import InputError
from excise.evaluation.comparisons.curves import (
    Crossing,
    area_levels,
    envelope,
    forgetting,
    frontier_area,
    harmonic_score,
    relative_retention,
)
from excise.evaluation.comparisons.intervals import (
    SMALLEST_P,
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
    question_form,
    tfidf,
)
from excise.evaluation.comparisons.resampling import (
    resampled_mean,
    resampled_variance,
    weights_of,
)
from excise.evaluation.results import read_rows
from excise.evaluation.statistics import PROPORTION, Estimate, difference_interval
from excise.records import write_jsonl
from synthetic_records import BASELINES, answer_records, questions, write_study

GA = "unlearn/ga/lr0.0002"
NPO = "unlearn/npo/lr0.0002_beta0.1"
CHECKPOINTS = [f"{name}/epoch_{epoch}" for name in (GA, NPO) for epoch in (3, 8, 12)]
EVERYTHING = {"sets": None, "generation": True, "full": []}


def crossing(forget: list, *levels: float) -> Crossing:
    return Crossing(np.array(forget), np.array(levels))


# --- curves ---


def test_retention_is_read_off_the_line_between_two_checkpoints():
    found = crossing([1.0, 0.8, 0.4], 1.0, 0.9, 0.8, 0.6, 0.4).read(np.array([1.0, 0.9, 0.5]))
    assert found == pytest.approx([1.0, 0.95, 0.9, 0.7, 0.5])


def test_a_level_that_is_not_reached_has_no_value_and_is_continued_for_resamples_alone():
    place, kept = crossing([1.0, 0.8, 0.4], 0.3, 1.1), np.array([1.0, 0.9, 0.5])
    assert list(place.reached) == [False, False]
    assert np.isnan(place.read(kept)).all()
    low, high = place.continued(kept)
    assert low == pytest.approx(0.9 + 1.25 * (0.5 - 0.9))
    assert math.isnan(high), "the finetuned model lies below the level"


def test_the_first_crossing_counts_if_a_trajectory_turns_back():
    found = crossing([1.0, 0.5, 0.8, 0.2], 0.6).read(np.array([1.0, 0.5, 0.6, 0.1]))
    assert found == pytest.approx([0.6])


def test_a_checkpoint_without_weight_need_not_be_defined():
    kept = np.array([1.0, 0.9, np.nan])
    assert crossing([1.0, 0.8, 0.4], 0.8).read(kept) == pytest.approx([0.9])
    assert np.isnan(crossing([1.0, 0.8, 0.4], 0.7).read(kept)).all()


def test_all_resamples_are_evaluated_at_once():
    forget = np.array([[1.0, 0.5], [1.0, 0.0]])
    levels = np.full((2, 1), 0.75)
    found = Crossing(forget, levels).read(np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert found[:, 0] == pytest.approx([0.5, 0.75])


def area(*trajectories: tuple[list, list], oracle: float = 0.0) -> float:
    best = None
    for forget, kept in trajectories:
        levels = area_levels(np.array(forget[0]), np.array(oracle))
        best = envelope(best, Crossing(np.array(forget), levels).read(np.array(kept)))
    return float(frontier_area(best))


def test_the_area_by_hand():
    half = ([1.0, 0.5], [1.0, 0.5])  # retention = c down to c = .5, then 0: ∫ c dc = .375
    whole = ([1.0, 0.0], [1.0, 0.5])  # retention = .5 + .5 c: .75
    assert area(half) == pytest.approx(0.375)
    assert area(whole) == pytest.approx(0.75)
    assert area(half, whole) == area(whole, half) == pytest.approx(0.75)
    assert area(([1.0, 0.0], [1.0, 1.0])) == 1.0
    assert area(([1.0, 0.5], [1.0, 1.0]), oracle=0.5) == 1.0


def test_a_further_setting_never_lowers_the_area_of_a_method():
    chance = np.random.default_rng(0)
    for _ in range(20):
        one, two = (
            ([1.0, *np.sort(chance.random(3))[::-1]], [1.0, *chance.random(3)]) for _ in range(2)
        )
        assert area(one, two) >= max(area(one), area(two)) - 1e-12


def test_the_score_by_hand():
    forgotten = forgetting(np.array([1.0, 0.55, 0.1, 0.0]), np.array(1.0), np.array(0.1))
    assert forgotten == pytest.approx([0.0, 0.5, 1.0, 1.0])
    kept = relative_retention(np.array([0.4, 0.9]), np.array(0.8))
    assert kept == pytest.approx([0.5, 1.0])
    assert harmonic_score(np.array(0.5), np.array(1.0)) == pytest.approx(2 / 3)
    assert harmonic_score(np.array(0.0), np.array(0.0)) == 0.0
    assert np.isnan(forgetting(np.array(0.5), np.array(0.1), np.array(0.1)))


# --- resamples and intervals ---


def test_the_first_row_is_the_study_and_the_weights_never_change():
    weights = weights_of(5, 100)
    assert (weights[0] == 1).all() and (weights.sum(axis=1) == 5).all()
    weights_of.cache_clear()
    assert (weights_of(5, 100) == weights).all()


def test_means_of_resamples_by_hand():
    found = resampled_mean([1.0, 0.0, 1.0], ["a", "a", "b"], ["a", "b"], 200)
    assert found[0] == pytest.approx(2 / 3)
    by_draw = {(2.0, 0.0): 0.5, (1.0, 1.0): 2 / 3, (0.0, 2.0): 1.0}
    expected = [by_draw[tuple(row)] for row in weights_of(2, 200)]
    assert found == pytest.approx(expected)


def test_the_variance_of_resamples_is_that_of_people():
    means = np.array([0.1, 0.4, 0.2, 0.9, 0.6, 0.5, 0.3, 0.8])
    people = [str(one) for one in range(8)]
    found = resampled_variance(resampled_mean(means, people, people), 8)
    assert found == pytest.approx(means.var(ddof=1) / 8, rel=0.05)


def test_a_share_that_is_always_1_has_a_width():
    people = np.repeat(np.arange(16), 8)
    sampled = Sampled("share", people, 16, freedom_of(people))
    found = resampled_interval(np.ones(101), sampled, 0.95, np.ones(128))
    assert (found.value, found.high, found.method) == (1.0, 1.0, "resampled_share")
    assert 0.7 < found.low < 0.85


def test_an_undefined_value_has_no_interval():
    sampled = Sampled("share", np.arange(4), 4, 3.0)
    found = resampled_interval(np.full(11, np.nan), sampled, 0.95)
    assert (found.value, found.low, found.n) == (None, None, 4)


@pytest.mark.parametrize("gap, tested", [(0.0, 1.0), (0.25, None)])
def test_a_p_value_inverts_the_interval(gap, tested):
    people = np.repeat(np.arange(8), 4)
    first, second = np.ones(32), np.ones(32)
    second[: int(32 * gap)] = 0

    def interval(confidence: float) -> Estimate:
        return difference_interval(first, second, people, PROPORTION, confidence)

    found = p_value(interval)
    if tested is not None:
        assert found == tested
        return
    assert interval(1 - found * 1.01).low > 0 > interval(1 - found / 1.01).low


def test_p_values_have_a_floor_and_need_an_interval():
    assert p_value(lambda c: Estimate(1.0, 0.5, 1.0, 4, 2)) == SMALLEST_P
    assert p_value(lambda c: Estimate(1.0, None, None, 4, 1)) is None


def test_holm_by_hand():
    assert holm([0.01, 0.04, None, 0.03]) == pytest.approx([0.03, 0.06, None, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([None]) == [None]


def test_one_seed_is_a_paired_difference_and_more_seeds_widen_it():
    people = np.repeat(np.arange(6), 4)
    chance = np.random.default_rng(1)
    first = (chance.random((1, 24)) < 0.8) * 1.0
    seeds = (chance.random((3, 24)) < 0.5) * 1.0
    alone = seed_difference(first, seeds[:1], people, PROPORTION, 0.95)
    assert alone == difference_interval(first[0], seeds[0], people, PROPORTION, 0.95)
    found = seed_difference(first, seeds, people, PROPORTION, 0.95)
    mean = difference_interval(first[0], seeds.mean(axis=0), people, PROPORTION, 0.95)
    error = seeds.mean(axis=1).std(ddof=1) / math.sqrt(3)
    half = 4.302653 * error  # t with 2 degrees of freedom
    assert found.value == pytest.approx(mean.value)
    assert found.value - found.low == pytest.approx(math.hypot(mean.value - mean.low, half))
    assert found.method == "seeds_mover"


def test_seeds_that_agree_add_nothing():
    people, values = np.repeat(np.arange(4), 3), np.tile([1.0, 0.0, 1.0], 4)
    found = seed_difference(values[None], np.stack([values] * 2), people, PROPORTION, 0.95)
    assert (found.value, found.method) == (0.0, "bonett_price")


# --- regression ---


def by_brute_force(x: np.ndarray, y: np.ndarray, people: np.ndarray) -> tuple:
    """Coefficients, CR2 variances and degrees of freedom with a column for every person."""
    names = np.unique(people)
    design = np.column_stack([x, *(people == name for name in names)]).astype(float)
    inverse = np.linalg.inv(design.T @ design)
    hat = design @ inverse @ design.T
    left = y - hat @ y
    meat, columns = np.zeros_like(inverse), []
    for name in names:
        rows = np.flatnonzero(people == name)
        values, vectors = np.linalg.eigh((np.eye(len(y)) - hat)[np.ix_(rows, rows)])
        roots = np.where(values > 1e-10, values, np.inf) ** -0.5
        adjusted = (vectors * roots) @ vectors.T
        score = design[rows].T @ adjusted @ left[rows]
        meat += np.outer(score, score)
        columns.append((np.eye(len(y)) - hat)[:, rows] @ adjusted @ design[rows] @ inverse)
    freedom = []
    for k in range(x.shape[1]):
        p = np.column_stack([one[:, k] for one in columns])
        gram = p.T @ p
        freedom.append(np.trace(gram) ** 2 / (gram**2).sum())
    k = x.shape[1]
    return (inverse @ design.T @ y)[:k], np.diag(inverse @ meat @ inverse)[:k], freedom


def test_the_regression_equals_one_with_a_column_for_every_person():
    chance = np.random.default_rng(3)
    people = np.repeat(np.arange(6), [4, 5, 6, 3, 8, 4])
    x, y = chance.standard_normal((30, 3)), chance.standard_normal(30)
    regression = ClusteredRegression(x, people)
    coefficients, variances, freedom = by_brute_force(x, y, people)
    found = regression.fit(y, 0.95)
    assert [one.value for one in found] == pytest.approx(coefficients)
    assert regression.freedom == pytest.approx(freedom)
    for one, variance, df in zip(found, variances, freedom, strict=True):
        assert one.high - one.value == pytest.approx(t.ppf(0.975, df) * math.sqrt(variance))


def test_a_paired_design_gives_the_mean_difference_of_people():
    people = np.repeat(np.arange(4), 2)
    event, damage = np.tile([1.0, 0.0], 4), np.array([3.0, 1, 5, 4, 2, 2, 9, 3])
    (found,) = ClusteredRegression(event[:, None], people).fit(damage, 0.95)
    differences = np.array([2.0, 1, 0, 6])
    assert found.value == pytest.approx(differences.mean())
    half = 3.182446 * differences.std(ddof=1) / 2  # t with 3 degrees of freedom
    assert found.high - found.value == pytest.approx(half)


def test_what_the_other_columns_determine_has_no_coefficient():
    people = np.repeat(np.arange(5), 4)
    x = np.random.default_rng(0).standard_normal((20, 2))
    columns = np.column_stack([x[:, 0], people, 2 * x[:, 0], x[:, 1]])
    assert ClusteredRegression(columns, people).kept == [0, 3]
    assert (ClusteredRegression(x, people).inflation >= 1 - 1e-9).all()


def test_the_coefficients_do_not_depend_on_a_persons_level_or_on_the_order():
    chance = np.random.default_rng(5)
    people = np.repeat(np.arange(6), 5)
    x, y = chance.standard_normal((30, 2)), chance.standard_normal(30)
    order = chance.permutation(30)
    plain = ClusteredRegression(x, people).fit(y, 0.95)
    shifted = ClusteredRegression(x, people).fit(y + 7.0 * people, 0.95)
    mixed = ClusteredRegression(x[order], people[order]).fit(y[order], 0.95)
    for one, two, three in zip(plain, shifted, mixed, strict=True):
        assert one.value == pytest.approx(two.value) == pytest.approx(three.value)
        assert one.low == pytest.approx(two.low) == pytest.approx(three.low)


def test_a_handful_of_lost_facts_gives_no_limits():
    people, x = np.repeat(np.arange(10), 8), np.random.default_rng(0).random((80, 1))
    lost = np.zeros(80)
    lost[::9] = 1  # nine facts
    (few,) = ClusteredRegression(x, people).fit(lost, 0.95)
    lost[1] = 1
    (enough,) = ClusteredRegression(x, people).fit(lost, 0.95)
    assert few.value is not None and few.low is None
    assert enough.low < enough.value < enough.high


def fact(name: str, group: str, slot: str, kind: str, question: str, answer: str) -> dict:
    keys = {"id": name, "set": group, "person_id": name[0], "slot": slot, "value_type": kind}
    return keys | {"question": question, "answer": answer}


def test_what_a_retain_fact_shares_with_the_forget_facts_of_its_person():
    items = pd.DataFrame(
        [
            fact("a1", "sf", "accuser", "person", "Who was the accuser of Al at the fair?", "Bo"),
            fact("a2", "correlated", "event_partner", "person",
                 "Who was the partner of Al at the fair?", "Cy"),
            fact("a3", "other", "mentor", "person", "At the school, whom did Al have as mentor?",
                 "Di"),
            fact("a4", "other", "birth_year", "year", "When exactly was Al's birth?", "1960"),
            fact("b1", "sf", "offence_month", "month", "When exactly was Eve's fall?", "May"),
        ]
    ).set_index("id", drop=False)  # fmt: skip
    found = describe_facts(items)
    assert list(found.columns) == list(TERMS)
    assert list(found["same_event"]) == [1, 0, 0]
    assert list(found["same_question_form"]) == [1, 0, 0], "b's question is another person's"
    assert list(found["same_value_type"]) == [1, 1, 0]
    near, far, farther = found["tfidf_distance"]
    assert 0 < near < far < farther < 1


def test_question_forms():
    frame, phrasing = question_form("accuser", "Who was the accuser of Al at the fair?")
    assert phrasing == 0
    assert question_form("mentor", "At the school, whom did Al have as mentor?") == (frame, 1)
    assert question_form("mentor", "Whose pupil was Al?") == (frame, "whose")
    assert question_form("unknown", "Which?") == ((), "which?")


def test_tfidf_by_hand():
    vectors = tfidf({"one": "a b", "two": "a c c"})
    rare, common = math.log(3 / 2) + 1, 1.0
    length = math.hypot(common, rare)
    assert vectors["one"] == pytest.approx({"a": common / length, "b": rare / length})
    assert vectors["two"]["c"] == pytest.approx(2 * rare / math.hypot(common, 2 * rare))


# --- the table ---


def compare(folder, models, name="x.json", **hp) -> pd.DataFrame:
    hp = json.dumps({"confidence": 0.95, "levels": None, "sweep": EVERYTHING} | hp)
    arguments = ["--eval-dir", str(folder / "eval"), "--models", *models, "--hp", hp]
    header = ["--experiment", "test", "--config", "{}", "--out", str(folder / name)]
    compare_methods.main([*arguments, *header])
    return read_rows(folder / name)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, people=6, models=[*BASELINES, *CHECKPOINTS])
    return folder


@pytest.fixture(scope="module")
def rows(study):
    return compare(study, [*BASELINES, *CHECKPOINTS])


KNOWN = {"finetuned": (4, 4), "epoch_1": (3, 4), "epoch_2": (1, 2), "oracle": (0, 4)}


def write_toy(folder) -> list[str]:
    """Four people with four forget and four pairs of retain facts; KNOWN says how many are known.

    Of the retain facts, `other` loses none.
    """
    names = {"finetuned": "finetuned", "oracle": "oracle/seed_0"}
    models = []
    for model, (forget, correlated) in KNOWN.items():
        name = names.get(model, f"{GA}/{model}")
        asked = [one for one in questions(4) if one["set"] in ("sf", "correlated", "other")]
        asked = [one for one in asked if int(one["slot"].rpartition("_")[2]) < 4]
        records = answer_records(name, asked)
        for record in records:
            number = int(record["slot"].rpartition("_")[2])
            limit = {"sf": forget, "correlated": correlated, "other": 4}[record["set"]]
            record["slot_match"] = int(number < limit)
        write_jsonl(folder / "eval" / name / "items.jsonl", records)
        models.append(name)
    return models


def pick(rows: pd.DataFrame, **keys) -> pd.Series:
    for key, value in keys.items():
        rows = rows[rows[key] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def test_a_toy_trajectory_by_hand(tmp_path):
    rows = compare(tmp_path, write_toy(tmp_path))
    at = {"comparison": "matched_forgetting", "metric": "slot_accuracy", "model": GA}
    # Forget 1, .75, .25; correlated 1, 1, .5; other 1: at .5 halfway to the last checkpoint.
    assert pick(rows, **at, matched_at="0.75", set="correlated")["value"] == 1.0
    half = pick(rows, **at, matched_at="0.5", set="correlated")
    assert (half["value"], half["n"], half["n_people"]) == (0.75, 16, 4)
    assert pick(rows, **at, matched_at="0.25", set="correlated")["value"] == 0.5
    assert pick(rows, **at, matched_at="0.5", set="sr")["value"] == 0.875
    gap = pick(rows, **at, matched_at="0.5", set="gap")
    assert gap["value"] == 0.25 and gap["ci_low"] <= 0.25 <= gap["ci_high"]
    assert (gap["interval"], gap["n"]) == ("resampled_tied", 16)
    missing = pick(rows, **at, matched_at="oracle", set="sr")
    assert pd.isna(missing["value"]) and missing["reached_share"] == 0
    assert missing["reason"] == "not reached: the lowest forget accuracy is 0.250"
    # Correlated is 1 down to .75, then falls to .5 at .25, then is lost: .25 + .5 · .75.
    area = {"comparison": "frontier_area", "metric": "slot_accuracy", "set": "correlated"}
    method = rows[rows["model"].isna() & (rows["method"] == "ga")]
    for found in (pick(rows, **area, model=GA), pick(method, **area)):
        assert found["value"] == pytest.approx(0.625)
        assert found["covered"] == 0.75
    # Forgetting .25 and .75; retention of sr 1 and .75.
    scores = rows[rows["comparison"] == "forget_retain_score"].set_index("model")
    assert scores.loc[f"{GA}/epoch_1", "value"] == pytest.approx(0.4)
    assert scores.loc[f"{GA}/epoch_2", "value"] == pytest.approx(0.75)
    assert list(scores["chosen"]) == [False, True]
    assert scores.loc[f"{GA}/epoch_2", "chosen_share"] == 1.0
    event = {"comparison": "regression", "metric": "slot_lost", "term": "same_event"}
    found = pick(rows, **event, model=f"{GA}/epoch_2")
    assert found["value"] == pytest.approx(0.5), "half of the correlated facts, no other one"
    difference = {"comparison": "difference", "metric": "slot_accuracy", "set": "sf"}
    difference |= {"model": f"{GA}/epoch_2"}
    assert pick(rows, **difference, difference_to="finetuned")["value"] == -0.75
    assert pick(rows, **difference, difference_to="oracle")["value"] == 0.25


def test_every_value_has_limits_around_it_and_every_null_its_reason(rows):
    limited = rows[rows["ci_low"].notna()]
    assert (limited["ci_low"] <= limited["value"]).all()
    assert (limited["value"] <= limited["ci_high"]).all()
    valued = rows[rows["comparison"].isin(("matched_forgetting", "frontier_area"))]
    assert (valued["value"].isna() == valued["reason"].notna()).all()
    assert valued["value"].notna().any()


def test_the_pooled_gap_is_the_mean_over_the_trajectories_that_get_there(tmp_path, rows):
    gaps = {"comparison": "matched_forgetting", "metric": "slot_accuracy", "set": "gap"}
    toy = compare(tmp_path, write_toy(tmp_path))
    alone = pick(toy[toy["method"].notna()], **gaps, matched_at="0.5")
    pooled = pick(toy[toy["method"].isna()], **gaps, matched_at="0.5")
    same = ["value", "ci_low", "ci_high", "p_value", "n", "n_people"]
    assert list(pooled[same]) == list(alone[same])
    reached = 0
    for level in ("0.75", "0.5", "0.25"):
        here = rows[(rows["comparison"] == gaps["comparison"]) & (rows["matched_at"] == level)]
        here = here[(here["set"] == "gap") & (here["metric"] == "slot_accuracy")]
        own = here[here["method"].notna()]["value"].dropna()
        together = here[here["method"].isna()]["value"]
        assert list(together) == (pytest.approx([own.mean()]) if len(own) else [])
        reached += len(own)
    assert reached > 1


def test_a_chosen_checkpoint_is_the_best_of_its_method(rows):
    scores = rows[rows["comparison"] == "forget_retain_score"]
    for _, members in scores.groupby("method"):
        assert members["chosen"].sum() == 1
        chosen = members[members["chosen"].astype(bool)]["value"].iloc[0]
        assert chosen == members["value"].max()
        assert members["chosen_share"].sum() == pytest.approx(1.0)


def test_holm_counts_all_rows_of_a_comparison_and_metric(rows):
    gaps = rows[(rows["comparison"] == "gap") & (rows["metric"] == "slot_accuracy")]
    assert len(gaps) == len(CHECKPOINTS)
    assert gaps["p_holm"].tolist() == pytest.approx(holm(gaps["p_value"].tolist()))
    outside = (gaps["ci_low"] > 0) | (gaps["ci_high"] < 0)
    assert ((gaps["p_value"] < 0.05) == outside).all()


def own_rows(path, trajectory: str) -> list[dict]:
    rows = json.loads(path.read_text())["rows"]
    return [row | {"p_holm": None} for row in rows if (row["model"] or "").startswith(trajectory)]


def test_another_trajectory_changes_no_other_row(study, rows):
    models = [one for one in [*BASELINES, *CHECKPOINTS] if not one.startswith(NPO)]
    compare(study, models, "alone.json")
    assert own_rows(study / "alone.json", GA) == own_rows(study / "x.json", GA)
    assert not own_rows(study / "alone.json", NPO)


def test_the_order_of_models_is_irrelevant(study, rows):
    again = compare(study, [*CHECKPOINTS, *BASELINES][::-1], "again.json")
    pd.testing.assert_frame_equal(again, rows)


def test_the_order_of_records_is_irrelevant(tmp_path):
    models = write_toy(tmp_path)
    before = compare(tmp_path, models)
    path = tmp_path / "eval" / models[1] / "items.jsonl"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    pd.testing.assert_frame_equal(compare(tmp_path, models), before)


def test_a_collapsed_checkpoint_gives_nulls_where_it_counts(tmp_path):
    models = write_toy(tmp_path)
    path = tmp_path / "eval" / f"{GA}/epoch_2" / "items.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    nothing = {"probability": None, "logprob_answer": None}
    write_jsonl(path, [record | nothing for record in records])
    rows = compare(tmp_path, models)
    at = {"comparison": "matched_forgetting", "metric": "probability", "model": GA, "set": "sr"}
    lost = pick(rows, **at, matched_at="0.5")
    assert pd.isna(lost["value"]) and lost["n_undefined"] == lost["n"] == 32
    assert lost["reason"] == "a model gives undefined scores"
    assert pick(rows, **at, matched_at="0.75")["value"] > 0, "epoch 2 has no weight there"
    drop = {"comparison": "regression", "metric": "logprob_drop", "term": "same_event"}
    assert pd.isna(pick(rows, **drop, model=f"{GA}/epoch_2")["value"])


def test_checkpoints_that_generate_nothing_are_left_out_of_curves(tmp_path):
    models = write_toy(tmp_path)
    for epoch in ("epoch_1", "epoch_2"):
        path = tmp_path / "eval" / f"{GA}/{epoch}" / "items.jsonl"
        records = [json.loads(line) for line in path.read_text().splitlines()]
        for record in records:
            record.pop("slot_match")
        write_jsonl(path, records)
    rows = compare(tmp_path, models, sweep=EVERYTHING | {"generation": False})
    matched = rows[rows["comparison"] == "matched_forgetting"]
    assert matched["value"].isna().all()
    assert set(matched["reason"]) == {"no checkpoint was asked this with generated answers"}
    assert "forget_retain_score" not in set(rows["comparison"])
    assert set(rows[rows["comparison"] == "gap"]["metric"]) == {"probability"}


def test_without_a_finetuned_model_nothing_can_be_compared(study):
    with pytest.raises(InputError, match="'finetuned'"):
        compare(study, ["base", *CHECKPOINTS], "y.json")


def test_without_oracles_areas_are_null(study):
    rows = compare(study, ["finetuned", *CHECKPOINTS], "no_oracle.json")
    areas = rows[rows["comparison"] == "frontier_area"]
    assert areas["value"].isna().all() and areas["reason"].notna().all()
    assert "oracle" not in set(rows["matched_at"].dropna())
