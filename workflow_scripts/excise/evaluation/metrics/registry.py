"""All metrics by name: the only list of them. Only tables import this module.

A program depends on every module that it imports. Whoever needs a single metric imports it from
its family, so that an edit of another family does not run it again.
"""

from types import ModuleType

from excise.evaluation.metrics import (
    answer_type,
    distance,
    fluency,
    likelihood,
    membership,
    memorization,
    model_utility,
    rouge,
    slot,
    stopping,
    truth_ratio,
)
from excise.evaluation.metrics.interface import Metric

# Their order is that of the rows: the distance to the oracle, what is known, what is said; ROUGE-L,
# which rewards the frame of a sentence, comes last.
FAMILIES = (
    distance,
    slot,
    likelihood,
    truth_ratio,
    memorization,
    membership,
    model_utility,
    answer_type,
    fluency,
    stopping,
    rouge,
)


def metrics_of(*families: ModuleType) -> dict[str, Metric]:
    """The metrics that these modules define, by name, in the order of their definition.

    Raises:
        ValueError: two metrics have the same name.
    """
    found: dict[str, Metric] = {}
    for family in families:
        for metric in vars(family).values():
            if not isinstance(metric, Metric) or metric.function.__module__ != family.__name__:
                continue
            if metric.name in found:
                raise ValueError(f"{family.__name__}: there is already a metric {metric.name!r}")
            found[metric.name] = metric
    return found


METRICS = metrics_of(*FAMILIES)
