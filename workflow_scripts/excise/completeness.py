"""Are all the records there? A file that lost whole lines still parses; its means would be wrong.

Every reader of records knows which questions belong there: those of the benchmark, or at least
those that the other models were asked.
"""

from collections.abc import Iterable
from pathlib import Path

from excise.errors import InputError


def check_ids(path: str | Path, found: Iterable[str], expected: Iterable[str], whose: str) -> None:
    """A file of records holds those that belong there: each once, and no others.

    Args:
        path: the file, for the message.
        found: ids of its records.
        expected: ids of the records that belong there.
        whose: where `expected` comes from, for the message.

    Raises:
        InputError: it does not. Tells how many there are, how many belong there, and the first id
            that is missing, or belongs to nothing, or comes twice.
    """
    found, expected = list(found), list(expected)
    present, wanted = set(found), set(expected)
    counts = f"{path}: found {len(found)} records; {len(expected)} belong here by {whose}"
    for key in expected:
        if key not in present:
            raise InputError(f"{counts}; the first one missing is {key!r}")
    for key in found:
        if key not in wanted:
            raise InputError(f"{counts}; {key!r} is not one of them")
    if len(found) != len(expected):
        raise InputError(f"{counts}; some are there twice")
