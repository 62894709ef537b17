"""What is averaged: one function per metric, from per-question records to a number each.

A metric takes a frame of records (`results/eval/<model>/items.jsonl`) and gives one number per
question; NaN where it is undefined. Its docstring holds formula, range, direction and source.
`excise.evaluation.tables.summaries` decides which questions, which people and which interval.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from excise.benchmark.items import JOINT_SETS
from excise.evaluation.statistics import FIXED, PROPORTION, RATIO, SHARE, Scale


def rouge_l_recall(items: pd.DataFrame) -> pd.Series:
    """ROUGE-L recall of the generation: LCS / words of the answer, words of any script.

    Range 0–1; on sf lower = more forgotten, elsewhere higher = better kept. Words that
    occur in any answer to the question also score. Source: Lin (2004); TOFU reports recall.
    """
    return items["rougeL_recall"]


def rouge_l_recall_ascii(items: pd.DataFrame) -> pd.Series:
    """ROUGE-L recall of words of a–z and 0–9 only: `rouge_score` as in TOFU.

    Range 0–1. Equal to `rougeL_recall` on ASCII text; meaningless in other scripts.
    Source: Lin (2004).
    """
    return items["rougeL_recall_ascii"]


def rouge_l_f1(items: pd.DataFrame) -> pd.Series:
    """ROUGE-L F1: harmonic mean of LCS / answer words and LCS / generated words.

    Range 0–1, direction as for recall; verbosity is not rewarded. Source: Lin (2004); MUSE.
    """
    return items["rougeL_f1"]


def rouge_l_f1_ascii(items: pd.DataFrame) -> pd.Series:
    """ROUGE-L F1 of words of a–z and 0–9 only: plain `rouge_score`.

    Range 0–1; see `rougeL_recall_ascii`. Source: Lin (2004).
    """
    return items["rougeL_f1_ascii"]


def slot_accuracy(items: pd.DataFrame) -> pd.Series:
    """1 if the generation states the slot's true value (`excise.text.values`), else 0.

    Range 0–1; on sf lower = more forgotten, elsewhere higher = better kept; its floor is
    `guess_rate`. Source: this project.
    """
    return items["slot_match"]


def slot_accuracy_strict(items: pd.DataFrame) -> pd.Series:
    """1 if the generation contains the value's words exactly as spelled, else 0.

    Range 0–1, direction as slot_accuracy. `8,380` is not `8380`; `not in Paris` contains Paris.
    Source: this project (the earlier slot accuracy).
    """
    return items["slot_match_strict"]


def guess_rate(items: pd.DataFrame) -> pd.Series:
    """Per question, the share of the *other* people whose value of this slot is the same.

    The mean is the slot accuracy of naming some other person's value of the slot, that is of
    guessing with full knowledge of the slot's values and none of the person (0–1, the same for
    all models). NaN with one person only. Source: this project.
    """
    held = items.drop_duplicates(["person_id", "slot"])
    people = held.groupby("slot")["person_id"].nunique()
    same = held.groupby(["slot", "value"])["person_id"].nunique()
    counts = same.loc[list(zip(items["slot"], items["value"], strict=True))].to_numpy()
    others = people.loc[items["slot"]].to_numpy() - 1
    shares = np.where(others > 0, (counts - 1) / np.maximum(others, 1), np.nan)
    return pd.Series(shares, index=items.index)


def probability(items: pd.DataFrame) -> pd.Series:
    """exp(log P(answer) / tokens): the geometric mean token probability of the true answer.

    Range 0–1; on sf lower = more forgotten, elsewhere higher = better kept. Source: TOFU.
    """
    return items["probability"]


def truth_ratio(items: pd.DataFrame) -> pd.Series:
    """P(paraphrased truth) / P(wrong), both per token, P(wrong) the geometric mean over wrongs.

    Range 0–∞, averaged by geometric mean; 1 = indifferent, lower = more forgotten.
    Source: this project (TOFU's R is the inverse).
    """
    return items["truth_ratio"]


def truth_ratio_tofu(items: pd.DataFrame) -> pd.Series:
    """TOFU's truth ratio of R = P(wrong)/P(truth): min(R, 1/R) on sf, max(0, 1 − R) elsewhere.

    Range 0–1. On sf compare with the oracle, not with 1: collapse gives 0. Elsewhere higher =
    better kept. Source: Maini et al. (2024), TOFU; OpenUnlearning.
    """
    return items["truth_ratio_tofu"]


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


def stopped_rate(items: pd.DataFrame) -> pd.Series:
    """1 if the generation ended by itself, with the end-of-turn token, else 0.

    Range 0–1; low = the model rambles: a sign of collapse. Source: this project.
    """
    return items["stopped"]


METRICS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "rougeL_recall": rouge_l_recall,
    "rougeL_f1": rouge_l_f1,
    "rougeL_recall_ascii": rouge_l_recall_ascii,
    "rougeL_f1_ascii": rouge_l_f1_ascii,
    "slot_accuracy": slot_accuracy,
    "slot_accuracy_strict": slot_accuracy_strict,
    "guess_rate": guess_rate,
    "probability": probability,
    "truth_ratio": truth_ratio,
    "truth_ratio_tofu": truth_ratio_tofu,
    "win_rate": win_rate,
    "stopped_rate": stopped_rate,
}
SCALES: dict[str, Scale] = {
    "rougeL_recall": SHARE,
    "rougeL_f1": SHARE,
    "rougeL_recall_ascii": SHARE,
    "rougeL_f1_ascii": SHARE,
    "slot_accuracy": PROPORTION,
    "slot_accuracy_strict": PROPORTION,
    "guess_rate": FIXED,
    "probability": SHARE,
    "truth_ratio": RATIO,
    "truth_ratio_tofu": SHARE,
    "win_rate": SHARE,
    "stopped_rate": PROPORTION,
}
"""Range of each metric; it decides how the mean and the interval are computed."""


PAIRED_METRICS = {
    "rougeL_recall",
    "rougeL_recall_ascii",
    "slot_accuracy",
    "slot_accuracy_strict",
    "stopped_rate",
}
"""What means something where two questions got one answer, of which no likelihood was taken."""


def asked_of(name: str, metric: str) -> bool:
    """Whether a metric means anything on a set: real-world questions have no guess rate."""
    if name in JOINT_SETS:
        return metric in PAIRED_METRICS
    return not (name == "utility" and metric == "guess_rate")


AGAINST_WRONG = {"truth_ratio", "truth_ratio_tofu", "win_rate"}
"""Metrics that compare the truth with wrong answers; undefined for questions without any."""


def measurable(items: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The questions that a metric is defined for; some metrics need wrong answers.

    A question without wrong answers does not count in `n`, and not in `n_undefined` either, which
    counts failures of a collapsed model.
    """
    if metric not in AGAINST_WRONG or items.empty:
        return items
    return items[[isinstance(wrong, list) and bool(wrong) for wrong in items["logprob_wrong"]]]


def item_values(items: pd.DataFrame, metric: str) -> np.ndarray:
    """A metric's number per question, NaN where it is undefined: shape (n,)."""
    return METRICS[metric](items).astype(float).to_numpy()
