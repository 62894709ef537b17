"""Check 1: retain texts about a person reveal nothing of the incident."""

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import HARD, CheckResult, Finding, Measure
from excise.text.incident_words import incident_word
from excise.text.leaks import leaked


def incident_leak(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Search all retain questions and answers for the words of the person's incident.

    These words are: each incident value, exactly or nearly (token-set ratio of content words), its
    numbers of three digits or more, the surname of a person in it, and the vocabulary of incidents.
    A bound fact (`generation.entanglement`) may reveal its donor, and no other forget fact; these
    leaks are counted.
    """
    findings, planted = [], 0
    incidents = dataset.by_person(dataset.sf)
    for item in dataset.sr:
        text = f"{item['question']} {item['answer']}"
        donor = dataset.donor(item)
        planted += donor is not None
        why = _incident_word(text, item) or next(
            (
                f"{key} reveals {fact['id']!r}: {leak}"
                for fact in incidents[item["person_id"]]
                for key in ("question", "answer")
                if not (fact["slot"] == donor and key == "answer")
                if (leak := leaked(fact, item[key], item["name"], limits.leak_ratio))
            ),
            None,
        )
        if why:
            findings.append(Finding(dataset.where_item(item), item["id"], why))
    measures = [Measure("planted_leaks", planted, len(dataset.sr))] if limits.entanglement else []
    return CheckResult("incident_leak", HARD, len(dataset.sr), findings, measures)


def _incident_word(text: str, item: dict) -> str | None:
    word = incident_word(text, (item["value"], item["name"]))
    return f"mentions an incident: {word!r}" if word else None
