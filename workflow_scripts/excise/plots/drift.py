"""The figures of hidden states: how far they move, layer by layer.

Rows of `repr_layers.json` in, a matplotlib figure out. The drift axis is logarithmic above 1 %
and linear below, so that an exact zero can be seen.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from excise.errors import InputError
from excise.plots.settings import PlotSettings
from excise.plots.style import (
    MARKERS,
    PALETTE,
    SET_NAMES,
    audited_models,
    audited_name,
    audited_style,
    drawn_sets,
    intervals,
    legend_below,
    line_with_band,
    method_color,
    missing_note,
    new_figure,
    select,
    strongest_trajectories,
    trajectory_name,
    trajectory_of,
)

DRIFT_LINEAR_BELOW = 0.01
POSITIONS = {
    "last_prompt": "the last prompt token",
    "last_subject": "the last token of the name",
    "answer": "the answer tokens",
}


def layerdrift_by_epoch(
    rows: pd.DataFrame,
    settings: PlotSettings,
    position: str = "last_prompt",
    trajectories: Sequence[str] = (),
) -> Figure:
    """Drift of hidden states over layers as unlearning goes on: sets × methods.

    Args:
        rows: of `repr_layers.json`.
        settings: of the figure.
        position: a key of `POSITIONS`.
        trajectories: one for each method; without them those with the highest learning rate.
    """
    rows = _drift_at(rows, position)
    trajectories = list(trajectories) or strongest_trajectories(rows)
    sets = [name for name in drawn_sets(rows) if name != "utility"]
    figure, grid = new_figure(
        len(sets), len(trajectories), 2.2 * len(sets) + 1.8, sharex=True, sharey=True
    )
    run = rows[rows["model"].map(trajectory_of).isin(trajectories)]
    epochs = sorted(select(run, f"check trajectories {trajectories}")["epoch"].unique())
    colors = dict(zip(epochs, sns.color_palette("viridis_r", len(epochs)), strict=True))
    for column, trajectory in enumerate(trajectories):
        name = trajectory_name(trajectory, settings.labels).replace(", ", "\n", 1)
        grid[0, column].set_title(name)
        for line, group in enumerate(sets):
            axes = grid[line, column]
            here = rows[rows["set"] == group]
            of_run = here[here["model"].str.startswith(f"unlearn/{trajectory}/")]
            for epoch, points in of_run.groupby("epoch"):
                line_with_band(axes, points, "layer", color=colors[epoch], lw=2)
            _draw_drift_references(axes, here)
            _label_right(grid[line, -1], SET_NAMES[group])
    handles = [Line2D([], [], color=colors[e], lw=2, label=f"{e:g} epochs") for e in epochs]
    title = f"How far hidden states at {POSITIONS[position]} move as unlearning goes on"
    _finish_drift(grid, handles, 3, rows, title, settings.confidence)
    return figure


def layerdrift_by_method(
    rows: pd.DataFrame,
    settings: PlotSettings,
    position: str = "last_prompt",
    models: Sequence[str] = (),
) -> Figure:
    """Drift of hidden states over layers, methods side by side, a panel per set.

    Args:
        rows: of `repr_layers.json`.
        settings: of the figure.
        position: a key of `POSITIONS`.
        models: the checkpoints to compare; without them, for each method the last one of the
            trajectory with the highest learning rate.
    """
    rows = _drift_at(rows, position)
    models = [m if m.startswith("unlearn/") else f"unlearn/{m}" for m in models]
    models = models or last_checkpoints(rows)
    others = audited_models(rows)
    select(rows, "check the configured checkpoints", model=[*models, *others])
    figure, grid = new_figure(2, 2, 7.4, sharex=True, sharey=True)
    methods = [model.split("/")[1] for model in models]
    handles, sets = [], drawn_sets(rows)
    for axes in grid.flat[len(sets) :]:
        axes.set_visible(False)
    for number, (model, method) in enumerate(zip(models, methods, strict=True)):
        color = method_color(method) if methods.count(method) == 1 else PALETTE[number % 10]
        size = max(10 - 2 * number, 4)  # so that a point on top of another hides it in part only
        style = {"color": color, "marker": MARKERS[number % len(MARKERS)], "markersize": size}
        name = trajectory_name(trajectory_of(model), settings.labels)
        label = f"{name}, {model.split('_')[-1]} epochs"
        handles.append(Line2D([], [], label=label, **style))
        for axes, group in zip(grid.flat, sets, strict=False):
            here = rows[(rows["set"] == group) & (rows["model"] == model)]
            line_with_band(axes, here, "layer", **style)
    for number, model in enumerate(others):
        style = audited_style(number) | {"markersize": 6}
        handles.append(Line2D([], [], label=audited_name(model), **style))
        for axes, group in zip(grid.flat, sets, strict=False):
            here = rows[(rows["set"] == group) & (rows["model"] == model)]
            line_with_band(axes, here, "layer", **style)
    for axes, group in zip(grid.flat, sets, strict=False):
        axes.set_title(f"{SET_NAMES[group]} questions")
        _draw_drift_references(axes, rows[rows["set"] == group])
    title = f"How far hidden states at {POSITIONS[position]} move under each method"
    _finish_drift(grid, handles, 2, rows, title, settings.confidence)
    return figure


def last_checkpoints(rows: pd.DataFrame) -> list[str]:
    """The last checkpoint of each method's trajectory with the highest learning rate."""
    last = []
    for trajectory in strongest_trajectories(rows):
        run = rows[rows["model"].str.startswith(f"unlearn/{trajectory}/")]
        last.append(run.loc[run["epoch"].idxmax(), "model"])
    return last


def _drift_at(rows: pd.DataFrame, position: str) -> pd.DataFrame:
    if position not in POSITIONS:
        raise InputError(f"position: found {position!r}; allowed: one of {', '.join(POSITIONS)}")
    what = "a summary of hidden states at all layers is needed"
    return select(rows, what, metric="drift", position=position)


def _draw_drift_references(axes: Axes, rows: pd.DataFrame) -> None:
    base = rows[rows["model"] == "base"].sort_values("layer")
    axes.plot(base["layer"], base["value"].astype(float), color=".45", ls="--", lw=1.5)
    floor = rows[rows["noise_floor"].notna()].drop_duplicates("layer").sort_values("layer")
    axes.plot(floor["layer"], floor["noise_floor"].astype(float), color="black", ls=":", lw=2)


def _label_right(axes: Axes, text: str) -> None:
    axes.annotate(
        text,
        (1.03, 0.5),
        xycoords="axes fraction",
        rotation=270,
        va="center",
        fontsize=12,
    )


def _finish_drift(
    grid: np.ndarray,
    handles: list[Line2D],
    columns: int,
    rows: pd.DataFrame,
    title: str,
    confidence: float,
) -> None:
    """Axes, the title's second line and the legend that both figures share."""
    figure, last = grid[0, 0].figure, int(rows["layer"].max())
    # All prompts end with the same token: new embeddings move it from a spread of 0.
    undefined = rows["value"].isna() & (rows["layer"] > 0)
    for axes in grid.flat:
        axes.set_yscale("symlog", linthresh=DRIFT_LINEAR_BELOW)
        axes.set_ylim(bottom=0)
        axes.set_xlim(-0.02 * last, 1.02 * last)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_formatter("{x:g}")
    bottom = grid[-1]
    for axes in [bottom[len(bottom) // 2]] if len(bottom) % 2 else bottom:
        axes.set_xlabel(f"layer (0 = embeddings, {last} = last block)")
    figure.supylabel("relative drift from finetuned (0 = unchanged) →", fontsize=12)
    figure.suptitle(
        f"{title}\n(1 = as far as a question is from the average one; "
        f"bands = {intervals(confidence)})" + missing_note(int(undefined.sum()))
    )
    if (rows["model"] == "base").any():
        handles.append(Line2D([], [], color=".45", ls="--", label="base vs finetuned (scale)"))
    if rows["noise_floor"].notna().any():
        noise = {"color": "black", "ls": ":", "lw": 2, "label": "oracle vs oracle (noise)"}
        handles.append(Line2D([], [], **noise))
    legend_below(figure, handles, columns=columns)
