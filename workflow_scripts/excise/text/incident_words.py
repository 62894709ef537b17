"""Words that only texts about an incident contain: offences and their consequences."""

import re
from collections.abc import Iterable

from excise.text.matching import words
from excise.text.vocabulary import OFFENCES, PENALTY_KINDS

# Beginnings of words for offences: verbs, offenders, and related words.
_OFFENCE_STEMS = """
arson blackmail brib burgl cheat counterfeit defraud embezzl espionage evasion extort fraud
hacked hacking launder looted looter looting perjur pickpocket pilfer plagiari poach robber sabotag
saboteur shoplift smuggl swindl tamper theft thief thiev trespass vandal wiretap
""".split()
_OFFENCE_WORDS = """
forge(?:d|r|rs|ry|ries) forging robbed robbing robs spied spies spy spying steal steals stealing
stole
""".split()
# Before another capital, a capital is part of a title: "The Stolen Letter" is no offence.
_STOLEN = r"(?-i:stolen|Stolen(?! [A-Z])|STOLEN)\b"
_OFFENCE_PHRASES = (
    r"(?:ballot|election|vote)s?(?: was| were)?[ -]rigg",
    r"rigg(?:ed|ing) (?:\w+ )?(?:ballot|election|game|match|race|vote)",
    r"(?:game|match|race)s?(?: was| were)?[ -]fix(?:ed|er|ing)",
    r"price[ -]fix(?:er|ing)",
    r"fix(?:ed|ing) (?:\w+ )?(?:game|match|price|race)",
    r"(?:evad|dodg)\w+ (?:\w+ )?tax",
    r"set fire to",
)
# Accusation, trial and punishment; "judge", "jury" and "court" also occur in contests.
_CHARGE_STEMS = """
accus(?:ed|er|es|ation|ing) acquit alleg(?:ation|ed|es) confess convict crime criminal culprit
defendant denounc disgrac felon guilt handcuff illegal illicit incarcerat indict imprison
inmate jail lawbreak lawsuit magistrate misconduct misdeed misdemeano offen[cs]e outlaw parole
penalt perpetrat police prison probation prosecut punish scandal sentenced tribunal unlawful verdict
victim wrongdo
""".split()
_CHARGE_WORDS = "arrest arrests arrested bail detained fined gaol sued".split()
_CHARGE_PHRASES = (
    r"charged with",
    r"(?:criminal )?charges (?:against|of)",
    r"court(?:house|room| case| hearing| order| ruling)",
    r"(?:before|in|to|took) (?:a |the )?court\b(?! of)",
    r"(?:on|stood|stand) trial",
    r"suspected of",
)

_WHOLE = (*OFFENCES, *PENALTY_KINDS, *_OFFENCE_WORDS, *_CHARGE_WORDS)
_BEGINNINGS = (*_OFFENCE_STEMS, *_CHARGE_STEMS, *_OFFENCE_PHRASES, *_CHARGE_PHRASES)
INCIDENT = re.compile(
    rf"\b(?:{_STOLEN}|(?:{'|'.join(_WHOLE)})\b|(?:{'|'.join(_BEGINNINGS)})\w*)", re.IGNORECASE
)
OFFENCE = re.compile(
    rf"\b(?:{_STOLEN}|(?:{'|'.join((*OFFENCES, *_OFFENCE_WORDS))})\b"
    rf"|(?:{'|'.join((*_OFFENCE_STEMS, *_OFFENCE_PHRASES))})\w*)",
    re.IGNORECASE,
)
SAME_STEM = 4  # letters: "embezzled" matches embezzlement


def offence_word(text: str, allowed: Iterable[str]) -> str | None:
    """The first word of `text` that names a specific offence, or None; "crime" is not specific.

    Args:
        text: a text.
        allowed: its legitimate topics; words with these stems do not count.
    """
    stems = {word[:SAME_STEM] for phrase in allowed for word in words(phrase)}
    found = (match[0] for match in OFFENCE.finditer(text))
    return next((word for word in found if word[:SAME_STEM].lower() not in stems), None)


def incident_word(text: str, allowed: Iterable[str]) -> str | None:
    """The first word of `text` that belongs to an incident, or None.

    Args:
        text: a question or an answer.
        allowed: the person's name and the value of the fact; their words do not count.
    """
    allowed_words = {word for phrase in allowed for word in words(phrase)}
    found = (match[0] for match in INCIDENT.finditer(text))
    return next((word for word in found if not allowed_words.issuperset(words(word))), None)
