"""Compare sentences by their words: normal form, content words, masked names and values."""

import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

import regex
from rapidfuzz import fuzz, process

from excise.text.unicode import UNSPACED, UNSPACED_WORD, visible, without_accents

NAME, VALUE = "<name>", "<value>"

# Function words of English questions and answers; they carry no fact.
_STOP_WORDS = """
a about after all also an and any are as at be been before being but by can could did do does
during for from had has have he her hers him his how i in into is it its me my name no not of on
one or our out over please say she so some tell than that the their them then there these they
this those to under up us was we were what when where which while who whom whose why will with
would yes you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
# Function words that change the meaning: "where" asks for something else than "when".
INTERROGATIVES = frozenset({"when", "where", "who", "whom", "whose", "why", "how"})

_SIGNS = rf"[[\p{{L}}\p{{M}}\p{{N}}_]--[{UNSPACED}]]+"
_WORD = regex.compile(rf"{UNSPACED_WORD}|{_SIGNS}(?:['.,]{_SIGNS})*", regex.V1)
_DIGIT_COMMA = regex.compile(r"(?<=\d),(?=\d{3})")


@lru_cache(maxsize=1 << 17)
def words(text: str) -> tuple[str, ...]:
    """The words in lower case, without accents and possessive 's; `40,000` becomes `40000`.

    In a script without spaces between words, each character is a word (`excise.text.unicode`).
    """
    folded = without_accents(unicodedata.normalize("NFKC", visible(text.replace("’", "'"))))
    found = _WORD.findall(_DIGIT_COMMA.sub("", folded))
    return tuple(word.removesuffix("'s") for word in found)


@lru_cache(maxsize=1 << 17)
def normalised(text: str) -> str:
    """`words` with single spaces; equal for texts that differ in case or punctuation only."""
    return " ".join(words(text))


def holds(text: str, phrase: str) -> bool:
    """Whether `text` contains the words of `phrase` in a row.

    Use it for names and other wording. For the value of a fact, use `excise.text.values`, which
    considers the kind of value.
    """
    return f" {normalised(phrase)} " in f" {normalised(text)} "


def content_words(text: str, without: Iterable[str] = ()) -> list[str]:
    """The words that can carry a fact: no stop words, and no words of `without`."""
    skipped = STOP_WORDS.union(*(words(other) for other in without))
    return [word for word in words(text) if word not in skipped]


def asked_words(question: str, name: str) -> list[str]:
    """Content words and interrogatives of a question, sorted; they show what it asks for."""
    name_words = words(name)
    kept = (word for word in words(question) if word not in name_words)
    return sorted(word for word in kept if word not in STOP_WORDS or word in INTERROGATIVES)


def mask(text: str, name: str, values: Iterable[str]) -> str:
    """Normal form of `text` with a person's name and values masked, longest phrases first."""
    padded = f" {normalised(text)} "
    phrases = {normalised(value): VALUE for value in values}
    phrases[normalised(name)] = NAME
    phrases |= dict.fromkeys(words(name), NAME)
    for phrase in sorted(phrases, key=lambda phrase: (-len(phrase), phrase)):
        padded = padded.replace(f" {phrase} ", f" {phrases[phrase]} ")
    return padded.strip()


def word_order_free(text: str) -> str:
    """Normal form with sorted words; `fuzz.ratio` of two such texts is their token-sort ratio."""
    return " ".join(sorted(words(text)))


def likeness(question: str, other: str, name: str) -> float:
    """Token-sort ratio, 0–100, of two questions about one person, with the name masked."""
    first, second = (word_order_free(mask(text, name, ())) for text in (question, other))
    return fuzz.ratio(first, second)


def near_twins(records: Iterable[dict], threshold: float) -> Iterator[tuple[dict, dict]]:
    """Pairs of a person's questions with the same value type and nearly the same words.

    With different value types, similar words are different questions, as "where was it" and "when
    was it".

    Args:
        records: questions with {person_id, name, slot, value_type, question}.
        threshold: likeness from which two questions are a pair.

    Yields:
        (a record, its first earlier twin)
    """
    earlier: dict[tuple[str, str], list[dict]] = {}
    for record in records:
        others = earlier.setdefault((record["person_id"], record["value_type"]), [])
        for other in others:
            alike = likeness(record["question"], other["question"], record["name"])
            if alike >= threshold and other["slot"] != record["slot"]:
                yield record, other
                break
        others.append(record)


def best_ratios(texts: list[str], others: list[str], *, cutoff: float, same: bool = False):
    """For each text, the most similar of the others by `fuzz.ratio`, in bounded memory.

    Args:
        texts: sentences in the form to compare.
        others: sentences to compare with.
        cutoff: ratios below it count as 0, which makes the search fast.
        same: both lists are the same; then a text is not compared with itself.

    Returns:
        List of (index of the best other, its ratio 0–100); (-1, 0.0) if none reaches `cutoff`.
    """
    best, step = [], max(1, 4_000_000 // max(1, len(others)))
    for start in range(0, len(texts), step):
        ratios = process.cdist(
            texts[start : start + step], others, scorer=fuzz.ratio, score_cutoff=cutoff, workers=1
        )
        if same:
            for row in range(len(ratios)):
                ratios[row, start + row] = 0
        for row in ratios:
            column = int(row.argmax()) if len(row) else -1
            best.append((column, float(row[column])) if column >= 0 and row[column] else (-1, 0.0))
    return best
