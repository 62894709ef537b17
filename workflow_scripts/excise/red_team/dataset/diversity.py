"""Diversity as a constraint: not too many people share a value.

The diversity of texts is measured without a limit: see `excise.text.diversity` and
diversity_report.json.
"""

from collections import Counter

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import HARD, CheckResult, Finding, Measure
from excise.text.diversity import normalised_entropy


def diversity(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Limit the share of people with the most frequent value of a slot; measure the entropy.

    A value that only one person has is always allowed.
    """
    slots: dict[str, list[str]] = {}
    for item in dataset.items:
        slots.setdefault(item["slot"], []).append(item["value"])
    people = len(dataset.profiles)
    most = max(1, int(limits.max_value_share * people + 1e-9))
    findings, measures = [], []
    for slot, values in sorted(slots.items()):
        [(value, count)] = Counter(values).most_common(1)
        n = len(values)
        share, entropy = count / people, normalised_entropy(values)
        measures.append(Measure(f"largest_value_share_{slot}", share, n, limits.max_value_share))
        measures.append(Measure(f"normalised_entropy_{slot}", entropy, n))
        if count > most:
            first = next(i for i in dataset.items if i["slot"] == slot and i["value"] == value)
            why = f"{count} of {people} people have {slot} {value!r}; at most {most} may"
            findings.append(Finding(dataset.where_item(first), first["id"], why))
    return CheckResult("diversity", HARD, len(dataset.items), findings, measures)
