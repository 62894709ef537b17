"""Patterns match exactly the given names, and are short for a grid."""

import itertools
import re

import pytest

from excise.workflow.patterns import pattern_of

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
    assert pattern_of(GRID) == r"npo/lr(?:0\.0002|1e\-05)_beta0\.[15]"


def test_the_order_of_names_does_not_matter():
    assert pattern_of(GRID) == pattern_of(reversed(GRID))


def test_names_with_a_common_prefix_are_distinguished():
    words = ["", "a", "ab", "abc", "b", "bc", "^", "]", "-b", "a-"]
    for names in itertools.combinations([f"ga/{word}" for word in words], 4):
        pattern = re.compile(pattern_of(names))
        assert [word for word in words if pattern.fullmatch(f"ga/{word}")] == [
            word for word in words if f"ga/{word}" in names
        ]


def test_a_grid_of_thousands_stays_short():
    rates = [round(1e-5 * (1 + index), 10) for index in range(1000)]
    names = [f"npo/lr{rate:g}_beta0.{beta}" for rate in rates for beta in range(1, 6)]
    pattern = re.compile(pattern_of(names))
    assert len(pattern.pattern) < 500
    assert all(map(pattern.fullmatch, names))
    assert not pattern.fullmatch("npo/lr0.0200_beta0.1")
