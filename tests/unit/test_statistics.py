"""Intervals over people: hand-computed values, invariances, degenerate inputs, coverage."""

import math

import numpy as np
import pytest
import scipy.stats

from excise.evaluation import statistics
from excise.evaluation.statistics import (
    ANGLE,
    COSINE,
    DRIFT,
    FIXED,
    PROPORTION,
    RATIO,
    SHARE,
    Estimate,
    changes_interval,
    degrees_of_freedom,
    difference_interval,
    geometric_mean_interval,
    mean_interval,
    mean_intervals,
    median_interval,
    proportion_interval,
    recovery_interval,
)

SCALES = [PROPORTION, SHARE, COSINE, DRIFT, ANGLE, RATIO]
SIXTEEN = np.repeat(np.arange(16), 6)


def limits(estimate: Estimate) -> tuple[float, float]:
    return estimate.low, estimate.high


def wilson(p: float, n: float, t: float) -> tuple[float, float]:
    middle, root = p + t**2 / (2 * n), t * math.sqrt(p * (1 - p) / n + t**2 / (4 * n**2))
    return (middle - root) / (1 + t**2 / n), (middle + root) / (1 + t**2 / n)


def test_the_value_is_the_mean_of_all_questions_not_of_people():
    estimate = proportion_interval([1, 1, 1, 0], ["a", "a", "a", "b"])
    assert (estimate.value, estimate.n, estimate.n_clusters) == (0.75, 4, 2)


def test_degrees_of_freedom_are_people_minus_one_and_fewer_for_unequal_sizes():
    assert degrees_of_freedom((6,) * 16) == pytest.approx(15)
    # Sizes 1, 1, 2 of one number per person: residuals of the sums are M u with
    # M = [[3, -1, -2], [-1, 3, -2], [-2, -2, 4]] / 4; over sqrt(3/4), sqrt(3/4), sqrt(1/2).
    mixing = np.array([[3, -1, -2], [-1, 3, -2], [-2, -2, 4]]) / 4
    scale = np.diag([math.sqrt(4 / 3), math.sqrt(4 / 3), math.sqrt(2)])
    eigenvalues = np.linalg.eigvalsh(scale @ mixing @ mixing @ scale)
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert degrees_of_freedom((1, 1, 2)) == pytest.approx(expected)
    assert expected < 2


def test_a_mean_without_a_range_is_students_t_over_people():
    values = np.random.default_rng(3).exponential(size=60)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    estimate = mean_interval(values, range(60), DRIFT)
    assert limits(estimate) == pytest.approx((expected.low, expected.high))
    # All of a person's answers alike: as many numbers as people.
    estimate = mean_interval(np.repeat(values, 4), np.repeat(range(60), 4), DRIFT)
    assert limits(estimate) == pytest.approx((expected.low, expected.high))
    assert estimate.method == "cluster_t"


def test_cr2_by_hand():
    # Sums 3, 0 of sizes 3, 1: mean 3/4, residuals 3/4 and -3/4, over 1/4 and 3/4, over 16.
    estimate = mean_interval([1, 1, 1, 0], [*"aaab"], DRIFT, confidence=0.5)
    variance = (9 / 16) * (4 + 4 / 3) / 16
    t = scipy.stats.t.ppf(0.75, degrees_of_freedom((3, 1)))
    assert estimate.high == pytest.approx(0.75 + t * math.sqrt(variance))


def test_a_variance_below_that_of_independent_questions_is_not_believed():
    # Every person right half of the time, exactly: people differ less than chance allows.
    values, people = [1, 0] * 8, np.repeat(range(8), 2)
    variance = 0.25 / 15
    estimate = mean_interval(values, people, DRIFT)
    spread = scipy.stats.t.ppf(0.975, 7) * math.sqrt(variance)
    assert limits(estimate) == pytest.approx((0.5 - spread, 0.5 + spread))


def test_a_proportion_is_wilsons_with_design_effect():
    # 16 people of whom 4 are always right: worth 15 questions (CR2 divides by people - 1).
    values = np.repeat(np.arange(16) < 4, 6) * 1.0
    estimate = proportion_interval(values, SIXTEEN)
    low, high = wilson(0.25, 15, scipy.stats.t.ppf(0.975, 15))
    exact = scipy.stats.beta.ppf(0.025, 3.75, 12.25), scipy.stats.beta.ppf(0.975, 4.75, 11.25)
    assert limits(estimate) == pytest.approx((min(low, exact[0]), max(high, exact[1])))
    assert estimate.method == "wilson_clopper_pearson"


def test_independent_answers_are_worth_all_questions():
    estimate = proportion_interval([1] * 10 + [0] * 190, range(200))
    exact = scipy.stats.binomtest(10, 199).proportion_ci(method="exact")
    assert estimate.low == pytest.approx(scipy.stats.beta.ppf(0.025, 9.95, 190.05))
    assert abs(estimate.low - exact.low) < 0.002 and abs(estimate.high - exact.high) < 0.01


@pytest.mark.parametrize("value", [0, 1])
def test_people_who_all_agree_are_worth_their_number(value):
    estimate = proportion_interval([value] * 96, SIXTEEN)
    low, high = wilson(value, 16, scipy.stats.t.ppf(0.975, 15))
    assert limits(estimate) == pytest.approx((max(low, 0), min(high, 1)))
    assert estimate.high - estimate.low == pytest.approx(0.221, abs=0.001)


def test_cut_ratios_get_a_0_and_a_1_more():
    """16 people with one question each, of which one has 1 and the others 0, by hand."""
    values = np.array([1.0] + [0.0] * 15)
    scale = statistics.CUT_RATIO
    found = statistics.mean_interval(values, np.arange(16), scale)
    n = 15  # variance over (n - 1): worth 15 of 16
    mean = (n * (1 / 16) + 1) / (n + 2)
    spread = scipy.stats.t.ppf(0.975, 15) * math.sqrt((mean - mean**2) / (n + 2))
    assert limits(found) == pytest.approx((max(mean - spread, 0), mean + spread))
    assert (found.value, found.method) == (1 / 16, "bonett_price")
    mirrored = statistics.mean_interval(1 - values, np.arange(16), scale)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high))
    equal = statistics.mean_interval(np.full(16, 0.5), np.arange(16), scale)
    assert 0 < equal.low < 0.5 < equal.high < 1  # no zero width


def test_bonett_price_by_hand_for_pairs_that_are_their_own_clusters():
    # 20 pairs, 3 favour the first and 1 the second side.
    first, second = [1] * 3 + [0] * 17, [0] * 3 + [1] + [0] * 16
    estimate = difference_interval(first, second, range(20), PROPORTION)
    n = 19  # variance over (n - 1): worth 19 of 20
    mean = n * 0.1 / (n + 2)
    variance = ((n * 0.2 + 2) / (n + 2) - mean**2) / (n + 2)
    spread = scipy.stats.t.ppf(0.975, 19) * math.sqrt(variance)
    assert estimate.value == pytest.approx(0.1)
    assert limits(estimate) == pytest.approx((mean - spread, mean + spread))
    assert estimate.method == "bonett_price"


def test_pairs_that_all_tie_leave_room_for_a_difference():
    n = 16
    spread = scipy.stats.t.ppf(0.975, 15) * math.sqrt(2 / (n + 2)) / math.sqrt(n + 2)
    estimate = difference_interval(np.ones(96), np.ones(96), SIXTEEN, PROPORTION)
    assert limits(estimate) == pytest.approx((-spread, spread))
    estimate = difference_interval([0.3] * 96, [0.3] * 96, SIXTEEN, SHARE)
    assert estimate.low < -0.1 and estimate.high > 0.1


def test_mover_by_hand_where_one_side_never_varies():
    first, second = np.ones(16), np.array([1.0] * 12 + [0.5] * 4)
    estimate = difference_interval(first, second, range(16), SHARE)
    low1 = proportion_interval(first, range(16)).low
    side = mean_interval(second, range(16), SHARE)
    assert estimate.low <= 0.125 - math.hypot(1 - low1, side.high - 0.875) + 1e-9
    t = mean_interval(first - second, range(16), COSINE)
    assert estimate.high == pytest.approx(max(t.high, 0.125 + (0.875 - side.low)))


def test_pairing_removes_what_both_sides_share():
    generator = np.random.default_rng(2)
    shared = generator.uniform(0.1, 0.9, size=30)
    noise = generator.normal(scale=0.001, size=30)
    paired = difference_interval(shared + noise, shared, range(30), SHARE)
    apart = difference_interval(shared + noise, shared[::-1], range(30), SHARE)
    assert paired.high - paired.low < (apart.high - apart.low) / 10


def test_fieller_by_hand_for_people_with_one_question():
    generator = np.random.default_rng(4)
    lost = generator.uniform(0.4, 0.8, 30)
    back = lost * 0.3 + generator.normal(scale=0.02, size=30)
    full, finetuned = 0.9 - lost, np.full(30, 0.9)
    estimate = recovery_interval(full + back, full, finetuned, range(30), SHARE)
    for limit in limits(estimate):  # at a limit the t test of back - limit * lost is just refused
        test = scipy.stats.ttest_1samp(back - limit * lost, 0)
        assert test.pvalue == pytest.approx(0.05)
    assert estimate.method == "fieller"


def test_recovery_by_hand_and_with_a_width_when_nothing_or_the_same_comes_back():
    people = np.repeat(range(12), 4)
    nothing = recovery_interval([0] * 48, [0] * 48, [1] * 48, people, PROPORTION)
    assert nothing.value == 0 and nothing.low == pytest.approx(-nothing.high)
    assert nothing.high > 0.1
    lost = np.linspace(0.5, 0.9, 48)  # everybody regains half, whatever was forgotten
    half = recovery_interval(1 - lost / 2, 1 - lost, np.ones(48), people, SHARE)
    assert half.value == pytest.approx(0.5) and half.low < 0.4 and half.high > 0.6
    worse = recovery_interval([0.0] * 48, [0.5] * 48, [1.0] * 48, people, SHARE)
    assert worse.value == -1


def test_recovery_is_undefined_where_too_little_was_forgotten():
    least = statistics.MINIMUM_FORGOTTEN
    people, noise = range(30), np.linspace(-0.01, 0.01, 30)
    little, enough = (np.full(30, 0.9 - least - more) + noise for more in (0.001, 0.02))
    tuned = np.full(30, 0.9)
    assert recovery_interval(tuned, little, tuned, people, SHARE).value is None
    assert recovery_interval(tuned, enough, tuned, people, SHARE).value == pytest.approx(1)
    # On average a lot, but only of one person: the interval of what was forgotten reaches 0.
    assert recovery_interval([1] * 4, [0, 1, 1, 1], [1] * 4, range(4), PROPORTION).value is None


def test_recovery_of_a_collapsed_model_counts_what_is_undefined():
    estimate = recovery_interval([np.nan, 1, 1], [0, np.nan, 0], [1, 1, 1], [*"abc"], SHARE)
    assert (estimate.value, estimate.n, estimate.n_undefined) == (None, 3, 2)


def test_the_median_keeps_every_value_that_a_score_test_does_not_refuse():
    values = np.random.default_rng(5).normal(size=41)
    estimate = median_interval(values, range(41))
    ordered, t = np.sort(values), scipy.stats.t.ppf(0.975, 40)
    shares = np.arange(1, 41) / 41
    kept = np.abs(shares - 0.5) <= t * np.sqrt(shares * (1 - shares) / 40)
    first, last = np.flatnonzero(kept)[[0, -1]]
    assert limits(estimate) == (ordered[first], ordered[last + 1])
    assert estimate.value == np.median(values)


def test_geometric_mean_by_hand_and_without_zeros():
    logs = np.array([-1.0, 0.5, 2.0])
    estimate = geometric_mean_interval(np.exp(logs), [*"abc"])
    expected = scipy.stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert estimate.value == pytest.approx(math.exp(0.5))
    assert limits(estimate) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))
    assert estimate.method == "cluster_t_log"
    assert geometric_mean_interval([1.0, 0.0], ["a", "b"]).n_undefined == 1


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: f"{scale.kind}{scale.high:g}")
def test_order_and_names_of_people_do_not_matter(scale):
    generator = np.random.default_rng(6)
    values = generator.integers(0, 2, 60) if scale is PROPORTION else generator.uniform(0.1, 1, 60)
    people = np.array([f"p{index % 7}" for index in range(60)])
    shuffle = generator.permutation(60)
    renamed = np.array([f"q{(int(name[1:]) * 3) % 7}" for name in people])
    first = mean_interval(values, people, scale)
    for other in (
        mean_interval(values[shuffle], people[shuffle], scale),
        mean_interval(values, renamed, scale),
    ):
        assert (other.value, *limits(other)) == pytest.approx((first.value, *limits(first)))


def test_failures_have_the_mirrored_interval_of_successes():
    values = (np.random.default_rng(7).random(96) < 0.1) * 1.0
    low, high = limits(proportion_interval(values, SIXTEEN))
    assert limits(proportion_interval(1 - values, SIXTEEN)) == pytest.approx((1 - high, 1 - low))
    forth = difference_interval(values, values[::-1] * 0.5, SIXTEEN, SHARE)
    back = difference_interval(values[::-1] * 0.5, values, SIXTEEN, SHARE)
    assert limits(back) == pytest.approx((-forth.high, -forth.low))


def test_answers_that_agree_within_a_person_widen_the_interval():
    by_person = np.repeat(np.random.default_rng(0).normal(size=10) ** 2, 8)
    people = np.repeat(np.arange(10), 8)
    clustered = mean_interval(by_person, people, DRIFT)
    naive = mean_interval(by_person, range(80), DRIFT)
    assert clustered.high - clustered.low > 2 * (naive.high - naive.low)


@pytest.mark.parametrize("people", [2, 3, 8, 40])
@pytest.mark.parametrize("scale", [PROPORTION, SHARE, COSINE])
@pytest.mark.parametrize("value", [0, 1])
def test_no_interval_of_a_metric_with_a_range_lacks_a_width(scale, value, people):
    estimate = mean_interval([value] * 2 * people, [*range(people)] * 2, scale)
    assert scale.low <= estimate.low <= value <= estimate.high <= scale.high
    assert estimate.high - estimate.low > 2 / (2 * people + 10)


@pytest.mark.parametrize("scale", [DRIFT, RATIO])
def test_without_a_range_and_a_difference_no_width_is_known(scale):
    estimate = mean_interval([2.0, 2.0, 2.0], [*"abc"], scale)
    assert estimate == Estimate(pytest.approx(2.0), None, None, 3, 3)
    assert median_interval([2.0, 2.0, 2.0], [*"abc"]) == Estimate(2.0, None, None, 3, 3)


def test_what_is_computed_and_not_sampled_has_no_width():
    estimate = mean_interval([0.25, 0.75], ["a", "b"], FIXED)
    assert estimate == Estimate(0.5, 0.5, 0.5, 2, 2, method="fixed")


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: f"{scale.kind}{scale.high:g}")
@pytest.mark.parametrize("confidence", [0.1, 0.5, 0.95, 0.999])
def test_the_interval_holds_the_value_and_stays_in_the_range(scale, confidence):
    generator = np.random.default_rng(8)
    for share in (0.01, 0.5, 0.99):
        values = (generator.random(60) < share) * 1.0
        if scale not in (PROPORTION, SHARE):
            values = values * 0.9 + 0.05
        estimate = mean_interval(values, np.arange(60) % 9, scale, confidence)
        if estimate.low is not None:
            assert scale.low <= estimate.low <= estimate.value <= estimate.high <= scale.high


def test_a_value_outside_of_its_range_is_a_fault():
    with pytest.raises(ValueError, match="is not a share"):
        mean_interval([0.5, 1.5], ["a", "b"], SHARE)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_an_undefined_input_makes_the_value_undefined_and_is_counted(broken):
    values, people = [1.0, broken, 0.0], ["a", "b", "c"]
    expected = Estimate(None, None, None, 3, 3, n_undefined=1)
    for scale in SCALES[:5]:
        assert mean_interval(values, people, scale) == expected
    assert median_interval(values, people) == expected
    assert difference_interval(values, [1, 1, 1], people, SHARE) == expected


def test_an_undefined_column_leaves_the_others_alone():
    sound, broken = mean_intervals([[1.0, np.nan], [0.0, 1.0]], ["a", "b"], SHARE)
    assert sound.value == 0.5 and sound.low is not None
    assert (broken.value, broken.n_undefined) == (None, 1)


def test_nothing_to_average_and_a_single_person_have_no_interval():
    empty, alone = Estimate(None, None, None, 0, 0), Estimate(0.5, None, None, 2, 1)
    for scale in (PROPORTION, SHARE, DRIFT):
        assert mean_interval([], [], scale) == empty
        assert mean_interval([1, 0], ["a", "a"], scale) == alone
    assert difference_interval([], [], [], SHARE) == median_interval([], []) == empty
    assert difference_interval([1, 0], [0, 0], ["a", "a"], PROPORTION) == alone
    assert median_interval([1, 0], ["a", "a"]) == alone


def test_coverage_near_the_ends_is_what_the_interval_says():
    """A percentile bootstrap of the same 500 studies covers 64 to 75 %."""
    generator = np.random.default_rng(9)
    draws = generator.multinomial(16, np.full(16, 1 / 16), size=300)
    for p in (0.02, 0.98):
        wanted = scipy.stats.norm.ppf(p)
        person, own = generator.normal(size=(16, 500)), generator.normal(size=(96, 500))
        answers = (math.sqrt(0.4) * person[SIXTEEN] + math.sqrt(0.6) * own < wanted) * 1.0
        estimates = mean_intervals(answers, SIXTEEN, PROPORTION)
        covered = np.mean([one.low <= p <= one.high for one in estimates])
        assert 0.93 <= covered <= 0.99
        resampled = draws @ answers.reshape(16, 6, 500).sum(axis=1) / 96
        lows, highs = np.quantile(resampled, [0.025, 0.975], axis=0)
        assert np.mean((lows <= p) & (p <= highs)) < 0.8


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-7, 1e-9, 1e-12, 1e-30, 1e-100])
@pytest.mark.parametrize("scale", [SHARE, statistics.COSINE])
def test_small_values_that_differ_have_small_intervals(scale, size):
    """An absolute threshold once took probabilities of 1e-7 for constants: a width of .22."""
    people = [f"p{number % 16}" for number in range(64)]
    values = np.exp(np.random.default_rng(1).normal(size=64))
    plain, small = (mean_interval(values * factor, people, scale) for factor in (1e-3, size))
    width = small.high - small.low
    assert small.low < small.value < small.high
    assert width == pytest.approx((plain.high - plain.low) / 1e-3 * size, rel=0.02)


@pytest.mark.parametrize("size", [1e-7, 1e-12, 1e-30])
def test_small_differences_and_what_little_comes_back_have_small_intervals(size):
    people = [f"p{number % 16}" for number in range(64)]
    rng = np.random.default_rng(1)
    full, quantized, before = (
        rng.random(64) * size,
        rng.random(64) * size,
        0.8 + rng.random(64) / 10,
    )
    found = difference_interval(quantized, full, people, SHARE)
    assert 0.1 * size < found.high - found.low < 3 * size
    found = recovery_interval(quantized, full, before, people, SHARE)
    assert 0.1 * size < found.high - found.low < 3 * size


@pytest.mark.parametrize("value", [0.1, 0.3, 1 / 3, 1e-7 / 3])
def test_equal_values_are_constant_whatever_rounding_leaves(value):
    """Sums of .1 are not exact."""
    people = [f"p{number % 7}" for number in range(61)]
    values = np.full(61, value)
    data = statistics.Clustered(values[:, None], people)
    assert data.constant.all()
    unbounded = mean_interval(values, people, statistics.DRIFT)
    assert (unbounded.low, unbounded.high) == (None, None)
    assert mean_interval(values, people, statistics.COSINE).high > 0.1
    data = statistics.Clustered((values * (1 + 1e-6 * np.arange(61) / 61))[:, None], people)
    assert not data.constant.any()


def test_differences_of_changes_by_hand():
    people = np.arange(16)
    first, second = np.zeros(16), np.zeros(16)
    first[:4], second[3:5] = 1, 0.5
    found = changes_interval(first, second, people, PROPORTION)
    assert (found.value, found.n, found.method) == (3 / 16, 16, "bonett_price")
    scores = changes_interval(first / 2, second / 2, people, SHARE)
    differences = (first - second) / 2
    error = differences.std(ddof=1) / 4 * scipy.stats.t.ppf(0.975, 15)
    assert limits(scores) == pytest.approx((3 / 32 - error, 3 / 32 + error))
    assert scores.method == "cluster_t"
    swapped = changes_interval(second, first, people, PROPORTION)
    assert limits(swapped) == pytest.approx((-found.high, -found.low))


def test_one_side_that_never_changes_does_not_widen_a_difference_of_changes():
    second = np.zeros(16)
    second[5] = 0.1
    found = changes_interval(np.zeros(16), second, np.arange(16), SHARE)
    assert -0.03 < found.low < found.value < found.high < 0.01
    equal = changes_interval(np.zeros(16), np.zeros(16), np.arange(16), SHARE)
    assert equal.low < 0 < equal.high
    with pytest.raises(ValueError, match="is not a proportion from -1 to 1"):
        changes_interval([2.0, 0], [0.0, 0], ["a", "b"], PROPORTION)
