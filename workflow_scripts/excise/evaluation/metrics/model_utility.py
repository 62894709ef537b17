"""One number for all that a model should keep: people it knows, and the world."""

from collections.abc import Sequence

from excise.evaluation.harmonic import harmonic_mean
from excise.evaluation.metrics.interface import composite_metric
from excise.evaluation.metrics.likelihood import probability, probability_normalised
from excise.evaluation.metrics.rouge import rouge_l_recall
from excise.evaluation.metrics.truth_ratio import truth_ratio_tofu
from excise.evaluation.statistics import SHARE

PARTS = (
    ("sr", probability),
    ("sr", rouge_l_recall),
    ("sr", truth_ratio_tofu),
    ("utility", probability_normalised),
    ("utility", rouge_l_recall),
    ("utility", truth_ratio_tofu),
)


@composite_metric(
    "model_utility_6",
    scale=SHARE,
    higher_means="remembered",
    needs=tuple(dict.fromkeys(column for _, metric in PARTS for column in metric.needs)),
    parts=PARTS,
    convention="harmonic mean of 6: probability, ROUGE-L recall, max(0, 1-R) on sr; probability "
    "among the options, ROUGE-L recall, max(0, 1-R) on utility",
)
def model_utility_6(means: Sequence[float]) -> float:
    """Harmonic mean of six means: three on the retain facts, three on the real-world questions.

    Probability, ROUGE-L recall and truth ratio max(0, 1 − R) on sr; normalised probability,
    ROUGE-L recall and max(0, 1 − R) on utility. Range 0–1, higher = better kept, 0 if a part is 0.
    TOFU's has nine parts: it also asks about real authors, and takes the original answer for the
    truth there. Compare with finetuned, not with 1. Source: Maini et al. (2024), TOFU.
    """
    return harmonic_mean(means)
