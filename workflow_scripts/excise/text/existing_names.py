"""Names of real prizes, firms, venues and works, which the benchmark must not use."""

from functools import cache
from pathlib import Path

from excise.text.matching import normalised


@cache
def existing_names() -> frozenset[str]:
    """Normal forms of the real names in `existing_names.txt`, without leading articles."""
    lines = Path(__file__).with_name("existing_names.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(without_article(line) for line in lines if line and line[0] != "#")


def exists(name: str) -> bool:
    """Whether this is the name of something real, with or without an article."""
    return without_article(name) in existing_names()


def without_article(name: str) -> str:
    """Normal form without a leading `the`."""
    return normalised(name).removeprefix("the ")
