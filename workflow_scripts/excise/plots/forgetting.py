"""The figures of forgetting: rows of a result file in, a matplotlib figure out.

Each says by itself what it shows: axes with unit and direction, finetuned and oracle beside
every result, and a word on what could not be drawn.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from excise.plots.settings import PlotSettings
from excise.plots.style import (
    MARKERS,
    METRIC_NAMES,
    PALETTE,
    audited_models,
    audited_name,
    audited_style,
    errors_of,
    intervals,
    legend_below,
    line_with_band,
    method_color,
    method_name,
    missing_note,
    new_figure,
    own_checkpoints,
    select,
    settings_name,
    trajectory_name,
    trajectory_of,
    units,
)

GROUP_COLORS = {"correlated": PALETTE[3], "other": PALETTE[9]}
PRECISIONS = {"full": "full precision", "int8": "INT8", "nf4": "NF4", "fp4": "FP4"}
PRECISION_COLORS = ["black", PALETTE[0], PALETTE[1], PALETTE[2]]
LEVELS = ("light", "medium", "heavy")
AUDITED = "audited models"
MOST_SETTINGS = 3


def forget_vs_retain(
    rows: pd.DataFrame, settings: PlotSettings, metric: str | None = None
) -> Figure:
    """Every checkpoint: what is left of the forget set against what is left of the retain set.

    Args:
        rows: of `sweep_results.json`.
        settings: of the figure.
        metric: its name in the table; None: that of the settings.
    """
    metric = metric or settings.metric
    points = forget_retain_points(rows, metric)
    start = points[points["model"] == "finetuned"]
    checkpoints = own_checkpoints(points)
    trajectories = checkpoints.assign(trajectory=checkpoints["model"].map(trajectory_of))
    figure, grid = new_figure(height=6.4 + 0.1 * trajectories["trajectory"].nunique())
    axes, name = grid[0, 0], METRIC_NAMES.get(metric, metric)
    unit = "share of facts" if metric == "slot_accuracy" else "mean over facts"
    handles = []
    for method, of_method in trajectories.groupby("method"):
        for number, (trajectory, run) in enumerate(of_method.groupby("trajectory")):
            style = {
                "color": method_color(method),
                "marker": MARKERS[number % len(MARKERS)],
                "linestyle": ("-", "--", ":", "-.")[number % 4],
            }
            _draw_trajectory(axes, start, run.sort_values("epoch"), style)
            handles.append(
                Line2D([], [], label=trajectory_name(trajectory, settings.labels), **style)
            )
    handles += _draw_audited(axes, points)
    handles += _draw_references(axes, points)
    handles += _draw_guessing(axes, rows, metric)
    bars = f"{intervals(settings.confidence)} over {units(rows)}"
    axes.set(
        xlim=(-0.03, 1.04),
        ylim=(-0.03, 1.04),
        xlabel=f"forget set: {name} ({unit})\n← more forgotten",
        ylabel=f"retain set: {name} ({unit})\nbetter kept →",
        title="What unlearning forgets and what it damages: a point per checkpoint,\n"
        f"lines start at the finetuned model, bars = {bars}"
        + missing_note(points["value_sf"].isna().sum() + points["value_sr"].isna().sum()),
    )
    legend_below(figure, handles, columns=3)
    return figure


def forget_retain_points(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One row per model with value, ci_low, ci_high of sf and of sr side by side."""
    chosen = select(rows, "a summary of evaluations is needed", metric=metric)
    keys = ["model", "method", "epoch", "value", "ci_low", "ci_high"]
    sides = [chosen.loc[chosen["set"] == name, keys] for name in ("sf", "sr")]
    both = sides[0].merge(sides[1][["model", *keys[3:]]], on="model", suffixes=("_sf", "_sr"))
    return both.astype({f"{key}_{side}": float for key in keys[3:] for side in ("sf", "sr")})


def _draw_trajectory(axes: Axes, start: pd.DataFrame, run: pd.DataFrame, style: dict) -> None:
    path = pd.concat([start, run])
    axes.plot(path["value_sf"], path["value_sr"], **(style | {"marker": "", "lw": 1.5}))
    style = style | {"linestyle": "none", "markersize": 7, "capsize": 0, "elinewidth": 1}
    axes.errorbar(
        run["value_sf"],
        run["value_sr"],
        xerr=errors_of(run, "_sf"),
        yerr=errors_of(run, "_sr"),
        alpha=0.75,
        **style,
    )


def _draw_audited(axes: Axes, points: pd.DataFrame) -> list[Line2D]:
    """A point for each model of others."""
    handles = []
    for number, model in enumerate(audited_models(points)):
        here = points[points["model"] == model]
        style = audited_style(number) | {"linestyle": "none", "markersize": 10}
        errors = {"xerr": errors_of(here, "_sf"), "yerr": errors_of(here, "_sr")}
        axes.errorbar(here["value_sf"], here["value_sr"], zorder=4, **errors, **style)
        handles.append(Line2D([], [], label=audited_name(model), **style))
    return handles


def _draw_references(axes: Axes, points: pd.DataFrame) -> list[Line2D]:
    handles = []
    for label, first, marker, size in (
        ("finetuned (before)", "finetuned", "*", 18),
        ("oracle (never learnt it)", "oracle/", "X", 12),
        ("reference of audited models", "reference/", "P", 11),
    ):
        here = points[points["model"].str.startswith(first)]
        if here.empty:
            continue
        style = {"color": "black", "marker": marker, "markersize": size, "linestyle": "none"}
        axes.errorbar(
            here["value_sf"],
            here["value_sr"],
            xerr=errors_of(here, "_sf"),
            yerr=errors_of(here, "_sr"),
            markeredgecolor="white",
            zorder=5,
            **style,
        )
        handles.append(Line2D([], [], label=label, **(style | {"markersize": 10})))
    return handles


def _draw_guessing(axes: Axes, rows: pd.DataFrame, metric: str) -> list[Line2D]:
    guesses = rows[(rows["metric"] == "guess_rate") & (rows["set"] == "sf")]["value"].dropna()
    if metric != "slot_accuracy" or guesses.empty:
        return []
    style = {"color": ".45", "linestyle": ":", "lw": 2}
    axes.axvline(float(guesses.iloc[0]), **style)
    return [Line2D([], [], label="guessing", **style)]


def retain_gap(
    rows: pd.DataFrame,
    settings: PlotSettings,
    metric: str | None = None,
    trajectories: Sequence[str] = (),
) -> Figure:
    """Correlated and other retain facts along training, and their paired gap.

    Args:
        rows: of `retain_compare_results.json`.
        settings: of the figure.
        metric: its name in the table; None: that of the settings.
        trajectories: at most three for each method; without them three, from the lowest to the
            highest learning rate.
    """
    metric = metric or settings.metric
    rows = select(rows, "a retain comparison is needed", metric=metric)
    rows = rows[rows["slot"].isna()]
    chosen = settings_by_method(rows, trajectories)
    n_settings = max(map(len, chosen.values()))
    figure, grid = new_figure(
        n_settings + 1, len(chosen), 2.1 * (n_settings + 1) + 1.4, sharex=True, sharey="row"
    )
    for column, (method, own) in enumerate(chosen.items()):
        grid[0, column].set_title(method_name(method, settings.labels).replace(" (", "\n("))
        labels = _setting_labels(own)
        for line, trajectory in enumerate(own):
            _draw_groups(grid[line, column], rows, trajectory)
            line_style = ("-", "--", ":")[line]
            along = _along(rows, trajectory, "gap")
            style = {"color": method_color(method), "marker": MARKERS[line], "ls": line_style}
            line_with_band(grid[-1, column], along, "epoch", label=labels[line], **style)
        for line in range(len(own), n_settings):
            grid[line, column].set_visible(False)
        grid[-1, column].axhline(0, color="black", lw=1)
        grid[-1, column].legend(loc="upper left", handlelength=1.6, borderpad=0.1, labelspacing=0.2)
        grid[-1, column].set_xlabel("epochs of unlearning")
    name = METRIC_NAMES.get(metric, metric)
    for axes in grid[:-1, 0]:
        axes.set(ylabel=f"{name}\nbetter kept →", ylim=(-0.03, 1.08))
    low, high = grid[-1, 0].get_ylim()
    grid[-1, 0].set(ylabel="gap: other − correlated\ncorrelated worse →")
    grid[-1, 0].set_ylim(min(low, -0.1), high + 0.35 * (high - low))
    grid[-1, 0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    figure.suptitle(
        "Retain facts of the same event (correlated) and of the rest of the life (other)\n"
        "along unlearning; epoch 0 = finetuned, "
        f"bands = {intervals(settings.confidence)} over {units(rows)}"
        + missing_note(int(rows["value"].isna().sum()))
    )
    handles = [
        Line2D([], [], color=color, marker=MARKERS[i], label=f"{group} retain facts")
        for i, (group, color) in enumerate(GROUP_COLORS.items())
    ]
    handles.append(Line2D([], [], color="black", ls=":", label="oracle (mean of both)"))
    legend_below(figure, handles, columns=3)
    return figure


def settings_by_method(rows: pd.DataFrame, wanted: Sequence[str] = ()) -> dict[str, list[str]]:
    """Method → its trajectories: those wanted, else up to three spread over learning rates."""
    unlearned = select(own_checkpoints(rows), "no unlearned model among the rows")
    unlearned = unlearned.assign(trajectory=unlearned["model"].map(trajectory_of))
    if wanted:
        unlearned = select(unlearned, "check the configured trajectories", trajectory=list(wanted))
    ordered = unlearned.sort_values(["learning_rate", "trajectory"])
    chosen = {}
    for method, members in ordered.groupby("method"):
        names = list(dict.fromkeys(members["trajectory"]))
        step = max(1, (len(names) - 1) / (MOST_SETTINGS - 1))
        picked = [names[round(i * step)] for i in range(min(len(names), MOST_SETTINGS))]
        chosen[method] = picked
    return chosen


def _along(rows: pd.DataFrame, trajectory: str, group: str) -> pd.DataFrame:
    """One trajectory's rows of a set, from finetuned as epoch 0 onwards."""
    rows = rows[rows["set"] == group]
    start = rows[rows["model"] == "finetuned"].assign(epoch=0)
    return pd.concat([start, rows[rows["model"].str.startswith(f"unlearn/{trajectory}/")]])


def _setting_labels(trajectories: list[str]) -> list[str]:
    """The learning rates where they tell the settings apart, else the settings in full."""
    full = [settings_name(trajectory.split("/")[1]) for trajectory in trajectories]
    short = [name.split(",")[0] for name in full]
    return short if len(set(short)) == len(short) else full


def _draw_groups(axes: Axes, rows: pd.DataFrame, trajectory: str) -> None:
    for number, (group, color) in enumerate(GROUP_COLORS.items()):
        style = {"color": color, "marker": MARKERS[number], "markersize": 5}
        line_with_band(axes, _along(rows, trajectory, group), "epoch", **style)
    oracle = rows[rows["model"].str.startswith("oracle/") & rows["set"].isin(list(GROUP_COLORS))]
    if oracle["value"].notna().any():
        axes.axhline(oracle["value"].astype(float).mean(), color="black", ls=":", lw=1.5)
    axes.annotate(
        settings_name(trajectory.split("/")[1]),
        (0.03, 0.05),
        xycoords="axes fraction",
        fontsize=11,
        bbox={"fc": "white", "ec": "none", "alpha": 0.7, "pad": 1},
    )


def quantize_recovery(
    rows: pd.DataFrame, settings: PlotSettings, metric: str | None = None
) -> Figure:
    """The forget set under quantization, and the share of what was forgotten that comes back.

    Args:
        rows: of `quantize_results.json`.
        settings: of the figure.
        metric: its name in the table; None: slot accuracy, or probability where the data have no
            values.
    """
    sf = select(rows, "a summary of quantized models is needed", set="sf")
    if metric is None:
        metric = "slot_accuracy" if "slot_accuracy" in set(sf["metric"]) else "probability"
    scores = select(sf, "check the configured metric", metric=metric)
    recovery = sf[(sf["metric"] == "recovery") & (sf["of"] == metric)]
    scores, recovery = (
        one.assign(level=one["level"].where(~one["model"].str.startswith("audit/"), AUDITED))
        for one in (scores, recovery)
    )
    unlearned = scores[scores["level"].notna()]
    levels = ordered_levels(select(unlearned, "no configured levels, no audited model")["level"])
    figure, grid = new_figure(2, len(levels), 7.4, sharex="col", sharey="row")
    for column, level in enumerate(levels):
        grid[0, column].set_title(level if level == AUDITED else f"{level} unlearning")
        for height, points, first in ((0, scores, "full"), (1, recovery, "int8")):
            points = points[points["level"] == level]
            models = list(dict.fromkeys(scores.loc[scores["level"] == level, "model"]))
            _draw_precisions(grid[height, column], points, first, settings.labels, models)
        for height in (0, 1):
            grid[1, column].axhline(height, color=".3", lw=1, ls="--" if height else "-")
    handles = [
        Line2D([], [], color=color, marker=MARKERS[i], ls="none", label=name)
        for i, (name, color) in enumerate(zip(PRECISIONS.values(), PRECISION_COLORS, strict=True))
    ]
    handles += _quantize_references(grid[0], scores)
    grid[0, 0].set(
        ylim=(-0.03, 1.08),
        ylabel=f"forget set: {METRIC_NAMES.get(metric, metric)}\n← more forgotten",
    )
    low, high = grid[1, 0].get_ylim()
    grid[1, 0].set_ylim(max(min(low, -0.15), -1), min(max(high, 1.1), 2))
    grid[1, 0].yaxis.set_major_formatter(PercentFormatter(1))
    grid[1, 0].set_ylabel("recovery, % of the forgotten\ncomes back →")
    figure.suptitle(
        "What quantization brings back: 0 % = stays forgotten, 100 % = as finetuned,\n"
        f"n/a = too little was forgotten; bars = {intervals(settings.confidence)} over {units(sf)}"
    )
    legend_below(figure, handles, columns=3)
    return figure


def ordered_levels(levels: pd.Series) -> list[str]:
    """light, medium, heavy first, then others as they come."""
    found = list(dict.fromkeys(levels))
    return sorted(found, key=lambda level: LEVELS.index(level) if level in LEVELS else len(LEVELS))


def _draw_precisions(
    axes: Axes, points: pd.DataFrame, first: str, labels: Mapping[str, str], models: list[str]
) -> None:
    """A point per method (x) and precision (colour, shifted), with its interval."""
    precisions = list(PRECISIONS)[list(PRECISIONS).index(first) :]
    for x, model in enumerate(models):
        of_model = points[points["model"] == model].set_index("precision")
        if of_model["value"].isna().all():
            axes.annotate("n/a", (x, 0), ha="center", va="bottom", fontsize=11)
            continue
        for number, precision in enumerate(precisions):
            shift = 0.18 * (number - (len(precisions) - 1) / 2)
            if precision in of_model.index:
                _draw_precision(axes, x + shift, of_model.loc[[precision]], precision)
    axes.set_xticks(range(len(models)), _short_names(models, labels))
    axes.set_xlim(-0.5, len(models) - 0.5)
    axes.grid(False, axis="x")


def _draw_precision(axes: Axes, x: float, row: pd.DataFrame, precision: str) -> None:
    if row["value"].isna().all():
        axes.annotate("n/a", (x, 0), ha="center", va="bottom", fontsize=11, rotation=90)
        return
    number = list(PRECISIONS).index(precision)
    style = {"color": PRECISION_COLORS[number], "marker": MARKERS[number]}
    value = row["value"].astype(float)
    axes.errorbar([x], value, yerr=errors_of(row), markersize=7, elinewidth=2, **style)


def _short_names(models: list[str], labels: Mapping[str, str]) -> list[str]:
    """For each model its method in capitals; with its settings where a method occurs twice."""
    methods = [model.split("/")[1] for model in models]
    return [
        method
        if model.startswith("audit/")
        else method.upper()
        if methods.count(method) == 1
        else trajectory_name(trajectory_of(model), labels).replace(", ", "\n")
        for model, method in zip(models, methods, strict=True)
    ]


def _quantize_references(panels: list[Axes], scores: pd.DataFrame) -> list[Line2D]:
    handles = []
    full = scores[scores["precision"] == "full"]
    for name, style in (("finetuned", "--"), ("oracle", ":"), ("reference", "-.")):
        values = full[full["model"].str.startswith(name)]["value"].astype(float).dropna()
        if values.empty:
            continue
        for axes in panels:
            axes.axhline(values.mean(), color=".3", ls=style, lw=1.5)
        label = f"{name} (full precision)"
        handles.append(Line2D([], [], color=".3", ls=style, label=label))
    return handles
