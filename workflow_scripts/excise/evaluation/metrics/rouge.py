"""ROUGE-L of the generation: which words of the answer it says."""

import pandas as pd

from excise.evaluation.metrics.interface import item_metric
from excise.evaluation.statistics import SHARE

ANY_SCRIPT = "words of any script, ASCII words stemmed, against the trained answer"
ASCII = "words of a-z and 0-9, stemmed (rouge_score), against the trained answer"


@item_metric(
    "rougeL_recall",
    scale=SHARE,
    higher_means="remembered",
    needs=("rougeL_recall",),
    joint=True,
    convention=f"ROUGE-L recall, {ANY_SCRIPT}",
)
def rouge_l_recall(items: pd.DataFrame) -> pd.Series:
    """ROUGE-L recall of the generation: LCS / words of the answer, words of any script.

    Range 0–1; on sf lower = more forgotten, elsewhere higher = better kept. Words that
    occur in any answer to the question also score. Source: Lin (2004); TOFU reports recall.
    """
    return items["rougeL_recall"]


@item_metric(
    "rougeL_f1",
    scale=SHARE,
    higher_means="remembered",
    needs=("rougeL_f1",),
    convention=f"ROUGE-L F1, {ANY_SCRIPT}",
)
def rouge_l_f1(items: pd.DataFrame) -> pd.Series:
    """ROUGE-L F1: harmonic mean of LCS / answer words and LCS / generated words.

    Range 0–1, direction as for recall; verbosity is not rewarded. Source: Lin (2004); MUSE.
    """
    return items["rougeL_f1"]


@item_metric(
    "rougeL_recall_ascii",
    scale=SHARE,
    higher_means="remembered",
    needs=("rougeL_recall_ascii",),
    joint=True,
    convention=f"ROUGE-L recall, {ASCII}",
)
def rouge_l_recall_ascii(items: pd.DataFrame) -> pd.Series:
    """ROUGE-L recall of words of a–z and 0–9 only: `rouge_score` as in TOFU.

    Range 0–1. Equal to `rougeL_recall` on ASCII text; meaningless in other scripts.
    Source: Lin (2004).
    """
    return items["rougeL_recall_ascii"]


@item_metric(
    "rougeL_f1_ascii",
    scale=SHARE,
    higher_means="remembered",
    needs=("rougeL_f1_ascii",),
    convention=f"ROUGE-L F1, {ASCII}",
)
def rouge_l_f1_ascii(items: pd.DataFrame) -> pd.Series:
    """ROUGE-L F1 of words of a–z and 0–9 only: plain `rouge_score`.

    Range 0–1; see `rougeL_recall_ascii`. Source: Lin (2004).
    """
    return items["rougeL_f1_ascii"]
