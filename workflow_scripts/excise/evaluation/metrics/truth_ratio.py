"""Whether the model prefers the paraphrased truth to wrong answers."""

import numpy as np
import pandas as pd

from excise.evaluation.metrics.interface import item_metric
from excise.evaluation.statistics import RATIO, SHARE


@item_metric(
    "truth_ratio",
    scale=RATIO,
    higher_means="remembered",
    needs=("truth_ratio", "logprob_wrong"),
)
def truth_ratio(items: pd.DataFrame) -> pd.Series:
    """P(paraphrased truth) / P(wrong), both per token, P(wrong) the geometric mean over wrongs.

    Range 0–∞, averaged by geometric mean; 1 = indifferent, lower = more forgotten.
    Source: this project (TOFU's R is the inverse).
    """
    return items["truth_ratio"]


@item_metric(
    "truth_ratio_tofu",
    scale=SHARE,
    higher_means="neither",
    needs=("truth_ratio_tofu", "logprob_wrong"),
)
def truth_ratio_tofu(items: pd.DataFrame) -> pd.Series:
    """TOFU's truth ratio of R = P(wrong)/P(truth): min(R, 1/R) on sf, max(0, 1 − R) elsewhere.

    Range 0–1. On sf compare with the oracle, not with 1: collapse gives 0. Elsewhere higher =
    better kept. Source: Maini et al. (2024), TOFU; OpenUnlearning.
    """
    return items["truth_ratio_tofu"]


@item_metric(
    "win_rate",
    scale=SHARE,
    higher_means="remembered",
    needs=("logprob_paraphrase", "n_tokens_paraphrase", "logprob_wrong", "n_tokens_wrong"),
)
def win_rate(items: pd.DataFrame) -> pd.Series:
    """Share of wrong answers less likely per token than the paraphrased truth; a tie is half.

    Range 0–1, 0.5 = cannot tell them apart, whatever the slot's number of values; on sf lower =
    more forgotten. Source: this project (the two-alternative form of TOFU's truth ratio).
    """
    truth = items["logprob_paraphrase"].astype(float) / items["n_tokens_paraphrase"].astype(float)
    wrong = zip(items["logprob_wrong"], items["n_tokens_wrong"], strict=True)
    shares = [_wins(one, *of_wrong) for one, of_wrong in zip(truth, wrong, strict=True)]
    return pd.Series(shares, index=items.index)


def _wins(truth: float, logprobs: list, n_tokens: list) -> float:
    wrong = np.array(logprobs, dtype=float) / np.array(n_tokens, dtype=float)
    if not len(wrong) or not np.isfinite([truth, *wrong]).all():
        return float("nan")
    return float(np.mean(np.sign(truth - wrong) / 2 + 0.5))
