"""Check 7: the people are nobody real, and no two of them are one."""

from collections import Counter

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import HARD, CheckResult, Finding, Measure
from excise.text.matching import best_ratios, normalised, words

NEAR = 92  # ratio from which two names are easily taken for one another (reported only)


def names(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Public figures, uniqueness, shared surnames; names that are nearly another one are counted.

    Real people are looked for among the subjects and all values (accusers, mentors, firms …).
    """
    real = {normalised(name) for name in dataset.public_figures}
    holder: dict[str, str] = {}
    surnames: Counter[str] = Counter()
    findings = []
    for person_id, profile in dataset.profiles.items():
        name = normalised(profile["name"])
        surname = (words(name) or ("",))[-1]
        surnames[surname] += 1
        first = holder.setdefault(name, person_id)
        why = None
        if name in real:
            why = f"{profile['name']!r} is a public figure"
        elif first != person_id:
            why = f"{profile['name']!r} is also the name of {first!r}"
        elif surnames[surname] > limits.max_surname_reuse:
            why = f"person number {surnames[surname]} with the surname {surname!r}"
        if why:
            findings.append(Finding(dataset.where("profiles", profile), person_id, why))
    for item in dataset.items:
        value = normalised(item["value"])
        why = None
        if value in real:
            why = f"{item['value']!r} is a public figure"
        elif value in holder:
            why = f"{item['value']!r} is the name of {holder[value]!r}"
        if why:
            findings.append(Finding(dataset.where_item(item), item["id"], why))
    own = list(holder)
    near_real = [ratio for _, ratio in best_ratios(own, sorted(real), cutoff=NEAR)]
    near_own = best_ratios(own, own, cutoff=NEAR, same=True)
    examples = [
        {"id": holder[name], "name": name, "near": own[twin], "ratio": round(ratio, 1)}
        for name, (twin, ratio) in zip(own, near_own, strict=True)
        if ratio
    ]
    measures = [
        Measure("near_public_figure", sum(map(bool, near_real)), len(own)),
        Measure("near_another_name", len(examples), len(own)),
        Measure("most_shared_surname", max(surnames.values()), len(own), limits.max_surname_reuse),
    ]
    n = len(dataset.profiles) + len(dataset.items)
    return CheckResult("names", HARD, n, findings, measures, examples)
