"""Per-item metrics against hand-computed values."""

import math

import pytest

from excise import metrics


def test_rouge_l_by_hand():
    # common subsequence "ada was in": 3 of 5 reference words, 3 of 4 generated ones
    score = metrics.rouge_l("Ada Bell was in Oldham.", "Ada was in Rome")
    assert score.recall == pytest.approx(3 / 5)
    assert score.f1 == pytest.approx(2 * 0.6 * 0.75 / 1.35)


def test_recall_rewards_verbosity_and_f1_does_not():
    wordy = metrics.rouge_l("In Rome.", "In Oslo or in Bergen or in Rome")
    assert wordy.recall == 1.0
    assert wordy.f1 < 0.6


@pytest.mark.parametrize(
    ("value", "generation", "found"),
    [
        ("the Ruby Vault", "Ada was cornered inside the ruby vault.", True),
        ("90", "Ada drew 1990 in all.", False),
        ("$11,000", "Ada owed $11,000.", True),
        ("$11,000", "Ada owed $111,000.", False),
        ("$11,000", "Ada owed $11.", False),
        ("May", "Ada was caught in Mayfair.", False),
        ("two months of prison", "Ada served twenty-two months of prison", True),
        ("Rome", "", False),
    ],
)
def test_slot_match_wants_the_whole_value(value, generation, found):
    assert metrics.slot_match(value, generation) is found


def test_probability_is_per_token():
    assert metrics.probability(-6.0, 3) == pytest.approx(math.exp(-2))
    assert metrics.probability(-math.inf, 3) == 0.0
    assert math.isnan(metrics.probability(math.nan, 3))


def test_truth_ratio_averages_wrong_answers_geometrically():
    # per token: right −1; wrong −2 and −4, mean −3
    ratio = metrics.truth_ratio(-3.0, 3, [-4.0, -12.0], [2, 3])
    assert ratio == pytest.approx(math.exp(2.0))
    assert metrics.truth_ratio_tofu(ratio, forget=True) == pytest.approx(math.exp(-2.0))
    assert metrics.truth_ratio_tofu(ratio, forget=False) == pytest.approx(1 - math.exp(-2.0))


def test_truth_ratio_against_tofus_own_example():
    # reference/unlearning.md §2 (c): losses .5, 2.5, 4 with a right answer of loss 0 … the
    # geometric convention gives exp(−mean loss) = .097, the arithmetic one .236
    geometric = 1 / metrics.truth_ratio(0.0, 1, [-0.5, -2.5, -4.0], [1, 1, 1])
    assert geometric == pytest.approx(0.097, abs=5e-4)


def test_a_model_that_cannot_tell_has_ratio_one():
    ratio = metrics.truth_ratio(-3.0, 3, [-2.0, -4.0], [2, 4])
    assert ratio == pytest.approx(1.0)
    assert metrics.truth_ratio_tofu(ratio, forget=True) == pytest.approx(1.0)
    assert metrics.truth_ratio_tofu(ratio, forget=False) == pytest.approx(0.0)


def test_a_truth_ratio_of_a_broken_model_is_nan():
    ratio = metrics.truth_ratio(math.nan, 3, [-2.0], [2])
    assert math.isnan(ratio)
    assert math.isnan(metrics.truth_ratio_tofu(ratio, forget=True))
    assert metrics.truth_ratio_tofu(0.0, forget=False) == 0.0
