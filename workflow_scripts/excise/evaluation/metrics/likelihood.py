"""How likely the model finds the true answer."""

import numpy as np
import pandas as pd

from excise.evaluation.metrics.interface import item_metric
from excise.evaluation.metrics.truth_ratio import SIDES, per_token
from excise.evaluation.statistics import SHARE


@item_metric(
    "probability",
    scale=SHARE,
    higher_means="remembered",
    needs=("probability",),
    convention="exp(log P / tokens) of the trained answer, with the end-of-turn token",
)
def probability(items: pd.DataFrame) -> pd.Series:
    """exp(log P(answer) / tokens): the geometric mean token probability of the true answer.

    Range 0–1; on sf lower = more forgotten, elsewhere higher = better kept. Source: TOFU.
    """
    return items["probability"]


@item_metric(
    "probability_normalised",
    scale=SHARE,
    higher_means="remembered",
    needs=SIDES,
    convention="p / (p + sum of p_wrong), each per token, p of the paraphrased truth",
)
def probability_normalised(items: pd.DataFrame) -> pd.Series:
    """p / (p + Σ p_wrong), each exp(log P / tokens): the truth among the answers offered.

    p is of the paraphrased truth, which has the form of the wrong answers; TOFU takes the original
    answer, which is longer there. Range 0–1; 1 / (1 + number of wrong answers) = cannot tell them
    apart; on sf lower = more forgotten, elsewhere higher = better kept. Source: Maini et al.
    (2024), TOFU, for real authors and world facts.
    """
    truth, wrong = per_token(items)
    # Each against the truth: never 0/0, however unlikely all are.
    pairs = zip(truth, wrong, strict=True)
    with np.errstate(over="ignore"):
        odds = [np.exp(one - of_truth).sum() if len(one) else np.nan for of_truth, one in pairs]
    return pd.Series(1 / (1 + np.array(odds)), index=items.index, dtype=float)
