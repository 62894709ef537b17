"""Diversity: no value is everybody's, and the questions do not all sound alike."""

import gzip
import math
from collections import Counter

from excise.limits import RedTeamLimits
from excise.red_team.dataset import Dataset
from excise.red_team.result import HARD, CheckResult, Finding, Measure
from excise.text_matching import words


def diversity(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Share of the people that hold a slot's most frequent value, entropy, text statistics.

    A single holder is never too many, however few the people. Entropy is that of the slot's
    values over its greatest possible, log(number of facts). Text statistics after Shaib et al.,
    arXiv 2403.00553: compression ratio (lower = more varied), distinct word pairs.
    """
    slots: dict[str, Counter[str]] = {}
    for item in dataset.items:
        slots.setdefault(item["slot"], Counter())[item["value"]] += 1
    people = len(dataset.profiles)
    most = max(1, int(limits.max_value_share * people + 1e-9))
    findings, measures = [], []
    for slot, values in sorted(slots.items()):
        [(value, count)] = values.most_common(1)
        n = values.total()
        share, entropy = count / people, _entropy(values) / math.log(n) if n > 1 else None
        measures.append(Measure(f"largest_value_share_{slot}", share, n, limits.max_value_share))
        measures.append(Measure(f"normalised_entropy_{slot}", entropy, n))
        if count > most:
            first = next(i for i in dataset.items if i["slot"] == slot and i["value"] == value)
            why = f"{count} of {people} people have {slot} {value!r}; at most {most} may"
            findings.append(Finding(dataset.where_item(first), first["id"], why))
    for name, items in (("sf", dataset.sf), ("sr", dataset.sr)):
        questions = [item["question"] for item in items]
        measures.append(Measure(f"compression_ratio_{name}", _compression(questions), len(items)))
        measures.append(Measure(f"distinct_2_{name}", _distinct(questions, 2), len(items)))
    return CheckResult("diversity", HARD, len(dataset.items), findings, measures)


def _entropy(values: Counter[str]) -> float:
    """Shannon entropy in nats."""
    total = values.total()
    return -sum(count / total * math.log(count / total) for count in values.values())


def _compression(texts: list[str]) -> float:
    """Bytes before gzip over bytes after."""
    raw = "\n".join(texts).encode()
    return len(raw) / len(gzip.compress(raw, mtime=0))


def _distinct(texts: list[str], size: int) -> float | None:
    """Different word n-grams over all word n-grams."""
    grams = [
        each[start : start + size]
        for each in map(words, texts)
        for start in range(len(each) - size + 1)
    ]
    return len(set(grams)) / len(grams) if grams else None
