"""Whether the model still ends its answers."""

import pandas as pd

from excise.evaluation.metrics.interface import item_metric
from excise.evaluation.statistics import PROPORTION


@item_metric(
    "stopped_rate",
    scale=PROPORTION,
    higher_means="neither",
    needs=("stopped",),
    joint=True,
    convention="ended with the end-of-turn token within max_new_tokens",
)
def stopped_rate(items: pd.DataFrame) -> pd.Series:
    """1 if the generation ended by itself, with the end-of-turn token, else 0.

    Range 0–1; low = the model rambles: a sign of collapse. Source: this project.
    """
    return items["stopped"]
