"""AUC of two sets of people, PrivLeak and s_MIA: hand-computed values, invariances, coverage."""

import math

import numpy as np
import pytest
from scipy.stats import t as student

from excise.evaluation.areas import (
    NOT_APART,
    ONE_PERSON,
    Area,
    area_interval,
    area_of,
    difference_low,
    leak_interval,
    placements,
    ratio_limits,
    rescaled_interval,
)
from excise.evaluation.metrics.membership import area_under_roc, privleak, s_mia

MEMBERS, OTHERS = [0.9, 0.4, 0.8, 0.3], [0.5, 0.1, 0.4]
FIRST, SECOND = [*"abcd"], [*"xyz"]


def interval(members=MEMBERS, others=OTHERS, people=FIRST, other_people=SECOND):
    return area_interval(members, people, others, other_people)


def single(members, others, people, other_people) -> Area:
    return area_of([(members, others)], people, other_people, 0.95)


def columns(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def test_placements_by_hand():
    above, below = placements(columns(*MEMBERS), columns(*OTHERS))
    assert above.ravel() == pytest.approx([1, 1 / 2, 1, 1 / 3])  # 0.4 ties with 0.4
    assert below.ravel() == pytest.approx([2 / 4, 4 / 4, 2.5 / 4])
    assert above.mean() == pytest.approx(below.mean()) == pytest.approx(8.5 / 12)
    assert interval().value == pytest.approx(area_under_roc(MEMBERS, OTHERS)) == 8.5 / 12


def test_with_one_question_per_person_the_variance_is_that_of_delong():
    area = single(MEMBERS, OTHERS, FIRST, SECOND)
    above, below = [1, 1 / 2, 1, 1 / 3], [2 / 4, 4 / 4, 2.5 / 4]
    expected = np.var(above, ddof=1) / 4 + np.var(below, ddof=1) / 3
    assert area.variance[0] == pytest.approx(expected)


def test_a_question_asked_twice_does_not_change_the_variance_over_people():
    chance = np.random.default_rng(3)
    members, others = chance.normal(1, 1, 8), chance.normal(0, 1, 6)
    once = single(members, others, range(8), range(8, 14))
    people = [np.repeat(np.arange(8), 2), np.repeat(np.arange(8, 14), 2)]
    twice = single(np.repeat(members, 2), np.repeat(others, 2), *people)
    assert twice.value == pytest.approx(once.value)
    assert twice.variance == pytest.approx(once.variance)
    assert twice.design_effect[0] > 1.5


def test_the_limits_are_the_areas_at_the_edge_of_what_a_test_rejects():
    area = single(MEMBERS, OTHERS, FIRST, SECOND)
    assert student.ppf(0.975, 5) <= area.t[0] <= student.ppf(0.975, 2)
    for (limit,) in area.limits():
        error = math.sqrt(area.design_effect[0] * area.independent_variance(np.array([limit]))[0])
        assert abs(limit - area.value[0]) == pytest.approx(area.t[0] * error, rel=1e-6)


def test_the_variance_of_independent_questions_is_that_of_hanley_and_mcneil():
    area = single(MEMBERS, OTHERS, FIRST, SECOND)
    q1, q2 = 0.8 / 1.2, 2 * 0.64 / 1.8
    expected = (0.8 * 0.2 + 3 * (q1 - 0.64) + 2 * (q2 - 0.64)) / 12
    q1, q2 = 0.2 / 1.8, 2 * 0.04 / 1.2
    turned = (0.2 * 0.8 + 3 * (q1 - 0.04) + 2 * (q2 - 0.04)) / 12
    assert area.independent_variance(np.array([0.8]))[0] == pytest.approx(max(expected, turned))
    assert area.independent_variance(np.array([0.0, 1.0])) == pytest.approx([0, 0])


def test_sets_that_do_not_overlap_have_a_width():
    found = interval([3, 4, 5, 6], [0, 1, 2])
    assert (found.value, found.high, found.method) == (1, 1, "newcombe_area")
    assert 0.1 < found.low < 0.9
    turned = interval([0, 1, 2], [3, 4, 5, 6], SECOND, FIRST)
    assert (turned.value, turned.low) == (0, 0) and turned.high == pytest.approx(1 - found.low)


def test_only_the_order_of_the_scores_counts_and_the_sets_may_be_exchanged():
    found = interval()
    assert interval(np.exp(MEMBERS), np.exp(OTHERS)) == found
    turned = interval(OTHERS, MEMBERS, SECOND, FIRST)
    assert (turned.value, turned.low, turned.high) == pytest.approx(
        (1 - found.value, 1 - found.high, 1 - found.low), abs=1e-9
    )


def test_more_people_or_less_agreement_make_the_interval_narrower():
    chance = np.random.default_rng(0)
    members, others = chance.normal(0.5, 1, 240), chance.normal(0, 1, 120)

    def width(size: int) -> float:
        people = np.repeat(np.arange(240 // size), size), np.repeat(np.arange(120 // size), size)
        found = interval(members, others, *people)
        return found.high - found.low

    few = interval(members[:24], others[:12], range(24), range(12))
    assert few.high - few.low > width(1)
    assert width(1) < 1.1 * width(6)


def test_undefined_scores_and_single_people_give_no_interval():
    found = interval([math.nan, 0.4, 0.8, -math.inf])
    assert (found.value, found.n, found.n_clusters, found.n_undefined) == (None, 7, 7, 2)
    assert interval(people=[*"aaaa"]).value is not None
    assert interval(people=[*"aaaa"]).low is None
    assert interval([], people=[]).value is None


# --- PrivLeak ---

ORACLE = ([0.2, 0.6, 0.3, 0.9], [0.5, 0.1, 0.8])


def leak(model=(MEMBERS, OTHERS), oracles=(ORACLE,), people=FIRST):
    return leak_interval(model, oracles, people, SECOND)


def test_privleak_by_hand():
    """AUC 8.5/12 beside an oracle's 7/12."""
    expected = 100 * ((1 - 8.5 / 12) - (1 - 7 / 12)) / (1 - 7 / 12)
    assert area_under_roc(*ORACLE) == pytest.approx(7 / 12)
    assert privleak(8.5 / 12, 7 / 12) == pytest.approx(expected) == pytest.approx(-30)
    found = leak()
    assert found.value == pytest.approx(expected)
    assert (found.method, found.n, found.n_clusters) == ("mover_ratio", 7, 7)
    assert -100 <= found.low < found.value < found.high


def test_the_reference_is_the_mean_auc_of_the_oracles():
    other = ([0.9, 0.9, 0.9, 0.9], [0.9, 0.9, 0.9])  # AUC 1/2
    mean = (7 / 12 + 1 / 2) / 2
    assert leak(oracles=(ORACLE, other)).value == pytest.approx(privleak(8.5 / 12, mean))


def test_a_model_that_ranks_like_the_oracle_leaks_nothing():
    found = leak(model=ORACLE)
    assert found.value == pytest.approx(0) and found.low <= 0 <= found.high


def test_a_model_that_knows_all_members_leaks_all_and_has_a_width():
    found = leak(model=([3, 4, 5, 6], [0, 1, 2]))
    assert (found.value, found.low) == (-100, -100) and found.high > -95


def test_privleak_is_undefined_where_the_oracles_know_the_members():
    assert leak(oracles=(([3, 4, 5, 6], [0, 1, 2]),)).value is None
    assert math.isnan(privleak(0.5, 1.0))
    broken = leak(model=([math.nan, 0.4, 0.8, 0.3], OTHERS))
    assert (broken.value, broken.n_undefined) == (None, 1)
    assert leak(people=[*"aaaa"]).low is None


def test_the_limits_of_a_ratio_lie_within_those_of_both_sides_alone():
    own, oracle = (single(*scores, FIRST, SECOND) for scores in ((MEMBERS, OTHERS), ORACLE))
    (low,), (high,) = ratio_limits(own, oracle)
    sides = [[float(1 - limit[0]) for limit in reversed(area.limits())] for area in (own, oracle)]
    (low1, high1), (low2, high2) = sides
    assert low1 / high2 <= low <= high
    assert high <= high1 / low2 if low2 > 0 else math.isinf(high)


# --- s_MIA ---

MANY, REST = [f"p{number}" for number in range(12)], [f"h{number}" for number in range(8)]
APART = ([*range(10, 22)], [*range(8)])  # AUC 1
EQUAL = ([0] * 12, [0] * 8)  # AUC 1/2
HALF = ([1] * 6 + [0] * 6, [0] * 8)  # AUC 3/4
BELOW = ([-1] * 6 + [0] * 6, [0] * 8)  # AUC 1/4


def rescaled(model, finetuned=APART, oracles=(EQUAL,), people=MANY, others=REST):
    return rescaled_interval(model, finetuned, oracles, people, others)


def noisy_models() -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores of a model, of finetuned and of an oracle, with ties and about the same questions."""
    chance = np.random.default_rng(5)
    hard = chance.normal(0, 1, 12), chance.normal(0, 1, 8)
    return [
        tuple(
            np.round(one + add + chance.normal(0, 0.7, len(one)), 1)
            for one, add in zip(hard, (shift, 0), strict=True)
        )
        for shift in (1.0, 4.5, -0.5)
    ]


def test_s_mia_by_hand():
    """AUC 3/4 between finetuned's 1 and the oracle's 1/2; 1/4 lies beyond the oracle."""
    assert [area_under_roc(*one) for one in (APART, EQUAL, HALF, BELOW)] == [1, 0.5, 0.75, 0.25]
    assert s_mia(0.75, 1, 0.5) == pytest.approx(0.5)
    found = rescaled(HALF)
    assert found.value == pytest.approx(0.5) and found.low < 0.5 < found.high
    assert (found.method, found.n, found.n_clusters) == ("mover_inverted", 20, 20)
    assert rescaled(BELOW).value == pytest.approx((1 - 0.25) / (1 - 0.5)) == s_mia(0.25, 1, 0.5)


def test_finetuned_has_0_and_the_oracle_1_and_their_mean_is_the_mark():
    assert rescaled(APART).value == 0 and rescaled(EQUAL).value == 1
    found = rescaled(HALF, oracles=(EQUAL, BELOW))
    assert found.value == pytest.approx((1 - 0.75) / (1 - (0.5 + 0.25) / 2))


def test_a_model_less_forgetful_than_finetuned_lies_below_0():
    found = rescaled(APART, finetuned=([1] * 11 + [0], [0] * 8))
    assert found.value == pytest.approx((23 / 24 - 1) / (23 / 24 - 1 / 2)) and found.value < 0


def test_without_a_clear_difference_of_the_two_marks_there_is_no_value_but_a_reason():
    for finetuned in (EQUAL, BELOW, ([0.1] + [0] * 11, [0] * 8)):
        found = rescaled(HALF, finetuned=finetuned)
        assert (found.value, found.low, found.method, found.reason) == (None, None, None, NOT_APART)
    assert rescaled(HALF, people=["p"] * 12).reason == ONE_PERSON
    assert math.isnan(s_mia(0.5, 0.5, 0.5))
    assert rescaled(HALF).reason is None


def test_undefined_scores_have_no_value_and_are_counted():
    found = rescaled(([math.nan] * 2 + [0] * 10, [0] * 8))
    assert (found.value, found.n_undefined, found.reason) == (None, 2, None)
    assert rescaled(HALF, oracles=(([math.inf] + [0] * 11, [0] * 8),)).n_undefined == 1


def test_each_limit_is_where_the_interval_of_the_combination_touches_0():
    """Written out for (1 - theta) B - A + theta R: the weights' signs choose the sides."""
    model, finetuned, oracle = noisy_models()
    found = rescaled(model, finetuned, (oracle,))
    a, b, r = (single(*one, MANY, REST) for one in (model, finetuned, oracle))
    for theta, is_high in ((found.low, False), (found.high, True)):
        parts = []
        for area, weight in ((b, 1 - theta), (a, -1), (r, theta)):
            low, high = (limit[0] for limit in area.limits())
            upwards = (weight > 0) == is_high
            distance = high - area.value[0] if upwards else area.value[0] - low
            parts.append(weight * distance)
        square = sum(part**2 for part in parts)
        for i, j, pair in ((0, 1, (b, a)), (0, 2, (b, r)), (1, 2, (a, r))):
            square += 2 * pair[0].correlation(pair[1])[0] * parts[i] * parts[j]
        value = (1 - theta) * b.value[0] - a.value[0] + theta * r.value[0]
        assert value == pytest.approx((1 if not is_high else -1) * math.sqrt(square), abs=1e-6)


def test_0_and_1_are_inside_just_where_the_models_auc_may_equal_the_mark():
    """At theta = 0 and 1 the combination is a difference of two AUCs."""
    _, finetuned, oracle = noisy_models()
    chance, inside = np.random.default_rng(6), set()
    for shift in np.linspace(-3, 5, 13):
        model = finetuned[0] - 4.5 + shift + chance.normal(0, 0.3, 12), finetuned[1]
        found = rescaled(model, finetuned, (oracle,))
        a, b, r = (single(*map(np.asarray, one), MANY, REST) for one in (model, finetuned, oracle))
        for mark, area in ((0, b), (1, r)):
            apart = difference_low(a, area)[0] > 0 or difference_low(area, a)[0] > 0
            assert (found.low <= mark <= found.high) == (not apart)
            inside.add((mark, apart))
    assert len(inside) == 4


def test_only_the_order_of_each_models_scores_counts():
    model, finetuned, oracle = noisy_models()
    found = rescaled(model, finetuned, (oracle,))
    stretched = [tuple(map(np.exp, one)) for one in (model, finetuned, oracle)]
    assert rescaled(*stretched[:2], stretched[2:]) == found


def test_the_intervals_cover_about_as_often_as_they_say():
    chance, hits = np.random.default_rng(0), np.zeros(3)
    people, others = np.repeat(np.arange(16), 3), np.repeat(np.arange(16, 24), 3)
    for _ in range(200):
        hard = [chance.normal(0, 0.7, 24)[group % 24] for group in (people, others)]
        shift = 1.5
        model, oracle, finetuned = (
            (hard[0] + add + chance.normal(0, 1, 48), hard[1] + chance.normal(0, 1, 24))
            for add in (shift, 0.0, 2 * shift)
        )
        spread = math.sqrt(2 * (1 + 0.7**2))
        truth, before = (
            0.5 * (1 + math.erf(one / spread / math.sqrt(2))) for one in (shift, 2 * shift)
        )
        area = area_interval(model[0], people, model[1], others)
        found = leak_interval(model, [oracle], people, others)
        between = rescaled_interval(model, finetuned, [oracle], people, others)
        hits += [
            area.low <= truth <= area.high,
            found.low <= privleak(truth, 0.5) <= found.high,
            between.low <= s_mia(truth, before, 0.5) <= between.high,
        ]
    assert (hits / 200 >= 0.93).all()
