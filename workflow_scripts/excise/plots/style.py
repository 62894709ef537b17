"""What all figures share: fonts, colours, names, intervals, and files that repeat bit by bit.

Figures are 8 inches wide with type of 11 points and more, so that they stay readable at half
that width. Colours are seaborn's colour-blind palette; references are grey or black.
"""

from collections.abc import Iterable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from excise.errors import InputError
from excise.files import atomic_path
from excise.plots.names import METRIC_NAMES as METRIC_NAMES
from excise.plots.names import SET_NAMES as SET_NAMES
from excise.plots.names import audited_name as audited_name
from excise.plots.names import color_number, trajectory_of
from excise.plots.names import method_name as method_name
from excise.plots.names import settings_name as settings_name
from excise.plots.names import trajectory_name as trajectory_name

WIDTH = 8.0  # inches
GROUPS = ("correlated", "other")
MARKERS = "osD^vPX*<>"
AUDITED_MARKERS = "hdp8H<>^v"
PALETTE = sns.color_palette("colorblind")
FONTS = {
    "font.size": 12,
    "axes.labelsize": 12,
    "axes.titlesize": 12,
    "figure.titlesize": 13,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.title_fontsize": 11,
}


def new_figure(rows: int = 1, columns: int = 1, height: float = 6.0, **axes) -> tuple:
    """A figure with its grid of axes (rows, columns), in the style of the house."""
    sns.set_theme(style="whitegrid", palette="colorblind", rc=FONTS | {"grid.color": ".9"})
    return plt.subplots(
        rows, columns, figsize=(WIDTH, height), squeeze=False, layout="constrained", **axes
    )


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG without anything that differs between two runs, atomically."""
    sns.despine(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})
    plt.close(figure)


def method_color(method: str) -> tuple:
    """One colour per method, the same in every figure."""
    return PALETTE[color_number(method)]


def own_checkpoints(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the study's own unlearned models, which lie on trajectories."""
    return rows[rows["model"].fillna("").str.startswith("unlearn/")]


def audited_models(rows: pd.DataFrame) -> list[str]:
    """Models of others that are audited, in the order of the rows."""
    return list(dict.fromkeys(one for one in rows["model"].dropna() if one.startswith("audit/")))


def audited_style(number: int) -> dict:
    """Colour and marker of the nth audited model."""
    colors = [one for one in range(len(PALETTE)) if one >= 3]
    return {
        "color": PALETTE[colors[number % len(colors)]],
        "marker": AUDITED_MARKERS[number % len(AUDITED_MARKERS)],
    }


def strongest_trajectories(rows: pd.DataFrame) -> list[str]:
    """For each method the trajectory with the highest learning rate (the last, if several)."""
    unlearned = own_checkpoints(rows).copy()
    unlearned["trajectory"] = unlearned["model"].map(trajectory_of)
    ordered = unlearned.sort_values(["learning_rate", "trajectory"])
    return list(ordered.groupby("method")["trajectory"].last())


def select(rows: pd.DataFrame, what: str, **keys) -> pd.DataFrame:
    """Rows with these values in these columns.

    Raises:
        InputError: there are none.
    """
    for column, value in keys.items():
        if column not in rows:
            raise InputError(f"the rows of this plot need a key {column!r}: wrong result file?")
        rows = rows[rows[column].isin(value) if isinstance(value, list) else rows[column] == value]
    if rows.empty:
        raise InputError(f"no rows with {', '.join(f'{k}={v}' for k, v in keys.items())}: {what}")
    return rows


def errors_of(points: pd.DataFrame, suffix: str = "") -> list:
    """Distances to the interval's ends, as matplotlib wants them: [below, above]."""
    value = points[f"value{suffix}"].astype(float)
    low = points[f"ci_low{suffix}"].astype(float).fillna(value)
    high = points[f"ci_high{suffix}"].astype(float).fillna(value)
    return [(value - low).clip(lower=0).to_numpy(), (high - value).clip(lower=0).to_numpy()]


def line_with_band(axes: Axes, points: pd.DataFrame, x: str, **style) -> None:
    """A line through the values and a band over their intervals."""
    points = points.sort_values(x)
    numbers = points[[x, "value", "ci_low", "ci_high"]].astype(float)
    (line,) = axes.plot(numbers[x], numbers["value"], **style)
    axes.fill_between(
        numbers[x], numbers["ci_low"], numbers["ci_high"], color=line.get_color(), alpha=0.18, lw=0
    )


def legend_below(figure: Figure, handles: Iterable, columns: int) -> None:
    """One legend for the whole figure, under the panels."""
    figure.legend(handles=list(handles), loc="outside lower center", ncols=columns, frameon=False)


def intervals(confidence: float) -> str:
    """What bars and bands are: 0.95 → `95 % intervals`."""
    return f"{100 * confidence:g} % intervals"


def drawn_sets(rows: pd.DataFrame) -> list[str]:
    """The sets of `SET_NAMES` that have rows; all retain facts only where they have no groups."""
    known = set(rows["set"])
    return [name for name in SET_NAMES if name in known and (name != "sr" or not known & {*GROUPS})]


def units(rows: pd.DataFrame) -> str:
    """What intervals are over: people, or questions where the data name nobody."""
    about_nobody = "n_people" in rows and rows["n_people"].isna().all()
    return "questions" if about_nobody else "people"


def missing_note(missing: int) -> str:
    """What a figure says about values that are undefined and so cannot be drawn."""
    return f"\n({missing} undefined after collapse: not drawn)" if missing else ""
