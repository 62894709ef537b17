"""Membership inference: does the model treat an answer as one that it was trained on?

Per question the scores of four attacks, one of them also against a model that never saw the
forget facts. Over two sets the area under the ROC curve (AUC) of each attack, PrivLeak, and s_MIA.

The AUC compares the forget facts with the set `holdout`: facts of the same slots about people who
were made like the others and whom no model was trained on (`generation.holdout`). Without such
people these metrics have no rows.
"""

import zlib

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from excise.evaluation.areas import placements
from excise.evaluation.metrics.interface import (
    item_metric,
    leak_metric,
    reference_metric,
    rescaled_metric,
    two_set_metric,
)
from excise.evaluation.statistics import SHARE, Scale

LOSS = Scale("unbounded", 0, np.inf)
LOGPROB = Scale("unbounded", -np.inf, 0)
SCORE = Scale("unbounded", -np.inf, np.inf)
LEAK = Scale("unbounded", -100, np.inf)
RESCALED = Scale("unbounded", -np.inf, np.inf)
LOWEST = 0.4
"""Share of the answer tokens that min-k looks at; OpenUnlearning's setting."""
SMALLEST_VARIANCE = 1e-6
SUMS = ("logprob_answer", "n_tokens_answer")
LOGPROBS = ("answer.logprob",)
DISTRIBUTIONS = ("answer.logprob", "answer.mean", "answer.variance")
TWO_SETS = {"scale": SHARE, "higher_means": "remembered", "members": "sf", "others": "holdout"}


@item_metric(
    "loss",
    scale=LOSS,
    higher_means="forgotten",
    needs=SUMS,
    convention="mean -log P per token, with the end-of-turn token",
)
def loss(items: pd.DataFrame) -> pd.Series:
    """−log P(answer + end-of-turn) / tokens, in nats per token.

    Range 0–∞; on sf higher = more forgotten, elsewhere lower = better kept. The averages of
    `probability` and of the loss differ: a loss has no upper end. Source: Yeom et al. (2018).
    """
    return -items["logprob_answer"].astype(float) / items["n_tokens_answer"].astype(float)


@item_metric(
    "loss_zlib",
    scale=LOSS,
    higher_means="forgotten",
    needs=(*SUMS, "answer"),
    convention="loss / bytes of the answer after zlib",
)
def loss_zlib(items: pd.DataFrame) -> pd.Series:
    """Loss / bytes of the answer after zlib compression, in nats per token and byte.

    Range 0–∞, direction as for `loss`. Long and irregular answers have a high loss anyway; their
    size corrects for it. Source: Carlini et al. (2021).
    """
    size = [len(zlib.compress(answer.encode())) for answer in items["answer"]]
    return loss(items) / size


@item_metric(
    "min_k",
    scale=LOGPROB,
    higher_means="remembered",
    needs=LOGPROBS,
    convention="mean log P of the lowest 40 % of tokens, without the end-of-turn token",
)
def min_k(items: pd.DataFrame) -> pd.Series:
    """Mean log-probability of the 40 % of the answer tokens that are least likely, in nats.

    The end-of-turn token does not count; at least one token does. Range −∞–0; on sf lower = more
    forgotten, elsewhere higher = better kept. Source: Shi et al. (2024), Min-K%.
    """
    values = [_mean_of_lowest(logprob[:-1]) for logprob in items["answer.logprob"]]
    return pd.Series(values, index=items.index, dtype=float)


@item_metric(
    "min_k_plus_plus",
    scale=SCORE,
    higher_means="remembered",
    needs=DISTRIBUTIONS,
    convention="min_k of (log p - mu) / max(sigma, 1e-3), without the end-of-turn token",
)
def min_k_plus_plus(items: pd.DataFrame) -> pd.Series:
    """`min_k` of z = (log p(token) − μ) / σ, μ and σ over the model's own distribution.

    σ² is at least 1e-6. Range −∞–∞; on sf lower = more forgotten, elsewhere higher = better kept.
    Source: Zhang et al. (2024), Min-K%++.
    """
    columns = zip(*(items[column] for column in DISTRIBUTIONS), strict=True)
    values = [
        _mean_of_lowest(((logprob - mean) / np.sqrt(np.maximum(variance, SMALLEST_VARIANCE)))[:-1])
        for logprob, mean, variance in columns
    ]
    return pd.Series(values, index=items.index, dtype=float)


@reference_metric(
    "excess_loss",
    scale=SCORE,
    higher_means="forgotten",
    needs=SUMS,
    reference="oracle",
    convention="loss - mean loss of the oracles",
)
def excess_loss(items: pd.DataFrame, oracle: pd.DataFrame) -> pd.Series:
    """Loss − loss of a model that never saw the forget facts, in nats per token.

    Range −∞–∞. On sf 0 = as likely as if never learned, below 0 = still remembered, above 0 =
    made less likely than that. On other sets above 0 = damaged. Oracles are compared with the
    other oracles. Source: Mireshghallah et al. (2022), the reference attack.
    """
    return loss(items) - loss(oracle)


def area_under_roc(members: ArrayLike, others: ArrayLike) -> float:
    """Chance that a member's score is above another's; a tie counts half. NaN if one is undefined.

    U / (n₁ n₂), the statistic of Mann and Whitney (1947); in [0, 1], 0.5 = cannot tell.
    """
    sides = [np.asarray(one, dtype=float)[:, None] for one in (members, others)]
    if not all(len(one) and np.isfinite(one).all() for one in sides):
        return float("nan")
    above, _ = placements(*sides)
    return float(above.mean())


@two_set_metric(
    "auc_loss",
    score=loss,
    convention="AUC of -loss, forget against held-out facts; 1 = members",
    **TWO_SETS,
)
def auc_loss(members: ArrayLike, others: ArrayLike) -> float:
    """AUC of −`loss`: forget facts against facts of people whom no model was trained on.

    Range 0–1: 1 = the forget facts are clearly members (all are likelier than all others), 0.5 =
    as if never trained on, below 0.5 = made less likely than facts that the model never saw.
    OpenUnlearning's direction; MUSE has 1 − AUC. Source: Yeom et al. (2018).
    """
    return area_under_roc(members, others)


@two_set_metric(
    "auc_loss_zlib",
    score=loss_zlib,
    convention="AUC of -loss/zlib bytes, forget against held-out facts; 1 = members",
    **TWO_SETS,
)
def auc_loss_zlib(members: ArrayLike, others: ArrayLike) -> float:
    """AUC of −`loss_zlib`; range and direction as for `auc_loss`. Source: Carlini et al. (2021)."""
    return area_under_roc(members, others)


@two_set_metric(
    "auc_min_k",
    score=min_k,
    convention="AUC of min-40 %, forget against held-out facts; 1 = members",
    **TWO_SETS,
)
def auc_min_k(members: ArrayLike, others: ArrayLike) -> float:
    """AUC of `min_k`; range and direction as for `auc_loss`. Source: Shi et al. (2024)."""
    return area_under_roc(members, others)


@two_set_metric(
    "auc_min_k_plus_plus",
    score=min_k_plus_plus,
    convention="AUC of min-40 %++, forget against held-out facts; 1 = members",
    **TWO_SETS,
)
def auc_min_k_plus_plus(members: ArrayLike, others: ArrayLike) -> float:
    """AUC of `min_k_plus_plus`; range and direction as for `auc_loss`.

    Source: Zhang et al. (2024).
    """
    return area_under_roc(members, others)


@two_set_metric(
    "auc_reference",
    score=excess_loss,
    convention="AUC of -(loss - loss of the oracles), forget against held-out facts; 1 = members",
    **TWO_SETS,
)
def auc_reference(members: ArrayLike, others: ArrayLike) -> float:
    """AUC of −`excess_loss`; range and direction as for `auc_loss`.

    The oracles correct for how likely an answer is anyway. An oracle is compared with the other
    oracles. Source: Mireshghallah et al. (2022), the reference attack.
    """
    return area_under_roc(members, others)


@leak_metric(
    "privleak",
    score=min_k,
    reference="oracle",
    convention="on auc_min_k, against the mean AUC of the oracles, in percent; 0 = like them",
    **TWO_SETS | {"scale": LEAK, "higher_means": "forgotten"},
)
def privleak(area: float, oracles: float) -> float:
    """100 · ((1 − A) − (1 − A₀)) / (1 − A₀), in percent; A = `auc_min_k`, A₀ = that of the oracles.

    A₀ is the mean over the oracles, of an oracle over the other ones; without any there is no row.
    OpenUnlearning takes 0.5 then. Range −100–∞: 0 = tells as little as the oracles, −100 = the
    forget facts are clearly members (too little unlearned), above 0 = less likely than for the
    oracles (too much). Source: Shi et al. (2025), MUSE, whose A is our 1 − A.
    """
    return 100 * (oracles - area) / (1 - oracles) if oracles < 1 else float("nan")


@rescaled_metric(
    "s_mia",
    score=min_k,
    convention="on auc_min_k, from finetuned (0) to the mean of the oracles (1), not cut off",
    **TWO_SETS | {"scale": RESCALED, "higher_means": "forgotten"},
)
def s_mia(area: float, finetuned: float, oracles: float) -> float:
    """(A₁ − A) / (A₁ − A₀) on `auc_min_k`; A₁ = that of finetuned, A₀ = the mean of the oracles.

    An oracle's A₀ is the mean over the other oracles. Range −∞–∞: 0 = members as clearly as for
    finetuned, 1 = as little as for the oracles, above 1 = less likely than for the oracles (too
    much unlearned), below 0 = more clearly members than for finetuned. Undefined unless the lower
    limit of A₁ − A₀ is above 0; without finetuned or an oracle there is no row. UDS's code has
    1 − |A − A₀| / A₀, cut to 0 … 1, without finetuned. Source: MIAU (OpenReview zZ2RhS3nRI, 2025)
    for the two reference models; UDS (2026) for the name.
    """
    return (finetuned - area) / (finetuned - oracles) if finetuned > oracles else float("nan")


def _mean_of_lowest(scores: np.ndarray) -> float:
    """Mean of the lowest 40 % of the scores (n,), at least one; NaN if one is undefined."""
    if not len(scores) or not np.isfinite(scores).all():
        return float("nan")
    count = max(1, int(LOWEST * len(scores)))
    return float(np.sort(scores.astype(float))[:count].mean())
