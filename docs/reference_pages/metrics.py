"""docs/reference/metrics.md: every registered metric, from its declaration and its docstring."""

import inspect
import math
import re

from excise.benchmark.items import SETS
from excise.benchmark.probes import PROBES
from excise.evaluation.metrics.interface import (
    CompositeMetric,
    DistributionMetric,
    ItemMetric,
    LeakMetric,
    Metric,
    ReferenceMetric,
    RescaledMetric,
    TwoSetMetric,
)
from excise.evaluation.metrics.registry import FAMILIES, METRICS, metrics_of
from reference_pages.markdown import (
    code,
    heading,
    paragraphs,
    plain,
    source_of,
    table,
    without_source,
)

KINDS = {  # the first class that fits
    LeakMetric: "the AUC of a model against that of the oracles",
    RescaledMetric: "the AUC of a model between those of finetuned and of the oracles",
    TwoSetMetric: "the AUC of another metric, over two sets",
    CompositeMetric: "from the means of other metrics",
    DistributionMetric: "one number for a set, against {reference}",
    ReferenceMetric: "one number per question, against {reference}",
    ItemMetric: "one number per question",
}
INTRODUCTION = """\
These are the metrics of `eval_results.json` and `sweep_results.json`, and of every table that is
made from them. [Result columns](result-columns.md) explains the columns of a row.
[Statistics](../statistics.md) explains means and intervals, by the kind of range.
[Add a metric](../how-to/add-a-metric.md) shows how to write one.

Further numbers have pages of their own: [comparisons](../comparisons.md),
[hidden states and depth](../representations.md),
[updates and forecast](../updates-and-forecast.md).

"Higher means" says what a higher number tells about the facts that are asked for. "Neither": the
number has no such direction; read its definition.
"""


def page() -> str:
    """The text of docs/reference/metrics.md."""
    lines = heading("workflow_scripts/excise/evaluation/metrics", "Metrics")
    lines += [*INTRODUCTION.splitlines(), ""]
    rows = [
        [f"[{code(name)}](#{name.lower()})", _kind(one), _range(one), one.higher_means]
        for name, one in METRICS.items()
    ]
    lines += table(["metric", "kind", "range", "higher means"], rows)
    for family in FAMILIES:
        title, *rest = (inspect.getdoc(family) or "").split("\n\n")
        lines += [f"## {plain(title.rstrip('.'))}", ""]
        lines += paragraphs("\n\n".join(rest)) if rest else []
        for metric in metrics_of(family).values():
            lines += _described(metric)
    return "\n".join(lines).rstrip() + "\n"


def _described(metric: Metric) -> list[str]:
    docstring = metric.function.__doc__
    rows = [
        ["convention", plain(metric.convention)],
        ["kind", _kind(metric)],
        ["range", f"{_range(metric)} ({metric.scale.kind})"],
        ["higher means", metric.higher_means],
        ["sets", _sets(metric)],
        ["reads", ", ".join(map(code, metric.needs))],
        ["source", plain(source_of(docstring))],
    ]
    return [
        f"### {code(metric.name)}",
        "",
        *paragraphs(without_source(docstring)),
        *table(["", ""], rows),
    ]


def _kind(metric: Metric) -> str:
    text = next(text for kind, text in KINDS.items() if isinstance(metric, kind))
    reference = getattr(metric, "reference", "")
    return text.format(reference="the oracles" if reference == "oracle" else reference)


def _range(metric: Metric) -> str:
    scale = metric.scale
    if scale.kind == "fixed":  # it has no ends, because it needs no interval
        return re.search(r"Range ([^\s;:,.]+)", metric.function.__doc__)[1].replace("–", " to ")
    return f"{_end(scale.low)} to {_end(scale.high)}"


def _end(number: float) -> str:
    if math.isinf(number):
        return "∞" if number > 0 else "−∞"
    return f"{number:g}".replace("-", "−")


def _sets(metric: Metric) -> str:
    if isinstance(metric, CompositeMetric):
        return ", ".join(f"{code(part.name)} on {code(name)}" for name, part in metric.parts)
    if isinstance(metric, TwoSetMetric):
        return f"{code(metric.members)} against {code(metric.others)}"
    return ", ".join(code(name) for name in (*SETS, *PROBES) if metric.applies_to(name))
