"""Draw one figure of a result file, as a PNG.

`--figure` is a name of `excise.plots.figures`. Other arguments select a metric, models and so on,
which the rows must have. Without these arguments, the figure selects by itself.
"""

import argparse
import inspect
from collections.abc import Callable
from pathlib import Path

from excise.errors import InputError, run
from excise.evaluation.results import read_rows
from excise.plots.figures import FIGURES
from excise.plots.settings import PlotSettings
from excise.plots.style import save_figure
from excise.settings import json_of

CHOICES = ("metric", "position", "trajectories", "models")


def main(argv: list[str] | None = None) -> None:
    """Draw `--rows` into `--out`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", choices=FIGURES, required=True, help="name of the figure")
    parser.add_argument("--rows", type=Path, required=True, help="a result file")
    parser.add_argument(
        "--hp", type=json_of(PlotSettings), required=True, help="confidence and labels, JSON"
    )
    parser.add_argument("--metric", help="name of the metric in the result file")
    parser.add_argument("--position", help="position of hidden states, such as answer")
    parser.add_argument("--trajectories", nargs="+", help="trajectories, such as ga/lr0.0002")
    parser.add_argument("--models", nargs="+", help="checkpoints, such as ga/lr0.0002/epoch_5")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    args = parser.parse_args(argv)
    draw = drawing(args.figure)
    chosen = {name: value for name in CHOICES if (value := getattr(args, name)) is not None}
    known = [name for name in CHOICES if name in inspect.signature(draw).parameters]
    if unknown := [name for name in chosen if name not in known]:
        allowed = ", ".join(f"--{name}" for name in known)
        raise InputError(f"--{unknown[0]}: {args.figure} does not choose it; allowed: {allowed}")
    save_figure(draw(read_rows(args.rows), args.hp, **chosen), args.out)
    print(f"{args.out}: drawn from {args.rows}")


def drawing(figure: str) -> Callable:
    """The function that draws a figure; only its module is imported."""
    match FIGURES[figure].module:
        case "excise.plots.forgetting":
            from excise.plots import forgetting as module
        case "excise.plots.comparisons":
            from excise.plots import comparisons as module
        case "excise.plots.drift":
            from excise.plots import drift as module
        case "excise.plots.depth":
            from excise.plots import depth as module
        case "excise.plots.relearning":
            from excise.plots import relearning as module
    return getattr(module, figure)


if __name__ == "__main__":
    run(main)
