"""Metrics of one answer: how much of it is said, whether the slot is right, how likely it was.

Every function is pure and per item; averages and their intervals are made in `summaries`.
"""

import math
import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from rouge_score.rouge_scorer import RougeScorer


class RougeL(NamedTuple):
    """ROUGE-L of one generation, each in [0, 1], higher = more of the reference is said."""

    recall: float
    f1: float


@cache
def _scorer() -> RougeScorer:
    return RougeScorer(["rougeL"], use_stemmer=True)


def rouge_l(reference: str, generation: str) -> RougeL:
    """ROUGE-L: longest common subsequence of words, over the reference's (recall) or F1.

    Stemmed, as in TOFU and OpenUnlearning, which report recall; MUSE reports F1. Recall rewards
    long answers, so both are kept. Source: Lin 2004, `rouge_score`.
    """
    score = _scorer().score(reference, generation)["rougeL"]
    return RougeL(score.recall, score.fmeasure)


def normalized(text: str) -> str:
    """Case-folded words and numbers, one space between, all other signs dropped.

    A thousands separator and a decimal point stay inside their number: `$1,000` is `1,000`.
    """
    return " ".join(re.findall(r"\w+(?:[.,]\d+)*", text.casefold()))


def slot_match(value: str, generation: str) -> bool:
    """Whether the slot's value is stated: its words stand together in the generation.

    Whole words: `90` does not match `1990`. The mean over items is `slot_accuracy`, in [0, 1];
    unlike ROUGE-L it has no floor from the words of the template.
    """
    return f" {normalized(value)} " in f" {normalized(generation)} "


def probability(logprob: float, tokens: int) -> float:
    """Length-normalised answer probability exp(log P / tokens), in [0, 1]. Source: TOFU."""
    return math.exp(logprob / tokens) if math.isfinite(logprob) else _degenerate(logprob)


def _degenerate(logprob: float) -> float:
    return 0.0 if logprob == -math.inf else math.nan


def truth_ratio(
    logprob_right: float,
    tokens_right: int,
    logprobs_wrong: Sequence[float],
    tokens_wrong: Sequence[int],
) -> float:
    """P(right) / P(wrong), each length-normalised, P(wrong) the geometric mean.

    exp( logP_r / n_r − mean_w logP_w / n_w ), in [0, ∞); 1 = the model cannot tell, lower = more
    forgotten. The reciprocal of TOFU's R (arXiv 2401.06121, with open-unlearning's geometric
    mean over the wrong answers). NaN where a log-probability is not finite.
    """
    wrong = [logprob / tokens for logprob, tokens in zip(logprobs_wrong, tokens_wrong, strict=True)]
    difference = logprob_right / tokens_right - sum(wrong) / len(wrong)
    if not math.isfinite(difference):
        return math.nan
    return math.exp(min(difference, 700.0))  # e^700 is near the largest double


def truth_ratio_tofu(ratio: float, forget: bool) -> float:
    """TOFU's truth ratio from ours, R = 1/ratio = P(wrong)/P(right).

    Forget set: min(R, 1/R), in [0, 1], high for a model that cannot tell (and for an untouched
    one that can barely tell): compare it with the oracle, not with 1. Elsewhere: max(0, 1 − R),
    in [0, 1], higher = the truth is preferred. Source: arXiv 2401.06121, open-unlearning.
    """
    if math.isnan(ratio):
        return math.nan
    inverse = math.inf if ratio == 0 else 1 / ratio
    return min(inverse, ratio) if forget else max(0.0, 1.0 - inverse)
