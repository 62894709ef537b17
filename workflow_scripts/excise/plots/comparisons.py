"""Figures of the comparisons: what methods keep when they have forgotten equally much."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from excise.plots.settings import PlotSettings
from excise.plots.style import (
    MARKERS,
    METRIC_NAMES,
    errors_of,
    intervals,
    legend_below,
    method_color,
    new_figure,
    select,
    trajectory_name,
    trajectory_of,
    units,
)

PANELS = ("sr", "gap")


def matched_retention(
    rows: pd.DataFrame, settings: PlotSettings, metric: str | None = None
) -> Figure:
    """What each trajectory keeps, and its gap, at the same forget accuracies.

    Args:
        rows: of `comparison_results.json`.
        settings: of the figure.
        metric: its name in the table; without it the settings' own.
    """
    metric = metric or settings.metric
    points = select(rows, "a comparison of methods is needed", comparison="matched_forgetting")
    points = select(points, "check the configured metric", metric=metric)
    points = points[points["method"].notna()]  # the others are means over trajectories
    points = points.assign(trajectory=points["model"].map(trajectory_of))
    trajectories = sorted(points["trajectory"].unique())
    levels = list(dict.fromkeys(points["matched_at"]))
    panels = [name for name in PANELS if name in set(points["set"])]  # own files: maybe no gap
    figure, grid = new_figure(len(panels), 1, 6.6 + 0.1 * len(trajectories), sharex=True)
    handles = []
    for number, trajectory in enumerate(trajectories):
        method = trajectory.split("/")[0]
        own = [one for one in trajectories if one.split("/")[0] == method]
        style = {
            "color": method_color(method),
            "marker": MARKERS[own.index(trajectory) % len(MARKERS)],
            "linestyle": "none",
        }
        shift = 0.7 * ((number + 0.5) / len(trajectories) - 0.5)
        members = points[points["trajectory"] == trajectory]
        for height, name in enumerate(panels):
            _draw(grid[height, 0], members[members["set"] == name], levels, shift, style)
        handles.append(Line2D([], [], label=trajectory_name(trajectory, settings.labels), **style))
    name = METRIC_NAMES.get(metric, metric)
    grid[0, 0].set(ylabel=f"retain set: {name}\nbetter kept →", ylim=(-0.08, 1.06))
    if "gap" in panels:
        grid[1, 0].axhline(0, color="black", lw=1)
        grid[1, 0].set(ylabel="gap: other − correlated\ncorrelated worse →")
    for axes in grid[:, 0]:
        axes.grid(False, axis="x")
        axes.set_xlim(-0.5, len(levels) - 0.5)
        for place in range(1, len(levels)):
            axes.axvline(place - 0.5, color=".85", lw=1)
    labels = [_level_name(points, level) for level in levels]
    grid[-1, 0].set_xticks(range(len(levels)), labels)
    grid[-1, 0].set_xlabel("slot accuracy on the forget set: more forgotten →")
    bars = f"{intervals(settings.confidence)} over {units(points)}"
    figure.suptitle(
        "What is kept at the same degree of forgetting, interpolated along each trajectory;\n"
        f"bars = {bars}, × = does not forget that much"
    )
    legend_below(figure, handles, columns=2)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, levels: list[str], shift: float, style: dict) -> None:
    """A point with its interval for each level that is reached, and a cross for the others."""
    for place, level in enumerate(levels):
        row = rows[rows["matched_at"] == level]
        if row["value"].isna().all():
            at_the_bottom = {"transform": axes.get_xaxis_transform(), "clip_on": False}
            cross = {"color": style["color"], "marker": "x", "markersize": 5}
            axes.plot([place + shift], [0.03], **cross, **at_the_bottom)
            continue
        value = row["value"].astype(float)
        axes.errorbar(
            [place + shift], value, yerr=errors_of(row), markersize=6, elinewidth=1.5, **style
        )


def _level_name(points: pd.DataFrame, level: str) -> str:
    """A level with its accuracy: `0.5`, or `oracle (0.01)`."""
    if level != "oracle":
        return level
    accuracy = points[points["matched_at"] == level]["forget_accuracy"].astype(float).iloc[0]
    return f"oracle ({accuracy:.2f})"
