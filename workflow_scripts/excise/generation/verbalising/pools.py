"""Values that a text may not tell: others of the pools that the benchmark's values are drawn from.

"Accused of fraud" is wrong where the value is tax evasion, and no other check sees it: fraud is no
detail of the person, no name and no number.
"""

import re
from collections.abc import Iterable
from functools import cache

from excise.generation import vocabulary
from excise.generation.exchange import occurrences, starts_sentence
from excise.generation.sampler import POOLS
from excise.red_team.incident_words import offence_word
from excise.text_matching import words

LONGEST = 5  # words in a value
LOWER_CASE = ("offence", "penalty", "keepsake")  # the others are written with capitals
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
    """Every value of every pool of words, in lower case."""
    pools = (POOLS[kind] for kind in POOLS if kind not in ("number", "amount"))
    return frozenset(value.lower() for pool in pools for value in pool)


@cache
def _lower_case() -> frozenset[str]:
    return frozenset(value for kind in LOWER_CASE for value in POOLS[kind])


def without(text: str, phrases: Iterable[str]) -> str:
    """The text with all that stands in it of the phrases put out of sight, longest first."""
    for phrase in sorted(phrases, key=len, reverse=True):
        for start, end in reversed(occurrences(text, phrase)):
            text = f"{text[:start]}…{text[end:]}"
    return text


def other_value(text: str, given: Iterable[str], event: str | None = None) -> str | None:
    """The first words of a text that tell something of a pool that was not given; None: none do.

    Args:
        text: a sentence, a question or a profile.
        given: what it may tell: names and values.
        event: the kind of the person's event; None: any may be named.
    """
    given = tuple(given)
    left = without(text, given)
    if found := _of_pool(left):
        return found
    # "Lars accused …": a name that opens a sentence is capitalised like any word.
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
    """Whether a phrase is written as a name is: "a silent river" is no title, nor "may" a month."""
    bare = phrase[4:] if phrase.lower().startswith("the ") else phrase
    return all(word[0].isupper() for word in bare.split())
