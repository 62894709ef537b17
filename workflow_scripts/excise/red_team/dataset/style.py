"""Check 13: does the way a question is put give its set away?

A bag-of-words naive Bayes classifier, names and values masked. With all words it tells what is
asked for: forget and retain questions ask for different things, and the words that name the
occasion separate correlated from other, so that AUC is high by nature and reported only. With
all content words masked the style is left: function words alone. That AUC has the limit.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import REPORT, CheckResult, Finding, Measure
from excise.text.matching import STOP_WORDS, mask


def style(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """AUC of telling the sets apart by question words, trained on half the people."""
    groups = {
        "sf_vs_sr": [(item, item["group"] == "sf") for item in dataset.items],
        "correlated_vs_other": [(item, item["group"] == "correlated") for item in dataset.sr],
    }
    fold = {person_id: index % 2 for index, person_id in enumerate(sorted(dataset.profiles))}
    findings, measures = [], []
    for name, labelled in groups.items():
        texts = [_masked(dataset, item).split() for item, _ in labelled]
        bare = [[word for word in text if word in STOP_WORDS] for text in texts]
        labels = [label for _, label in labelled]
        folds = [fold.get(item["person_id"], 0) for item, _ in labelled]
        auc = cross_validated_auc(texts, labels, folds)
        function_auc = cross_validated_auc(bare, labels, folds)
        measures.append(Measure(f"auc_{name}", auc, len(texts)))
        measures.append(
            Measure(f"auc_function_words_{name}", function_auc, len(texts), limits.style_auc)
        )
        if function_auc is not None and function_auc > limits.style_auc:
            tell = name.replace("_", " ")
            why = f"function words alone tell {tell} with AUC {function_auc:.2f}"
            findings.append(Finding(str(dataset.files["sf"]), name, why))
    return CheckResult("style", REPORT, len(dataset.items), findings, measures)


def _masked(dataset: Dataset, item: dict) -> str:
    profile = dataset.profiles.get(item["person_id"])
    return mask(item["question"], item["name"], profile["slots"].values() if profile else ())


def cross_validated_auc(
    texts: Sequence[Sequence[str]], labels: Sequence[bool], folds: Sequence[int]
) -> float | None:
    """Mean over two folds of the AUC on one of a naive Bayes classifier trained on the other.

    Args:
        texts: the words of each text.
        labels: the class of each.
        folds: 0 or 1 for each.

    Returns:
        area under the ROC curve, 0.5 = chance, 1 = told apart without fault; None if a fold
        lacks a class.
    """
    vocabulary = {word: index for index, word in enumerate(sorted({w for t in texts for w in t}))}
    counts = np.zeros((len(texts), len(vocabulary)), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in text:
            counts[row, vocabulary[word]] = 1
    truth, side = np.array(labels, dtype=bool), np.array(folds)
    areas = []
    for test in (0, 1):
        seen, asked = side != test, side == test
        if len({*truth[seen]}) < 2 or len({*truth[asked]}) < 2:
            return None
        positive = counts[seen & truth].sum(0) + 1
        negative = counts[seen & ~truth].sum(0) + 1
        weights = np.log(positive / positive.sum()) - np.log(negative / negative.sum())
        areas.append(area_under_curve(counts[asked] @ weights, truth[asked]))
    return float(np.mean(areas))


def area_under_curve(scores: np.ndarray, truth: np.ndarray) -> float:
    """Chance that a positive scores above a negative, ties counting half (Mann–Whitney U)."""
    n_positive, n_negative = int(truth.sum()), int((~truth).sum())
    rank_sum = rankdata(scores)[truth].sum()
    return float((rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))
