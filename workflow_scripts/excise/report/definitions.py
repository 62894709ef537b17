"""What metrics and columns mean, from where they are defined: for the page's hover texts."""

import inspect

from excise.evaluation.metrics.registry import METRICS
from excise.records import schema_validator


def metric_definitions() -> dict[str, dict]:
    """Metric → `convention`, `definition` (its docstring) and `higher_means`."""
    return {
        name: {
            "convention": metric.convention,
            "definition": " ".join((inspect.getdoc(metric.function) or "").split()),
            "higher_means": metric.higher_means,
        }
        for name, metric in METRICS.items()
    }


def column_definitions() -> dict[str, str]:
    """Column of a result table → what it holds."""
    rows = schema_validator("result").schema["properties"]["rows"]["items"]["properties"]
    return {name: rule["description"] for name, rule in rows.items() if "description" in rule}
