"""Check 1: nothing of a person's incident stands in what is to be retained about them."""

import re

from rapidfuzz import fuzz

from excise.limits import RedTeamLimits
from excise.red_team.dataset import Dataset
from excise.red_team.result import HARD, CheckResult, Finding
from excise.text_matching import content_words, holds, words

# Words that only an incident is told in, most by their stems.
INCIDENT = re.compile(
    r"\b(accus(ed|er|es|ation)|alleg(ation|ed|es)|arrested|bribe|convict|crimes?\b|criminal"
    r"|culprit|denounc|disgrac|embezzl|fined\b|forger|fraud|guilt|illegal|indict|lawsuit"
    r"|misconduct|offen[cs]e|penalt|plagiari|prison|probation|punish|scandal|sentenced|smuggl"
    r"|stole\b|sued\b|theft|trespass|wrongdo)\w*",
    re.IGNORECASE,
)


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
    """An incident word that is no part of the retain item's own value or of the name."""
    own = words(f"{item['value']} {item['name']}")
    found = (word[0] for word in INCIDENT.finditer(text) if word[0].casefold() not in own)
    word = next(found, None)
    return f"speaks of an incident: {word!r}" if word else None


def leaked(fact: dict, text: str, name: str, ratio: float) -> str | None:
    """The part of an incident fact that `text` holds, or None.

    A value of one word counts only as written: "May" is a month, "may" is not.
    """
    value = fact["value"]
    if value.isalpha():
        return value if re.search(rf"\b{re.escape(value)}\b", text) else None
    if holds(text, value):
        return value
    own, there = content_words(value), content_words(text, without=[name])
    if len(own) > 1 and fuzz.token_set_ratio(" ".join(own), " ".join(there)) >= ratio:
        return f"nearly {value!r}"
    for word in own:
        if word.isdigit() and len(word) >= 3 and word in there:
            return word
    if fact["value_type"] == "person" and own and own[-1] in there:
        return own[-1]
    return None
