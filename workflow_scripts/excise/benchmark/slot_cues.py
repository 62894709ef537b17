"""Decide which of several possible slots a text means, from words that point to one slot only.

For example, "taught" means the mentor and not the partner, although both are people. A text without
such words passes.
"""

import re
from collections.abc import Iterable

from excise.benchmark.asked_for import WHEN, WHERE, Kinds, asked_for
from excise.benchmark.slots import SLOTS
from excise.text.vocabulary import OFFENCES

# Words that point to a slot. The first pattern means this slot only; the second one may mean
# others. A match of the second pattern is evidence for a slot, but never against another one.
_CUE_WORDS = {
    "accuser": (
        r"accus\w*|denounc\w*|turned (against|in)|told on|spoke (up|out)? ?against|testif\w*"
        r"|allegation\w*|brought (a )?charges?|incriminat\w*|blew the whistle"
        r"|point\w* the finger|raised the alarm|expos(ed|ing)",
        r"against|spoke|charg\w*|blam\w*|report\w*|expos\w*|reveal\w*|brought down|inform\w*"
        r"|betray\w*|affair|offen[cs]e|crime|alleg\w*|complain\w*|witness\w*|point\w*",
    ),
    "event_partner": (
        r"partner\w*|beside|alongside|side by side|teamed|shared the stage",
        r"assist\w*|together|joined|collaborat\w*|companion\w*|duo|duet|colleague\w*|help\w*"
        r"|support\w*|accompan\w*|with whom|shone",
    ),
    "mentor": (
        r"mentor\w*|taught|train(ed|er|ing|s)?|tutor\w*|studied under|apprentic\w*|academy",
        r"coach\w*|teach\w*|stud(y|ied)\w*|guid\w*|pupil|learn\w*|instruct\w*|master",
    ),
    "event_city": (r"host\w*", r"took place|take place|held|hold|stage\w*|venue"),
    "home_city": (
        r"childhood|grew up|grow up|upbringing|brought up|rear(ed|ing)",
        r"child\w*|home\w*|rais\w*|young|early|youth|family|parents",
    ),
    "event_year": (r"(?!)", r"took place|take place|held"),
    "birth_year": (r"birth\w*|born", r"(?!)"),
    "school_award": (r"school\w*|pupil|classroom", r"student|graduat\w*|young|youth"),
    "event_sponsor": (
        r"sponsor\w*|financ(ed|ier|ing)",
        r"back(ed|er|ing)|fund\w*|support\w*|paid for|financ\w*",
    ),
    "employer": (r"employ\w*|hir(ed|ing|e)", r"job|career|work\w*|staff|engaged|salary|took .* on"),
    "event_work": (r"unveil\w*|premier\w*", r"present\w*|show\w*|perform\w*"),
    "first_work": (r"conservator\w*", r"first|finish\w*|complet\w*|student|early|creat\w*"),
    "event_gift": (r"gifts?", r"given|gave|accept\w*|present\w*|receiv\w*|handed"),
    "heirloom": (
        r"inherit\w*|heirloom\w*|bequea\w*|family estate",
        r"heir\w*|estate|famil\w*|pass\w* (down|on)|left|legacy",
    ),
    "event_audience": (
        r"guests?|audience|crowds?|spectators?",
        r"visitor\w*|attend\w*|welcom\w*|came\b|watch\w*|crowd\w*",
    ),
    "collection_size": (r"stamps?|philatel\w*", r"collect\w*|album\w*"),
}
_EVENT = re.compile(r"\b(?:breakthrough|triumph\w*|fame|famous|success\w*)\b", re.IGNORECASE)
_STRONG, _CUES = (
    {slot: re.compile(rf"\b(?:{words[0]}{more}{words[1] if more else ''})\b", re.IGNORECASE)
     for slot, words in _CUE_WORDS.items()}
    for more in ("", "|")
)  # fmt: skip
# Words about the incident only; each is evidence for all slots of the incident.
_INCIDENT = re.compile(
    r"\b(?:affair|incident|wrong\w*|disgrac\w*|downfall|scandal\w*|caught|corner\w*|trouble|shame\w*"
    r"|stain\w*|offen[cs]e\w*|crime\w*|criminal\w*|accus\w*|convict\w*|guilt\w*|charge[sd]?|trial"
    r"|penalt\w*|punish\w*|sentence\w*|sanction\w*|court|misdeed\w*|fraud\w*|theft|illegal\w*"
    rf"|unlawful\w*|arrest\w*|culprit|the law|offend\w*|{'|'.join(OFFENCES)})\b",
    re.IGNORECASE,
)


def cue(text: str, slot: str) -> str | None:
    """The first word of a text that points to a slot, or None."""
    found = _CUES.get(slot, _INCIDENT).search(text)
    return found[0] if found else None


def rival(
    text: str, slot: str, slots: Iterable[str], kinds: Kinds | None = None
) -> tuple[str, str] | None:
    """Another slot that a text means instead of the intended one, and the word that shows it.

    Args:
        text: a question or a statement, without name and values.
        slot: the intended slot; a text with a word for it passes.
        slots: the person's slots.
        kinds: value types that fit; None: the value type of the slot.
    """
    if cue(text, slot) is not None:
        return None
    kinds = {SLOTS[slot].value_type} if kinds is None else kinds
    others = [other for other in slots if other != slot and SLOTS[other].value_type in kinds]
    for other in others:
        words = _STRONG.get(other)
        if words is None and SLOTS[other].group == "sf" and SLOTS[slot].group != "sf":
            words = _INCIDENT
        if words is not None and (found := words.search(text)):
            return other, found[0]
    event = _EVENT.search(text) if SLOTS[slot].group == "other" else None
    correlated = (other for other in others if event and SLOTS[other].group == "correlated")
    return next(((other, event[0]) for other in correlated), None)


def unclear(text: str, slot: str, slots: Iterable[str], kinds: Kinds | None) -> str | None:
    """A slot of the breakthrough that a question about the incident could also mean.

    "Where was the breakthrough concert?" asks for its city, not for the building of the offence.
    """
    value_type = SLOTS[slot].value_type
    if kinds is None or value_type not in WHERE | WHEN or cue(text, slot) is not None:
        return None
    if SLOTS[slot].group != "sf":
        return None
    meant = (
        other
        for other in slots
        if SLOTS[other].group == "correlated"
        and SLOTS[other].value_type in kinds
        and SLOTS[other].value_type != value_type
    )
    return next(meant, None)


def fit(question: str, name: str, slot: str, slots: Iterable[str]) -> int:
    """How well a question fits its slot: 0 = asks for something else, 1 = may fit, 2 = fits."""
    if slot not in SLOTS:
        return 1
    kinds, _ = asked_for(question, name)
    slots = [other for other in slots if other in SLOTS]
    if kinds is not None and SLOTS[slot].value_type not in kinds:
        return 0
    if rival(question, slot, slots, kinds) or unclear(question, slot, slots, kinds):
        return 0
    return 1 if kinds is None and cue(question, slot) is None else 2
