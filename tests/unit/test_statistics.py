"""Bootstrap over people: hand-computed values, agreement with scipy, coverage."""

import numpy as np
import pytest
import scipy.stats

from excise import statistics
from excise.statistics import (
    Estimate,
    bootstrap_columns,
    bootstrap_difference,
    bootstrap_geometric_mean,
    bootstrap_mean,
    bootstrap_recovery,
)


def test_the_value_is_the_mean_of_all_questions_not_of_people():
    estimate = bootstrap_mean([1, 1, 1, 0], ["a", "a", "a", "b"])
    assert (estimate.value, estimate.n, estimate.n_clusters) == (0.75, 4, 2)


def test_two_unequal_clusters_give_the_three_possible_ratios_of_sums():
    # Draws of {a: 3 ones, b: 1 zero}: aa → 1, ab → 3/4, bb → 0; a quarter, a half, a quarter.
    estimate = bootstrap_mean([1, 1, 1, 0], ["a", "a", "a", "b"], confidence=0.4)
    assert (estimate.low, estimate.high) == (0.75, 0.75)
    estimate = bootstrap_mean([1, 1, 1, 0], ["a", "a", "a", "b"], confidence=0.6)
    assert (estimate.low, estimate.high) == (0.0, 1.0)


def test_singleton_clusters_agree_with_scipy():
    values = np.random.default_rng(3).exponential(size=60)
    ours = bootstrap_mean(values, range(60), samples=20000)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.high, abs=0.01)


def test_answers_that_agree_within_a_person_widen_the_interval():
    by_person = np.repeat(np.random.default_rng(0).normal(size=10), 8)
    people = np.repeat(np.arange(10), 8)
    clustered, naive = bootstrap_mean(by_person, people), bootstrap_mean(by_person, range(80))
    assert clustered.high - clustered.low > 2 * (naive.high - naive.low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(11)
    people = np.repeat(np.arange(40), 5)
    covered = 0
    for _ in range(300):
        values = np.repeat(generator.normal(size=40), 5) + generator.normal(size=200)
        estimate = bootstrap_mean(values, people, samples=400)
        covered += estimate.low <= 0 <= estimate.high
    assert 0.90 <= covered / 300 <= 0.98


def test_the_same_seed_gives_the_same_interval_and_order_does_not_matter():
    values, people = np.random.default_rng(0).normal(size=30), [f"p{i // 3}" for i in range(30)]
    first = bootstrap_mean(values, people, seed=1)
    again = bootstrap_mean(values[::-1], people[::-1], seed=1)
    assert (first.low, first.high) == pytest.approx((again.low, again.high))
    assert first != bootstrap_mean(values, people, seed=2)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_an_undefined_input_makes_the_value_undefined_and_is_counted(broken):
    estimate = bootstrap_mean([1.0, broken, 0.0], ["a", "b", "c"])
    assert estimate == Estimate(None, None, None, 3, 3, n_undefined=1)


def test_an_undefined_column_leaves_the_others_alone():
    sound, broken = bootstrap_columns([[1.0, np.nan], [0.0, 1.0]], ["a", "b"])
    assert sound.value == 0.5
    assert (broken.value, broken.n_undefined) == (None, 1)


def test_nothing_to_average_and_a_single_person_have_no_interval():
    assert bootstrap_mean([], []) == Estimate(None, None, None, 0, 0)
    assert bootstrap_mean([1, 0], ["a", "a"]) == Estimate(0.5, None, None, 2, 1)


def test_geometric_mean_by_hand_and_without_zeros():
    estimate = bootstrap_geometric_mean([1.0, 100.0], ["a", "b"])
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((10, 1, 100))
    assert bootstrap_geometric_mean([1.0, 0.0], ["a", "b"]).n_undefined == 1


def test_pairing_removes_what_both_sides_share():
    generator = np.random.default_rng(2)
    shared = generator.normal(scale=10, size=30)
    estimate = bootstrap_difference(shared + 0.5, shared, range(30))
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.5, 0.5, 0.5))


def test_recovery_by_hand():
    people = [*"aabbcc"]
    estimate = bootstrap_recovery([0.25] * 6, [0.0] * 6, [1.0] * 6, people)
    assert estimate == Estimate(0.25, 0.25, 0.25, 6, 3)
    worse = bootstrap_recovery([0.0] * 6, [0.5] * 6, [1.0] * 6, people)
    assert worse.value == -1.0


def test_recovery_uses_the_same_people_above_and_below_the_line():
    # Everybody regains half of what they forgot, whatever that was: no uncertainty is left.
    forgotten = np.linspace(0.3, 1.0, 8)
    estimate = bootstrap_recovery(1 - forgotten / 2, 1 - forgotten, np.ones(8), range(8))
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.5, 0.5, 0.5))


def test_recovery_is_undefined_where_too_little_was_forgotten():
    just = statistics.MINIMUM_FORGOTTEN
    people = range(4)
    assert bootstrap_recovery([1] * 4, [1 - just] * 4, [1] * 4, people).value is None
    assert bootstrap_recovery([1] * 4, [0.99 - just] * 4, [1] * 4, people).value is not None
    # On average a lot, but only of one person: the interval of what was forgotten reaches 0.
    assert bootstrap_recovery([1] * 4, [0, 1, 1, 1], [1] * 4, people).value is None


def test_recovery_of_a_collapsed_model_counts_what_is_undefined():
    estimate = bootstrap_recovery([np.nan, 1, 1], [0, np.inf, 0], [1, 1, 1], [*"abc"])
    assert (estimate.value, estimate.n, estimate.n_undefined) == (None, 3, 2)
