"""Check 13: does the style of a question give its set away?

The test is a bag-of-words naive Bayes classifier with names and values masked. With all words, its
AUC is high by nature: forget and retain questions ask for different things, and the words for the
occasion separate correlated from other facts. So this AUC is reported only. With function words
alone, only the style is left. This AUC has a limit.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import REPORT, CheckResult, Finding, Measure
from excise.text.matching import STOP_WORDS, mask


def style(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Measure the AUC of a classifier of sets by question words, with two folds over people."""
    groups = {
        "sf_vs_sr": [(item, item["group"] == "sf") for item in dataset.items],
        "correlated_vs_other": [(item, item["group"] == "correlated") for item in dataset.sr],
    }
    fold = {person_id: index % 2 for index, person_id in enumerate(sorted(dataset.profiles))}
    findings, measures = [], []
    for name, labelled in groups.items():
        texts = [_masked(dataset, item).split() for item, _ in labelled]
        function_words = [[word for word in text if word in STOP_WORDS] for text in texts]
        labels = [label for _, label in labelled]
        folds = [fold.get(item["person_id"], 0) for item, _ in labelled]
        auc = cross_validated_auc(texts, labels, folds)
        function_auc = cross_validated_auc(function_words, labels, folds)
        measures.append(Measure(f"auc_{name}", auc, len(texts)))
        measures.append(
            Measure(f"auc_function_words_{name}", function_auc, len(texts), limits.style_auc)
        )
        if function_auc is not None and function_auc > limits.style_auc:
            sets = name.replace("_", " ")
            why = f"function words alone separate {sets} with AUC {function_auc:.2f}"
            findings.append(Finding(str(dataset.files["sf"]), name, why))
    return CheckResult("style", REPORT, len(dataset.items), findings, measures)


def _masked(dataset: Dataset, item: dict) -> str:
    profile = dataset.profiles.get(item["person_id"])
    return mask(item["question"], item["name"], profile["slots"].values() if profile else ())


def cross_validated_auc(
    texts: Sequence[Sequence[str]], labels: Sequence[bool], folds: Sequence[int]
) -> float | None:
    """Mean AUC over two folds: a naive Bayes classifier is trained on one and tested on the other.

    Args:
        texts: the words of each text.
        labels: the class of each text.
        folds: the fold of each text, 0 or 1.

    Returns:
        Area under the ROC curve: 0.5 = chance, 1 = perfect separation; None if a fold lacks a
        class.
    """
    vocabulary = {word: index for index, word in enumerate(sorted({w for t in texts for w in t}))}
    counts = np.zeros((len(texts), len(vocabulary)), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in text:
            counts[row, vocabulary[word]] = 1
    truth, side = np.array(labels, dtype=bool), np.array(folds)
    areas = []
    for test in (0, 1):
        train, tested = side != test, side == test
        if len({*truth[train]}) < 2 or len({*truth[tested]}) < 2:
            return None
        positive = counts[train & truth].sum(0) + 1
        negative = counts[train & ~truth].sum(0) + 1
        weights = np.log(positive / positive.sum()) - np.log(negative / negative.sum())
        areas.append(area_under_curve(counts[tested] @ weights, truth[tested]))
    return float(np.mean(areas))


def area_under_curve(scores: np.ndarray, truth: np.ndarray) -> float:
    """Probability that a positive scores above a negative; ties count half (Mann–Whitney U)."""
    n_positive, n_negative = int(truth.sum()), int((~truth).sum())
    rank_sum = rankdata(scores)[truth].sum()
    return float((rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))
