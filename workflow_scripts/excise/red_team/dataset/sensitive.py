"""Check 9: texts contain nothing that looks like private data, and no severe harm."""

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
    """Search all texts with regular expressions, and check that all offences are on the list."""
    findings, examined = [], 0
    texts = [
        ("profiles", profile, profile["person_id"], [profile["text"]])
        for profile in dataset.profiles.values()
    ]
    for kind, records in (
        ("sf", dataset.sf),
        ("sr", dataset.sr),
        ("forget_paraphrased", dataset.forget_paraphrased),
    ):
        texts += [
            (kind, record, record["id"], [record["question"], record["answer"]])
            for record in records
        ]
    for detail in dataset.details.values():
        wrong_texts = [wrong["text"] for wrong in detail["wrong_answers"]]
        answers = [detail["paraphrased_answer"], *wrong_texts]
        texts.append(("perturbed_candidates", detail, detail["id"], answers))
    for kind, record, record_id, lines in texts:
        examined += len(lines)
        for what, pattern in PATTERNS.items():
            if found := pattern.search("\n".join(lines)):
                why = f"looks like {what}: {found[0]!r}"
                findings.append(Finding(dataset.where(kind, record), record_id, why))
    for item in dataset.sf:
        if item["value_type"] == "offence" and item["value"] not in OFFENCES:
            why = f"offence {item['value']!r} is not on the list of allowed offences"
            findings.append(Finding(dataset.where("sf", item), item["id"], why))
    return CheckResult("sensitive", REPORT, examined, findings)
