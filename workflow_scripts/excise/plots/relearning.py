"""The figure of the relearning attack: what is known again after each step of further training.

Rows of `relearn_results.json` in, a matplotlib figure out.
"""

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
    method_name,
    missing_note,
    new_figure,
    own_checkpoints,
    select,
    units,
)

ATTACKS = {
    "forget_part": "forget facts of some people\n(scored: those of the others)",
    "correlated": "correlated facts of all people\n(scored: all forget facts)",
    "other": "other facts of all people\n(scored: all forget facts)",
    "forget_all": "all forget facts\n(scored: the same facts)",
}
NEEDED = "a summary of the relearning attack is needed"
LINES = ("-", "--", ":", "-.")
COLUMNS = 2
SHIFT = 0.02
"""Distance of two intervals at the last step, relative to it."""


def relearning_curves(
    rows: pd.DataFrame, settings: PlotSettings, metric: str | None = None
) -> Figure:
    """Forget facts that are known again, by step of the attack: a panel for each attack.

    Facts that the attacker showed are drawn only where it showed all of them.

    Args:
        rows: of `relearn_results.json`.
        settings: of the figure.
        metric: its name in the table; None: slot accuracy, or probability where the data have no
            values.
    """
    if metric is None:
        metric = "slot_accuracy" if "slot_accuracy" in set(rows["metric"]) else "probability"
    scores = select(rows, NEEDED, set="sf", metric=metric)
    attacks = [name for name in ATTACKS if name in set(scores["attack"])]
    columns = min(COLUMNS, len(attacks))
    lines = -(-len(attacks) // columns)
    figure, grid = new_figure(lines, columns, 3.4 * lines + 1.8, sharey=True)
    levels = list(dict.fromkeys(scores["level"].dropna()))
    panels = list(grid.flat)
    for axes in panels[len(attacks) :]:
        axes.set_visible(False)
    for axes, attack in zip(panels, attacks, strict=False):
        own = select(scores, NEEDED, attack=attack)
        hidden = own[~own["shown"].astype(bool)]
        draw_attack(axes, own if hidden.empty else hidden, levels)
        axes.set(title=ATTACKS[attack], xlabel="optimizer steps of the attack", ylim=(-0.03, 1.05))
    for line in grid:
        line[0].set_ylabel(f"{METRIC_NAMES.get(metric, metric)}\nknown again →")
    methods = list(dict.fromkeys(own_checkpoints(scores)["method"]))
    legend_below(figure, handles(methods, levels, settings), columns=3)
    figure.suptitle(
        "What further training on a few facts brings back\n"
        f"(bars at the end: {intervals(settings.confidence)} over {units(scores)})"
        + missing_note(int(scores["value"].isna().sum()))
    )
    return figure


def draw_attack(axes: Axes, scores: pd.DataFrame, levels: list[str]) -> None:
    """Checkpoints by method and level, the oracles' mean and range, and half of finetuned."""
    oracles = scores[scores["model"].str.startswith("oracle/")].dropna(subset="value")
    if not oracles.empty:
        by_step = oracles.assign(value=oracles["value"].astype(float)).groupby("step")["value"]
        steps = by_step.mean().index.to_numpy(float)
        axes.fill_between(steps, by_step.min(), by_step.max(), color=".6", alpha=0.5, lw=0)
        axes.plot(steps, by_step.mean(), color=".3", lw=2.5)
    by_model = own_checkpoints(scores).groupby("model", sort=False)
    for shift, (_, points) in enumerate(by_model):
        points = points.dropna(subset="value")
        if points.empty:
            continue
        first = points.iloc[0]
        number = levels.index(first["level"]) if first["level"] in levels else len(levels)
        points = points.sort_values("step")
        values = points["value"].astype(float)
        style = {"color": method_color(first["method"]), "marker": MARKERS[number % len(MARKERS)]}
        axes.plot(points["step"], values, ls=LINES[number % len(LINES)], ms=4, **style)
        last = points.tail(1)  # intervals at every step would hide the curves
        place = last["step"].astype(float) * (1 + SHIFT * (shift + 1))
        axes.errorbar(place, values.tail(1), yerr=errors_of(last), ms=4, elinewidth=1.5, **style)
    finetuned = scores.loc[scores["model"] == "finetuned", "value"].dropna().astype(float)
    if not finetuned.empty:
        axes.axhline(finetuned.iloc[0] / 2, color="black", lw=1, ls=(0, (1, 3)))


def handles(methods: list[str], levels: list[str], settings: PlotSettings) -> list[Line2D]:
    """The legend: colours are methods, lines are levels."""
    found = [
        Line2D([], [], color=method_color(one), label=method_name(one, settings.labels))
        for one in methods
    ]
    found += [
        Line2D(
            *([], []),
            color=".3",
            ls=LINES[number % len(LINES)],
            marker=MARKERS[number % len(MARKERS)],
            ms=4,
            label=level,
        )
        for number, level in enumerate(levels)
    ]
    found.append(Line2D([], [], color=".3", lw=2.5, label="oracles (band: their range)"))
    dotted = {"color": "black", "lw": 1, "ls": (0, (1, 3))}
    return [*found, Line2D([], [], **dotted, label="half of finetuned")]
