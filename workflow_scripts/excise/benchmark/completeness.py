"""Check that a file has all its records.

A file that lost lines still parses, but its means are wrong. Every reader of records knows the
expected questions: those of the benchmark, or those that the other models answered.
"""

from collections.abc import Iterable
from pathlib import Path

from excise.errors import InputError


def check_ids(path: str | Path, found: Iterable[str], expected: Iterable[str], whose: str) -> None:
    """Check that a file has each expected record once, and no others.

    Args:
        path: the file, for the message.
        found: ids of its records.
        expected: ids of the expected records.
        whose: the source of `expected`, for the message.

    Raises:
        InputError: it does not. The message gives both numbers, and the first id that is missing
            or unexpected, or it reports duplicates.
    """
    found, expected = list(found), list(expected)
    present, wanted = set(found), set(expected)
    counts = f"{path}: found {len(found)} records; {len(expected)} are expected from {whose}"
    for key in expected:
        if key not in present:
            raise InputError(f"{counts}; the first one missing is {key!r}")
    for key in found:
        if key not in wanted:
            raise InputError(f"{counts}; {key!r} is not expected")
    if len(found) != len(expected):
        raise InputError(f"{counts}; some occur twice")
