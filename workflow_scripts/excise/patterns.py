"""A regular expression for the names of many trajectories, short enough for thousands of them.

Snakemake compiles a rule's constraint once for each of its files and tries it on every file of the
experiment: a plain list of 5,000 names made planning take minutes.
"""

import math
import re
from collections.abc import Iterable


def pattern_of(names: Iterable[str]) -> str:
    """A pattern that matches these names and no others.

    Args:
        names: such as `npo/lr0.0002_beta0.1`; those of a full grid become one term, with a list of
            values for every hyperparameter.
    """
    grids: dict[tuple, list[list[str]]] = {}
    for name in names:
        parts = re.split(r"[/_]", name)
        keys = tuple(re.match(r"[a-zA-Z]*", part)[0] for part in parts)
        grids.setdefault((re.sub(r"[^/_]", "", name), *keys), []).append(parts)
    return "|".join(_grid(separators, rows) for (separators, *_), rows in grids.items())


def _grid(separators: str, rows: list[list[str]]) -> str:
    columns = [list(dict.fromkeys(column)) for column in zip(*rows, strict=True)]
    if math.prod(map(len, columns)) == len(rows):
        return _joined(["|".join(map(re.escape, values)) for values in columns], separators)
    return "|".join(_joined([re.escape(part) for part in row], separators) for row in rows)


def _joined(parts: list[str], separators: str) -> str:
    marked = [f"(?:{part})" if "|" in part else part for part in parts]
    pairs = zip(marked, [*separators, ""], strict=True)
    return "".join(part + separator for part, separator in pairs)
