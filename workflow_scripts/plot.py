"""Draw one figure of a result file: rows in, a PNG out.

`--figure` is a name of `excise.plots.figures`.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from excise.errors import run
from excise.evaluation.results import json_object, read_rows
from excise.plots.figures import FIGURES
from excise.plots.style import LABELS, save_figure


def main(argv: list[str] | None = None) -> None:
    """Draw `--rows` into `--out`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", choices=FIGURES, required=True)
    parser.add_argument("--rows", type=Path, required=True, help="a result file")
    parser.add_argument("--hp", type=json_object, default={}, help="JSON object")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    draw = drawing(args.figure)
    LABELS.update(args.hp.get("labels", {}))
    save_figure(draw(read_rows(args.rows), args.hp), args.out)
    print(f"{args.out}: drawn from {args.rows}")


def drawing(figure: str) -> Callable:
    """The function that draws a figure; only its module is imported."""
    match FIGURES[figure].module:
        case "excise.plots.forgetting":
            from excise.plots import forgetting as module
        case "excise.plots.drift":
            from excise.plots import drift as module
    return getattr(module, figure)


if __name__ == "__main__":
    run(main)
