"""Check 7: no person is real, and no two people have the same name."""

from collections import Counter

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import HARD, CheckResult, Finding, Measure
from excise.text.matching import best_ratios, normalised, words

NEAR = 92  # ratio from which two names are easily confused (reported only)


def names(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Find public figures, repeated names and shared surnames; count similar names.

    Public figures are searched among the people and among all values (accusers, mentors, firms …).
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
    all_names = list(holder)
    near_real = [ratio for _, ratio in best_ratios(all_names, sorted(real), cutoff=NEAR)]
    near_own = best_ratios(all_names, all_names, cutoff=NEAR, same=True)
    examples = [
        {"id": holder[name], "name": name, "near": all_names[twin], "ratio": round(ratio, 1)}
        for name, (twin, ratio) in zip(all_names, near_own, strict=True)
        if ratio
    ]
    measures = [
        Measure("near_public_figure", sum(map(bool, near_real)), len(all_names)),
        Measure("near_another_name", len(examples), len(all_names)),
        Measure(
            "most_shared_surname",
            max(surnames.values()),
            len(all_names),
            limits.max_surname_reuse,
        ),
    ]
    n = len(dataset.profiles) + len(dataset.items)
    return CheckResult("names", HARD, n, findings, measures, examples)
