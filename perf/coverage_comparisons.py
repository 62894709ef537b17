"""Measure the coverage and the width of the intervals in `comparison_results.json`.

It simulates studies with known truth: people with forget and retain facts, and a trajectory whose
checkpoints know fewer and fewer of them. The intervals are the library's own.

    python perf/coverage_comparisons.py                      all kinds
    python perf/coverage_comparisons.py point gap            some kinds
    python perf/coverage_comparisons.py --people 16 --cases  a line for every case
    python perf/coverage_comparisons.py --studies 1000       more studies each (default 200)

Each line gives the mean coverage of 95 % intervals over all cases, the lowest coverage, the share
of cases below 93 %, the median width, and the share of studies that have a value. Only studies
with a value count, for coefficients only those with an interval.

It needs the package: `make .venv/installed`, or PYTHONPATH=workflow_scripts.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from scipy import special

from excise.evaluation.comparisons.curves import (
    Crossing,
    area_levels,
    envelope,
    forgetting,
    frontier_area,
    harmonic_score,
    relative_retention,
)
from excise.evaluation.comparisons.intervals import Sampled, resampled_interval, seed_difference
from excise.evaluation.comparisons.regression import ClusteredRegression
from excise.evaluation.comparisons.resampling import weights_of
from excise.evaluation.statistics import PROPORTION, SHARE, Estimate

PEOPLE = (8, 16, 200)
AGREEMENT = (0.0, 0.1, 0.4)  # correlation of a person's answers
FORGET, RETAIN = 6, 8  # questions per person and set
RESAMPLES = 400
PERSISTENCE = 0.7  # correlation of an answer between checkpoints
FORGOTTEN = {  # forget accuracy of the points of a trajectory
    "late": [0.99, 0.97, 0.82, 0.5, 0.09],
    "early": [0.99, 0.9, 0.6, 0.3, 0.05],
    "barely": [0.99, 0.95, 0.8, 0.6, 0.48],
}
KEPT = {  # retained accuracy of the same points
    "high": [0.9999, 0.999, 0.995, 0.98, 0.8],
    "middle": [0.99, 0.97, 0.9, 0.75, 0.4],
    "low": [0.9, 0.8, 0.6, 0.4, 0.2],
}
ORACLE = 0.02

Found = tuple[str, float, list[Estimate]]  # case, truth, one estimate per study


def latent(generator, studies: int, people: int, facts: int, points: int, agreement: float):
    """Standard normal numbers, (studies, people, facts, points), correlated within a person."""
    person = generator.standard_normal((studies, people, 1, 1))
    fact = generator.standard_normal((studies, people, facts, 1))
    own = generator.standard_normal((studies, people, facts, points))
    own = np.sqrt(PERSISTENCE) * fact + np.sqrt(1 - PERSISTENCE) * own
    return np.sqrt(agreement) * person + np.sqrt(1 - agreement) * own


def answers(numbers: np.ndarray, means: list[float], kind: str) -> np.ndarray:
    """Right or wrong, or scores from 0 to 1, with these means at the points."""
    levels = special.ndtri(np.array(means))
    if kind == "binary":
        return (numbers < levels) * 1.0
    return special.ndtr(levels * np.sqrt(2) - numbers)  # the mean of Φ(a√2 − z) is Φ(a)


def drawn(values: np.ndarray) -> np.ndarray:
    """Means in the study and its resamples: (studies, 1 + resamples, points)."""
    weights = weights_of(values.shape[1], RESAMPLES)
    sums = np.einsum("bg,sgk->sbk", weights, values.sum(axis=2))
    return sums / (weights.sum(axis=1)[None, :, None] * values.shape[2])


def known(kind: str, people: int, facts: int) -> Sampled:
    """People with equally many questions."""
    return Sampled(kind, np.repeat(np.arange(people), facts), people, people - 1)


def crossings(generator, people: int, studies: int, gap: bool) -> Iterator[Found]:
    """Retention, or the gap of two equally damaged sets, at matched forgetting."""
    cases = product(("binary", "score"), FORGOTTEN.items(), KEPT.items(), AGREEMENT)
    for kind, (forgot, falls), (kept, stays), agreement in cases:
        size = (studies, people)
        forget = answers(latent(generator, *size, FORGET, 5, agreement), falls, "binary")
        one = latent(generator, *size, RETAIN, 5, agreement)
        values = answers(one, stays, kind)
        if gap:
            two = 0.7 * one + np.sqrt(0.51) * latent(generator, *size, RETAIN, 5, agreement)
            values = values - answers(two, stays, kind)
        means, retained = drawn(forget), drawn(values)
        scale = {"binary": "tied", "score": "score"}[kind] if gap else "share"
        for level in (0.75, 0.5, 0.25):
            if falls[-1] > level:
                continue
            truth = Crossing(np.array(falls), np.array([level])).read(np.array(stays))[0]
            crossing = Crossing(means, np.full((*means.shape[:2], 1), level))
            found = []
            for study in np.flatnonzero(crossing.reached[:, 0, 0]):
                near, share = crossing.earlier[study, 0, 0], crossing.share[study, 0, 0]
                mixed = values[study, :, :, near] * (1 - share)
                mixed = (mixed + values[study, :, :, near + 1] * share).ravel()
                whole = crossing.continued(retained)[study, :, 0]
                sampled = known(scale, people, RETAIN)
                found.append(resampled_interval(whole, sampled, 0.95, mixed))
            yield f"{kind} {forgot} {kept} {agreement} at {level}", 0.0 if gap else truth, found


def points(generator, people: int, studies: int) -> Iterator[Found]:
    """Retention at matched forgetting."""
    yield from crossings(generator, people, studies, gap=False)


def gaps(generator, people: int, studies: int) -> Iterator[Found]:
    """The gap at matched forgetting."""
    yield from crossings(generator, people, studies, gap=True)


def areas(generator, people: int, studies: int) -> Iterator[Found]:
    """The area under the frontier of a method with two settings that differ little or much."""
    for kind, other, (kept, stays), agreement in product(
        ("binary", "score"), ("early", "barely"), KEPT.items(), AGREEMENT
    ):
        best, truth = None, None
        oracle = answers(
            latent(generator, studies, people, FORGET, 1, agreement), [ORACLE], "binary"
        )
        for falls, worse in ((FORGOTTEN["late"], 1.0), (FORGOTTEN[other], 0.98)):
            stay = [stays[0], *(worse * one for one in stays[1:])]
            size = (studies, people)
            forget = drawn(answers(latent(generator, *size, FORGET, 5, agreement), falls, "binary"))
            retained = drawn(answers(latent(generator, *size, RETAIN, 5, agreement), stay, kind))
            levels = area_levels(forget[..., 0], drawn(oracle)[..., 0])
            best = envelope(best, Crossing(forget, levels).read(retained))
            exact = area_levels(np.array(falls[0]), np.array(ORACLE))
            curve = Crossing(np.array(falls), exact).read(np.array(stay))
            truth = envelope(truth, curve)
        sampled = known("share", people, RETAIN)
        found = [resampled_interval(one, sampled, 0.95) for one in frontier_area(best)]
        yield f"{kind} late+{other} {kept} {agreement}", float(frontier_area(truth)), found


def scores(generator, people: int, studies: int) -> Iterator[Found]:
    """The harmonic mean of forgetting and retention of one checkpoint."""
    for (kept, stays), point, agreement in product(KEPT.items(), (1, 2, 3, 4), AGREEMENT):
        size, falls = (studies, people), FORGOTTEN["late"]
        forget = drawn(answers(latent(generator, *size, FORGET, 5, agreement), falls, "binary"))
        retained = drawn(answers(latent(generator, *size, RETAIN, 5, agreement), stays, "binary"))
        oracle = answers(latent(generator, *size, FORGET, 1, agreement), [ORACLE], "binary")
        oracle = drawn(oracle)[..., 0]
        score = harmonic_score(
            forgetting(forget[..., point], forget[..., 0], oracle),
            relative_retention(retained[..., point], retained[..., 0]),
        )
        lost = (falls[0] - falls[point]) / (falls[0] - ORACLE)
        truth = float(harmonic_score(np.array(lost), np.array(min(stays[point] / stays[0], 1))))
        sampled = known("share", people, RETAIN)
        yield (
            f"{kept} point {point} {agreement}",
            truth,
            [resampled_interval(one, sampled, 0.95) for one in score],
        )


SLOPES = np.array([0.1, 0.05, 0.1, -0.05])  # of the four terms, relative to the mean damage


def regressions(generator, people: int, studies: int) -> Iterator[Found]:
    """Coefficients of the damage: skewed scores, and lost facts from rare to common."""
    event = np.tile(np.repeat([1.0, 0.0], RETAIN), people)
    member = np.repeat(np.arange(people), 2 * RETAIN)
    typed = np.tile(np.arange(2 * RETAIN) % RETAIN == 1, people) * 1.0
    for outcome, varies in product(("normal", "skewed", 0.02, 0.1, 0.4), (0.0, 1.0)):
        found: list[list[Estimate]] = [[] for _ in SLOPES]
        for _ in range(studies):
            form = np.repeat(generator.random((people, RETAIN)) < 0.6, 2, axis=0).ravel() * 1.0
            distance = 0.7 - 0.3 * event + 0.08 * generator.standard_normal(len(event))
            predictors = np.column_stack([event, form, typed, distance])
            own = generator.standard_normal((people, len(SLOPES))) * 0.1 * varies
            mean = 1 + (predictors * (SLOPES + own[member])).sum(axis=1)
            person = generator.standard_normal(people)[member]
            if outcome == "normal":
                y = mean + 0.3 * person + 0.3 * generator.standard_normal(len(event))
            elif outcome == "skewed":
                y = mean * np.exp(0.8 * generator.standard_normal(len(event)) - 0.32)
            else:
                chance = outcome * np.clip(mean + 0.3 * varies * person, 0, 1 / outcome)
                y = (generator.random(len(event)) < chance) * 1.0
            regression = ClusteredRegression(predictors, member)
            for column, one in zip(regression.kept, regression.fit(y, 0.95), strict=True):
                if one.low is not None:
                    found[column].append(one)
        scale = outcome if isinstance(outcome, float) else 1.0
        for number, estimates in enumerate(found):
            yield f"{outcome} varies {varies:g} term {number}", scale * SLOPES[number], estimates


def seeds(generator, people: int, studies: int) -> Iterator[Found]:
    """The difference of a model to the mean of several oracles."""
    member = np.repeat(np.arange(people), RETAIN)
    cases = product(("binary", "score"), (2, 3, 5), (0.0, 0.02, 0.1), (0.5, 0.9), AGREEMENT)
    for kind, number, between, mean, agreement in cases:
        found = []
        for _ in range(studies):
            own = np.clip(mean + between * generator.standard_normal(number), 0.001, 0.999)
            numbers = latent(generator, 1, people, RETAIN, number + 1, agreement)
            values = answers(numbers, [0.6, *own], kind)[0].reshape(-1, number + 1).T
            scale = PROPORTION if kind == "binary" else SHARE
            found.append(seed_difference(values[:1], values[1:], member, scale, 0.95))
        truth = 0.6 - float(np.clip(mean + between * NORMAL, 0.001, 0.999).mean())
        yield f"{kind} {number} seeds {between} {mean} {agreement}", truth, found


NORMAL = special.ndtri((np.arange(10_000) + 0.5) / 10_000)
KINDS: dict[str, Callable] = {
    "point": points,
    "gap": gaps,
    "area": areas,
    "score": scores,
    "regression": regressions,
    "seeds": seeds,
}


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--people", type=int, nargs="+", default=PEOPLE)
    parser.add_argument("--studies", type=int, default=200, help="of each case")
    parser.add_argument("--cases", action="store_true", help="a line for every case")
    args = parser.parse_args(argv)
    if unknown := set(args.kinds) - set(KINDS):
        parser.error(f"{unknown.pop()!r}: allowed are {', '.join(KINDS)}")
    warnings.simplefilter("ignore", RuntimeWarning)
    print("kind people case: coverage, lowest, under .93, width, with a value")
    for kind, people in product(args.kinds or KINDS, args.people):
        report(kind, people, args.studies, args.cases)


def report(kind: str, people: int, studies: int, cases: bool) -> None:
    """Print the lines of one kind and number of people."""
    generator, groups = np.random.default_rng(people), {}
    for name, truth, found in KINDS[kind](generator, people, studies):
        having = [one for one in found if one.value is not None]
        if len(having) < 30:
            continue
        limits = np.array([[one.low, one.high] for one in having if one.low is not None])
        if not len(limits):
            continue
        hits = ((limits[:, 0] <= truth + 1e-9) & (limits[:, 1] >= truth - 1e-9)).sum()
        width = float(np.median(limits[:, 1] - limits[:, 0]))
        line = hits / len(having), width, len(having) / studies
        groups.setdefault(name if cases else name.split()[0], []).append(line)
    for name, lines in groups.items():
        coverage, width, valued = np.array(lines).T
        print(
            f"{kind:10} {people:4} {name:34} {coverage.mean():.3f} {coverage.min():.3f} "
            f"{(coverage < 0.93).mean():.2f} {width.mean():.3f} {valued.mean():.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
