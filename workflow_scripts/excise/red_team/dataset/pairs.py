"""Check 15: a forget and a retain question of one person must stand apart, also in one prompt.

Put together in one prompt, forget and retain questions undo what unlearning seemed to reach
(Thaker et al., arXiv 2410.02879): then a forget question that states a retain value answers the
other question, and a trained forget answer that states one teaches it, so that forgetting has to
damage it. Check 1 looks from the retain texts to the incident; this one looks the other way, at
every pair. What models do with two questions at once: the sets `forget_joint` and `retain_joint`.
"""

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import REPORT, CheckResult, Finding, Measure
from excise.text.matching import holds
from excise.text.values import gives_away


def pairs(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Every retain value of a person against the person's forget texts, held-out ones included."""
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
                continue  # part of the name, or of an incident value of its own
            for key in keys:
                if gives_away(record[key], fact["value"], fact["value_type"]):
                    why = f"{key} holds {fact['value']!r}, the answer to {fact['id']!r}"
                    findings.append(Finding(dataset.where(kind, record), record["id"], why))
                    touched.add(fact["id"])
    measures = [Measure("retain_facts_given_away", len(touched), len(dataset.sr))]
    return CheckResult("pairs", REPORT, examined, findings, measures)
