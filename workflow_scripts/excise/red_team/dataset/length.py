"""Check 6: true and wrong answers have the same length; otherwise length tells them apart."""

import math
from statistics import fmean

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import REPORT, CheckResult, Finding, Measure

UNITS = {"characters": len, "words": lambda text: len(text.split())}


def length_confound(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Compare mean lengths of wrong and true answers per set, and test each slot.

    `rank_p` is the test per slot; its limit is Bonferroni-corrected over slots.
    """
    sets: dict[str, list[dict]] = {"sf": [], "correlated": [], "other": []}
    slots: dict[str, list[dict]] = {}
    for item in dataset.items:
        detail = dataset.details[item["id"]]
        if not detail["wrong_answers"]:
            continue
        sets[item["group"]].append(detail)
        slots.setdefault(item["slot"], []).append(detail)
    sets["utility"] = [record for record in dataset.utility if record["wrong_answers"]]
    findings, measures = [], []
    for name, details in sets.items():
        where = str(dataset.files["utility" if name == "utility" else "perturbed_candidates"])
        for unit, size in UNITS.items():
            if not details:
                continue
            wrong_mean = fmean(
                size(wrong["text"]) for detail in details for wrong in detail["wrong_answers"]
            )
            ratio = wrong_mean / fmean(size(detail["paraphrased_answer"]) for detail in details)
            measures.append(Measure(f"{unit}_wrong_over_true_{name}", ratio, len(details)))
            if abs(ratio - 1) > limits.length_tolerance:
                why = f"wrong answers of {name} have {ratio:.2f} times the {unit} of true answers"
                findings.append(Finding(where, name, why))
    for slot, details in sorted(slots.items()):
        balance, p = rank_p([_lengths(detail) for detail in details])
        limit = limits.length_p / len(slots)
        measures.append(Measure(f"length_balance_{slot}", balance, len(details)))
        measures.append(Measure(f"length_p_{slot}", p, len(details), limit))
        if p < limit:
            more = "longer" if balance > 0 else "shorter"
            why = f"true answers of {slot!r} are systematically {more} (balance {balance:+.2f})"
            findings.append(Finding(str(dataset.files["perturbed_candidates"]), slot, why))
    n = len(dataset.items) + len(dataset.utility)
    return CheckResult("length_confound", REPORT, n, findings, measures)


def rank_p(lengths: list[list[int]]) -> tuple[float, float]:
    """Test whether the first length of each row is systematically longer or shorter than others.

    Under the null hypothesis, truth and wrong answers have the same distribution, so each member of
    a row could be the first. The statistic is the mean over rows of (shorter others − longer
    others) / others. Its variance is exact; its p-value is a normal approximation.

    Args:
        lengths: per question, the length of the true answer, then those of the wrong answers.

    Returns:
        The balance, from −1 (truth always shortest) to 1 (always longest), and the two-sided p.
    """
    balances = [[_balance(row, index) for index in range(len(row))] for row in lengths]
    total = sum(row[0] for row in balances)
    variance = sum(fmean(value * value for value in row) for row in balances)
    if not variance:
        return 0.0, 1.0
    return total / len(lengths), math.erfc(abs(total) / math.sqrt(2 * variance))


def _balance(row: list[int], index: int) -> float:
    length = row[index]
    return sum((length > other) - (length < other) for other in row) / (len(row) - 1)


def _lengths(detail: dict) -> list[int]:
    texts = [detail["paraphrased_answer"], *(wrong["text"] for wrong in detail["wrong_answers"])]
    return [len(text) for text in texts]
