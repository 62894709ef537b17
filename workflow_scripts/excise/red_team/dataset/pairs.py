"""Check 15: forget texts about a person contain no retain values.

In one prompt, forget and retain questions can undo apparent unlearning (Thaker et al., arXiv
2410.02879). A forget question with a retain value answers the retain question. A trained forget
answer with a retain value teaches this value, so that forgetting damages it. Check 1 searches
retain texts for the incident; this check searches in the other direction, over all pairs. The sets
`forget_joint` and `retain_joint` measure the answers to two questions in one prompt.
"""

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import REPORT, CheckResult, Finding, Measure
from excise.text.matching import holds
from excise.text.values import gives_away


def pairs(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Search all forget texts about a person, with paraphrased questions, for retain values."""
    retained = dataset.by_person(dataset.sr)
    examined, findings, touched = 0, [], set()
    asked = [("sf", record, ("question", "answer")) for record in dataset.sf]
    asked += [
        ("forget_paraphrased", record, ("question",)) for record in dataset.forget_paraphrased
    ]
    for kind, record, keys in asked:
        for fact in retained[record["person_id"]]:
            examined += 1
            if holds(record["name"], fact["value"]) or holds(record["value"], fact["value"]):
                continue  # part of the name or of the incident value
            for key in keys:
                if gives_away(record[key], fact["value"], fact["value_type"]):
                    why = f"{key} contains {fact['value']!r}, the answer to {fact['id']!r}"
                    findings.append(Finding(dataset.where(kind, record), record["id"], why))
                    touched.add(fact["id"])
    measures = [Measure("retain_facts_given_away", len(touched), len(dataset.sr))]
    return CheckResult("pairs", REPORT, examined, findings, measures)
