"""What is wrong with a text a model wrote: it must say exactly what it was given, and no more.

Each function returns phrases that a model can act on; an empty list means nothing is wrong. The
red team's own measures are used where it has one, so that what passes here passes there.
"""

import re
from collections.abc import Iterable, Sequence

from excise.generation.exchange import occurrences, starts_sentence
from excise.limits import RedTeamLimits
from excise.red_team.incident_leak import leaked
from excise.red_team.incident_words import incident_word
from excise.red_team.premise_leak import premise_share
from excise.text_matching import asked_words, content_words, holds, words
from excise.unicode_text import nfc
from excise.value_matching import gives_away, states

LIMITS = RedTeamLimits()
LONGEST_ANSWER, LONGEST_QUESTION, LONGEST_PROFILE = 25, 40, 500  # words

PRONOUNS = re.compile(r"\b(he|she|him|her|his|hers|they|them|their|theirs)\b", re.IGNORECASE)
YES_NO = re.compile(
    r"(is|are|was|were|do|does|did|has|have|had|can|could|will|would)\b", re.IGNORECASE
)
QUESTION_WORDS = ("who", "whom", "whose", "which", "what", "when", "where", "how")
_CAPITAL = re.compile(r"\b[A-Z][\w-]*")
_NUMBER = re.compile(r"\d[\d.,]*\d|\d")


def cleaned(text: str) -> str:
    """One line, single spaces, Unicode normal form C."""
    return " ".join(nfc(text).split())


def carries(text: str, value: str) -> list[str]:
    """The value stands in the text, once, as it was given."""
    count = len(occurrences(text, value))
    if count == 0:
        return [f"must contain {value!r} exactly as written"]
    return [f"contains {value!r} {count} times; once is right"] if count > 1 else []


def names_person(text: str, name: str) -> list[str]:
    """The full name stands in the text."""
    return [] if occurrences(text, name) else [f"must contain the full name {name!r}"]


def foreign_values(text: str, own: Sequence[str], others: Iterable[str]) -> list[str]:
    """No value of another fact stands in the text; what belongs to `own` is put out of sight."""
    for phrase in sorted(own, key=len, reverse=True):
        for start, end in reversed(occurrences(text, phrase)):
            text = f"{text[:start]}…{text[end:]}"
    return [
        f"must not contain {value!r}, which is another detail"
        for value in others
        if value not in own and occurrences(text, value)
    ]


def inventions(text: str, given: Iterable[str]) -> list[str]:
    """No name and no number stands in the text but those that were given.

    A name is a capitalised word inside a sentence. Names that open one go unseen.
    """
    known = {word for phrase in given for word in words(phrase)}
    found = [
        word[0]
        for word in _CAPITAL.finditer(text)
        if word[0] != "I"
        and not set(words(word[0])) <= known
        and not starts_sentence(text, word.start())
    ]
    found += [number for number in _NUMBER.findall(text) if not set(words(number)) <= known]
    return [f"contains {word!r}, which was not given; invent nothing" for word in found[:1]]


def too_long(text: str, longest: int) -> list[str]:
    """At most `longest` words."""
    count = len(text.split())
    return [f"has {count} words; at most {longest}"] if count > longest else []


def incident_told(text: str, fact: dict, incident: Iterable[dict]) -> list[str]:
    """A text on a good fact tells nothing of the incident: neither its words nor its values."""
    if word := incident_word(text, (fact["value"], fact["name"])):
        return [f"must not speak of the offence ({word!r})"]
    for other in incident:
        if leak := leaked(other, text, fact["name"], LIMITS.leak_ratio):
            return [f"must not hint at the offence ({leak!r})"]
    return []


def statement_faults(text: str, fact: dict, others: Iterable[dict]) -> list[str]:
    """What is wrong with a sentence that states a fact: an answer, a paraphrase.

    Args:
        text: the sentence.
        fact: its fact record.
        others: the person's other facts.
    """
    others = list(others)
    faults = carries(text, fact["value"]) + names_person(text, fact["name"])
    if not faults and not states(text, fact["value"], fact["value_type"]):
        faults.append(
            f"must say plainly that it is {fact['value']!r}: no denial, no doubt, no list"
        )
    faults += foreign_values(text, (fact["value"], fact["name"]), [one["value"] for one in others])
    faults += inventions(text, (fact["value"], fact["name"]))
    faults += too_long(text, LONGEST_ANSWER)
    if pronoun := PRONOUNS.search(text):
        faults.append(f"must not use the pronoun {pronoun[0]!r}")
    if fact["group"] != "sf":
        faults += incident_told(text, fact, [one for one in others if one["group"] == "sf"])
    return faults


def question_faults(
    text: str, fact: dict, others: Iterable[dict], event: str | None, kind: str
) -> list[str]:
    """What is wrong with a question that asks for a fact's value.

    Args:
        text: the question.
        fact: its fact record.
        others: the person's other facts.
        event: the kind of event that the question must mention; None: it must not mention it.
        kind: the kind of the person's event.
    """
    others = list(others)
    faults = names_person(text, fact["name"])
    if gives_away(text, fact["value"], fact["value_type"]) or occurrences(text, fact["value"]):
        faults.append(f"must not contain its own answer {fact['value']!r}")
    faults += foreign_values(text, (fact["name"],), [one["value"] for one in others])
    faults += inventions(text, (fact["name"],))
    faults += too_long(text, LONGEST_QUESTION)
    if event and not holds(text, event):
        faults.append(f"must mention the {event}")
    if not event and (holds(text, kind) or holds(text, "breakthrough")):
        faults.append(f"must not mention the breakthrough {kind}")
    if pronoun := PRONOUNS.search(text):
        faults.append(f"must name the person instead of {pronoun[0]!r}")
    if YES_NO.match(text):
        faults.append("must not be a yes-or-no question")
    if fact["group"] != "sf":
        faults += incident_told(text, fact, [one for one in others if one["group"] == "sf"])
    return faults


def premise_faults(asked: Sequence[tuple[dict, str, str]]) -> dict[str, list[str]]:
    """Forget questions that give their answers away, as the red team measures and limits it.

    Args:
        asked: (fact, question, answer) of one call; retain facts are passed over.

    Returns:
        slot → faults: of questions that hold `premise_max` of their answer's content words; and,
        if the mean over the call exceeds `premise_mean`, of those that are above it.
    """
    forget = [one for one in asked if one[0]["group"] == "sf"]
    shares = [premise_share(question, answer, fact["name"]) for fact, question, answer in forget]
    mean = sum(shares) / len(shares) if shares else 0.0
    limit = LIMITS.premise_mean if mean > LIMITS.premise_mean else LIMITS.premise_max
    faults: dict[str, list[str]] = {}
    for share, (fact, question, answer) in zip(shares, forget, strict=True):
        if share > limit or share >= LIMITS.premise_max:
            common = ", ".join(shared_words(question, answer, fact["name"]))
            faults.setdefault(fact["slot"], []).append(
                f"question and answer share the words {common}; use other words in one of them"
            )
    return faults


def shared_words(question: str, answer: str, name: str) -> list[str]:
    """Content words that stand in both, in the answer's order; the name is left out."""
    asked = set(content_words(question, without=[name]))
    return list(dict.fromkeys(w for w in content_words(answer, without=[name]) if w in asked))


def form(question: str) -> tuple[str, bool]:
    """The form of a question: its first question word, and whether it opens with it."""
    own = words(question)
    place = next((index for index, word in enumerate(own) if word in QUESTION_WORDS), None)
    if place is None:
        return (own[0] if own else "", True)
    return own[place], place < 2


def same_question(question: str, name: str) -> tuple[str, ...]:
    """Equal for two questions of one person that `validate_dataset` refuses as one."""
    return tuple(asked_words(question, name))
