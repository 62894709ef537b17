"""Measure the coverage of intervals of representation metrics on people drawn from real records.

The people of a finished study are taken for the population. Studies of 8, 16 and 200 people are
drawn from it with replacement, with all questions of a person. An interval covers if it holds the
population's mean. Figures are those of the tables: UDS, logit-lens erasure, erasure direction,
cosine and selectivity of probes. For the first two, other intervals stand beside that of the
library: cluster-t, and Bonett-Price of 2x - 1, which adds a question with 0 and one with 1.

    python perf/coverage_of_depth.py results            every model, 300 studies each

Each line gives the mean coverage of 95 % intervals over models (and layers), the lowest coverage,
and the number of cases.

It needs the package: `make .venv/installed`, or PYTHONPATH=workflow_scripts.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from excise.evaluation.reading import read_items
from excise.evaluation.statistics import (
    COSINE,
    CUT_RATIO,
    SHARE,
    Clustered,
    Estimate,
    Limits,
    Scale,
    cluster_t,
    difference_interval,
    mean_interval,
    wilson_clopper_pearson,
)
from excise.evaluation.tables.depth import erased
from excise.evaluation.tables.drift import ERASURE

PEOPLE = (8, 16, 200)
THRESHOLD = 0.05


def numbers(items, key: str) -> np.ndarray:
    """A column of lists as (n, layers)."""
    return np.array(items[key].to_list(), dtype=float)


def cases(results: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray, Callable]]:
    """Figure, values (n, columns), the person of each question, and its interval."""
    depth, states = results / "depth", results / "repr"
    finetuned = read_items(depth / "finetuned" / "items.jsonl")
    sf = (finetuned["set"] == "sf").to_numpy()
    people = finetuned["person_id"].to_numpy()[sf]
    first = min(depth.glob("oracle/*/items.jsonl"))
    oracle = read_items(first).loc[finetuned.index]
    for path in sorted(depth.glob("unlearn/**/items.jsonl")):
        model = path.parent.relative_to(depth)
        items = read_items(path).loc[finetuned.index]
        for name, key in (("uds", "patched"), ("lens_erasure", "lens")):
            own = numbers(finetuned, key)[sf]
            one, two = own - numbers(oracle, key)[sf], own - numbers(items, key)[sf]
            shares = erased(one, two, THRESHOLD)[0][:, None]
            yield name, shares, people, mean_of(CUT_RATIO)
            for method in (cluster_t, wilson_clopper_pearson):
                yield f"{name}, {method.__name__}", shares, people, by(method)
        probes = read_items(path.with_name("probes.jsonl"))
        pairs = np.column_stack([numbers(probes, "hit")[:, -1], numbers(probes, "control")[:, -1]])
        yield "probe_selectivity", pairs, probes["person_id"].to_numpy(), selectivity
        if not (states / model).is_dir():  # only depth was measured
            continue
        moved = read_items(states / model / "items.jsonl")
        moved = moved[(moved["set"] == "sf") & (moved["position"] == "last_prompt")]
        for name, scale in (("erasure", ERASURE), ("direction_cosine", COSINE)):
            for column in numbers(moved, name)[:, 1:].T:
                yield name, column[:, None], moved["person_id"].to_numpy(), mean_of(scale)


def mean_of(scale: Scale) -> Callable[[np.ndarray, np.ndarray], Estimate]:
    """The interval of a mean of one column."""
    return lambda values, people: mean_interval(values[:, 0], people, scale)


def by(method: Callable[[Clustered], Limits]) -> Callable[[np.ndarray, np.ndarray], Estimate]:
    """The interval of a mean of shares by another method, cut to 0 and 1."""

    def interval(values: np.ndarray, people: np.ndarray) -> Estimate:
        data = Clustered(values, people)
        (low,), (high,) = (np.clip(limit, 0, 1) for limit in method(data))
        return Estimate(float(data.mean[0]), low, high, len(values), len(data.sizes))

    return interval


def selectivity(values: np.ndarray, people: np.ndarray) -> Estimate:
    """The interval of hits minus control."""
    return difference_interval(values[:, 0], values[:, 1], people, SHARE)


def coverage(values, people, interval, n_people: int, studies: int, generator) -> float:
    """Share of the studies whose interval holds the mean of the population."""
    rows = [np.flatnonzero(people == person) for person in np.unique(people)]
    truth = interval(values, people).value
    hits = 0
    for _ in range(studies):
        drawn = generator.integers(len(rows), size=n_people)
        chosen = np.concatenate([rows[index] for index in drawn])
        person = np.repeat(np.arange(n_people), [len(rows[index]) for index in drawn])
        found = interval(values[chosen], person)
        hits += found.low is not None and found.low <= truth <= found.high
    return hits / studies


def main() -> None:
    """Print a line per figure and number of people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--studies", type=int, default=300)
    args = parser.parse_args()
    generator, found = np.random.default_rng(0), defaultdict(list)
    for name, values, people, interval in cases(args.results):
        for n_people in PEOPLE:
            covered = coverage(values, people, interval, n_people, args.studies, generator)
            found[name, n_people].append(covered)
    for (name, n_people), covered in sorted(found.items()):
        print(f"{name:34} {n_people:4} people: mean {np.mean(covered):.3f}, "
              f"lowest {min(covered):.3f}, {len(covered)} cases")  # fmt: skip


if __name__ == "__main__":
    main()
