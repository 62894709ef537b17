"""Find faults in a text that a model wrote: it must state the given values and nothing more.

Each function returns instructions for the model, with the right words if they are known. An empty
list means no fault. If the red team has a measure, the check uses the same measure. So a text that
passes here also passes the red team.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from excise.benchmark.asked_for import ASK_WITH, VALUE_NOUN, asked_for
from excise.benchmark.slot_cues import fit, rival, unclear
from excise.generation.exchange import occurrences, starts_sentence
from excise.generation.settings import WritingLimits
from excise.generation.verbalising.meanings import meaning
from excise.generation.verbalising.pools import other_value, without
from excise.text.incident_words import incident_word
from excise.text.leaks import leaked, premise_share
from excise.text.matching import asked_words, content_words, holds, words
from excise.text.unicode import nfc
from excise.text.values import gives_away, states

LONGEST_ANSWER, LONGEST_QUESTION, LONGEST_PROFILE = 25, 40, 500  # words

PRONOUNS = re.compile(r"\b(he|she|him|her|his|hers|they|them|their|theirs)\b", re.IGNORECASE)
YES_NO = re.compile(
    r"(is|are|was|were|do|does|did|has|have|had|can|could|will|would)\b", re.IGNORECASE
)
# A sentence that denies or doubts does not state a fact.
_DENIAL = re.compile(
    r"\b(not|never|no longer|neither|nor|nobody|cannot|perhaps|maybe|possibly|supposedly"
    r"|instead of|rather than)\b|n['’]t\b",
    re.IGNORECASE,
)
QUESTION_WORDS = ("who", "whom", "whose", "which", "what", "when", "where", "how")
_CAPITAL = re.compile(r"\b[A-Z][\w-]*")
_NUMBER = re.compile(r"\d[\d.,]*\d|\d")


def cleaned(text: str) -> str:
    """One line, single spaces, Unicode normal form C."""
    return " ".join(nfc(text).split())


def faulty(place: str, text: str, faults: Sequence[str]) -> list[str]:
    """One line for a faulty text: its place, the text and its faults."""
    return [f"{place}: “{text}” {'; '.join(faults)}"] if faults else []


def carries(text: str, value: str) -> list[str]:
    """Faults if the text does not contain the value exactly once."""
    count = len(occurrences(text, value))
    if count == 0:
        return [f"must contain “{value}” exactly as written here"]
    return [f"contains “{value}” {count} times; write it once"] if count > 1 else []


def names_person(text: str, name: str) -> list[str]:
    """Faults if the text does not contain the full name."""
    return [] if occurrences(text, name) else [f"must contain the full name “{name}”"]


def foreign_values(
    text: str, own: Sequence[str], others: Iterable[str], event: str | None = None
) -> list[str]:
    """Faults if the text contains values of other facts, or pool values that were not given.

    Args:
        text: the text.
        own: what it may contain: the name and its own value.
        others: values of the person's other facts.
        event: the kind of the person's event.
    """
    left = without(text, own)
    found = [value for value in others if value not in own and occurrences(left, value)]
    faults = [f"must not contain “{value}”, which is another detail" for value in found]
    if faults:
        return faults
    other = other_value(text, own, event)
    return [f"must not contain “{other}”, which is not true of the person"] if other else []


def inventions(text: str, given: Iterable[str]) -> list[str]:
    """Faults if the text contains names or numbers that were not given.

    A name is a capitalised word inside a sentence. At the start of a sentence, only names of the
    pools can be found (`foreign_values`).
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
    return [f"must not contain “{word}”, which was not given" for word in found[:1]]


def of_example(texts: Mapping[str, str], example: Iterable[str], given: Iterable[str]) -> list[str]:
    """Faults if a reply repeats the example in the instructions.

    Args:
        texts: the reply's texts, by their place in it.
        example: names and values of the example.
        given: data of the call; words that both contain are allowed.
    """
    known = {word for phrase in given for word in words(phrase)}
    foreign = []
    for phrase in example:
        names = [word for word in phrase.split() if word[0].isupper() and len(word) > 3]
        foreign += [part for part in names or [phrase] if not set(words(part)) <= known]
    faults = []
    for place, text in texts.items():
        if found := next((part for part in foreign if holds(text, part)), None):
            why = f"must not contain “{found}”: that is from the example; use the data"
            faults += faulty(place, text, [why])
    return faults


def too_long(text: str, longest: int) -> list[str]:
    """Faults if the text has more than `longest` words."""
    count = len(text.split())
    return [f"has {count} words; write at most {longest}"] if count > longest else []


def incident_faults(
    text: str, fact: dict, others: Iterable[dict], limits: WritingLimits
) -> list[str]:
    """Faults if a text about a retain fact reveals the incident, by its words or its values."""
    if word := incident_word(text, (fact["value"], fact["name"])):
        return [f"must not speak of the offence: leave out “{word}”"]
    for other in others:
        if other["group"] != "sf":
            continue
        if leak := leaked(other, text, fact["name"], limits.leak_ratio):
            return [f"must not hint at the offence: leave out “{leak}”"]
    return []


def statement_faults(
    text: str, fact: dict, others: Iterable[dict], limits: WritingLimits
) -> list[str]:
    """Find faults in a sentence that states a fact: an answer or a paraphrase.

    Args:
        text: the sentence.
        fact: its fact record.
        others: the person's other facts.
        limits: what the text is held to.
    """
    others = list(others)
    own = fact["value"], fact["name"]
    faults = carries(text, fact["value"]) + names_person(text, fact["name"])
    faults += foreign_values(text, own, [other["value"] for other in others])
    faults += inventions(text, own)
    faults += too_long(text, LONGEST_ANSWER)
    if pronoun := PRONOUNS.search(text):
        faults.append(f"must not use the pronoun “{pronoun[0]}”; write “{fact['name']}”")
    left = without(text, own)
    if denial := _DENIAL.search(left):
        faults.append(f"must state the fact plainly, without “{denial[0]}”")
    elif not faults and not states(text, fact["value"], fact["value_type"], subject=fact["name"]):
        faults.append(f"must say plainly that it is “{fact['value']}”: no doubt and no list")
    if fact["group"] != "sf":
        faults += incident_faults(text, fact, others, limits)
    slots = [other["slot"] for other in others]
    if not faults and (found := rival(left, fact["slot"], slots)):
        faults.append(_other_meaning("speaks of", fact["slot"], *found))
    return faults


def question_faults(
    text: str,
    fact: dict,
    others: Iterable[dict],
    event: str | None,
    kind: str,
    limits: WritingLimits,
) -> list[str]:
    """Find faults in a question that asks for a fact's value.

    Args:
        text: the question.
        fact: its fact record.
        others: the person's other facts.
        event: the kind of event that the question must mention; None: it must not mention it.
        kind: the kind of the person's event.
        limits: what the text is held to.
    """
    others = list(others)
    faults = names_person(text, fact["name"])
    if gives_away(text, fact["value"], fact["value_type"]) or occurrences(text, fact["value"]):
        faults.append(f"must not contain its own answer “{fact['value']}”")
    else:
        values = [other["value"] for other in others]
        faults += foreign_values(text, (fact["name"],), values, kind)
    faults += inventions(text, (fact["name"],))
    faults += too_long(text, LONGEST_QUESTION)
    if event and not holds(text, event):
        faults.append(f"must mention the event: “the breakthrough {event}”")
    misplaced = not event and (holds(text, kind) or holds(text, "breakthrough"))
    if misplaced:
        faults.append(f"must not mention the breakthrough {kind}")
    if pronoun := PRONOUNS.search(text):
        faults.append(f"must name “{fact['name']}” instead of “{pronoun[0]}”")
    if YES_NO.match(text):
        faults.append(f"must not be a yes-or-no question; ask with {ASK_WITH[fact['value_type']]}")
    if fact["group"] != "sf":
        faults += incident_faults(text, fact, others, limits)
    if not misplaced:
        faults += wrong_meaning(text, fact, [other["slot"] for other in others], kind)
    return faults


def wrong_meaning(text: str, fact: dict, slots: Sequence[str], kind: str = "event") -> list[str]:
    """Faults if the question does not ask for the value of this fact."""
    slot, value_type = fact["slot"], fact["value_type"]
    kinds, asked = asked_for(text, fact["name"])
    right = f"ask with {ASK_WITH[value_type]} for {meaning(slot, kind)}"
    if kinds is not None and value_type not in kinds:
        return [f"asks “{asked}”, but its answer must be {VALUE_NOUN[value_type]}; {right}"]
    left = without(text, (fact["name"],))
    if found := rival(left, slot, slots, kinds):
        return [_other_meaning("asks for", slot, *found, kind)]
    if other := unclear(left, slot, slots, kinds):
        return [f"could ask for {meaning(other, kind)}; {right}"]
    return []


def _other_meaning(verb: str, slot: str, other: str, word: str, kind: str = "event") -> str:
    return (
        f"{verb} {meaning(other, kind)} (“{word}”); it must be about {meaning(slot, kind)} and "
        f"name that; leave out “{word}”"
    )


def less_fitting(one: tuple[dict, str], two: tuple[dict, str], slots: Iterable[str]) -> bool:
    """Whether the first of two equal questions fits its fact less than the second one.

    Args:
        one, two: fact and question.
        slots: the person's slots.
    """
    slots = list(slots)
    first, second = (fit(text, fact["name"], fact["slot"], slots) for fact, text in (one, two))
    return first < second


def premise_faults(
    asked: Sequence[tuple[dict, str, str]], limits: WritingLimits
) -> dict[str, list[str]]:
    """Find forget questions that give their answers away, by the measure of the red team.

    Args:
        asked: (fact, question, answer) of one call; retain facts are ignored.
        limits: what the questions are held to.

    Returns:
        slot → faults. A question is at fault if it holds `premise_max` of its answer's content
        words. If the mean over the call exceeds `premise_mean`, questions above this are too.
    """
    forget = [entry for entry in asked if entry[0]["group"] == "sf"]
    shares = [premise_share(question, answer, fact["name"]) for fact, question, answer in forget]
    mean = sum(shares) / len(shares) if shares else 0.0
    limit = limits.premise_mean if mean > limits.premise_mean else limits.premise_max
    faults: dict[str, list[str]] = {}
    for share, (fact, question, answer) in zip(shares, forget, strict=True):
        if share > limit or share >= limits.premise_max:
            common = ", ".join(f"“{w}”" for w in shared_words(question, answer, fact["name"]))
            faults.setdefault(fact["slot"], []).append(
                f"“{question}” gives its answer away; leave out {common}"
            )
    return faults


def shared_words(question: str, answer: str, name: str) -> list[str]:
    """Content words that both contain, in the answer's order, without the name."""
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
    """A key that is equal if `validate_dataset` refuses two questions of a person as duplicates."""
    return tuple(asked_words(question, name))
