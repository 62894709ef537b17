"""The figure of erasure in depth: layers × models, by patching and by the logit lens.

Rows of `depth_results.json` in, a matplotlib figure out.
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from excise.plots.settings import PlotSettings
from excise.plots.style import (
    missing_note,
    new_figure,
    select,
    trajectory_name,
    trajectory_of,
)

SCORES = {"uds": "by patching (UDS)", "lens_erasure": "by the logit lens"}
ROW_HEIGHT = 0.33  # inches
MOST_WRITTEN = 8
"""Up to so many columns the values are written; tick labels are at most as many."""


def depth_by_layer(rows: pd.DataFrame, settings: PlotSettings) -> Figure:
    """What the finetuned model can no longer read of forget facts in a model's states, by layer.

    A panel per score, a line per model; the first column is the score over all layers.

    Args:
        rows: of `depth_results.json`.
        settings: of the figure.
    """
    rows = select(rows, "a summary of depth is needed", set="sf")
    models = ordered_models(rows)
    figure, grid = new_figure(1, len(SCORES), ROW_HEIGHT * len(models) + 2.2, sharey=True)
    missing, image = 0, None
    for axes, (metric, title) in zip(grid[0], SCORES.items(), strict=True):
        overall = select(rows, "a summary of depth is needed", metric=metric).assign(layer=0)
        by_layer = select(rows, "a summary of depth is needed", metric=f"{metric}_by_layer")
        table = pd.concat([overall, by_layer]).pivot(index="model", columns="layer", values="value")
        values = table.reindex(models).to_numpy(dtype=float)
        missing += int(np.isnan(values).sum())
        image = axes.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        if values.shape[1] <= MOST_WRITTEN:
            _write(axes, values)
        axes.axvline(0.5, color="white", lw=4)
        step = math.ceil(values.shape[1] / MOST_WRITTEN)
        places = [0, *range(step, values.shape[1], step)]
        axes.set_xticks(places, ["all", *map(str, places[1:])])
        axes.set(title=title, xlabel="layer")
        axes.grid(False)
    grid[0, 0].set_yticks(range(len(models)), _names(rows, models, settings.labels))
    figure.colorbar(
        image, ax=grid[0], label="0 = as finetuned, 1 = as oracle", location="bottom", aspect=50
    )
    figure.suptitle(
        "How deep erasure goes: forget facts that can no longer be read\n"
        "from hidden states by the finetuned model (oracles: one against the others)"
        + missing_note(missing)
    )
    return figure


def ordered_models(rows: pd.DataFrame) -> list[str]:
    """The checkpoints by method and epoch, then oracles and base; finetuned is 0 everywhere."""
    unlearned = rows[rows["method"].notna()].assign(
        trajectory=lambda own: own["model"].map(trajectory_of)
    )
    ordered = unlearned.sort_values(["method", "trajectory", "epoch"])
    references = rows[rows["method"].isna() & (rows["model"] != "finetuned")]
    return list(dict.fromkeys([*ordered["model"], *sorted(references["model"], reverse=True)]))


def _names(rows: pd.DataFrame, models: list[str], labels: Mapping[str, str]) -> list[str]:
    """`GA, light`; without a level, or where two have the same, settings and epoch."""
    first = rows.drop_duplicates("model").set_index("model")
    names = [
        f"{first['method'][model].upper()}, {first['level'][model]}"
        if isinstance(first["level"][model], str)
        else model.replace("/seed_", ", seed ")
        for model in models
    ]
    return [
        f"{trajectory_name(trajectory_of(model), labels)}, {first['epoch'][model]:g} epochs"
        if model.startswith("unlearn/") and (names.count(name) > 1 or name == model)
        else name
        for model, name in zip(models, names, strict=True)
    ]


def _write(axes: Axes, values: np.ndarray) -> None:
    """Each value in its cell; a dash where it is undefined."""
    for line, numbers in enumerate(values):
        for column, value in enumerate(numbers):
            text = "–" if np.isnan(value) else f"{value:.2f}".lstrip("0")
            shade = "black" if not value < 0.6 else "white"
            axes.annotate(text, (column, line), ha="center", va="center", color=shade, fontsize=11)
