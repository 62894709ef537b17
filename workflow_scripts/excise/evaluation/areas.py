"""The area under the ROC curve (AUC) of two sets of people, beside those of other models.

The questions about one person are not independent, so both variances are of people. A jackknife or
t interval is too narrow here: with 16 and 8 people its coverage is .76, because it has no width
if all members score higher. The methods were chosen by simulation (`perf/coverage.py`, kinds
`area`, `leak` and `rescaled`); the results are in docs/statistics.md.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtrit
from scipy.stats import rankdata

from excise.evaluation.statistics import Clustered, Estimate, Limits, degrees_of_freedom

PERCENT = 100.0
LARGEST_ERROR = 1e-12
STEPS = 50  # bisections of [0, 1]
NOT_APART = "finetuned's AUC - the oracles' AUC: its lower limit is not above 0"
ONE_PERSON = "finetuned's AUC - the oracles' AUC: no limits, because a set is about one person"
"""Why a rescaled AUC has no value."""


class Area:
    """AUCs of k pairs of samples, with limits.

    The AUC is the mean *placement* of the members, the share of the others that a member's score
    exceeds, and also the mean of the shares of members that exceed each of the others. Its
    variance is the sum of the variances of these two means, each over people. Sources: DeLong et
    al. (1988); Obuchowski (1997) for people.

    Args:
        models: of each model the scores of the members, (n, k), and of the others, (m, k). With
            several models, the AUC is their mean.
        people: the person of each member, (n,).
        other_people: the person of each of the others, (m,); nobody is in both.
        confidence: coverage of the limits.
    """

    def __init__(
        self,
        models: Sequence[tuple[np.ndarray, np.ndarray]],
        people: Sequence,
        other_people: Sequence,
        confidence: float = 0.95,
    ):
        self.confidence = confidence
        placed = zip(*(placements(*pair) for pair in models), strict=True)
        above, below = (np.mean(side, axis=0) for side in placed)
        self.sides = (Clustered(above, people, confidence), Clustered(below, other_people))
        self.value = self.sides[0].mean
        self.agreement = np.mean(
            [
                np.maximum(design_effect(pair[0], people), design_effect(pair[1], other_people))
                for pair in models
            ],
            axis=0,
        )

    @cached_property
    def variance(self) -> np.ndarray:
        """Variance of the AUC: (k,)."""
        return self.sides[0].variance + self.sides[1].variance

    @cached_property
    def t(self) -> np.ndarray:
        """Quantile of t, with Satterthwaite's degrees of freedom of a sum of variances: (k,)."""
        freedom = [degrees_of_freedom(tuple(side.sizes.tolist())) for side in self.sides]
        parts = [side.variance**2 / one for side, one in zip(self.sides, freedom, strict=True)]
        known = self.variance > LARGEST_ERROR
        both = np.divide(
            self.variance**2, sum(parts), out=np.full(len(self.value), min(freedom)), where=known
        )
        return stdtrit(np.clip(both, min(freedom), sum(freedom)), (1 + self.confidence) / 2)

    def independent_variance(self, area: np.ndarray) -> np.ndarray:
        """Variance of an AUC of independent questions, if the true AUC is `area`: (k,).

        That of Hanley and McNeil (1982) for exponential scores, in the direction in which it is
        larger.
        """
        n, m = (side.n for side in self.sides)
        found = []
        for a in (area, 1 - area):
            one, two = a / (2 - a), 2 * a**2 / (1 + a)
            found.append((a * (1 - a) + (n - 1) * (one - a**2) + (m - 1) * (two - a**2)) / (n * m))
        return np.maximum(*found)

    @cached_property
    def design_effect(self) -> np.ndarray:
        """How much larger the variance is than of independent questions, at least 1: (k,).

        If few people have an exception (a member below one of the others), the placements say
        little about it. So it is averaged with the design effect of the scores within each set,
        which counts as one person with an exception.
        """
        inside = np.clip(self.value, LARGEST_ERROR, 1 - LARGEST_ERROR)
        own = self.variance / self.independent_variance(inside)
        exceptions = np.full(len(self.value), np.inf)
        for side in self.sides:
            means = side.sums / side.sizes[:, None]
            agreeing = np.where(self.value < 0.5, 1 - means, means)
            exceptions = np.minimum(exceptions, (agreeing < 1 - 1e-9).sum(axis=0))
        return np.maximum(
            np.maximum(own, (exceptions * own + self.agreement) / (exceptions + 1)), 1
        )

    def limits(self) -> Limits:
        """All areas A with |value − A| ≤ t √(design effect · independent variance at A): (k,) each.

        With 16 and 8 people: coverage .98 (at worst .94). Sources: Newcombe (2006), method 5, with
        the design effect of people and t for z.
        """
        return self._limit(0.0), self._limit(1.0)

    @cached_property
    def bounds(self) -> Limits:
        """`limits`, computed once."""
        return self.limits()

    def _limit(self, end: float) -> np.ndarray:
        inside, outside = self.value.copy(), np.full_like(self.value, end)
        for _ in range(STEPS):
            middle = (inside + outside) / 2
            spread = self.t * np.sqrt(self.design_effect * self.independent_variance(middle))
            kept = np.abs(middle - self.value) <= spread
            inside, outside = np.where(kept, middle, inside), np.where(kept, outside, middle)
        return outside

    def correlation(self, other: "Area") -> np.ndarray:
        """Correlation of two AUCs of the same questions, 0 where one does not vary: (k,)."""
        pairs = list(zip(self.sides, other.sides, strict=True))
        covariance = sum(one.covariance(two) for one, two in pairs)
        spread = [sum(side.covariance(side) for side in area.sides) for area in (self, other)]
        scale = np.sqrt(spread[0] * spread[1])
        known = scale > LARGEST_ERROR
        found = np.divide(covariance, scale, out=np.zeros(len(scale)), where=known)
        return np.clip(found, -1, 1)


def placements(members: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Placements of members (n, k) and of others (m, k) in [0, 1]; a tie counts half."""
    ranks = rankdata(np.vstack([members, others]), axis=0)
    above = (ranks[: len(members)] - rankdata(members, axis=0)) / len(others)
    below = 1 - (ranks[len(members) :] - rankdata(others, axis=0)) / len(members)
    return above, below


def design_effect(scores: np.ndarray, people: Sequence) -> np.ndarray:
    """Variance of the mean normal score over people, over that of independent questions: (k,).

    Args:
        scores: one row per question, (n, k); only their order counts.
        people: the person of each question, (n,).
    """
    normal = ndtri((rankdata(scores, axis=0) - 0.5) / len(scores))
    data = Clustered(normal, people)
    if len(data.sizes) < 2:
        return np.ones(scores.shape[1])
    independent = data.question_variance / max(data.n - 1, 1)
    found = data.covariance(data)
    known = independent > LARGEST_ERROR
    return np.divide(found, independent, out=np.ones(len(found)), where=known)


def area_of(
    scores: Sequence[tuple[ArrayLike, ArrayLike]],
    people: Sequence,
    other_people: Sequence,
    confidence: float,
) -> Area | None:
    """The mean AUC of several models about the same questions; None if a score is undefined.

    Args:
        scores: of each model those of the members, (n,), and of the others, (m,).
        people: the person of each member, (n,).
        other_people: the person of each of the others, (m,).
        confidence: coverage of the limits.
    """
    columns = [[np.asarray(one, dtype=float)[:, None] for one in pair] for pair in scores]
    if not all(np.isfinite(one).all() for pair in columns for one in pair):
        return None
    return Area(columns, people, other_people, confidence)


def area_interval(
    members: ArrayLike,
    people: Sequence,
    others: ArrayLike,
    other_people: Sequence,
    confidence: float = 0.95,
) -> Estimate:
    """AUC of two sets of questions, with its interval over the people of both.

    Args:
        members: score of each question of the first set, (n,); higher = more like a member.
        people: the person of each, (n,).
        others: scores of the second set, (m,).
        other_people: the person of each, (m,); nobody is in both sets.
        confidence: coverage of the interval.
    """
    nothing, count = _nothing([(members, others)], people, other_people)
    area = area_of([(members, others)], people, other_people, confidence) if count else None
    if area is None:
        return nothing
    found = replace(nothing, value=float(area.value[0]))
    if count < 2:
        return found
    (low,), (high,) = area.limits()
    return _with_limits(found, low, high, "newcombe_area")


def leak_interval(
    scores: tuple[ArrayLike, ArrayLike],
    oracles: Sequence[tuple[ArrayLike, ArrayLike]],
    people: Sequence,
    other_people: Sequence,
    confidence: float = 0.95,
) -> Estimate:
    """PrivLeak: 100 · ((1 − AUC) − (1 − AUC of the oracles)) / (1 − AUC of the oracles).

    The limits are those of the ratio (1 − AUC) / (1 − AUC of the oracles), made of the limits of
    both sides and of their correlation: both are about the same questions. The oracles are taken
    as they are; their choice adds nothing to the width. With 16 and 8 people: coverage .98 (at
    worst .93). None if the oracles' AUC is 1; no limits if it may be. Source: Donner and Zou
    (2012), MOVER for a ratio.

    Args:
        scores: of the model those of the members, (n,), and of the others, (m,).
        oracles: the same of each oracle.
        people: the person of each member, (n,).
        other_people: the person of each of the others, (m,); nobody is in both sets.
        confidence: coverage of the interval.
    """
    nothing, count = _nothing([scores, *oracles], people, other_people)
    if not count:
        return nothing
    own = area_of([scores], people, other_people, confidence)
    reference = area_of(oracles, people, other_people, confidence)
    if own is None or reference is None or reference.value[0] >= 1:
        return nothing
    found = replace(nothing, value=_leak((1 - own.value[0]) / (1 - reference.value[0])))
    if count < 2:
        return found
    low, high = ratio_limits(own, reference)
    if not np.isfinite(high[0]):
        return found
    return _with_limits(found, _leak(low[0]), _leak(high[0]), "mover_ratio")


def ratio_limits(own: Area, reference: Area) -> Limits:
    """Limits of (1 − AUC) / (1 − AUC of the reference), (k,) each; infinite if that may be 0."""
    (low1, high1), (low2, high2) = (
        [1 - limit for limit in reversed(area.limits())] for area in (own, reference)
    )
    p, q, r = 1 - own.value, 1 - reference.value, own.correlation(reference)
    first = p * q - r * (p - low1) * (high2 - q)
    second = p * q - r * (high1 - p) * (q - low2)
    with np.errstate(divide="ignore", invalid="ignore"):
        divisor = high2 * (2 * q - high2)
        root = np.sqrt(np.maximum(first**2 - low1 * (2 * p - low1) * divisor, 0))
        # The limits of both sides alone bound the ratio wherever the formula does not hold.
        low = np.where(
            divisor > 0, np.maximum((first - root) / divisor, low1 / high2), low1 / high2
        )
        divisor = low2 * (2 * q - low2)
        root = np.sqrt(np.maximum(second**2 - high1 * (2 * p - high1) * divisor, 0))
        high = np.where(low2 > 0, np.minimum((second + root) / divisor, high1 / low2), np.inf)
    return low, high


def rescaled_interval(
    scores: tuple[ArrayLike, ArrayLike],
    finetuned: tuple[ArrayLike, ArrayLike],
    oracles: Sequence[tuple[ArrayLike, ArrayLike]],
    people: Sequence,
    other_people: Sequence,
    confidence: float = 0.95,
) -> Estimate:
    """(AUC of finetuned − AUC) / (AUC of finetuned − AUC of the oracles), with its interval.

    The value is None, with a reason, unless the lower limit of the denominator is above 0. The
    oracles and the finetuned model are taken as they are; their choice adds nothing to the width.

    Args:
        scores: of the model those of the members, (n,), and of the others, (m,).
        finetuned: the same of the model before unlearning.
        oracles: the same of each oracle.
        people: the person of each member, (n,).
        other_people: the person of each of the others, (m,); nobody is in both sets.
        confidence: coverage of the interval.
    """
    nothing, count = _nothing([scores, finetuned, *oracles], people, other_people)
    if not count or nothing.n_undefined:
        return nothing
    if count < 2:
        return replace(nothing, reason=ONE_PERSON)
    own, before, reference = (
        area_of(models, people, other_people, confidence)
        for models in ([scores], [finetuned], oracles)
    )
    if difference_low(before, reference)[0] <= LARGEST_ERROR:
        return replace(nothing, reason=NOT_APART)
    ratio = (before.value[0] - own.value[0]) / (before.value[0] - reference.value[0])
    (low,), (high,) = rescaled_limits(own, before, reference)
    return _with_limits(replace(nothing, value=float(ratio)), low, high, "mover_inverted")


def rescaled_limits(own: Area, before: Area, reference: Area) -> Limits:
    """Limits of θ = (B − A) / (B − R) for the AUCs A of `own`, B, R of the other two: (k,) each.

    Every θ for which the interval of (1 − θ)B − A + θR holds 0. That interval is made of the
    limits of the three AUCs and of their correlations (`_margin`). Only where `difference_low` of
    B and R is above 0 are the limits finite. With 16 and 8 people: coverage .98 (at worst .86).
    Sources: Fieller (1954) for the inversion; Zou, Huang and Zhang (2009), MOVER for a linear
    combination.
    """
    areas = (own, before, reference)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (before.value - own.value) / (before.value - reference.value)
    return _inverted(ratio, areas, -1), _inverted(ratio, areas, 1)


def difference_low(first: Area, second: Area) -> np.ndarray:
    """Lower limit of the difference of two AUCs of the same questions: (k,).

    Source: Newcombe (1998), method 10, with the limits of people.
    """
    one, two = np.ones(len(first.value)), -np.ones(len(first.value))
    return first.value - second.value - _margin((first, second), (one, two), lower=True)


def _inverted(ratio: np.ndarray, areas: tuple[Area, Area, Area], direction: int) -> np.ndarray:
    """The end of the accepted θ below (−1) or above (1) the estimate, by bisection: (k,)."""
    inside, outside = np.zeros(len(ratio)), np.ones(len(ratio))
    own, before, reference = areas
    for _ in range(STEPS):
        middle = (inside + outside) / 2
        theta = ratio + direction * middle / (1 - middle)
        weights = (-np.ones(len(ratio)), 1 - theta, theta)
        value = before.value - own.value - theta * (before.value - reference.value)
        # Above the estimate the combination is negative, so its upper limit counts.
        kept = np.abs(value) <= _margin(areas, weights, lower=direction < 0)
        inside, outside = np.where(kept, middle, inside), np.where(kept, outside, middle)
    with np.errstate(divide="ignore"):
        return ratio + direction * outside / (1 - outside)


def _margin(areas: Sequence[Area], weights: Sequence[np.ndarray], lower: bool) -> np.ndarray:
    """How far a limit of Σ weight · AUC lies from the value: (k,).

    √Σᵢⱼ rᵢⱼ wᵢ wⱼ dᵢ dⱼ, where dᵢ is the distance of the limit of AUC i on the side that counts.
    """
    parts = []
    for area, weight in zip(areas, weights, strict=True):
        low, high = area.bounds
        down = (weight > 0) == lower
        parts.append(weight * np.where(down, area.value - low, high - area.value))
    total = sum(part**2 for part in parts)
    for i, j in combinations(range(len(areas)), 2):
        total = total + 2 * areas[i].correlation(areas[j]) * parts[i] * parts[j]
    return np.sqrt(np.maximum(total, 0))


def _leak(ratio: float) -> float:
    return PERCENT * (float(ratio) - 1)


def _nothing(
    scores: Sequence[tuple[ArrayLike, ArrayLike]], people: Sequence, other_people: Sequence
) -> tuple[Estimate, int]:
    """An estimate without a value, and the number of people of the smaller set.

    `n_undefined` counts the questions of which any score is undefined.
    """
    sides = [set(map(str, one)) for one in (people, other_people)]
    bad = sum(
        int((~np.isfinite(np.array(column, dtype=float)).all(axis=0)).sum())
        for column in zip(*scores, strict=True)
    )
    n, n_people = len(people) + len(other_people), sum(map(len, sides))
    return Estimate(None, None, None, n, n_people, bad), min(map(len, sides))


def _with_limits(estimate: Estimate, low: float, high: float, method: str) -> Estimate:
    value = estimate.value
    return replace(
        estimate, low=min(float(low), value), high=max(float(high), value), method=method
    )
