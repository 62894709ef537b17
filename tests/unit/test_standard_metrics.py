"""Metrics of other frameworks: hand-computed values, and their formulas written out once more."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hmean, ks_2samp

from excise.evaluation.metrics import distance, fluency, likelihood, memorization, truth_ratio
from excise.evaluation.metrics.model_utility import model_utility_6
from excise.evaluation.metrics.registry import METRICS
from excise.evaluation.statistics import mean_interval
from excise.evaluation.tables.compound import estimate_composite, estimate_distribution
from excise.evaluation.tables.evaluation import metric_rows

LN = math.log


def scored(name: str = "sf", right: float = 0.5, wrong: tuple = (0.25, 0.25), **more) -> dict:
    """A question whose answers have these probabilities per token, each of two tokens."""
    return {
        "set": name,
        "person_id": "p0",
        "logprob_paraphrase": 2 * LN(right),
        "n_tokens_paraphrase": 2,
        "logprob_wrong": [2 * LN(one) for one in wrong],
        "n_tokens_wrong": [2] * len(wrong),
    } | more


def frame(*records: dict) -> pd.DataFrame:
    ids = [f"q{number}" for number in range(len(records))]
    return pd.DataFrame(list(records), index=ids).assign(id=ids)


def random_questions(n: int = 60, seed: int = 0) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    return frame(
        *[
            scored(right=chance.uniform(0.01, 1), wrong=tuple(chance.uniform(0.01, 1, 5)))
            for _ in range(n)
        ]
    )


# --- truth ratio ---


def test_the_forms_of_the_truth_ratio_by_hand():
    forget = frame(scored("sf", 0.5, (0.1, 0.4)), scored("sf", 0.1, (0.4, 0.4)))
    geometric, arithmetic = math.sqrt(0.1 * 0.4), 0.25
    found = truth_ratio.truth_ratio_prob_mean.values(forget)
    assert found == pytest.approx([0.5 / (0.5 + geometric), 0.1 / 0.5])
    found = truth_ratio.truth_ratio_tofu_arithmetic.values(forget)
    assert found == pytest.approx([arithmetic / 0.5, 0.1 / 0.4])  # min(R, 1/R)
    retain = forget.assign(set="other")
    found = truth_ratio.truth_ratio_tofu_arithmetic.values(retain)
    assert found == pytest.approx([1 - arithmetic / 0.5, 0])  # max(0, 1 − R)


def test_paraphrased_forget_questions_are_forget_questions():
    items = frame(scored("forget_paraphrased", 0.1, (0.4,)))
    assert truth_ratio.truth_ratio_tofu_arithmetic.values(items) == pytest.approx([0.25])


def test_the_two_means_of_wrong_answers_differ_as_known():
    """Losses .5, 2.5 and 4: .097 by the geometric, .236 by the arithmetic mean of probabilities."""
    items = frame(scored("sf", 1.0, tuple(math.exp(-one) for one in (0.5, 2.5, 4))))
    geometric = truth_ratio.truth_ratio_prob_mean.values(items)[0]
    assert 1 / geometric - 1 == pytest.approx(0.097, abs=5e-4)
    arithmetic = truth_ratio.truth_ratio_tofu_arithmetic.values(items)
    assert arithmetic == pytest.approx([0.236], abs=5e-4)


def test_equal_wrong_answers_make_the_two_means_equal():
    items = random_questions()
    items["logprob_wrong"] = [[one[0]] * 5 for one in items["logprob_wrong"]]
    r = 1 / truth_ratio.truth_ratio_prob_mean.values(items) - 1
    found = truth_ratio.truth_ratio_tofu_arithmetic.values(items)
    assert found == pytest.approx(np.minimum(r, 1 / r))


def test_the_truth_ratios_agree_with_the_formulas_of_open_unlearning():
    """Written from the definitions: losses per token, averaged over the wrong answers."""
    items = random_questions()
    right = -items["logprob_paraphrase"] / items["n_tokens_paraphrase"]
    wrong = [-np.mean(np.array(one) / 2) for one in items["logprob_wrong"]]
    p_right, p_wrong = np.exp(-right.to_numpy()), np.exp(-np.array(wrong))
    found = truth_ratio.truth_ratio_prob_mean.values(items)
    assert found == pytest.approx(p_right / (p_right + p_wrong + 1e-10), abs=1e-8)


@pytest.mark.parametrize("broken", [math.nan, -math.inf])
def test_a_collapsed_model_has_no_truth_ratio(broken):
    items = frame(scored(logprob_paraphrase=broken), scored(logprob_wrong=[broken, -1.0]))
    for metric in (
        truth_ratio.truth_ratio_prob_mean,
        truth_ratio.truth_ratio_tofu_arithmetic,
        truth_ratio.win_rate,
        likelihood.probability_normalised,
    ):
        assert np.isnan(metric.values(items)).all(), metric.name


# --- probability among the options ---


def test_the_normalised_probability_by_hand():
    items = frame(scored("utility", 0.5, (0.25, 0.25)), scored("utility", 0.2, (0.2,) * 4))
    assert likelihood.probability_normalised.values(items) == pytest.approx([0.5, 0.2])


def test_the_normalised_probability_survives_answers_that_are_all_unlikely():
    items = frame(scored(logprob_paraphrase=-4000.0, logprob_wrong=[-4000.0, -9000.0]))
    assert likelihood.probability_normalised.values(items) == pytest.approx([0.5])


def test_the_normalised_probability_agrees_with_open_unlearning():
    items = random_questions()
    right = np.exp(items["logprob_paraphrase"].to_numpy() / 2)
    wrong = np.array([np.exp(np.array(one) / 2).sum() for one in items["logprob_wrong"]])
    found = likelihood.probability_normalised.values(items)
    assert found == pytest.approx(right / (right + wrong + 1e-10), abs=1e-8)


def test_extraction_strength_agrees_with_the_loop_over_suffixes():
    """Of open-unlearning: the first k after which all match; the last k where none does."""
    chance = np.random.default_rng(0)
    ranks = [chance.integers(0, 2, chance.integers(2, 9)) for _ in range(200)]
    expected = []
    for rank in ranks:
        match = rank[:-1] == 0
        n = len(match)
        k = next((k for k in range(n) if match[k:].all()), n - 1)
        expected.append(1 - k / n)
    items = frame(*[{"answer.rank": one, "answer.logprob": -1.0 * (one + 1)} for one in ranks])
    assert memorization.extraction_strength_ou.values(items) == pytest.approx(expected)


# --- forget quality and the distance between distributions ---


def of_ratios(ratios: np.ndarray, people: int = 8) -> pd.DataFrame:
    n = len(ratios)
    records = [scored("sf", truth_ratio=ratio) for ratio in ratios]
    return frame(*records).assign(person_id=[f"p{k * people // n}" for k in range(n)])


def test_forget_quality_is_the_p_of_scipy_of_the_inverse_ratios():
    chance = np.random.default_rng(0)
    model, oracle = np.exp(chance.normal(0.3, 1, 48)), np.exp(chance.normal(0, 1, 48))
    expected = ks_2samp(1 / model, 1 / oracle)  # TOFU compares wrong / right
    one, other = of_ratios(model), of_ratios(oracle)
    assert distance.forget_quality(one, other) == pytest.approx(expected.pvalue, rel=1e-12)
    assert distance.truth_ratio_ks(one, other) == pytest.approx(expected.statistic, rel=1e-12)


def test_the_same_answers_have_distance_0_and_quality_1():
    one = of_ratios(np.arange(1.0, 25))
    assert distance.truth_ratio_ks(one, one) == 0
    assert distance.forget_quality(one, one) == 1


def test_forget_quality_against_several_oracles_is_the_geometric_mean_of_p():
    chance = np.random.default_rng(0)
    one, *others = (of_ratios(np.exp(chance.normal(mean, 1, 48))) for mean in (0, 0.2, 1))
    found = estimate_distribution(one, distance.forget_quality, 0.95, others)
    p = [distance.forget_quality(one, other) for other in others]
    assert found.value == pytest.approx(math.sqrt(p[0] * p[1]))
    assert (found.low, found.high, found.method) == (None, None, None)


def test_a_collapsed_model_has_no_forget_quality():
    one, other = of_ratios(np.full(24, np.nan)), of_ratios(np.arange(1.0, 25))
    found = estimate_distribution(one, distance.forget_quality, 0.95, [other])
    assert (found.value, found.n_undefined) == (None, 1)
    found = estimate_distribution(one, distance.truth_ratio_ks, 0.95, [other])
    assert (found.value, found.n_undefined) == (None, 24)


# --- distance question by question ---


def test_the_distance_of_log_probabilities_does_not_cancel_out():
    model = frame(
        {"logprob_answer": -4.0, "n_tokens_answer": 2},
        {"logprob_answer": -1.0, "n_tokens_answer": 2},
    )
    oracle = model.assign(logprob_answer=[-2.0, -3.0])
    assert distance.logprob_distance.values(model, [oracle]).tolist() == [1.0, 1.0]
    assert distance.logprob_distance.values(model, [oracle, model]).tolist() == [0.5, 0.5]


def test_agreement_is_about_the_same_question():
    model = frame(
        {"slot_match": 1, "generation": "Rome."},
        {"slot_match": 0, "generation": "the Slate Hall"},
    )
    oracle = model.assign(slot_match=[0, 0], generation=["rome", "the Slate Hall!"])
    assert distance.slot_agreement.values(model, [oracle]).tolist() == [0.0, 1.0]
    assert distance.text_agreement.values(model, [oracle]).tolist() == [1.0, 1.0]
    other = model.assign(generation=["Paris", ""])
    assert distance.text_agreement.values(model, [oracle, other]).tolist() == [0.5, 0.5]


# --- model utility ---


def utility_study(**changes) -> pd.DataFrame:
    parts = {"probability": 0.8, "rougeL_recall": 0.5, "truth_ratio_tofu": 0.4}
    people = [
        scored(name, person_id=f"p{k}", **(parts | changes))
        for k in range(4)
        for name in ("correlated", "other")
    ]
    world = {"rougeL_recall": 1.0, "truth_ratio_tofu": 0.5, "probability": 0.9}
    questions = [scored("utility", 0.5, (0.25, 0.25), person_id=None, **world) for _ in range(5)]
    return frame(*people, *questions)


def test_model_utility_is_the_harmonic_mean_of_its_six_parts():
    found = estimate_composite(utility_study(), model_utility_6, 0.95)
    parts = [0.8, 0.5, 0.4, 0.5, 1.0, 0.5]  # the fourth: .5 / (.5 + .25 + .25)
    assert found.value == pytest.approx(hmean(parts), rel=1e-12)
    assert (found.n, found.n_clusters, found.method) == (39, 4, "mover_harmonic")
    assert 0 < found.low < found.value < found.high < 1


def test_model_utility_is_0_if_one_part_is_0():
    found = estimate_composite(utility_study(truth_ratio_tofu=0.0), model_utility_6, 0.95)
    assert (found.value, found.low) == (0.0, 0.0)
    assert 0 < found.high < 1


def test_model_utility_has_one_row_and_no_set():
    rows = [row for row in metric_rows(utility_study(), 0.95) if row["metric"] == "model_utility_6"]
    assert [row["set"] for row in rows] == [None]
    only_people = utility_study()[lambda items: items["set"] != "utility"]
    metrics = [row["metric"] for row in metric_rows(only_people, 0.95)]
    assert "probability" in metrics and "model_utility_6" not in metrics


def test_a_collapsed_model_has_no_utility():
    found = estimate_composite(utility_study(probability=math.nan), model_utility_6, 0.95)
    assert (found.value, found.n_undefined) == (None, 8)


# --- fluency ---


def entropy_of(text: str) -> float:
    return float(fluency.ngram_entropy.values(frame({"generation": text}))[0])


def repetition_of(text: str) -> float:
    return float(fluency.repetition.values(frame({"generation": text}))[0])


def test_the_entropy_of_n_grams_by_hand():
    # Pairs ab, bc, cd: log₂ 3; triples abc, bcd: log₂ 2.
    expected = (2 / 3 * math.log2(3) + 4 / 3 * 1) / 2
    assert entropy_of("Ann Bob Cid Dan") == pytest.approx(expected)
    assert entropy_of("Ann") == entropy_of("") == 0
    assert entropy_of("no no no no") == 0  # one pair, one triple
    # Pairs ab, ba, ab: entropy of 2/3, 1/3; triples aba, bab: 1 bit.
    two_thirds = -(2 / 3 * math.log2(2 / 3) + 1 / 3 * math.log2(1 / 3))
    assert entropy_of("Ann Bob Ann Bob") == pytest.approx((2 / 3 * two_thirds + 4 / 3) / 2)


def test_case_and_punctuation_do_not_change_the_fluency():
    assert entropy_of("Ann, Bob; cid.") == entropy_of("ann bob Cid")


def test_base_nll_is_nats_per_token_and_undefined_for_no_words():
    empty, said = (None, 0), (-6.0, 4)
    names = ("base_logprob_generation", "base_n_tokens_generation")
    values = fluency.base_nll.values(
        frame(*(dict(zip(names, one, strict=True)) for one in (said, empty)))
    )
    assert values[0] == pytest.approx(1.5) and math.isnan(values[1])


def test_repetition_counts_four_words_that_occur_again():
    assert repetition_of("one two three four five") == 0
    assert repetition_of("in two words") == repetition_of("") == 0
    # abcd bcda cdab dabc abcd: 4 of 5 differ.
    assert repetition_of("a b c d a b c d") == pytest.approx(1 / 5)
    assert repetition_of("a " * 103) == pytest.approx(0.99)


# --- all of them ---


def test_every_value_lies_in_the_range_that_its_metric_declares():
    items = random_questions()
    for metric in METRICS.values():
        if set(metric.needs) <= set(items.columns) and metric.name != "guess_rate":
            values = metric.values(items)
            assert mean_interval(values, items["id"], metric.scale).value is not None, metric.name


def test_a_row_says_its_convention():
    rows = list(metric_rows(utility_study(), 0.95))
    assert all(row["convention"] for row in rows)
    found = {row["metric"]: row["convention"] for row in rows}
    assert found["rougeL_recall"].startswith("ROUGE-L recall, words of any script")
