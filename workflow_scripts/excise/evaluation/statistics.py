"""Intervals over people, from plain numbers; no files, no models.

The questions about one person are not independent, so every variance is one of *people*. The
method depends on the range of the metric (its `Scale`), never on the data, because a choice by
the data would lower the coverage. The methods were chosen by simulation (`perf/coverage.py`); the
results are in docs/statistics.md.

| numbers | interval | `method` |
|---|---|---|
| from 0 to 1 | Wilson or Clopper-Pearson, the wider | wilson_clopper_pearson |
| unbounded (drift, angles) | mean ± t · standard error | cluster_t |
| ratios | the same, of their logarithms | cluster_t_log |
| the median | all medians that a test does not reject | cluster_score |
| differences of 0 and 1; ratios cut to 0 and 1 | Bonett-Price | bonett_price |
| other differences of two scores | t or MOVER, the wider | cluster_t_mover |
| differences of two changes | Bonett-Price for 0 and 1, else t | bonett_price, cluster_t |
| ratios of differences (recovery) | Fieller | fieller, fieller_bonett_price |
| AUC of two sets, PrivLeak (`areas`) | Newcombe, MOVER | newcombe_area, mover_ratio |
| rescaled AUC (`areas`) | MOVER, inverted | mover_inverted |
| computed, not sampled | the value itself | fixed |

Only `fixed` has zero width. If all values are equal and their range is unbounded, no method can
estimate the error of the mean. The limits are then None.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, stdtrit

MINIMUM_FORGOTTEN = 0.1
"""Recovery is defined only where the lower limit of what was forgotten exceeds this."""

ROUNDING = 1e-12
"""What rounding leaves of a standard deviation that is zero, relative to the size of the values."""

Limits = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Scale:
    """The range of a metric, which decides the method of its interval.

    Attributes:
        kind: `proportion` (0 or 1), `share` (anything from `low` to `high`, often at an end),
            `cut_ratio` (a ratio cut to 0 and 1, in a few questions far from the rest),
            `difference` (from `low` to `high`, most often near the middle), `unbounded`,
            `geometric` (positive; averaged by logarithms) or `fixed` (not sampled).
        low: the smallest possible number.
        high: the largest possible number.
    """

    kind: str
    low: float
    high: float


PROPORTION = Scale("proportion", 0, 1)
SHARE = Scale("share", 0, 1)
CUT_RATIO = Scale("cut_ratio", 0, 1)
COSINE = Scale("difference", -1, 1)
RATIO = Scale("geometric", 0, math.inf)
DRIFT = Scale("unbounded", 0, math.inf)
ANGLE = Scale("unbounded", 0, 180)
FIXED = Scale("fixed", -math.inf, math.inf)


@dataclass(frozen=True)
class Estimate:
    """A value with its interval and its sample size.

    `value` is None if any of the `n` inputs was undefined (`n_undefined` says how many: NaN and
    infinities, as collapsed models give) or if there was nothing to average. `low` and `high`
    are also None with fewer than two clusters, and if the width is unknown. `method`
    names the interval's method (module docstring), None where there is no interval. `reason` says
    why a value is None if it is not for undefined inputs.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    n_clusters: int
    n_undefined: int = 0
    method: str | None = None
    reason: str | None = None


class Clustered:
    """Sums over people of k columns of numbers, and quantities that all methods need.

    Args:
        values: one row per question, shape (n, k).
        clusters: the person each question is about, shape (n,).
        confidence: coverage of the intervals, in (0, 1).
        size: of the numbers that the values were computed from, (k,), where these are larger.
    """

    def __init__(
        self,
        values: np.ndarray,
        clusters: Sequence,
        confidence: float = 0.95,
        size: ArrayLike = 0.0,
    ):
        self.values, self.confidence = values, confidence
        self.rounding = ROUNDING * np.maximum(np.abs(values).max(axis=0), size)
        self.n = len(values)
        self.sums, self.sizes = cluster_totals(values, clusters)
        self.mean = self.sums.sum(axis=0) / self.n
        self.shares = self.sizes / self.n

    @cached_property
    def residuals(self) -> np.ndarray:
        """Residuals of the sums, scaled for CR2: (people, k)."""
        raw = self.sums - np.outer(self.sizes, self.mean)
        return raw / np.sqrt(1 - self.shares)[:, None]

    @cached_property
    def question_variance(self) -> np.ndarray:
        """Variance of the values over single questions: (k,)."""
        return self.values.var(axis=0)

    @cached_property
    def variance(self) -> np.ndarray:
        """Variance of the mean: CR2, or that of independent questions if it is larger, (k,).

        CR2 (Bell and McCaffrey 2002; Pustejovsky and Tipton 2018): Σ over people of
        (sum − size · mean)² / (1 − size/n), over n²; unbiased if questions are independent. It is
        smaller than the second one only by chance, or if one person's answers correlate negatively.
        """
        clustered = (self.residuals**2).sum(axis=0) / self.n**2
        return np.maximum(clustered, self.question_variance / max(self.n - 1, 1))

    @property
    def constant(self) -> np.ndarray:
        """Whether the mean varies by no more than rounding: (k,)."""
        return np.sqrt(self.variance) <= self.rounding

    def covariance(self, other: "Clustered") -> np.ndarray:
        """CR2 covariance of the means of two sets of columns about the same questions: (k,)."""
        return (self.residuals * other.residuals).sum(axis=0) / self.n**2

    @property
    def people(self) -> float:
        """Kish's effective number of people, n² / Σ sizes²: their number if sizes are equal."""
        return 1 / float((self.shares**2).sum())

    @property
    def t(self) -> float:
        """Quantile of t with the degrees of freedom of the variance."""
        freedom = degrees_of_freedom(tuple(self.sizes.tolist()))
        return float(stdtrit(freedom, (1 + self.confidence) / 2))

    def effective_n(self, variance: np.ndarray) -> np.ndarray:
        """Equivalent number of independent questions; number of people if all answers agree."""
        known = ~self.constant & (variance > 0)
        return np.divide(
            variance, self.variance, out=np.full(len(variance), self.people), where=known
        )


@lru_cache(maxsize=256)
def degrees_of_freedom(sizes: tuple[int, ...]) -> float:
    """Satterthwaite's degrees of freedom of CR2 for a mean, if each person's answers agree.

    (tr K)² / tr(K²) with K the covariance of CR2's scaled residuals when person g's sum is
    size · one number: people − 1 for equal sizes, fewer for unequal ones. Source: Bell and
    McCaffrey (2002), with the least favourable of their working models.
    """
    size = np.array(sizes, dtype=float)
    n, scale = size.sum(), 1 / np.sqrt(1 - size / size.sum())
    mixing = np.diag(size) - np.outer(size, size) / n
    covariance = scale[:, None] * (mixing @ mixing) * scale
    return float(np.trace(covariance) ** 2 / (covariance**2).sum())


def wilson_clopper_pearson(data: Clustered, low: float = 0, high: float = 1) -> Limits:
    """Limits of means of numbers from `low` to `high`, with the design effect of people.

    p = (mean − low)/(high − low); effective n = p(1 − p)/variance, the number of people where p
    is 0 or 1; t for z. The wider of two limits is used: Wilson's
    (p + t²/2n ± t √(p(1−p)/n + t²/4n²))/(1 + t²/n), and Clopper and Pearson's beta quantiles.
    Wilson's limits exclude the truth too often close to 0 and 1. Means of 16 people, over true
    shares .005 to .995: coverage .98 on average, .91 at worst (percentile bootstrap .71, .05).
    Sources: Wilson (1927); Clopper and Pearson (1934);
    Korn and Graubard (1998) and Kott and Carr (1997) for the effective n.
    """
    width = high - low
    p = np.clip((data.mean - low) / width, 0, 1)
    n = data.effective_n(p * (1 - p) * width**2)
    lows, highs = share_limits(p, n, data.t, data.confidence)
    return low + width * lows, low + width * highs


def share_limits(p: np.ndarray, n: np.ndarray, t: float, confidence: float) -> Limits:
    """`wilson_clopper_pearson` of shares `p` of `n` effective questions, with `t` for z."""
    middle, spread = p + t * t / (2 * n), t * np.sqrt(p * (1 - p) / n + (t / (2 * n)) ** 2)
    wilson = [(middle - spread) / (1 + t * t / n), (middle + spread) / (1 + t * t / n)]
    tail, x = (1 - confidence) / 2, p * n
    rest = np.maximum(n - x, 0)
    exact = [
        np.where(x > 0, betaincinv(np.where(x > 0, x, 1), rest + 1, tail), 0),
        np.where(rest > 0, betaincinv(x + 1, np.where(rest > 0, rest, 1), 1 - tail), 1),
    ]
    lows, highs = np.minimum(wilson[0], exact[0]), np.maximum(wilson[1], exact[1])
    return np.clip(lows, 0, 1), np.clip(highs, 0, 1)


def cluster_t(data: Clustered) -> Limits:
    """mean ± t · √variance. Source: Bell and McCaffrey (2002).

    With 16 people: coverage .97 (at worst .92) of logarithms, .94 (.83) of lognormal drift.
    """
    spread = data.t * np.sqrt(data.variance)
    return data.mean - spread, data.mean + spread


def bonett_price(data: Clustered, largest: float = 1) -> Limits:
    """Limits of mean differences of 0 and 1, most of which are ties.

    One pair with +1 and one with −1 are added to n pairs. n is the effective number of questions
    (`Clustered.effective_n`; the number of people if all pairs agree): mean' = n·mean/(n+2),
    variance' = ((n·mean of squares + 2)/(n+2) − mean'²)/(n+2), mean' ± t √variance'.
    With 16 people: coverage .99 (at worst .90). Source: Bonett and Price (2012), with the design
    effect of people and t for z.

    Args:
        data: the differences.
        largest: the largest possible difference, for differences of other scores.
    """
    n = data.effective_n(data.question_variance)
    return tied_limits(data.mean, (data.values**2).mean(axis=0), n, data.t, largest)


def tied_limits(
    mean: np.ndarray, squares: np.ndarray, n: np.ndarray, t: float, largest: float = 1
) -> Limits:
    """`bonett_price` of `n` effective pairs with this mean and mean of squares."""
    middle, squares = n * mean / (n + 2), squares + 2 * largest**2 / n
    spread = t * np.sqrt(np.maximum(n * squares / (n + 2) - middle**2, 0) / (n + 2))
    return middle - spread, middle + spread


def bonett_price_of_shares(data: Clustered) -> Limits:
    """Limits of mean shares x: those of `bonett_price` of 2x − 1, turned back.

    So one question with 0 and one with 1 are added. For ratios that are cut to 0 and 1, as UDS:
    with 16 people coverage .96 (at worst .90), where `wilson_clopper_pearson` has .91 (.74).
    """
    turned, n = 2 * data.values - 1, data.effective_n(data.question_variance)
    low, high = tied_limits(turned.mean(axis=0), (turned**2).mean(axis=0), n, data.t)
    return (low + 1) / 2, (high + 1) / 2


def cluster_t_mover(
    first: Clustered, second: Clustered, difference: Clustered, scale: Scale
) -> Limits:
    """Limits of mean differences of two bounded scores: the wider of t and MOVER.

    MOVER combines the limits of both sides: with (l₁, u₁), (l₂, u₂) those of
    `wilson_clopper_pearson` and r the correlation of the two means (0 where one never varies),
    low = d − √((m₁−l₁)² − 2r(m₁−l₁)(u₂−m₂) + (u₂−m₂)²), high accordingly. t alone is too narrow
    if one side is nearly always right. With 16 people: coverage .98 (at worst .91; t alone
    .83). Sources: Newcombe (1998), method 10; Zou (2008).
    """
    lows, highs = cluster_t(difference)
    low1, high1 = wilson_clopper_pearson(first, scale.low, scale.high)
    low2, high2 = wilson_clopper_pearson(second, scale.low, scale.high)
    one, two = (np.sqrt((side.residuals**2).sum(axis=0)) / side.n for side in (first, second))
    covariance = first.covariance(second)
    known = (one > first.rounding) & (two > second.rounding) & (one * two > 0)
    r = np.divide(covariance, one * two, out=np.zeros(len(covariance)), where=known)
    down = _together(first.mean - low1, high2 - second.mean, r)
    up = _together(high1 - first.mean, second.mean - low2, r)
    return np.minimum(lows, difference.mean - down), np.maximum(highs, difference.mean + up)


def _together(one: np.ndarray, two: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(one**2 - 2 * np.clip(r, -1, 1) * one * two + two**2, 0))


def fieller(numerator: Clustered, denominator: Clustered, ties: bool) -> Limits:
    """Limits of ratios of means: every θ with (a − θb)² ≤ t² · variance(a − θb).

    With `ties` (differences of 0 and 1), a and its variance are Bonett and Price's. Otherwise the
    ratio would have no width if nothing comes back. For other scores this correction applies
    only if all values of a − θb are equal. The limits are infinite if b may be 0. With 16 people:
    coverage .99 with ties (at worst .84). Source: Fieller (1954).
    """
    a, b, t = numerator.mean, denominator.mean, numerator.t
    variance_a, variance_b = numerator.variance, denominator.variance
    covariance = numerator.covariance(denominator)
    if ties:
        low, high = bonett_price(numerator)
        a, variance_a = (low + high) / 2, np.maximum(variance_a, ((high - low) / (2 * t)) ** 2)
    else:
        left = numerator.values - denominator.values * (a / b)
        added = 2 / (numerator.people + 2) ** 2
        rounding = np.maximum(numerator.rounding, denominator.rounding * np.abs(a / b))
        equal = np.abs(left).max(axis=0) <= rounding
        variance_a = variance_a + np.where(equal, added, 0)
    square = b**2 - t**2 * variance_b
    mixed = a * b - t**2 * covariance
    root = np.sqrt(np.maximum(mixed**2 - square * (a**2 - t**2 * variance_a), 0))
    known = square > ROUNDING * b**2
    divisor = np.where(known, square, 1)
    return (
        np.where(known, (mixed - root) / divisor, -np.inf),
        np.where(known, (mixed + root) / divisor, np.inf),
    )


def cluster_score(values: np.ndarray, clusters: Sequence, confidence: float) -> tuple:
    """Limits of the median of `values` (n,): every m that the test does not reject.

    m is rejected if |share of values ≤ m − ½| exceeds t · its standard error *at that share*
    (CR2). The limits are observed values. With 16 people: coverage .97 (at worst .94).
    Sources: Woodruff (1952); Francisco and Fuller (1991), whose test inversion this is.
    """
    names, membership = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    order = np.lexsort((membership, values))
    n, sizes = len(values), np.bincount(membership, minlength=len(names))
    below = np.cumsum(np.eye(len(names))[membership[order]], axis=0)[:-1]  # (n − 1, people)
    share = np.arange(1, n) / n
    residuals = below - np.outer(share, sizes)
    variance = (residuals**2 / (1 - sizes / n)).sum(axis=1) / n**2
    variance = np.maximum(variance, share * (1 - share) / (n - 1))
    t = stdtrit(degrees_of_freedom(tuple(sizes.tolist())), (1 + confidence) / 2)
    kept = np.flatnonzero(np.abs(share - 0.5) <= t * np.sqrt(variance))
    ordered = values[order]
    if not len(kept):  # very small n: nothing can be rejected
        return ordered[0], ordered[-1]
    return ordered[kept[0]], ordered[kept[-1] + 1]


def mean_interval(
    values: ArrayLike, clusters: Sequence, scale: Scale, confidence: float = 0.95
) -> Estimate:
    """Mean of all values (geometric if the scale says so) with its interval over clusters.

    Args:
        values: one number per question, shape (n,).
        clusters: the person each question is about, shape (n,).
        scale: which numbers the metric may give.
        confidence: coverage of the interval, in (0, 1).

    Raises:
        ValueError: a value lies outside of the scale.
    """
    column = np.asarray(values, dtype=float).reshape(-1, 1)
    return mean_intervals(column, clusters, scale, confidence)[0]


def proportion_interval(
    values: ArrayLike, clusters: Sequence, confidence: float = 0.95
) -> Estimate:
    """`mean_interval` of values that are 0 or 1."""
    return mean_interval(values, clusters, PROPORTION, confidence)


def geometric_mean_interval(
    values: ArrayLike, clusters: Sequence, confidence: float = 0.95
) -> Estimate:
    """exp of the mean logarithm and of its limits; values ≤ 0 are undefined."""
    return mean_interval(values, clusters, RATIO, confidence)


def mean_intervals(
    values: ArrayLike, clusters: Sequence, scale: Scale, confidence: float = 0.95
) -> list[Estimate]:
    """`mean_interval` of every column of `values` (n, k)."""
    values = np.asarray(values, dtype=float)
    if scale.kind == "geometric":
        logs = np.log(values, out=np.full(values.shape, np.nan), where=values > 0)
        unbounded = Scale("unbounded", -math.inf, math.inf)
        found = mean_intervals(logs, clusters, unbounded, confidence)
        return [_exponential(estimate) for estimate in found]
    n, columns = values.shape
    if n == 0:
        return [Estimate(None, None, None, 0, 0)] * columns
    defined = np.isfinite(values)
    _check_range(values[defined], scale)
    data = Clustered(np.where(defined, values, 0.0), clusters, confidence)
    undefined = (~defined).sum(axis=0)
    if scale.kind == "fixed":
        limits, method = (data.mean, data.mean), "fixed"
    elif len(data.sizes) < 2:
        limits, method = (data.mean, data.mean), None
    elif scale.kind in ("proportion", "share"):
        limits, method = (
            wilson_clopper_pearson(data, scale.low, scale.high),
            "wilson_clopper_pearson",
        )
    elif scale.kind == "cut_ratio":
        limits, method = bonett_price_of_shares(data), "bonett_price"
    else:
        limits, method = cluster_t(data), "cluster_t"
        if scale.kind == "difference":
            added = bonett_price(data, max(-scale.low, scale.high))
            limits = tuple(
                np.where(data.constant, *pair) for pair in zip(added, limits, strict=True)
            )
    limits = [np.clip(limit, scale.low, scale.high) for limit in limits]
    return [
        _estimate(data, column, int(undefined[column]), limits, method) for column in range(columns)
    ]


def median_interval(values: ArrayLike, clusters: Sequence, confidence: float = 0.95) -> Estimate:
    """Median of all values, with the limits of `cluster_score`; arguments as `mean_interval`."""
    values = np.asarray(values, dtype=float)
    n = len(values)
    if not n:
        return Estimate(None, None, None, 0, 0)
    n_clusters = len(set(np.asarray(clusters, dtype=str)))
    undefined = int((~np.isfinite(values)).sum())
    if undefined:
        return Estimate(None, None, None, n, n_clusters, undefined)
    value = float(np.median(values))
    if n_clusters < 2:
        return Estimate(value, None, None, n, n_clusters)
    low, high = cluster_score(values, clusters, confidence)
    return _with_limits(Estimate(value, None, None, n, n_clusters), low, high, "cluster_score")


def difference_interval(
    first: ArrayLike,
    second: ArrayLike,
    clusters: Sequence,
    scale: Scale,
    confidence: float = 0.95,
) -> Estimate:
    """Mean of `first − second` over pairs, with its interval over people.

    Args:
        first: one number per pair, (n,).
        second: the number it is compared with, (n,).
        clusters: the person of each pair, (n,).
        scale: of both sides: `bonett_price` for a proportion, else `cluster_t_mover`.
        confidence: coverage of the interval.

    Raises:
        ValueError: a value lies outside of the scale.
    """
    sides = np.column_stack([np.asarray(first, float), np.asarray(second, float)])
    if not len(sides):
        return Estimate(None, None, None, 0, 0)
    defined = np.isfinite(sides)
    _check_range(sides[defined], scale)
    undefined = int((~defined).any(axis=1).sum())
    sides = np.where(defined, sides, 0.0)
    one, two = (Clustered(side[:, None], clusters, confidence) for side in sides.T)
    difference = Clustered(one.values - two.values, clusters, confidence, np.abs(sides).max())
    if undefined or len(difference.sizes) < 2:
        limits, method = (difference.mean, difference.mean), None
    elif scale.kind == "proportion":
        limits, method = bonett_price(difference), "bonett_price"
    else:
        limits, method = cluster_t_mover(one, two, difference, scale), "cluster_t_mover"
        if limits[1][0] - limits[0][0] <= difference.rounding[0]:
            limits = bonett_price(difference, scale.high - scale.low)
    largest = scale.high - scale.low
    return _estimate(
        difference, 0, undefined, [np.clip(limit, -largest, largest) for limit in limits], method
    )


def changes_interval(
    first: ArrayLike,
    second: ArrayLike,
    clusters: Sequence,
    scale: Scale,
    confidence: float = 0.95,
) -> Estimate:
    """Mean of `first − second`, both of them changes of a score: a difference in differences.

    With 16 people: coverage .98 (at worst .90) of changes of 0 and 1, .95 (.84) of others. MOVER
    would be far too wide if one side never changes, because only the scale limits it then.

    Args:
        first: a change of each question's score, (n,).
        second: the change it is compared with, (n,); it may be a mean over several models.
        clusters: the person of each question, (n,).
        scale: of the score that changes: `bonett_price` for a proportion, else `cluster_t`.
        confidence: coverage of the interval.

    Raises:
        ValueError: a change is larger than the scale allows.
    """
    largest = scale.high - scale.low
    if scale.kind == "proportion":
        of_changes = Scale("proportion", -largest, largest)
        return difference_interval(first, second, clusters, of_changes, confidence)
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    of_differences = Scale("difference", -2 * largest, 2 * largest)
    return mean_interval(differences, clusters, of_differences, confidence)


def change_interval(
    after: ArrayLike, before: ArrayLike, clusters: Sequence, confidence: float = 0.95
) -> Estimate:
    """Mean change of a paired difference of 0 and 1: `after − before`, from −2 to 2.

    Limits of `bonett_price`, which adds one pair with +1 and one with −1. Coverage with 8, 16 and
    200 people: .99, .98, .95 (at worst .95, .93, .90; t alone .90, .94, .95, at worst .28).

    Args:
        after: one difference (−1, 0 or 1) per pair of questions, (n,).
        before: the difference of the same pair earlier, (n,).
        clusters: the person of each pair, (n,).
        confidence: coverage of the interval.

    Raises:
        ValueError: a difference lies outside of −1 to 1.
    """
    sides = np.column_stack([np.asarray(after, float), np.asarray(before, float)])
    if not len(sides):
        return Estimate(None, None, None, 0, 0)
    defined = np.isfinite(sides)
    _check_range(sides[defined], Scale("difference", -1, 1))
    undefined = int((~defined).any(axis=1).sum())
    sides = np.where(defined, sides, 0.0)
    change = Clustered(sides[:, :1] - sides[:, 1:], clusters, confidence)
    if undefined or len(change.sizes) < 2:
        limits, method = (change.mean, change.mean), None
    else:
        limits, method = bonett_price(change), "bonett_price"
    return _estimate(change, 0, undefined, [np.clip(limit, -2, 2) for limit in limits], method)


def recovery_interval(
    quantized: ArrayLike,
    full: ArrayLike,
    finetuned: ArrayLike,
    clusters: Sequence,
    scale: Scale,
    confidence: float = 0.95,
) -> Estimate:
    """Share of what was forgotten that quantization brings back.

    recovery = (quantized − full) / (finetuned − full), each the mean of the same questions:
    0 = nothing came back, 1 = as good as finetuned, negative = quantization forgets more.
    Limits by `fieller`, numerator and denominator from the same people. The value is None if
    nothing was forgotten, that is, if the lower limit of finetuned − full is at most
    `MINIMUM_FORGOTTEN`. A ratio with a denominator that may be zero has no bounded interval.

    Args:
        quantized: scores of the unlearned model after quantization, one per question, (n,).
        full: the same questions, the unlearned model at full precision.
        finetuned: the same questions, the model before unlearning, at full precision.
        clusters: the person each question is about.
        scale: of the scores.
        confidence: coverage of the interval.
    """
    quantized, full, finetuned = (
        np.asarray(one, dtype=float) for one in (quantized, full, finetuned)
    )
    if scale.kind == "proportion":
        forgotten = difference_interval(finetuned, full, clusters, scale, confidence)
    else:  # by t, as Fieller tests the denominator
        largest = scale.high - scale.low
        between = Scale("difference", -largest, largest)
        forgotten = mean_interval(finetuned - full, clusters, between, confidence)
    undefined = int((~np.isfinite(quantized + full + finetuned)).sum())
    nothing = Estimate(None, None, None, forgotten.n, forgotten.n_clusters, undefined)
    if undefined or forgotten.low is None or forgotten.low <= MINIMUM_FORGOTTEN:
        return nothing
    above, below = (
        Clustered((side - full)[:, None], clusters, confidence, np.abs([side, full]).max())
        for side in (quantized, finetuned)
    )
    ties = scale.kind == "proportion"
    (low,), (high,) = fieller(above, below, ties)
    if not math.isfinite(low):
        return nothing
    value = float(above.mean[0] / below.mean[0])
    return _with_limits(
        replace(nothing, value=value), low, high, "fieller_bonett_price" if ties else "fieller"
    )


def cluster_totals(values: np.ndarray, clusters: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the rows of `values` (n, k) in each cluster, and the cluster sizes: (c, k), (c,)."""
    names, membership = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    totals = np.zeros((len(names), values.shape[1]))
    np.add.at(totals, membership, values)
    return totals, np.bincount(membership, minlength=len(names))


def _check_range(values: np.ndarray, scale: Scale, rounding: float = 1e-6) -> None:
    outside = values[(values < scale.low - rounding) | (values > scale.high + rounding)]
    if len(outside):
        raise ValueError(f"{outside[0]!r} is not a {scale.kind} from {scale.low} to {scale.high}")


def _estimate(data: Clustered, column: int, undefined: int, limits: list, method) -> Estimate:
    n, n_clusters = data.n, len(data.sizes)
    if undefined:
        return Estimate(None, None, None, n, n_clusters, undefined)
    found = Estimate(float(data.mean[column]), None, None, n, n_clusters)
    if method is None:
        return found
    return _with_limits(found, limits[0][column], limits[1][column], method)


def _with_limits(estimate: Estimate, low: float, high: float, method: str) -> Estimate:
    """The estimate with limits that include its value; without any if they are equal."""
    low, high = min(float(low), estimate.value), max(float(high), estimate.value)
    if method != "fixed" and high - low <= ROUNDING * abs(estimate.value):
        return estimate
    return replace(estimate, low=low, high=high, method=method)


def _exponential(estimate: Estimate) -> Estimate:
    value, low, high = (
        None if x is None else math.exp(x) for x in (estimate.value, estimate.low, estimate.high)
    )
    method = estimate.method and "cluster_t_log"
    return replace(estimate, value=value, low=low, high=high, method=method)
