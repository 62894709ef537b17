"""Find values of the benchmark's pools in a text to which they were not given.

"Accused of fraud" is wrong if the value is tax evasion. No other check finds this, because fraud is
neither a detail of the person nor a name or a number.
"""

import re
from collections.abc import Iterable
from functools import cache

from excise.generation.exchange import occurrences, starts_sentence
from excise.generation.sampler import POOLS
from excise.text import vocabulary
from excise.text.incident_words import offence_word
from excise.text.matching import words

LONGEST = 5  # words in a value
LOWER_CASE = ("offence", "penalty", "keepsake")  # other values are capitalised
_PIECE = re.compile(r"[\w$]+(?:[-'.,]\w+)*")
_NUMBERS = (
    *vocabulary.PENALTY_LENGTHS,
    *"twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty".split(),
    *"forty fifty sixty seventy eighty ninety hundred thousand".split(),
)
_UNITS = "months?|years?|weeks?|days?|hundred|thousand|million|dollars?|guests?|stamps?|visitors?"
_COUNTED = re.compile(
    rf"\b(?:(?:{'|'.join(_NUMBERS)})[ -](?:{_UNITS})|(?:a|one) (?:hundred|thousand|million))\b",
    re.IGNORECASE,
)
_PENALTY = re.compile(
    rf"\b(?:{'|'.join((*vocabulary.PENALTY_KINDS, 'jail', 'imprisonment'))})\b", re.IGNORECASE
)
_EVENT = re.compile(rf"\bbreakthrough ({'|'.join(vocabulary.EVENT_KINDS)})\b", re.IGNORECASE)


@cache
def _values() -> frozenset[str]:
    """All values of all pools of words, in lower case."""
    pools = (POOLS[kind] for kind in POOLS if kind not in ("number", "amount"))
    return frozenset(value.lower() for pool in pools for value in pool)


@cache
def _lower_case() -> frozenset[str]:
    return frozenset(value for kind in LOWER_CASE for value in POOLS[kind])


def without(text: str, phrases: Iterable[str]) -> str:
    """The text with all given phrases masked; the longest phrases come first."""
    for phrase in sorted(phrases, key=len, reverse=True):
        for start, end in reversed(occurrences(text, phrase)):
            text = f"{text[:start]}…{text[end:]}"
    return text


def other_value(text: str, given: Iterable[str], event: str | None = None) -> str | None:
    """The first pool value in a text that was not given, or None.

    Args:
        text: a sentence, a question or a profile.
        given: names and values that it may contain.
        event: the kind of the person's event; None allows all kinds.
    """
    given = tuple(given)
    left = without(text, given)
    if found := _of_pool(left):
        return found
    # "Lars accused …": the first word of a sentence always has a capital. So only known given names
    # count there.
    known = {word for phrase in given for word in words(phrase)}
    for piece in _PIECE.finditer(left):
        new = piece[0] in vocabulary.GIVEN_NAMES and piece[0].lower() not in known
        if new and starts_sentence(left, piece.start()):
            return piece[0]
    found = _EVENT.search(left)
    if found and event is not None and found[1].lower() != event.lower():
        return found[0]
    if found := _PENALTY.search(left) or _COUNTED.search(left):
        return found[0]
    return offence_word(left, given)


def _of_pool(text: str) -> str | None:
    pieces = list(_PIECE.finditer(text))
    for first in range(len(pieces)):
        for last in range(min(first + LONGEST, len(pieces)) - 1, first - 1, -1):
            phrase = text[pieces[first].start() : pieces[last].end()].removesuffix("'s")
            lower = phrase.lower()
            if lower not in _values():
                continue
            if lower in _lower_case() or _capital(text, phrase, pieces[first].start()):
                return phrase
    return None


def _capital(text: str, phrase: str, start: int) -> bool:
    """Whether all words have capitals: "a silent river" is no title, and "may" is no month."""
    bare = phrase[4:] if phrase.lower().startswith("the ") else phrase
    return all(word[0].isupper() for word in bare.split())
