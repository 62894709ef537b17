"""Measure the coverage and the width of intervals over people, by method.

It simulates many studies of each kind: people × questions with a known truth. Methods of the
library (marked *) use the library's own functions. Other methods are listed for comparison.

    python perf/coverage.py                          all kinds
    python perf/coverage.py proportion recovery      some kinds
    python perf/coverage.py --people 16 --truths     a line for every truth
    python perf/coverage.py --studies 4000           more studies each (default 500)

Each line gives the mean coverage of 95 % intervals over all cases, the lowest coverage, the share
of cases below 93 %, the mean width, and the share of intervals without a width. A case is a truth,
a correlation of a person's answers, and a number of questions per person. An undefined interval
counts as a miss. Studies in which recovery or the rescaled AUC has no value are excluded.

It needs the package: `make .venv/installed`, or PYTHONPATH=workflow_scripts.
"""

import argparse
import itertools
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
from scipy import special, stats

from excise.evaluation import harmonic, kolmogorov, rank_statistics
from excise.evaluation import statistics as library
from excise.evaluation.areas import Area, difference_low, ratio_limits, rescaled_limits
from excise.evaluation.statistics import PROPORTION, SHARE, Clustered
from excise.evaluation.tables import relearning

PEOPLE = (8, 16, 32, 200)
SIZES = {"one": [1], "equal": [6], "unequal": [1, 2, 3, 6, 10, 14]}  # questions, person by person
RETAINED = {"equal": [16], "unequal": [4, 8, 16, 24]}  # retain questions, person by person
AGREEMENT = (0.0, 0.1, 0.4, 0.8)  # correlation of a person's answers
RESAMPLES = 400
LIBRARY = "* "

Case = tuple[
    dict[str, np.ndarray], np.ndarray, float
]  # columns (questions, studies), people, truth
Methods = dict[str, tuple[np.ndarray, np.ndarray]]


def normal(generator, people: np.ndarray, agreement: float, studies: int) -> np.ndarray:
    """Standard normal numbers, (questions, studies), correlated within a person."""
    person = generator.standard_normal((people.max() + 1, studies))[people]
    own = generator.standard_normal((len(people), studies))
    return np.sqrt(agreement) * person + np.sqrt(1 - agreement) * own


def beta_binomial(generator, people, agreement, studies, p) -> np.ndarray:
    """Answers of people; each person's probability of a right answer has a beta distribution."""
    k = (1 - agreement) / agreement
    chance = generator.beta(p * k, (1 - p) * k, (people.max() + 1, studies))[people]
    return (generator.random((len(people), studies)) < chance) * 1.0


def designs(
    n_people: int, by_name: dict[str, list[int]] = SIZES
) -> Iterator[tuple[np.ndarray, float]]:
    """The person of each question, and the correlation of a person's answers."""
    for name, sizes in by_name.items():
        people = np.repeat(np.arange(n_people), np.resize(sizes, n_people))
        yield from (
            (people, agreement) for agreement in AGREEMENT if name != "one" or not agreement
        )


def proportions(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """Right or wrong."""
    for people, agreement in designs(n_people):
        for p in (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.995):
            latent = normal(generator, people, agreement, studies) < stats.norm.ppf(p)
            yield f"{p:g}", ({"values": latent * 1.0}, people, p)
            if agreement:
                values = beta_binomial(generator, people, agreement, studies, p)
                yield f"{p:g}", ({"values": values}, people, p)


def marginals(kind: str, mean: float) -> tuple[Callable, float]:
    """A function from standard normal numbers to scores in 0 to 1, and the mean score."""
    grid = np.linspace(-8, 8, 4001)
    ranks = np.clip(special.ndtr(grid), 1e-15, 1 - 1e-15)
    if kind == "at one end":  # like ROUGE-L: mostly 1, and a share with any score
        share = 2 * min(mean, 1 - mean)
        scores = np.where(ranks < share, ranks / share, 1.0)
        scores = scores if mean > 0.5 else 1 - scores
    else:  # like probabilities: beta
        total = {"extreme": 0.8, "skewed": 4, "narrow": 20}[kind]
        scores = special.betaincinv(mean * total, (1 - mean) * total, ranks)
    weights = np.exp(-(grid**2) / 2)
    return lambda x: np.interp(x, grid, scores), float(weights @ scores / weights.sum())


def shares(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """ROUGE-L, probability, win rate."""
    for people, agreement in designs(n_people):
        for kind in ("at one end", "skewed", "narrow", "extreme"):
            for mean in (0.02, 0.1, 0.5, 0.9, 0.98):
                score, truth = marginals(kind, mean)
                values = score(normal(generator, people, agreement, studies))
                yield f"{mean:g} {kind}", ({"values": values}, people, truth)


def logarithms(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """Logarithms of truth ratios: normal, heavy tails, skewed."""
    for people, agreement in designs(n_people):
        x = normal(generator, people, agreement, studies)
        for name, values, truth in (
            ("normal", x, 0.0),
            ("heavy tails", np.sinh(x), 0.0),
            ("skewed", np.exp(x / 2), np.exp(1 / 8)),
        ):
            yield name, ({"values": values}, people, truth)


def drifts(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """Drift of hidden states: lognormal."""
    for people, agreement in designs(n_people):
        x = normal(generator, people, agreement, studies)
        for spread in (0.4, 0.7, 1.0):
            truth = np.exp(spread**2 / 2)
            yield f"spread {spread:g}", ({"values": np.exp(spread * x)}, people, truth)


def medians(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """Medians of truth ratios: lognormal."""
    for people, agreement in designs(n_people):
        x = normal(generator, people, agreement, min(studies, 200))
        yield "lognormal", ({"values": np.exp(x)}, people, 1.0)


PAIRS = [  # share right of other and of correlated, correlation of the two
    (0.995, 0.995, 0.5),
    (0.98, 0.98, 0.95),
    (0.98, 0.9, 0.5),
    (0.9, 0.9, 0.9),
    (0.5, 0.5, 0.5),
    (0.6, 0.3, 0.5),
    (0.02, 0.02, 0.3),
]


def sides(generator, people, agreement, studies, together) -> list[np.ndarray]:
    """Normal numbers of the two questions of each pair."""
    both, *own = (normal(generator, people, agreement, studies) for _ in range(3))
    return [np.sqrt(together) * both + np.sqrt(1 - together) * one for one in own]


def gaps(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """Differences of partner questions, right or wrong."""
    for people, agreement in designs(n_people):
        for *right, together in PAIRS:
            x = sides(generator, people, agreement, studies, together)
            first, second = (
                (one < stats.norm.ppf(p)) * 1.0 for one, p in zip(x, right, strict=True)
            )
            truth = right[0] - right[1]
            name = f"{right[0]:g} - {right[1]:g}"
            yield name, ({"first": first, "second": second}, people, truth)


def score_gaps(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """Differences of partner questions' ROUGE-L or probability."""
    for people, agreement in designs(n_people):
        for kind in ("at one end", "skewed", "extreme"):
            for *means, together in PAIRS[1:6]:
                (one, first), (two, second) = (marginals(kind, mean) for mean in means)
                x = sides(generator, people, agreement, studies, together)
                columns = {"first": one(x[0]), "second": two(x[1])}
                yield f"{means[0]:g} - {means[1]:g} {kind}", (columns, people, first - second)


RESPONSES = [  # share right of other and correlated without a dose, then with it
    ((0.995, 0.995), (0.995, 0.98)),
    ((0.98, 0.98), (0.98, 0.9)),
    ((0.98, 0.98), (0.95, 0.6)),
    ((0.9, 0.9), (0.9, 0.9)),
    ((0.9, 0.8), (0.8, 0.2)),
    ((0.5, 0.5), (0.5, 0.5)),
    ((0.3, 0.3), (0.3, 0.02)),
    ((0.02, 0.02), (0.02, 0.005)),
]


def responses(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """How much a gap of right or wrong answers grows with a planted dose."""
    for people, agreement in designs(n_people):
        for shares_right in RESPONSES:
            gap = []
            for right in shares_right:
                x = sides(generator, people, agreement, studies, 0.5)
                first, second = (
                    (one < stats.norm.ppf(p)) * 1.0 for one, p in zip(x, right, strict=True)
                )
                gap.append(first - second)
            before, after = (one - other for one, other in shares_right)
            name = f"{after:.3g} - {before:.3g}"
            yield name, ({"values": gap[1] - gap[0]}, people, after - before)


def recoveries(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """Recovery by quantization: right or wrong, before and after; nearly all right at first."""
    for people, agreement in designs(n_people):
        for left, gain, loss in (
            (0.05, 0.01, 0.01),
            (0.05, 0.05, 0.02),
            (0.3, 0.3, 0.05),
            (0.3, 0.0, 0.0),
            (0.6, 0.8, 0.01),
            (0.6, 0.02, 0.3),
        ):
            x = [special.ndtr(normal(generator, people, agreement, studies)) for _ in range(4)]
            finetuned = (x[0] < 0.99) * 1.0
            full = (x[1] < left) * finetuned
            quantized = np.where(full > 0, x[2] >= loss, (x[3] < gain) * finetuned) * 1.0
            truth = (gain * (1 - left) - left * loss) / (1 - left)
            columns = {"quantized": quantized, "full": full, "finetuned": finetuned}
            yield f"{truth:.2g}", (columns, people, truth)


def other_people(people: np.ndarray) -> np.ndarray:
    """The person of each question of the other set: of half as many people, alike."""
    return people[people < (people.max() + 1) // 2]


def areas(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """AUC of members against half as many others: normal scores of equal or unequal spread."""
    for people, agreement in designs(n_people):
        others = other_people(people)
        for area in (0.5, 0.7, 0.9, 0.97, 0.99, 0.999):
            for spread in (1.0, 2.5, 0.4):
                shift = stats.norm.ppf(area) * np.sqrt(1 + spread**2)
                members = normal(generator, people, agreement, studies) + shift
                rest = normal(generator, others, agreement, studies) * spread
                yield f"{area:g}", ({"members": members, "others": rest}, people, area)


def leaks(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """PrivLeak of a model and one oracle, whose scores of a question are correlated."""
    for people, agreement in designs(n_people):
        others = other_people(people)
        for area, oracle, together in itertools.product(
            (0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.999), (0.5, 0.6), (0.3, 0.8)
        ):
            scores = [
                sides(generator, one, agreement, studies, together) for one in (people, others)
            ]
            shifts = [stats.norm.ppf(one) * np.sqrt(2) for one in (area, oracle)]
            columns = {
                "members": scores[0][0] + shifts[0],
                "others": scores[1][0],
                "oracle_members": scores[0][1] + shifts[1],
                "oracle_others": scores[1][1],
            }
            yield f"{area:g}", (columns, people, 100 * (oracle - area) / (1 - oracle))


RESCALED = [  # AUC of the model, of finetuned, of the oracle; correlation of their scores
    (area, before, oracle, together)
    for before, oracle in ((0.999, 0.5), (0.97, 0.6), (0.9, 0.5), (0.8, 0.6))
    for area in (0.1, oracle, (before + oracle) / 2, before)
    for together in (0.3, 0.9)
]


def rescalings(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """Rescaled AUC of a model, finetuned and one oracle, whose scores of a question correlate."""
    names = ("", "finetuned_", "oracle_")
    for people, agreement in designs(n_people):
        others = other_people(people)
        for *true, together in RESCALED:
            columns = {}
            both = [normal(generator, one, agreement, studies) for one in (people, others)]
            for name, area in zip(names, true, strict=True):
                for side, whom, shared in zip(
                    ("members", "others"), (people, others), both, strict=True
                ):
                    own = normal(generator, whom, agreement, studies)
                    columns[name + side] = np.sqrt(together) * shared + np.sqrt(1 - together) * own
                columns[name + "members"] += stats.norm.ppf(area) * np.sqrt(2)
            area, before, oracle = true
            truth = (before - area) / (before - oracle)
            yield f"{area:.2g} {before:g} {oracle:g}", (columns, people, truth)


SHIFTS = [  # location and scale of one model's log truth ratios, the other's being 0 and 1
    (0.0, 1.0),
    (0.3, 1.0),
    (0.8, 1.0),
    (2.0, 1.0),
    (3.5, 1.0),
    (6.0, 1.0),
    (0.0, 3.0),
]


def distributions(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """Truth ratios of two models that are asked the same, apart by a shift or by their spread."""
    grid = np.linspace(-15, 20, 70_001)
    for people, agreement in designs(n_people):
        for together in (0.0, 0.7):
            for shift, spread in SHIFTS:
                x, y = sides(generator, people, agreement, max(studies // 10, 20), together)
                apart = stats.norm.cdf(grid) - stats.norm.cdf((grid - shift) / spread)
                columns = {"first": x, "second": shift + spread * y}
                truth = float(np.abs(apart).max())
                yield f"shift {shift:g}, spread {spread:g}", (columns, people, truth)


def equal_distributions(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """As `distributions`, but of equal models alone, and ten times as many studies."""
    for people, agreement in designs(n_people):
        for together in (0.0, 0.7):
            first, second = sides(generator, people, agreement, studies, together)
            yield "equal", ({"first": first, "second": second}, people, 0.0)


UTILITIES = {  # kind and mean of the three parts of sr and the three of 200 questions
    "good": "extreme .97, at one end .98, narrow .4, skewed .6, at one end .9, extreme .6",
    "damaged": "extreme .5, at one end .6, skewed .15, extreme .5, at one end .7, skewed .4",
    "one low": "extreme .95, at one end .95, extreme .03, skewed .6, at one end .9, extreme .6",
    "collapsed": "extreme .02, at one end .1, extreme .05, extreme .1, at one end .1, skewed .2",
}
QUESTIONS = 200


def utilities(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """Six scores whose means make the model utility; parts of one question correlate."""
    studies = max(studies // 5, 20)
    nobody = np.arange(QUESTIONS)
    for people, agreement in designs(n_people, RETAINED):
        for name, described in UTILITIES.items():
            parts = [one.rsplit(" ", 1) for one in described.split(", ")]
            scores = [marginals(kind, float(mean)) for kind, mean in parts]
            columns = {}
            for whom, correlation, first in ((people, agreement, 0), (nobody, 0.0, 3)):
                both = normal(generator, whom, correlation, studies)
                for number in range(first, first + 3):
                    own = normal(generator, whom, correlation, studies)
                    columns[f"part {number}"] = scores[number][0](np.sqrt(0.5) * (both + own))
            truth = harmonic.harmonic_mean([mean for _, mean in scores])
            yield name, (columns, people, truth)


ORACLES = 2
CHANGES = [  # share right before, gain and loss by quantization; the same of the oracles
    (0.05, 0.01, 0.1, 0.05, 0.01, 0.1),
    (0.05, 0.1, 0.1, 0.05, 0.01, 0.1),
    (0.3, 0.3, 0.05, 0.05, 0.02, 0.2),
    (0.3, 0.0, 0.02, 0.05, 0.0, 0.02),
    (0.6, 0.4, 0.05, 0.1, 0.05, 0.3),
    (0.9, 0.02, 0.1, 0.02, 0.01, 0.5),
]


def changes(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """Change of right answers by quantization, minus the mean change of two oracles."""
    for people, agreement in designs(n_people):
        for case in CHANGES:

            def change(share, gain, loss, people=people, agreement=agreement):
                x = [special.ndtr(normal(generator, people, agreement, studies)) for _ in range(3)]
                before = x[0] < share
                return np.where(before, x[1] >= loss, x[2] < gain) * 1.0 - before

            own = change(*case[:3])
            oracles = np.mean([change(*case[3:]) for _ in range(ORACLES)], axis=0)
            truth = [(1 - p) * gain - p * loss for p, gain, loss in (case[:3], case[3:])]
            columns = {"first": own, "second": oracles}
            yield f"{truth[0] - truth[1]:.2g}", (columns, people, truth[0] - truth[1])


STEPS = (0, 5, 15)
CURVES = ((0, 0.02, 0.05), (0.05, 0.3, 0.6), (0.3, 0.6, 0.9), (0.7, 0.9, 0.98), (0.4, 0.4, 0.4))
"""Share of right answers at each step of a relearning attack."""


def curve_areas(generator, people, agreement, studies, curve) -> tuple[np.ndarray, float]:
    """Areas under curves of right and wrong answers, which mostly stay from step to step."""
    whole = normal(generator, people, agreement, studies)
    own = [normal(generator, people, agreement, studies) for _ in STEPS]
    known = [
        (special.ndtr(0.8**0.5 * whole + 0.2**0.5 * noise) < share) * 1.0
        for noise, share in zip(own, curve, strict=True)
    ]
    made = np.stack(known, axis=-1)
    found = [relearning.areas(made[:, study], STEPS) for study in range(studies)]
    return np.stack(found, axis=1), float(relearning.areas(np.array([curve]), STEPS)[0])


def attacked(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """Area of the relearning attack: a mean over questions of areas under curves."""
    for people, agreement in designs(n_people):
        for curve in CURVES:
            values, truth = curve_areas(generator, people, agreement, studies, curve)
            yield f"{truth:.2g}", ({"values": values}, people, truth)


def attacked_beyond(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """The area minus the mean area of two oracles, paired by question."""
    for people, agreement in designs(n_people):
        for curve in CURVES:
            for of_oracles in (CURVES[0], (0.05, 0.1, 0.2)):
                own, truth = curve_areas(generator, people, agreement, studies, curve)
                others = [
                    curve_areas(generator, people, agreement, studies, of_oracles)
                    for _ in range(ORACLES)
                ]
                second = np.mean([values for values, _ in others], axis=0)
                truth -= others[0][1]
                yield f"{truth:.2g}", ({"first": own, "second": second}, people, truth)


def score_changes(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """The same of ROUGE-L or probability: four scores, correlated before and after.

    In `rare` cases most answers stay the same word by word, as with int8.
    """
    for people, agreement in designs(n_people):
        for kind in ("at one end", "skewed", "extreme"):
            for means in ((0.1, 0.2, 0.1, 0.1), (0.5, 0.6, 0.3, 0.3), (0.02, 0.1, 0.02, 0.02)):
                made, true = [], []
                for pair in (means[:2], *[means[2:]] * ORACLES):
                    x = sides(generator, people, agreement, studies, 0.8)
                    scores = [marginals(kind, mean) for mean in pair]
                    before, after = (f(one) for (f, _), one in zip(scores, x, strict=True))
                    made.append(after - before)
                    true.append(scores[1][1] - scores[0][1])
                columns = {"first": made[0], "second": np.mean(made[1:], axis=0)}
                yield f"{means} {kind}", (columns, people, true[0] - np.mean(true[1:]))
        for rate in (0.03, 0.1, 0.3):
            made = []
            for _ in range(1 + ORACLES):
                changed = special.ndtr(normal(generator, people, agreement, studies)) < rate
                size = generator.uniform(-1, 1, changed.shape) + 0.3
                made.append(np.clip(size, -1, 1) * changed)
            columns = {"first": made[0], "second": np.mean(made[1:], axis=0)}
            yield f"rare {rate:g}", (columns, people, 0.0)


FACTS = 16  # retain facts of a person
TIES = [(0, 0), (0.3, 0.3), (0.7, 0.7), (0, 0.5)]  # correlation of people, of their own facts


def two_scores(generator, people, agreement, ties, studies) -> tuple[np.ndarray, np.ndarray]:
    """Predictor and damage of every fact: normal, correlated between and within people."""
    found = []
    for rows, together in ((people.max() + 1, ties[0]), (len(people), ties[1])):
        one, other = generator.standard_normal((2, rows, studies))
        found.append((one, together * one + np.sqrt(1 - together**2) * other))
    (one, other), (own, another) = found
    between, within = np.sqrt(agreement), np.sqrt(1 - agreement)
    return between * one[people] + within * own, between * other[people] + within * another


def forecasts(generator, n_people: int, studies: int) -> Iterator[tuple]:
    """Cases of a forecast: people, columns and the correlation of the two columns."""
    people = np.repeat(np.arange(n_people), FACTS)
    for agreement in AGREEMENT:
        for ties in TIES if agreement else TIES[:3]:
            columns = two_scores(generator, people, agreement, ties, studies)
            yield people, columns, agreement * ties[0] + (1 - agreement) * ties[1], ties


def ranks(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """Spearman's correlation of two normal numbers: 6/π · arcsin(r/2)."""
    for people, (x, y), r, _ in forecasts(generator, n_people, studies):
        truth = 6 / np.pi * np.arcsin(r / 2)
        yield f"{r:.2g}", ({"first": x, "second": y}, people, truth)


def ranks_within(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """The mean of each person's Spearman correlation; the truth is that of many people."""
    for people, (x, y), _, ties in forecasts(generator, n_people, studies):
        many = two_scores(np.random.default_rng(0), np.zeros(FACTS, int), 0, ties, 100_000)
        centred = [stats.rankdata(one, axis=0) - (FACTS + 1) / 2 for one in many]
        truth = (centred[0] * centred[1]).sum(axis=0) / (centred[0] ** 2).sum(axis=0)
        yield f"{ties[1]:.2g}", ({"first": x, "second": y}, people, float(truth.mean()))


def losses(generator, n_people: int, studies: int) -> Iterator[tuple[str, Case]]:
    """AUC of a predictor for the facts with the largest damage; 5, 20 or 50 % are lost."""
    for people, (x, y), r, _ in forecasts(generator, n_people, studies):
        for share in (0.05, 0.2, 0.5):
            one, other = np.random.default_rng(0).standard_normal((2, 1_000_000))
            many = r * one + np.sqrt(1 - r * r) * other > stats.norm.ppf(1 - share)
            lost = (y > stats.norm.ppf(1 - share)) * 1.0
            columns = {"scores": x, "positive": lost}
            yield f"{share:g} lost", (columns, people, rank_statistics.auc(one, many))


# Methods that the library does not use.


def resampled(data: Clustered) -> tuple[np.ndarray, np.ndarray]:
    """Counts of people (resamples, people) and means of the resamples."""
    people = len(data.sizes)
    counts = np.random.default_rng(0).multinomial(people, np.full(people, 1 / people), RESAMPLES)
    return counts, (counts @ data.sums) / (counts @ data.sizes)[:, None]


def bootstraps(data: Clustered) -> Methods:
    """Percentile, BCa (Efron 1987) and bootstrap-t."""
    counts, means = resampled(data)
    below = (means < data.mean).mean(axis=0) + (means == data.mean).mean(axis=0) / 2
    bias = special.ndtri(np.clip(below, 1e-3, 1 - 1e-3))
    without_person = (data.sums.sum(axis=0) - data.sums) / (data.n - data.sizes)[:, None]
    without_person = without_person.mean(axis=0) - without_person
    cubes, squares = (without_person**3).sum(axis=0), (without_person**2).sum(axis=0) ** 1.5
    acceleration = np.divide(cubes, 6 * squares, out=np.zeros_like(cubes), where=squares > 0)
    ordered, columns = np.sort(means, axis=0), np.arange(len(bias))
    bca = []
    for z in special.ndtri([0.025, 0.975]):
        rank = special.ndtr(bias + (bias + z) / (1 - acceleration * (bias + z)))
        rank = np.clip((rank * RESAMPLES).astype(int), 0, RESAMPLES - 1)
        bca.append(ordered[rank, columns])
    error = np.sqrt(data.variance)
    squares, products = counts @ data.sums**2, counts @ (data.sums * data.sizes[:, None])
    spread = squares - 2 * means * products + means**2 * (counts @ data.sizes**2)[:, None]
    spread = np.sqrt(np.maximum(spread, 0)) / (counts @ data.sizes)[:, None]
    t = np.divide(means - data.mean, spread, out=np.zeros_like(means), where=spread > 1e-12)
    quantiles = np.quantile(t, [0.975, 0.025], axis=0)
    return {
        "percentile bootstrap": tuple(np.quantile(means, [0.025, 0.975], axis=0)),
        "BCa": tuple(bca),
        "bootstrap-t": (data.mean - quantiles[0] * error, data.mean - quantiles[1] * error),
    }


def cr1(data: Clustered) -> tuple[np.ndarray, np.ndarray]:
    """Cluster-t with CR1 and people − 1 degrees of freedom."""
    people = len(data.sizes)
    residuals = data.sums - np.outer(data.sizes, data.mean)
    variance = (residuals**2).sum(axis=0) / data.n**2 * people / (people - 1)
    spread = stats.t.ppf(0.975, people - 1) * np.sqrt(variance)
    return data.mean - spread, data.mean + spread


def of_means(data: Clustered) -> Methods:
    """All methods for any mean."""
    return bootstraps(data) | {"cluster-t, CR1": cr1(data), "cluster-t": library.cluster_t(data)}


def of_shares(data: Clustered) -> Methods:
    """All methods for numbers from 0 to 1."""
    p, t = np.clip(data.mean, 0, 1), data.t
    n = data.effective_n(p * (1 - p))
    middle, spread = p + t * t / (2 * n), t * np.sqrt(p * (1 - p) / n + (t / (2 * n)) ** 2)
    scale = 1 + t * t / n
    adjusted = middle / scale
    wide = t * np.sqrt(adjusted * (1 - adjusted) / (n + t * t))
    inside = np.clip(p, 1e-12, 1 - 1e-12)
    logit = t * np.sqrt(data.variance) / (inside * (1 - inside))
    worth = n * (special.ndtri(0.975) / t) ** 2
    x = p * worth
    exact = [
        np.where(x > 0, special.betaincinv(np.maximum(x, 1e-9), worth - x + 1, 0.025), 0),
        np.where(x < worth, special.betaincinv(x + 1, np.maximum(worth - x, 1e-9), 0.975), 1),
    ]
    return of_means(data) | {
        "logit-t": (
            special.expit(special.logit(inside) - logit),
            special.expit(special.logit(inside) + logit),
        ),
        "Wilson": ((middle - spread) / scale, (middle + spread) / scale),
        "Agresti-Coull": (adjusted - wide, adjusted + wide),
        "Clopper-Pearson": tuple(exact),
        LIBRARY + "wilson_clopper_pearson": library.wilson_clopper_pearson(data),
    }


def of_median(data: Clustered, people: np.ndarray) -> Methods:
    """The bootstrap (100 resamples) and the method of the library."""
    counts, _ = resampled(data)
    order = np.argsort(data.values, axis=0)
    lows, highs = [], []
    for column in range(data.values.shape[1]):
        weights = counts[:100, people[order[:, column]]].cumsum(axis=1)
        middle = (weights >= weights[:, -1:] / 2).argmax(axis=1)
        found = data.values[order[middle, column], column]
        lows.append(np.quantile(found, 0.025))
        highs.append(np.quantile(found, 0.975))
    score = [library.cluster_score(column, people, 0.95) for column in data.values.T]
    return {
        "percentile bootstrap": (np.array(lows), np.array(highs)),
        LIBRARY + "cluster_score": tuple(np.array(score).T),
    }


def of_gap(first: Clustered, second: Clustered, gap: Clustered, winner: str) -> Methods:
    """All methods for paired differences."""
    found = of_means(gap) | {
        "bonett_price": library.bonett_price(gap),
        "cluster_t_mover": library.cluster_t_mover(first, second, gap, SHARE),
    }
    found[LIBRARY + winner] = found.pop(winner)
    return found


def of_changes(first: np.ndarray, second: np.ndarray, people: np.ndarray) -> Methods:
    """All methods for differences of changes."""
    one, two, difference = (Clustered(x, people) for x in (first, second, first - second))
    between = library.Scale("difference", -1, 1)
    return of_means(difference) | {
        "bonett_price": library.bonett_price(difference),
        "bonett_price, twice": library.bonett_price(difference, 2),
        "cluster_t_mover": library.cluster_t_mover(one, two, difference, between),
    }


def of_ranks(columns: dict, people: np.ndarray, function: Callable) -> Methods:
    """The method of the library, for studies in which it gives limits."""
    found = [
        function(*one, people) for one in zip(*(side.T for side in columns.values()), strict=True)
    ]
    limits = [(one.low, one.high) for one in found if one.low is not None]
    if len(limits) < 10:
        return {}
    return {LIBRARY + function.__name__: tuple(np.array(limits).T)}


def of_recovery(columns: dict, people: np.ndarray) -> Methods:
    """All methods for recovery, for studies in which the library gives a value."""
    limits = [
        library.recovery_interval(*one, people, PROPORTION)
        for one in zip(*(columns[name].T for name in columns), strict=True)
    ]
    kept = np.array([one.value is not None for one in limits])
    if kept.sum() < 30:
        return {}
    above = Clustered((columns["quantized"] - columns["full"])[:, kept], people)
    below = Clustered((columns["finetuned"] - columns["full"])[:, kept], people)
    counts, _ = resampled(above)
    ratios = (counts @ above.sums) / (counts @ below.sums)
    ratio = above.mean / below.mean
    variance = above.variance - 2 * ratio * above.covariance(below) + ratio**2 * below.variance
    spread = above.t * np.sqrt(np.maximum(variance, 0)) / below.mean
    defined = [one for one in limits if one.value is not None]
    own = tuple(np.array([[one.low, one.high] for one in defined]).T)
    return {
        "percentile bootstrap": tuple(np.quantile(ratios, [0.025, 0.975], axis=0)),
        "delta method, t": (ratio - spread, ratio + spread),
        "fieller": library.fieller(above, below, ties=False),
        LIBRARY + "fieller_bonett_price": own,
    }


def area_of(members: np.ndarray, others: np.ndarray, people: np.ndarray) -> Area:
    """The AUC of every study."""
    return Area([(members, others)], people, other_people(people))


def of_area(area: Area) -> Methods:
    """t (close to a jackknife over people), logit-t, Wilson and the method of the library."""
    spread = area.t * np.sqrt(area.variance)
    inside = np.clip(area.value, 1e-9, 1 - 1e-9)
    logit, scale = special.logit(inside), inside * (1 - inside)
    known = area.variance > 1e-12
    n = np.divide(
        area.value * (1 - area.value),
        area.variance,
        out=np.full(len(known), min(side.people for side in area.sides)),
        where=known,
    )
    n = np.maximum(n, 1e-9)
    middle, t = area.value + area.t**2 / (2 * n), area.t
    wide = t * np.sqrt(area.value * (1 - area.value) / n + (t / (2 * n)) ** 2)
    return {
        "cluster-t": (area.value - spread, area.value + spread),
        "logit-t": (
            special.expit(logit - spread / scale),
            special.expit(logit + spread / scale),
        ),
        "Wilson": ((middle - wide) / (1 + t**2 / n), (middle + wide) / (1 + t**2 / n)),
        LIBRARY + "newcombe_area": area.limits(),
    }


def of_leak(own: Area, oracle: Area) -> Methods:
    """The delta method and the method of the library."""
    p, q = 1 - own.value, np.maximum(1 - oracle.value, 1e-9)
    ratio = p / q
    covariance = sum(a.covariance(b) for a, b in zip(own.sides, oracle.sides, strict=True))
    variance = own.variance - 2 * ratio * covariance + ratio**2 * oracle.variance
    spread = np.maximum(own.t, oracle.t) * np.sqrt(np.maximum(variance, 0)) / q
    low, high = ratio_limits(own, oracle)
    return {
        "delta method, t": (100 * (ratio - spread - 1), 100 * (ratio + spread - 1)),
        LIBRARY + "mover_ratio": (100 * (low - 1), 100 * (high - 1)),
    }


def of_rescaled(columns: dict, people: np.ndarray) -> Methods:
    """All methods for the rescaled AUC, for studies in which the library gives a value."""

    def areas(kept: np.ndarray) -> list[Area]:
        return [
            area_of(columns[name + "members"][:, kept], columns[name + "others"][:, kept], people)
            for name in ("", "finetuned_", "oracle_")
        ]

    everything = areas(np.full(columns["members"].shape[1], True))
    kept = difference_low(*everything[1:]) > 1e-12
    if kept.sum() < 30:
        return {}
    own, before, oracle = areas(kept)
    above, below = before.value - own.value, before.value - oracle.value
    t = np.maximum.reduce([one.t for one in (own, before, oracle)])

    def covariance(first: Area, second: Area) -> np.ndarray:
        return sum(a.covariance(b) for a, b in zip(first.sides, second.sides, strict=True))

    middle = covariance(before, before)
    top = middle - 2 * covariance(own, before) + covariance(own, own)
    bottom = middle - 2 * covariance(before, oracle) + covariance(oracle, oracle)
    mixed = middle - covariance(own, before) - covariance(before, oracle) + covariance(own, oracle)
    ratio = above / below
    variance = top - 2 * ratio * mixed + ratio**2 * bottom
    spread = t * np.sqrt(np.maximum(variance, 0)) / below
    square, cross = below**2 - t**2 * bottom, above * below - t**2 * mixed
    root = np.sqrt(np.maximum(cross**2 - square * (above**2 - t**2 * top), 0))
    bounded = square > 1e-12
    divisor = np.where(bounded, square, 1)
    return {
        "delta method, t": (ratio - spread, ratio + spread),
        "Fieller, t": (
            np.where(bounded, (cross - root) / divisor, -np.inf),
            np.where(bounded, (cross + root) / divisor, np.inf),
        ),
        LIBRARY + "mover_inverted": rescaled_limits(own, before, oracle),
    }


def each(methods: Callable[[int], dict], studies: int) -> Methods:
    """Limits of every study, of methods that take one study at a time."""
    found = [methods(study) for study in range(studies)]
    return {
        name: tuple(np.array([one[name] for one in found]).T)
        for name in (found[0] if found else ())
    }


def of_distributions(columns: dict, people: np.ndarray) -> Methods:
    """All methods for the distance of Kolmogorov and Smirnov."""
    first, second = columns["first"], columns["second"]

    def methods(study: int) -> dict:
        one, other = first[:, study], second[:, study]
        found = kolmogorov.ks_interval(one, [other], people)
        points = np.sort(np.concatenate([one, other]))
        below = (one[:, None] <= points).astype(float) - (other[:, None] <= points)
        data = Clustered(below, people)
        _, means = resampled(data)
        signs = kolmogorov._signs(len(data.sizes))
        noise = np.abs(signs @ (data.residuals / data.n)).max(axis=1)
        width = np.quantile(noise, 0.95) * data.t / special.ndtri(0.975)
        left = np.abs(data.sums.sum(axis=0) - data.sums) / (data.n - data.sizes)[:, None]
        return {
            "percentile bootstrap": np.quantile(np.abs(means).max(axis=1), [0.025, 0.975]),
            "jackknife": jackknife(found.value, left.max(axis=1)),
            "uniform band": (found.value - width, found.value + width),
            LIBRARY + "people_signs": (found.low, found.high),
        }

    return each(methods, first.shape[1])


def jackknife(value: float, left: np.ndarray) -> tuple[float, float]:
    """Limits from the values without each person."""
    people = len(left)
    error = np.sqrt((people - 1) / people * ((left - left.mean()) ** 2).sum())
    spread = stats.t.ppf(0.975, people - 1) * error
    return value - spread, value + spread


def of_utilities(columns: dict, people: np.ndarray) -> Methods:
    """All methods for the harmonic mean of six means, three of people and three of questions."""
    parts = list(columns.values())
    whom = [people.astype(str)] * 3 + [np.char.add("u", np.arange(QUESTIONS).astype(str))] * 3
    generator = np.random.default_rng(0)

    def methods(study: int) -> dict:
        values = [one[:, study] for one in parts]
        found = harmonic.harmonic_mean_interval(list(zip(values, whom, strict=True)))
        means = np.empty((RESAMPLES, 6))
        for number, (one, names) in enumerate(zip(values, whom, strict=True)):
            totals, sizes = library.cluster_totals(one[:, None], names)
            if number % 3 == 0:
                chance = np.full(len(sizes), 1 / len(sizes))
                counts = generator.multinomial(len(sizes), chance, RESAMPLES)
            means[:, number] = (counts @ totals[:, 0]) / (counts @ sizes)
        drawn = [harmonic.harmonic_mean(one) for one in means]
        return {
            "percentile bootstrap": np.quantile(drawn, [0.025, 0.975]),
            LIBRARY + "mover_harmonic": (found.low, found.high),
        }

    return each(methods, parts[0].shape[1])


def measure(kind: str, case: Case) -> tuple[Methods, tuple[float, float]]:
    """Limits by method, and the range of the quantity."""
    columns, people, _ = case
    if kind in ("gap", "score_gap", "attack_area_gap"):
        first, second = columns["first"], columns["second"]
        data = [Clustered(one, people) for one in (first, second, first - second)]
        return of_gap(*data, "bonett_price" if kind == "gap" else "cluster_t_mover"), (-1, 1)
    if kind == "area":
        return of_area(area_of(columns["members"], columns["others"], people)), (0, 1)
    if kind == "leak":
        own = area_of(columns["members"], columns["others"], people)
        oracle = area_of(columns["oracle_members"], columns["oracle_others"], people)
        return of_leak(own, oracle), (-100, np.inf)
    if kind == "rescaled":
        return of_rescaled(columns, people), (-np.inf, np.inf)
    if kind in ("distribution", "equal_distribution"):
        return of_distributions(columns, people), (0, 1)
    if kind == "utility":
        return of_utilities(columns, people), (0, 1)
    if kind in ("changes", "score_changes"):
        found = of_changes(columns["first"], columns["second"], people)
        winner = "bonett_price" if kind == "changes" else "cluster-t"
        found[LIBRARY + winner] = found.pop(winner)
        return found, (-2, 2)
    if kind in RANKS:
        return of_ranks(columns, people, RANKS[kind]), (-1, 1)
    if kind == "recovery":
        return of_recovery(columns, people), (-np.inf, np.inf)
    data = Clustered(columns["values"], people)
    if kind in ("proportion", "share", "attack_area"):
        return of_shares(data), (0, 1)
    if kind == "median":
        return of_median(data, people), (-np.inf, np.inf)
    if kind == "response":
        found = of_means(data) | {
            LIBRARY + "bonett_price": library.bonett_price(data),
            "bonett_price, pair of 2": library.bonett_price(data, 2),
        }
        return found, (-2, 2)
    found = of_means(data)
    found[LIBRARY + "cluster-t"] = found.pop("cluster-t")
    return found, (-np.inf, np.inf)


RANKS = {
    "rank": rank_statistics.rank_correlation_interval,
    "rank_within": rank_statistics.rank_correlation_within,
    "lost": rank_statistics.auc_interval,
}
KINDS = {
    "proportion": proportions,
    "share": shares,
    "geometric": logarithms,
    "unbounded": drifts,
    "gap": gaps,
    "score_gap": score_gaps,
    "response": responses,
    "median": medians,
    "recovery": recoveries,
    "area": areas,
    "leak": leaks,
    "rescaled": rescalings,
    "distribution": distributions,
    "equal_distribution": equal_distributions,
    "utility": utilities,
    "changes": changes,
    "score_changes": score_changes,
    "attack_area": attacked,
    "attack_area_gap": attacked_beyond,
    "rank": ranks,
    "rank_within": ranks_within,
    "lost": losses,
}


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--people", type=int, nargs="+", default=PEOPLE)
    parser.add_argument("--studies", type=int, default=500, help="of each case")
    parser.add_argument("--truths", action="store_true", help="a line for every truth")
    args = parser.parse_args(argv)
    if unknown := set(args.kinds) - set(KINDS):
        parser.error(f"{unknown.pop()!r}: allowed are {', '.join(KINDS)}")
    kolmogorov.RESAMPLES = RESAMPLES
    warnings.simplefilter("ignore", RuntimeWarning)  # from methods that divide by zero
    print("kind people truth method: coverage, lowest, under .93, width, without width")
    for kind in args.kinds or KINDS:
        for n_people in args.people:
            report(kind, n_people, args.studies, args.truths)


def report(kind: str, n_people: int, studies: int, truths: bool) -> None:
    """Print the lines of one kind and number of people."""
    generator = np.random.default_rng(n_people)
    if n_people >= 100:
        studies = max(studies // 4, 50)
    found = defaultdict(list)
    for name, case in KINDS[kind](generator, n_people, studies):
        methods, ends = measure(kind, case)
        for method, limits in methods.items():
            low, high = (np.clip(limit, *ends) for limit in limits)
            hit = (low <= case[2] + 1e-12) & (high >= case[2] - 1e-12)
            line = hit.mean(), np.median(high - low), (high - low < 1e-12).mean()
            found[name if truths else "all", method].append(line)
    for (name, method), lines in found.items():
        coverage, width, without = np.array(lines).T
        print(
            f"{kind:10} {n_people:4} {name:16} {method:25} {coverage.mean():.3f} "
            f"{coverage.min():.3f} {(coverage < 0.93).mean():.2f} {width.mean():.3f} "
            f"{without.mean():.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
