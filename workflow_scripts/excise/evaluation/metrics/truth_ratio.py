"""Whether the model prefers the paraphrased truth to wrong answers.

Four forms are in circulation under one name. All compare c, the probability per token of the
paraphrased truth, with w, that of the wrong answers:

| metric | formula per question | w is the |
|---|---|---|
| `truth_ratio` | c / w, geometric mean over questions | geometric mean |
| `truth_ratio_tofu` | R = w / c: min(R, 1/R) on sf, max(0, 1 − R) elsewhere | geometric mean |
| `truth_ratio_tofu_arithmetic` | the same | arithmetic mean |
| `truth_ratio_prob_mean` | c / (c + w) | geometric mean |
"""

import numpy as np
import pandas as pd
from scipy.special import expit

from excise.benchmark.items import FORGET_SETS
from excise.evaluation.metrics.interface import item_metric
from excise.evaluation.statistics import RATIO, SHARE

SIDES = ("logprob_paraphrase", "n_tokens_paraphrase", "logprob_wrong", "n_tokens_wrong")


@item_metric(
    "truth_ratio",
    scale=RATIO,
    higher_means="remembered",
    needs=("truth_ratio", "logprob_wrong"),
    convention="c/w, w the geometric mean over wrong answers; geometric mean over questions",
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
    convention="R = w/c, w the geometric mean: min(R, 1/R) on forget sets, max(0, 1-R) elsewhere",
)
def truth_ratio_tofu(items: pd.DataFrame) -> pd.Series:
    """TOFU's truth ratio of R = P(wrong)/P(truth): min(R, 1/R) on sf, max(0, 1 − R) elsewhere.

    Range 0–1. On sf compare with the oracle, not with 1: collapse gives 0. Elsewhere higher =
    better kept. Source: Maini et al. (2024), TOFU; OpenUnlearning.
    """
    return items["truth_ratio_tofu"]


@item_metric(
    "truth_ratio_tofu_arithmetic",
    scale=SHARE,
    higher_means="neither",
    needs=(*SIDES, "set"),
    convention="R = w/c, w the arithmetic mean: min(R, 1/R) on forget sets, max(0, 1-R) elsewhere",
)
def truth_ratio_tofu_arithmetic(items: pd.DataFrame) -> pd.Series:
    """`truth_ratio_tofu` with w the arithmetic mean of the wrong answers' probabilities.

    One likely wrong answer counts for more. Range 0–1, read as `truth_ratio_tofu`. Source: Maini
    et al. (2024), `get_model_utility` in TOFU's code, which differs from its other script.
    """
    truth, wrong = per_token(items)
    logs = np.array([_log_mean(w) if len(w) else np.nan for w in wrong]) - truth
    forget = items["set"].isin(FORGET_SETS).to_numpy()
    values = np.where(forget, np.exp(-np.abs(logs)), np.maximum(0, -np.expm1(np.minimum(logs, 0))))
    return pd.Series(values, index=items.index, dtype=float)


@item_metric(
    "truth_ratio_prob_mean",
    scale=SHARE,
    higher_means="remembered",
    needs=SIDES,
    convention="c/(c + w), w the geometric mean over wrong answers (prob_mean of open-unlearning)",
)
def truth_ratio_prob_mean(items: pd.DataFrame) -> pd.Series:
    """c / (c + w): the paraphrased truth against the typical wrong answer, per token.

    Range 0–1, 0.5 = indifferent, on sf lower = more forgotten, elsewhere higher = better kept. It
    is r / (1 + r) of r = `truth_ratio` per question. Source: OpenUnlearning, `prob_mean`.
    """
    truth, wrong = per_token(items)
    typical = np.array([w.mean() if len(w) else np.nan for w in wrong])
    return pd.Series(expit(truth - typical), index=items.index, dtype=float)


@item_metric(
    "win_rate",
    scale=SHARE,
    higher_means="remembered",
    needs=SIDES,
    convention="share of wrong answers less likely per token than the paraphrased truth",
)
def win_rate(items: pd.DataFrame) -> pd.Series:
    """Share of wrong answers less likely per token than the paraphrased truth; a tie is half.

    Range 0–1, 0.5 = cannot tell them apart, whatever the slot's number of values; on sf lower =
    more forgotten. Source: this project (the two-alternative form of TOFU's truth ratio).
    """
    truth, wrong = per_token(items)
    shares = [_wins(one, of_wrong) for one, of_wrong in zip(truth, wrong, strict=True)]
    return pd.Series(shares, index=items.index)


def per_token(items: pd.DataFrame) -> tuple[np.ndarray, list[np.ndarray]]:
    """Log-probability per token of the paraphrased truth (n,), and of each question's wrong ones.

    All are NaN for a question with one that is not finite.
    """
    truth = items["logprob_paraphrase"].astype(float) / items["n_tokens_paraphrase"].astype(float)
    truth = truth.to_numpy()
    sums = zip(items["logprob_wrong"], items["n_tokens_wrong"], strict=True)
    wrong = [np.array(one, dtype=float) / np.array(n, dtype=float) for one, n in sums]
    finite = np.array([np.isfinite([t, *w]).all() for t, w in zip(truth, wrong, strict=True)], bool)
    wrong = [w if whole else w * np.nan for w, whole in zip(wrong, finite, strict=True)]
    return np.where(finite, truth, np.nan), wrong


def _log_mean(logs: np.ndarray) -> float:
    """The logarithm of the mean of exp(logs)."""
    largest = logs.max()
    return float(largest + np.log(np.exp(logs - largest).mean()))


def _wins(truth: float, wrong: np.ndarray) -> float:
    if not len(wrong) or not np.isfinite([truth, *wrong]).all():
        return float("nan")
    return float(np.mean(np.sign(truth - wrong) / 2 + 0.5))
