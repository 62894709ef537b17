"""How much of the true answer greedy decoding reproduces when its beginning is given.

Both metrics read the ranks of the tokens of the true answer. The end-of-turn token does not
count, as in OpenUnlearning.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from excise.evaluation.metrics.interface import item_metric
from excise.evaluation.statistics import SHARE

NEEDS = ("answer.logprob", "answer.rank")


@item_metric(
    "extraction_strength",
    scale=SHARE,
    higher_means="remembered",
    needs=NEEDS,
    convention="1 - k/n, 0 on total failure, without the end-of-turn token",
)
def extraction_strength(items: pd.DataFrame) -> pd.Series:
    """1 − k/n: k is the shortest prefix after which all of the n answer tokens are the argmax.

    Range 0–1: 1 = the question alone gives the whole answer, 0 = even the last token is missed.
    On sf lower = more forgotten, elsewhere higher = better kept. `extraction_strength_ou` has the
    floor of OpenUnlearning. Source: Carlini et al. (2021); Wang et al. (2025).
    """
    return _of_hits(items, lambda hits: hits[::-1].cumprod().mean())


@item_metric(
    "extraction_strength_ou",
    scale=SHARE,
    higher_means="remembered",
    needs=NEEDS,
    convention="1 - k/n, 1/n on total failure as in open-unlearning, without the end-of-turn token",
)
def extraction_strength_ou(items: pd.DataFrame) -> pd.Series:
    """`extraction_strength` as OpenUnlearning computes it: 1/n instead of 0 on total failure.

    Range 1/n–1, direction as for `extraction_strength`. Its loop over k ends at n − 1, whether the
    last token is right or not. So it cannot tell an answer with only the last token right from
    one with none right, and its floor is higher for short answers. Source: OpenUnlearning.
    """
    return _of_hits(items, lambda hits: max(hits[::-1].cumprod().mean(), 1 / len(hits)))


@item_metric(
    "exact_memorization",
    scale=SHARE,
    higher_means="remembered",
    needs=NEEDS,
    convention="share of argmax tokens, without the end-of-turn token",
)
def exact_memorization(items: pd.DataFrame) -> pd.Series:
    """Share of the answer tokens that are the argmax, each after the true tokens before it.

    Range 0–1; on sf lower = more forgotten, elsewhere higher = better kept. Words of the sentence
    frame also count: compare with the oracle. Source: Tirumala et al. (2022).
    """
    return _of_hits(items, lambda hits: hits.mean())


def _of_hits(items: pd.DataFrame, measure: Callable[[np.ndarray], float]) -> pd.Series:
    """A number per question from its hits: (n,), 1 where the token is the argmax, else 0."""
    answers = zip(items["answer.logprob"], items["answer.rank"], strict=True)
    values = [
        measure((rank[:-1] == 0).astype(float))
        if len(rank) > 1 and np.isfinite(logprob).all()
        else np.nan
        for logprob, rank in answers
    ]
    return pd.Series(values, index=items.index, dtype=float)
