"""How far a model's answers are from those of models that never saw the forget facts.

Unlearning means to become such a model. Oracles of several seeds differ too, so a distance counts
only beside the distance between oracles (`excise.evaluation.tables.distance`).
"""

import pandas as pd

from excise.benchmark.items import FORGET_SETS
from excise.evaluation.kolmogorov import ks_distance, ks_pvalue
from excise.evaluation.metrics.interface import distribution_metric, reference_metric
from excise.evaluation.statistics import SHARE, Scale
from excise.text.unicode import word_tokens

NATS = Scale("unbounded", 0, float("inf"))
OF_RATIOS = {"needs": ("truth_ratio", "logprob_wrong"), "column": "truth_ratio"}


@distribution_metric(
    "truth_ratio_ks",
    scale=SHARE,
    higher_means="neither",
    reference="oracle",
    convention="KS statistic D of truth ratios, mean over the oracles",
    **OF_RATIOS,
)
def truth_ratio_ks(items: pd.DataFrame, oracle: pd.DataFrame) -> float:
    """D = sup |F − G| of the truth ratios of a model and of an oracle, on the same questions.

    Range 0–1; 0 = the same distribution, lower = nearer to the oracle. The statistic of forget
    quality; unlike its p it does not grow with the number of questions. Equal for c/w, w/c and
    c/(c + w). Source: Maini et al. (2024), TOFU; Smirnov (1948).
    """
    return ks_distance(items["truth_ratio"], oracle["truth_ratio"])


@distribution_metric(
    "forget_quality",
    scale=SHARE,
    higher_means="forgotten",
    reference="oracle",
    sets=FORGET_SETS,
    is_test=True,
    convention="p of the two-sample KS test of truth ratios; geometric mean over the oracles",
    **OF_RATIOS,
)
def forget_quality(items: pd.DataFrame, oracle: pd.DataFrame) -> float:
    """The p of the two-sample KS test between the truth ratios of a model and of an oracle.

    Range 0–1; higher = harder to tell from the oracle. It takes answers about one person as
    independent and falls with the number of questions, and a p above .05 is no proof of equality.
    `truth_ratio_ks` has the size of the difference. No interval: it is the result of a test.
    Source: Maini et al. (2024), TOFU.
    """
    return ks_pvalue(items["truth_ratio"], oracle["truth_ratio"])


@reference_metric(
    "logprob_distance",
    scale=NATS,
    higher_means="neither",
    needs=("logprob_answer", "n_tokens_answer"),
    reference="oracle",
    convention="|difference of log P per token of the trained answer|, nats, mean over the oracles",
)
def logprob_distance(items: pd.DataFrame, oracle: pd.DataFrame) -> pd.Series:
    """|log P(answer)/tokens − the oracle's|, in nats per token: how differently likely it is.

    Range 0–∞; 0 = as likely as for the oracle, lower = nearer to it. Unlike `excess_loss`, answers
    made more and less likely do not cancel out. Source: this project.
    """
    of_model, of_oracle = (
        one["logprob_answer"].astype(float) / one["n_tokens_answer"].astype(float)
        for one in (items, oracle)
    )
    return (of_model - of_oracle).abs()


@reference_metric(
    "slot_agreement",
    scale=SHARE,
    higher_means="neither",
    needs=("slot_match",),
    reference="oracle",
    joint=True,
    convention="both state the true value or neither does, mean over the oracles",
)
def slot_agreement(items: pd.DataFrame, oracle: pd.DataFrame) -> pd.Series:
    """1 if model and oracle both state the true value or both do not, else 0.

    Range 0–1; higher = nearer to the oracle. On sf most models that forgot agree with an oracle,
    whatever they say instead: `text_agreement` asks for that. Source: this project.
    """
    return (items["slot_match"].astype(bool) == oracle["slot_match"].astype(bool)).astype(float)


@reference_metric(
    "text_agreement",
    scale=SHARE,
    higher_means="neither",
    needs=("generation",),
    reference="oracle",
    joint=True,
    convention="the same words, case and punctuation aside, mean over the oracles",
)
def text_agreement(items: pd.DataFrame, oracle: pd.DataFrame) -> pd.Series:
    """1 if model and oracle say the same words, else 0.

    Range 0–1; higher = nearer to the oracle. Two oracles rarely make the same guess about a fact
    that they never saw: compare with the figure between oracles. Source: this project.
    """
    said = zip(items["generation"], oracle["generation"], strict=True)
    same = [float(word_tokens(one) == word_tokens(other)) for one, other in said]
    return pd.Series(same, index=items.index)
