"""The figures: rows of a result file in, a matplotlib figure out.

Each says by itself what it shows: axes with unit and direction, finetuned and oracle beside
every result, and a word on what could not be drawn.
"""

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from excise.plot_style import (
    METRIC_NAMES,
    PALETTE,
    SET_NAMES,
    errors_of,
    legend_below,
    line_with_band,
    method_color,
    method_name,
    missing_note,
    new_figure,
    select,
    settings_name,
    strongest_trajectories,
    trajectory_name,
    trajectory_of,
)

MARKERS = "osD^vPX*<>"
GROUP_COLORS = {"correlated": PALETTE[3], "other": PALETTE[9]}
PRECISIONS = {"full": "full precision", "int8": "INT8", "nf4": "NF4", "fp4": "FP4"}
PRECISION_COLORS = ["black", PALETTE[0], PALETTE[1], PALETTE[2]]
LEVELS = ("light", "medium", "heavy")
MOST_SETTINGS = 3
DRIFT_LINEAR_BELOW = 0.01


def forget_vs_retain(rows: pd.DataFrame, hp: dict) -> Figure:
    """Every checkpoint: what is left of the forget set against what is left of the retain set.

    Args:
        rows: of `sweep_results.json`.
        hp: `metric` (slot_accuracy).
    """
    metric = hp.get("metric", "slot_accuracy")
    points = forget_retain_points(rows, metric)
    start = points[points["model"] == "finetuned"]
    checkpoints = points[points["method"].notna()]
    trajectories = checkpoints.assign(trajectory=checkpoints["model"].map(trajectory_of))
    figure, grid = new_figure(height=6.4 + 0.1 * trajectories["trajectory"].nunique())
    axes, name = grid[0, 0], METRIC_NAMES.get(metric, metric)
    handles = []
    for method, of_method in trajectories.groupby("method"):
        for number, (trajectory, run) in enumerate(of_method.groupby("trajectory")):
            style = {
                "color": method_color(method),
                "marker": MARKERS[number % len(MARKERS)],
                "linestyle": ("-", "--", ":", "-.")[number % 4],
            }
            _draw_trajectory(axes, start, run.sort_values("epoch"), style)
            handles.append(Line2D([], [], label=trajectory_name(trajectory), **style))
    handles += _draw_references(axes, points)
    handles += _draw_guessing(axes, rows, metric)
    axes.set(
        xlim=(-0.03, 1.04),
        ylim=(-0.03, 1.04),
        xlabel=f"forget set: {name} (share of the incident's facts)\n← more forgotten",
        ylabel=f"retain set: {name} (share of facts)\nbetter kept →",
        title="What unlearning forgets and what it damages: a point per checkpoint,\n"
        "lines start at the finetuned model, bars = 95 % intervals over people"
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


def _draw_references(axes: Axes, points: pd.DataFrame) -> list[Line2D]:
    handles = []
    for label, marker, size in (
        ("finetuned (before)", "*", 18),
        ("oracle (never learnt it)", "X", 12),
    ):
        here = points[points["model"].str.startswith(label.split()[0])]
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
    return [Line2D([], [], label="best guess without knowing", **style)]


def retain_gap(rows: pd.DataFrame, hp: dict) -> Figure:
    """Correlated and other retain facts along training, and their paired gap.

    Args:
        rows: of `retain_compare_results.json`.
        hp: `metric` (slot_accuracy); `trajectories` (at most three settings per method, from the
            lowest to the highest learning rate).
    """
    metric = hp.get("metric", "slot_accuracy")
    rows = select(rows, "a retain comparison is needed", metric=metric)
    rows = rows[rows["slot"].isna()]
    chosen = settings_by_method(rows, hp.get("trajectories"))
    n_settings = max(len(settings) for settings in chosen.values())
    figure, grid = new_figure(
        n_settings + 1, len(chosen), 2.1 * (n_settings + 1) + 1.4, sharex=True, sharey="row"
    )
    for column, (method, trajectories) in enumerate(chosen.items()):
        grid[0, column].set_title(method_name(method).replace(" (", "\n("))
        for line, trajectory in enumerate(trajectories):
            _draw_groups(grid[line, column], rows, trajectory)
            line_style = ("-", "--", ":")[line]
            along = _along(rows, trajectory, "gap")
            style = {"color": method_color(method), "marker": MARKERS[line], "ls": line_style}
            label = settings_name(trajectory.split("/")[1]).split(",")[0]
            line_with_band(grid[-1, column], along, "epoch", label=label, **style)
        for line in range(len(trajectories), n_settings):
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
        "along unlearning; epoch 0 = finetuned, bands = 95 % intervals over people"
        + missing_note(int(rows["value"].isna().sum()))
    )
    handles = [
        Line2D([], [], color=color, marker=MARKERS[i], label=f"{group} retain facts")
        for i, (group, color) in enumerate(GROUP_COLORS.items())
    ]
    handles.append(Line2D([], [], color="black", ls=":", label="oracle (mean of both)"))
    legend_below(figure, handles, columns=3)
    return figure


def settings_by_method(rows: pd.DataFrame, wanted: list[str] | None) -> dict[str, list[str]]:
    """Method → its trajectories: those wanted, else up to three spread over learning rates."""
    unlearned = select(rows[rows["method"].notna()], "no unlearned model among the rows")
    unlearned = unlearned.assign(trajectory=unlearned["model"].map(trajectory_of))
    if wanted is not None:
        unlearned = select(unlearned, "check the configured trajectories", trajectory=wanted)
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


def quantize_recovery(rows: pd.DataFrame, hp: dict) -> Figure:
    """The forget set under quantization, and the share of what was forgotten that comes back.

    Args:
        rows: of `quantize_results.json`.
        hp: `metric` (slot_accuracy).
    """
    metric = hp.get("metric", "slot_accuracy")
    sf = select(rows, "a summary of quantized models is needed", set="sf")
    scores, recovery = sf[sf["metric"] == metric], sf[(sf["metric"] == "recovery")]
    recovery = recovery[recovery["of"] == metric]
    levels = ordered_levels(select(sf[sf["level"].notna()], "no configured levels")["level"])
    figure, grid = new_figure(2, len(levels), 7.4, sharex=True, sharey="row")
    for column, level in enumerate(levels):
        grid[0, column].set_title(f"{level} unlearning")
        _draw_precisions(grid[0, column], scores[scores["level"] == level], "full")
        _draw_precisions(grid[1, column], recovery[recovery["level"] == level], "int8")
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
        "n/a = too little was forgotten; bars = 95 % intervals over people"
    )
    legend_below(figure, handles, columns=3)
    return figure


def ordered_levels(levels: pd.Series) -> list[str]:
    """light, medium, heavy first, then others as they come."""
    found = list(dict.fromkeys(levels))
    return sorted(found, key=lambda level: LEVELS.index(level) if level in LEVELS else len(LEVELS))


def _draw_precisions(axes: Axes, points: pd.DataFrame, first: str) -> None:
    """A point per method (x) and precision (colour, shifted), with its interval."""
    models = list(dict.fromkeys(points["model"]))
    precisions = list(PRECISIONS)[list(PRECISIONS).index(first) :]
    for number, precision in enumerate(precisions):
        shift = 0.18 * (number - (len(precisions) - 1) / 2)
        style_number = list(PRECISIONS).index(precision)
        here = points[points["precision"] == precision].set_index("model")
        for x, model in enumerate(models):
            if model not in here.index:
                continue
            row = here.loc[[model]]
            if row["value"].isna().all():
                axes.annotate(
                    "n/a", (x + shift, 0), ha="center", va="bottom", fontsize=11, rotation=90
                )
                continue
            axes.errorbar(
                [x + shift],
                row["value"].astype(float),
                yerr=errors_of(row),
                color=PRECISION_COLORS[style_number],
                marker=MARKERS[style_number],
                markersize=7,
                elinewidth=2,
            )
    axes.set_xticks(range(len(models)), [_short_names(models)[m] for m in models])
    axes.set_xlim(-0.5, len(models) - 0.5)
    axes.grid(False, axis="x")


def _short_names(models: list[str]) -> dict[str, str]:
    """Method in capitals; with its settings where a method occurs twice."""
    methods = [model.split("/")[1] for model in models]
    return {
        model: method.upper()
        if methods.count(method) == 1
        else trajectory_name(trajectory_of(model)).replace(", ", "\n")
        for model, method in zip(models, methods, strict=True)
    }


def _quantize_references(panels: list[Axes], scores: pd.DataFrame) -> list[Line2D]:
    handles = []
    full = scores[scores["precision"] == "full"]
    for name, style in (("finetuned", "--"), ("oracle", ":")):
        values = full[full["model"].str.startswith(name)]["value"].astype(float).dropna()
        if values.empty:
            continue
        for axes in panels:
            axes.axhline(values.mean(), color=".3", ls=style, lw=1.5)
        label = f"{name} (full precision)"
        handles.append(Line2D([], [], color=".3", ls=style, label=label))
    return handles


def layerdrift_by_epoch(rows: pd.DataFrame, hp: dict) -> Figure:
    """Drift of hidden states over layers as unlearning goes on: sets × methods.

    Args:
        rows: of `repr_layers.json`.
        hp: `position` (last_prompt); `trajectories`, one per method (highest learning rate).
    """
    rows, position = _drift_of(rows, hp)
    trajectories = hp.get("trajectories") or strongest_trajectories(rows)
    sets = [name for name in ("sf", "correlated", "other") if name in set(rows["set"])]
    figure, grid = new_figure(
        len(sets), len(trajectories), 2.2 * len(sets) + 1.8, sharex=True, sharey=True
    )
    run = rows[rows["model"].map(trajectory_of).isin(trajectories)]
    epochs = sorted(select(run, f"check trajectories {trajectories}")["epoch"].unique())
    colors = dict(zip(epochs, sns.color_palette("viridis_r", len(epochs)), strict=True))
    for column, trajectory in enumerate(trajectories):
        name = trajectory_name(trajectory).replace(", ", "\n", 1)
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
    _finish_drift(figure, grid, handles, position, "as unlearning goes on", rows, 3)
    return figure


def layerdrift_by_method(rows: pd.DataFrame, hp: dict) -> Figure:
    """Drift of hidden states over layers, methods side by side, a panel per set.

    Args:
        rows: of `repr_layers.json`.
        hp: `position` (last_prompt); `models`: the checkpoints to compare (default: the last of
            the trajectory with the highest learning rate, for each method).
    """
    rows, position = _drift_of(rows, hp)
    models = [m if m.startswith("unlearn/") else f"unlearn/{m}" for m in hp.get("models", [])]
    models = models or last_checkpoints(rows)
    select(rows, "check the configured checkpoints", model=models)
    figure, grid = new_figure(2, 2, 7.4, sharex=True, sharey=True)
    methods = [model.split("/")[1] for model in models]
    handles = []
    for number, (model, method) in enumerate(zip(models, methods, strict=True)):
        color = method_color(method) if methods.count(method) == 1 else PALETTE[number % 10]
        size = max(10 - 2 * number, 4)  # so that a point on top of another hides it in part only
        style = {"color": color, "marker": MARKERS[number % len(MARKERS)], "markersize": size}
        label = f"{trajectory_name(trajectory_of(model))}, {model.split('_')[-1]} epochs"
        handles.append(Line2D([], [], label=label, **style))
        for axes, group in zip(grid.flat, SET_NAMES, strict=True):
            here = rows[(rows["set"] == group) & (rows["model"] == model)]
            line_with_band(axes, here, "layer", **style)
    for axes, group in zip(grid.flat, SET_NAMES, strict=True):
        axes.set_title(f"{SET_NAMES[group]} questions")
        _draw_drift_references(axes, rows[rows["set"] == group])
    _finish_drift(figure, grid, handles, position, "method by method", rows, 2)
    return figure


def last_checkpoints(rows: pd.DataFrame) -> list[str]:
    """The last checkpoint of each method's trajectory with the highest learning rate."""
    last = []
    for trajectory in strongest_trajectories(rows):
        run = rows[rows["model"].str.startswith(f"unlearn/{trajectory}/")]
        last.append(run.loc[run["epoch"].idxmax(), "model"])
    return last


def _drift_of(rows: pd.DataFrame, hp: dict) -> tuple[pd.DataFrame, str]:
    position = hp.get("position", "last_prompt")
    what = "a summary of hidden states at all layers is needed"
    return select(rows, what, metric="drift", position=position), position


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
    figure: Figure,
    grid,
    handles: list[Line2D],
    position: str,
    how: str,
    rows: pd.DataFrame,
    columns: int,
) -> None:
    last = int(rows["layer"].max())
    for axes in grid.flat:
        axes.set_yscale("symlog", linthresh=DRIFT_LINEAR_BELOW)
        axes.set_ylim(bottom=0)
        axes.set_xlim(-0.02 * last, 1.02 * last)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_formatter("{x:g}")
    middle = grid[-1, len(grid[-1]) // 2] if len(grid[-1]) % 2 else None
    for axes in [middle] if middle else grid[-1]:
        axes.set_xlabel(f"layer (0 = embeddings, {last} = last block)")
    figure.supylabel("relative drift from finetuned (0 = unchanged) →", fontsize=12)
    where = {
        "last_prompt": "the last prompt token",
        "last_subject": "the last token of the person's name",
        "answer": "the answer tokens",
    }[position]
    figure.suptitle(
        f"How far hidden states at {where} move, {how}\n"
        "(1 = as far as a question is from the average one; bands = 95 % intervals)"
        + missing_note(int(rows["value"].isna().sum()))
    )
    handles.append(Line2D([], [], color=".45", ls="--", label="base vs finetuned (scale)"))
    handles.append(Line2D([], [], color="black", ls=":", lw=2, label="oracle vs oracle (noise)"))
    legend_below(figure, handles, columns=columns)
