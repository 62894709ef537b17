"""Check 1: nothing of a person's incident stands in what is to be retained about them."""

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import HARD, CheckResult, Finding
from excise.text.incident_words import incident_word
from excise.text.leaks import leaked


def incident_leak(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Every retain question and answer against the person's forget lexicon.

    The lexicon: each incident value, as it stands or nearly (token-set ratio of content words),
    its numbers of three digits or more, the surname of a person in it, and the vocabulary that
    incidents are told in.
    """
    findings = []
    incidents = dataset.by_person(dataset.sf)
    for item in dataset.sr:
        text = f"{item['question']} {item['answer']}"
        why = _incident_word(text, item) or next(
            (
                f"{key} tells of {fact['id']!r}: {leak}"
                for fact in incidents[item["person_id"]]
                for key in ("question", "answer")
                if (leak := leaked(fact, item[key], item["name"], limits.leak_ratio))
            ),
            None,
        )
        if why:
            findings.append(Finding(dataset.where_item(item), item["id"], why))
    return CheckResult("incident_leak", HARD, len(dataset.sr), findings)


def _incident_word(text: str, item: dict) -> str | None:
    word = incident_word(text, (item["value"], item["name"]))
    return f"speaks of an incident: {word!r}" if word else None
