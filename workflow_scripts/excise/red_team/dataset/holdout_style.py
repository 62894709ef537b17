"""Check 16, second part: the wording of a question does not tell whether its person is held out.

A model that was never taught any of these people must find forget facts and held-out facts equally
likely. So the two sets may differ in nothing but who they are about.
"""

import random
from collections.abc import Sequence

import numpy as np

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import REPORT, CheckResult, Finding, Measure
from excise.red_team.dataset.style import cross_validated_auc
from excise.text.matching import STOP_WORDS, mask

SHUFFLES = 100
"""How often the held-out people are drawn anew among all, to see what chance gives."""
CHANCE = 0.95


def holdout_style(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Measure the AUC of the classifier of `style` for held-out against forget questions.

    Names, values and kinds of event are masked. All words count, and again function words alone.
    Few people differ by chance, so a finding needs an AUC above the limit and above the 95 %
    quantile of AUCs with people shuffled (`auc_by_chance_*`).
    """
    items = [*dataset.sf, *dataset.holdout]
    if not dataset.holdout:
        return CheckResult("holdout_style", REPORT, 0)
    profiles = dataset.profiles | dataset.holdout_profiles
    people = [item["person_id"] for item in items]
    all_words = [masked(item, profiles.get(item["person_id"])).split() for item in items]
    function_words = [[word for word in text if word in STOP_WORDS] for text in all_words]
    findings, measures = [], []
    for name, texts in (("words", all_words), ("function_words", function_words)):
        auc = separation(texts, people, set(dataset.holdout_profiles))
        chance = by_chance(texts, people, len(dataset.holdout_profiles))
        measures.append(Measure(f"auc_{name}", auc, len(items), limits.style_auc))
        measures.append(Measure(f"auc_by_chance_{name}", chance, len(items)))
        if auc is not None and auc > max(limits.style_auc, chance or 0):
            what = name.replace("_", " ")
            why = f"{what} separate held-out from forget questions with AUC {auc:.2f}"
            findings.append(Finding(str(dataset.files["holdout"]), name, why))
    return CheckResult("holdout_style", REPORT, len(items), findings, measures)


def separation(
    texts: Sequence[Sequence[str]], people: Sequence[str], held_out: set[str]
) -> float | None:
    """`cross_validated_auc` of held-out people; the folds halve both groups of people."""
    groups = [sorted({one for one in people if (one in held_out) == held}) for held in (0, 1)]
    fold = {one: index % 2 for group in groups for index, one in enumerate(group)}
    labels = [one in held_out for one in people]
    return cross_validated_auc(texts, labels, [fold[one] for one in people])


def by_chance(texts: Sequence[Sequence[str]], people: Sequence[str], held_out: int) -> float | None:
    """The 95 % quantile of `separation` if other people were held out."""
    draw, everybody = random.Random("holdout style"), sorted(set(people))
    found = [
        separation(texts, people, set(draw.sample(everybody, held_out))) for _ in range(SHUFFLES)
    ]
    known = [one for one in found if one is not None]
    return float(np.quantile(known, CHANCE)) if known else None


def masked(item: dict, profile: dict | None) -> str:
    """The question with name, values and kind of event masked."""
    values = (*profile["slots"].values(), profile["event_kind"]) if profile else ()
    return mask(item["question"], item["name"], values)
