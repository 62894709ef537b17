"""How likely the model finds the true answer."""

import pandas as pd

from excise.evaluation.metrics.interface import item_metric
from excise.evaluation.statistics import SHARE


@item_metric("probability", scale=SHARE, higher_means="remembered", needs=("probability",))
def probability(items: pd.DataFrame) -> pd.Series:
    """exp(log P(answer) / tokens): the geometric mean token probability of the true answer.

    Range 0–1; on sf lower = more forgotten, elsewhere higher = better kept. Source: TOFU.
    """
    return items["probability"]
