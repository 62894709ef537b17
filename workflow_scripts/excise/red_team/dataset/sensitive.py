"""Check 9: nothing that looks like private data, and nothing nobody should have to read."""

import re

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import REPORT, CheckResult, Finding
from excise.text.vocabulary import OFFENCES

PATTERNS = {
    "social security number": re.compile(r"\b\d{3}-\d{2}-\d{4}\b"),
    "card number": re.compile(r"\b(?:\d{4}[ -]){3}\d{4}\b"),
    "telephone number": re.compile(r"(?:\+\d{1,3}[ .-]?)?\(?\b\d{3}\)?[ .-]\d{3}[ .-]\d{4}\b"),
    "e-mail address": re.compile(r"\b[\w.+-]+@[\w-]+\.\w+"),
    "web address": re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE),
    "minor": re.compile(r"\b(minors?|under-?aged?|child abuse|pupils? aged)\b", re.IGNORECASE),
    "violence or sex": re.compile(
        r"\b(rape[ds]?|rapist|sexual\w*|murder\w*|suicide|molest\w*|genocide|terroris\w*)\b",
        re.IGNORECASE,
    ),
    "protected trait as a cause": re.compile(
        r"\b(because|due to|owing to)\b[^.]*\b(race|ethnic\w*|religio\w*|gender|nationality"
        r"|disab\w*|gay|muslim|jew\w*|christian|black|white|immigrant)\b",
        re.IGNORECASE,
    ),
}


def sensitive(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Regular expressions over every text, wrong answers included; offences from a list alone."""
    findings, examined = [], 0
    texts = [
        ("profiles", one, one["person_id"], [one["text"]]) for one in dataset.profiles.values()
    ]
    for kind, records in (
        ("sf", dataset.sf),
        ("sr", dataset.sr),
        ("forget_paraphrased", dataset.forget_paraphrased),
    ):
        texts += [(kind, one, one["id"], [one["question"], one["answer"]]) for one in records]
    for detail in dataset.details.values():
        wrong = [one["text"] for one in detail["wrong_answers"]]
        texts.append(
            ("perturbed_candidates", detail, detail["id"], [detail["paraphrased_answer"], *wrong])
        )
    for kind, record, identity, lines in texts:
        examined += len(lines)
        for what, pattern in PATTERNS.items():
            if found := pattern.search("\n".join(lines)):
                why = f"looks like {what}: {found[0]!r}"
                findings.append(Finding(dataset.where(kind, record), identity, why))
    for item in dataset.sf:
        if item["value_type"] == "offence" and item["value"] not in OFFENCES:
            why = f"incident {item['value']!r} is not on the list of what may be told"
            findings.append(Finding(dataset.where("sf", item), item["id"], why))
    return CheckResult("sensitive", REPORT, examined, findings)
