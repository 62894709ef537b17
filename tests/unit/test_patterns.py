"""Patterns of names: exactly these names, and short for a grid."""

import itertools
import re

import pytest

from excise.patterns import pattern_of

GRID = [f"npo/lr{rate:g}_beta{beta}" for rate in (1e-5, 2e-4) for beta in (0.1, 0.5)]


@pytest.mark.parametrize(
    "names",
    [
        ["ga/lr0.0002"],
        GRID,
        GRID[:3],
        [*GRID, "ga/lr0.0002", "gd/lr1e-05_lambda1", "npo/lr1e-05"],
    ],
)
def test_a_pattern_matches_its_names_and_no_others(names):
    pattern = re.compile(pattern_of(names))
    parts = ["ga/", "gd/", "npo/", "_", "lr1e-05", "lr0.0002", "beta0.1", "beta0.5", "lambda1", ""]
    others = {"".join(four) for four in itertools.product(parts, repeat=4)} - set(names)
    assert all(pattern.fullmatch(name) for name in names)
    assert not [name for name in others if pattern.fullmatch(name)]
    assert not pattern.fullmatch(names[0].replace(".", "x")) or "." not in names[0]


def test_a_full_grid_is_one_term():
    assert pattern_of(GRID) == r"npo/(?:lr1e\-05|lr0\.0002)_(?:beta0\.1|beta0\.5)"


def test_a_grid_of_thousands_stays_short():
    names = [f"npo/lr{rate}_beta{beta}" for rate in range(1000) for beta in range(5)]
    assert len(pattern_of(names)) < 10_000
