"""The distance to the oracles: its statistics by hand, and the table with the null beside it."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hmean, ks_2samp

import compare_oracle
from excise.evaluation.harmonic import harmonic_mean, harmonic_mean_interval
from excise.evaluation.kolmogorov import ks_distance, ks_interval, ks_pvalue, swap_pvalue
from excise.evaluation.results import read_rows
from excise.evaluation.statistics import SHARE, mean_interval
from excise.evaluation.tables.distance import SETS_COMPARED
from synthetic_records import LEVELS, write_study

HEAVY = "unlearn/ga/lr0.0004/epoch_12"
LIGHT = "unlearn/gd/lr0.0002_lambda1/epoch_3"
MODELS = ["base", "finetuned", "oracle/seed_0", "oracle/seed_1", "oracle/seed_2", HEAVY, LIGHT]
SWEEP = {"sets": None, "generation": True, "full": []}


def people_of(people: int, each: int) -> list[str]:
    return [f"p{number}" for number in range(people) for _ in range(each)]


# --- the statistic ---


def test_the_distance_by_hand():
    assert ks_distance([1, 2, 3, 4], [3, 4, 5, 6]) == 0.5
    assert ks_distance([1, 2], [3, 4]) == 1
    assert ks_distance([1, 1, 2], [1, 2, 2]) == pytest.approx(1 / 3)
    assert ks_distance([2, 1], [1, 2]) == 0
    assert math.isnan(ks_distance([], [1])) and math.isnan(ks_distance([math.inf], [1]))


def test_the_distance_and_its_p_are_those_of_scipy():
    chance = np.random.default_rng(0)
    for n in (20, 90):
        one, other = chance.normal(0, 1, n), chance.normal(0.4, 1.5, n)
        expected = ks_2samp(one, other)
        assert ks_distance(one, other) == pytest.approx(expected.statistic, rel=1e-12)
        assert ks_pvalue(one, other) == pytest.approx(expected.pvalue, rel=1e-12)


def test_the_distance_is_the_same_for_every_monotone_function():
    chance = np.random.default_rng(1)
    one, other = chance.normal(0, 1, 50), chance.normal(1, 1, 50)
    distance = ks_distance(one, other)
    assert ks_distance(np.exp(-one), np.exp(-other)) == pytest.approx(distance)
    assert ks_distance(other, one) == distance


# --- its interval ---


@pytest.mark.parametrize("shift", [0.0, 1.0, 9.0])
def test_the_interval_holds_the_value_and_stays_in_its_range(shift):
    chance = np.random.default_rng(0)
    one, other = chance.normal(0, 1, 96), chance.normal(shift, 1, 96)
    found = ks_interval(one, [other], people_of(16, 6))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0.05
    assert (found.n, found.n_clusters, found.method) == (96, 16, "people_signs")
    assert found.value == ks_distance(one, other)
    assert (found.low == 0) is (shift == 0)


def test_the_interval_is_the_same_each_time_and_for_any_order_of_the_questions():
    chance = np.random.default_rng(0)
    one, other, people = chance.normal(0, 1, 48), chance.normal(1, 1, 48), people_of(8, 6)
    first = ks_interval(one, [other], people)
    assert ks_interval(one, [other], people) == first
    order = chance.permutation(48)
    turned = ks_interval(one[order], [other[order]], [people[number] for number in order])
    assert (turned.low, turned.high) == pytest.approx((first.low, first.high), abs=1e-6)


def test_answers_that_agree_within_a_person_widen_the_interval():
    chance = np.random.default_rng(0)
    one, other = chance.normal(0, 1, 96), chance.normal(1, 1, 96)
    alone = ks_interval(one, [other], [str(number) for number in range(96)])
    together = ks_interval(np.repeat(one[:16], 6), [np.repeat(other[:16], 6)], people_of(16, 6))
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_several_references_are_averaged():
    chance = np.random.default_rng(0)
    one, *others = (chance.normal(mean, 1, 48) for mean in (0, 0.5, 2))
    found = ks_interval(one, others, people_of(8, 6))
    assert found.value == pytest.approx(np.mean([ks_distance(one, other) for other in others]))
    assert found.low < found.value < found.high
    same = ks_interval(one, [others[0], others[0]], people_of(8, 6))
    alone = ks_interval(one, others[:1], people_of(8, 6))
    assert (same.low, same.high) == pytest.approx((alone.low, alone.high))


@pytest.mark.parametrize("seed", [29, 136, 146, 185, 587])
@pytest.mark.parametrize(("shift", "apart"), [(0, False), (0.5, True)])
def test_the_interval_excludes_0_only_where_the_uniform_band_does(seed, shift, apart):
    """Draws of equal models whose D is at .87 to .92 of the band, which the test makes by hand."""
    chance, people = np.random.default_rng(seed), [str(number) for number in range(200)]
    both, own, its = (chance.normal(0, 1, 200) for _ in range(3))
    one, other = (np.sqrt(0.7) * both + np.sqrt(0.3) * part for part in (own, its))
    other += shift
    points = np.concatenate([one, other])
    below = (one[:, None] <= points) * 1.0 - (other[:, None] <= points)
    signs = np.random.default_rng(1).choice([-1.0, 1.0], (2000, 200))
    band = np.quantile(np.abs(signs @ (below - below.mean(axis=0)) / 200).max(axis=1), 0.95)
    assert bool(ks_distance(one, other) > band) is apart
    assert bool(ks_interval(one, [other], people).low > 0) is apart


def test_many_questions_are_thinned_without_changing_the_value():
    chance = np.random.default_rng(0)
    one, other = chance.normal(0, 1, 1200), chance.normal(0.5, 1, 1200)
    found = ks_interval(one, [other], people_of(200, 6))
    assert found.value == ks_distance(one, other)
    assert found.high - found.low < 0.12


def test_an_undefined_number_or_a_single_person_has_no_interval():
    found = ks_interval([1.0, math.nan], [[1.0, 2.0]], ["a", "b"])
    assert (found.value, found.low, found.n_undefined) == (None, None, 1)
    found = ks_interval([1.0, 2.0], [[3.0, 4.0]], ["a", "a"])
    assert (found.value, found.low) == (1.0, None)


# --- its test ---


def test_the_swap_p_is_small_for_a_model_apart_and_not_for_one_more_oracle():
    chance = np.random.default_rng(0)
    oracles = [chance.normal(0, 1, 96) for _ in range(3)]
    people = people_of(16, 6)
    assert swap_pvalue(chance.normal(2, 1, 96), oracles, people) < 0.001
    assert swap_pvalue(chance.normal(0, 1, 96), oracles, people) > 0.02
    assert swap_pvalue(oracles[0], oracles[:1], people) == 1


def test_few_people_cannot_give_a_small_p():
    """With one reference and four people there are 16 swaps, and two give the largest distance."""
    p = swap_pvalue(np.zeros(24), [np.ones(24)], people_of(4, 6))
    assert p == pytest.approx(2 / 16, abs=0.02)


def test_the_swap_p_is_uniform_where_the_models_are_alike():
    chance = np.random.default_rng(0)
    people = people_of(8, 4)
    found = []
    for _ in range(60):
        person = np.repeat(chance.normal(0, 1, 8), 4)  # answers of one person agree
        found.append(
            swap_pvalue(
                person + chance.normal(0, 1, 32), [person + chance.normal(0, 1, 32)], people
            )
        )
    assert 0.3 < np.mean(found) < 0.75 and np.mean(np.array(found) <= 0.05) < 0.14


def test_the_swap_p_of_undefined_numbers_is_undefined():
    assert math.isnan(swap_pvalue([1.0, math.nan], [[1.0, 2.0]], ["a", "b"]))


# --- the harmonic mean ---


def test_the_harmonic_mean_by_hand():
    assert harmonic_mean([0.5, 0.25]) == pytest.approx(1 / 3)
    assert harmonic_mean([0.2, 0.9, 0.4]) == pytest.approx(hmean([0.2, 0.9, 0.4]), rel=1e-12)
    assert harmonic_mean([0.0, 1.0]) == 0


def test_the_interval_of_one_part_holds_that_of_its_mean():
    chance = np.random.default_rng(0)
    values, people = chance.beta(5, 5, 96), people_of(16, 6)
    found = harmonic_mean_interval([(values, people)])
    alone = mean_interval(values, people, SHARE)
    assert found.value == pytest.approx(alone.value)
    assert found.low == pytest.approx(alone.low) and found.high >= alone.high - 1e-9


def test_a_part_about_other_people_adds_its_own_error():
    chance = np.random.default_rng(0)
    values = chance.beta(2, 2, 96)
    twice = harmonic_mean_interval([(values, people_of(16, 6))] * 2)
    others = [f"q{name}" for name in people_of(16, 6)]
    apart = harmonic_mean_interval([(values, people_of(16, 6)), (values, others)])
    assert twice.value == pytest.approx(apart.value)
    assert apart.high - apart.low < 0.8 * (twice.high - twice.low)


def test_a_harmonic_mean_of_nothing_or_of_undefined_numbers_is_undefined():
    assert harmonic_mean_interval([([], [])]).value is None
    found = harmonic_mean_interval([([0.5, math.nan], ["a", "b"])])
    assert (found.value, found.n_undefined) == (None, 1)


# --- the table ---


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, people=8, models=MODELS)
    return compare(folder, MODELS)


def compare(folder, models: list[str], sweep: dict = SWEEP) -> pd.DataFrame:
    out = folder / "distance_results.json"
    settings = {"confidence": 0.95, "levels": LEVELS, "sweep": sweep}
    shared = [
        "--hp",
        json.dumps(settings),
        "--experiment",
        "test",
        "--config",
        "{}",
        "--out",
        str(out),
    ]
    compare_oracle.main(["--eval-dir", str(folder / "eval"), "--models", *models, *shared])
    return read_rows(out)


def one(rows: pd.DataFrame, **keys) -> pd.Series:
    for key, value in keys.items():
        rows = rows[rows[key] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def test_every_model_has_every_distance_on_every_set(rows):
    assert list(dict.fromkeys(rows["model"])) == MODELS
    assert set(rows["set"]) == set(SETS_COMPARED)
    for name, own in rows.groupby("set"):
        metrics = {"truth_ratio_ks", "logprob_distance", "slot_agreement", "text_agreement"}
        quality = {"forget_quality"} if name in ("sf", "forget_paraphrased") else set()
        assert set(own["metric"]) == metrics | quality
    assert one(rows, model=HEAVY, set="sf", metric="truth_ratio_ks")["level"] == "heavy"
    assert rows["convention"].notna().all()


def test_an_oracle_is_compared_with_the_others(rows):
    counts = rows.groupby("model")["n_oracles"].first()
    assert counts[HEAVY] == 3 and counts["oracle/seed_1"] == 2


def test_the_null_is_the_distance_between_oracles(rows):
    keys = {"set": "sf", "metric": "logprob_distance"}
    values = [one(rows, model=f"oracle/seed_{seed}", **keys)["value"] for seed in range(3)]
    heavy = one(rows, model=HEAVY, **keys)
    assert heavy["oracle_null"] == pytest.approx(np.mean(values))  # each pair counts twice
    assert heavy["null_low"] <= heavy["oracle_null"] <= heavy["null_high"]
    oracle = one(rows, model="oracle/seed_0", **keys)
    assert oracle["null_low"] == oracle["null_high"] == oracle["oracle_null"]  # the only pair left


def test_the_finetuned_model_lies_beyond_the_oracles_on_sf_and_not_on_other(rows):
    for metric in ("truth_ratio_ks", "logprob_distance", "slot_agreement", "text_agreement"):
        assert one(rows, model="finetuned", set="sf", metric=metric)["beyond_null"] is True
    for metric in ("truth_ratio_ks", "slot_agreement"):
        found = one(rows, model="finetuned", set="other", metric=metric)
        assert found["beyond_null"] is False, metric
    assert (
        one(rows, model="oracle/seed_0", set="sf", metric="slot_agreement")["beyond_null"] is False
    )


def test_forget_quality_and_swap_p_tell_the_finetuned_model_from_an_oracle(rows):
    keys = {"set": "sf", "metric": "truth_ratio_ks"}
    assert one(rows, model="finetuned", **keys)["swap_p"] < 0.01
    quality = one(rows, model="finetuned", set="sf", metric="forget_quality")
    assert quality["value"] < 1e-6 and pd.isna(quality["ci_low"]) and pd.isna(quality["swap_p"])


def test_utility_counts_no_people(rows):
    found = rows[rows["set"] == "utility"]
    assert found["n_people"].isna().all() and (found["n"] == 30).all()


def test_a_single_oracle_gives_no_null_and_no_row_of_its_own(tmp_path):
    models = ["finetuned", "oracle/seed_0"]
    write_study(tmp_path, people=4, models=models)
    rows = compare(tmp_path, models)
    assert set(rows["model"]) == {"finetuned"}
    assert rows["oracle_null"].isna().all() and rows["beyond_null"].isna().all()


def test_a_checkpoint_that_is_asked_less_has_the_distances_that_it_can_have(tmp_path):
    models = ["oracle/seed_0", "oracle/seed_1", LIGHT]
    write_study(tmp_path, people=4, models=models)
    path = tmp_path / f"eval/{LIGHT}/items.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    made = ("generation", "slot_match", "slot_match_strict", "stopped")
    kept = [
        {key: value for key, value in line.items() if key not in made}
        for line in lines
        if line["set"] == "sf"
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in kept))
    rows = compare(tmp_path, models, {"sets": ["sf"], "generation": False, "full": []})
    found = rows[rows["model"] == LIGHT]
    assert set(found["set"]) == {"sf"}
    assert set(found["metric"]) == {"truth_ratio_ks", "forget_quality", "logprob_distance"}


def test_a_collapsed_model_has_null_distances(tmp_path):
    models = ["finetuned", "oracle/seed_0", "oracle/seed_1"]
    write_study(tmp_path, people=4, models=models)
    path = tmp_path / "eval/finetuned/items.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    broken = {"truth_ratio": None, "logprob_answer": None, "generation": "", "slot_match": 0}
    path.write_text("".join(json.dumps(line | broken) + "\n" for line in lines))
    rows = compare(tmp_path, models)
    found = rows[rows["model"] == "finetuned"].set_index(["set", "metric"])
    for metric in ("truth_ratio_ks", "logprob_distance", "forget_quality"):
        assert pd.isna(found.loc[("sf", metric), "value"])
        assert found.loc[("sf", metric), "n_undefined"] > 0
    assert found.loc[("sf", "text_agreement"), "value"] == 0
