"""Test whether a text states a fact's value, by the kind of value.

There are two tests. `mentions`: the text contains the value, even if it denies it. `states`: the
text gives the value as the answer; it does not deny it, leave it open, or give a second value.
`occurrences` finds all forms of a value, by kind. `excise.text.assertions` decides what the text
says about it.

These forms count as the same value: another case, missing accents, curly quotes, a possessive, a
missing article; `8,380`, `8380` and `eight thousand three hundred and eighty`; `$1,000`, `1,000
dollars`, `USD 1k` and, because the question names the currency, `1,000`. These do not: another
currency or sign; a part of a longer number, hyphenated word or longer name; the verb `may` or
`march`. `tests/unit/test_value_matching.py` has a table of examples.

Limits: negations and words of doubt are English, with a few of other languages. `1.000` is one,
not a thousand. In a script without spaces between words, a value may match inside a longer word.
`Paris, London` is read like `Paris, France`.
"""

from collections.abc import Iterator
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise

import regex

from excise.text.assertions import Span, asserted
from excise.text.matching import holds
from excise.text.quantities import Quantity, prepared, quantities, quantity_of
from excise.text.unicode import LETTER, UNSPACED_WORD, without_accents


class Kind(StrEnum):
    """Kind of a value; it decides how the value is matched."""

    NUMBER = "number"
    MONEY = "money"
    YEAR = "year"
    MONTH = "month"
    NAME = "name"
    TITLE = "title"
    PHRASE = "phrase"


KINDS = {
    "amount": Kind.MONEY,
    "award": Kind.TITLE,
    "city": Kind.NAME,
    "company": Kind.NAME,
    "keepsake": Kind.PHRASE,
    "month": Kind.MONTH,
    "number": Kind.NUMBER,
    "offence": Kind.PHRASE,
    "penalty": Kind.PHRASE,
    "person": Kind.NAME,
    "title": Kind.TITLE,
    "venue": Kind.TITLE,
    "year": Kind.YEAR,
} | {kind.value: kind for kind in Kind}
"""Value type → kind; for other types, the form of the value decides; the default is a phrase."""

MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
)
_SHORT = {month[:3]: month for month in MONTHS} | {"sept": "september"}
# These are also verbs, an adjective or given names. The context must show that a month is meant.
_HOMONYMS = {"may", "march", "august", "mar", "jan"}
_MONTH = regex.compile(
    rf"(?<![\w'-])(?:{'|'.join((*MONTHS, *_SHORT))})\b(?!-\p{{L}})", regex.IGNORECASE
)
_BEFORE_MONTH = regex.compile(
    r"\b(?:in|of|during|since|by|until|early|late|mid|this|last|next|months?|is|was|"
    r"[0-3]?\d(?:st|nd|rd|th)?)[\s,:*\"']*$",
    regex.IGNORECASE,
)
# After these words, a capitalised month is no name, whatever follows (`every May Elena
# celebrates`).
_SURELY_MONTH = regex.compile(
    r"\b(?:(?i:in|every|each|during)|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day,?)\s+$"
)
# After `the May`: the text continues as in `the May festival`, `the March of 1990`, not as in
# `the March on Rome`.
_OF_THE_MONTH = regex.compile(
    r"\s+(?:of\s+\d|(?!(?:of|on|to|in|at|by|from|for|into|with|against|through|over|across|past|"
    r"toward|towards|and|or|as|is|was|were|had|has|that|which|who|when|where|began|started|ended|"
    r"took|went|came|led|drew|\p{L}+ing|\p{L}+ed)\b)\p{Ll}{3})"
)
_AFTER_MONTH = regex.compile(
    r"\.?(?:\W*$|\s*,?\s*\d|\s*[,.;!]|\s+(?:was|is|of\s+\d|and|or|that|it|\d)\b|[*\"')])"
)
# Words after `May` or `March` at the start of a sentence: `May I ask`, `March on Rome`.
_VERB_GOES_ON = regex.compile(
    r"\s+(?:i|we|you|he|she|they|it|god|the|this|all|your|our|have|be|not|on|onward|forward|to|with|"
    r"through|past|away|for|into|along|ahead|back|up|out)\b",
    regex.IGNORECASE,
)
_NUMERAL_FORM = regex.compile(r"[-−+]?\d[\d.,']*")
_MONEY_FORM = regex.compile(r"[-−+]?\s?\p{Sc}\s?[-−+]?\d[\d.,']*(?:\s?\p{L}+)?")

_TOKEN = regex.compile(
    rf"{UNSPACED_WORD}|{LETTER}(?:{LETTER}|'(?=\p{{L}})|(?<=\d)[.,](?=\d))*|(?=\p{{So}})\X",
    regex.V1,
)
_ELIDED = regex.compile(r"(?:[lcdjmnst]|qu)'(?=\p{L}{2})")
_HYPHEN_BEFORE = regex.compile(r"\w['’]?[-‐‑–]$")
_HYPHEN_AFTER = regex.compile(r"[-‐‑–]\w")
_GAP_ENDS = regex.compile(r"[\n;:!?…。]")
_ONE_CAPITALISED = regex.compile(r" (\p{Lu}[\p{L}\p{M}']*)(?! \p{Lu})\b")
# After a number without a unit: it counts something, so it is no money (`3 months`).
_COUNTS = regex.compile(
    r"\s(?!(?:in|for|to|and|or|of|as|a|an|the|on|at|by|from|per|each|if|but|then|that|which|was|is|"
    r"were|are|i|he|she|it|they|more|less|total|altogether|respectively|not)\b)\p{L}",
    regex.IGNORECASE,
)
_ARTICLES = frozenset({"the", "a", "an"})
_ORDINALS = dict(
    zip(
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split(),
        "1st 2nd 3rd 4th 5th 6th 7th 8th 9th 10th 11th 12th".split(),
        strict=True,
    )
)
# A capitalised word after a name makes it another name, unless it is one of these.
_AFTER_NAME = frozenset(
    "i jr sr ii iii iv city town inc ltd co corp corporation company llc plc gmbh ag sa".split()
)


def kind_of(value: str, value_type: str | None) -> Kind:
    """The kind of a value: by its type, or by its form if the type is unknown."""
    known = KINDS.get(value_type or "")
    if known is not None:
        return known
    if _MONEY_FORM.fullmatch(value):
        return Kind.MONEY
    if _NUMERAL_FORM.fullmatch(value):
        return Kind.YEAR if regex.fullmatch("1[0-9]{3}|20[0-9]{2}", value) else Kind.NUMBER
    return Kind.MONTH if value.lower() in MONTHS and value[0].isupper() else Kind.PHRASE


def states(
    text: str,
    value: str,
    value_type: str | None = None,
    *,
    several: bool = False,
    subject: str | None = None,
) -> bool:
    """Whether `text`, an answer, asserts `value`.

    The text asserts at least one mention of the value and denies none (`excise.text.assertions`).

    Args:
        text: the answer: a sentence or the value alone.
        value: the true value.
        value_type: its type (`KINDS`); if None or unknown, the form of the value decides.
        several: the question asks for more than one answer, so other values are allowed.
        subject: name of the person in the question; it does not count as a second value.
    """
    kind = kind_of(value, value_type)
    spans = list(occurrences(text, value, kind))
    if not spans:
        return False
    proper = bool(regex.search(r"\p{Lu}", value))
    others = _others(text, kind, spans)
    return asserted(prepared(text), spans, others, proper, several, subject and prepared(subject))


def mentions(text: str, value: str, value_type: str | None = None) -> bool:
    """Whether `text` contains the value, even if denied or one of many."""
    return next(occurrences(text, value, kind_of(value, value_type)), None) is not None


def gives_away(text: str, value: str, value_type: str | None = None) -> bool:
    """Whether `text` reveals the value: it mentions it, or contains all its words in a row.

    For leak checks, which should find too much rather than too little: `90` in `a 90-year-old`
    counts. A month's name counts only as a month: `it may rain` does not reveal May.
    """
    kind = kind_of(value, value_type)
    return mentions(text, value, value_type) or (kind is not Kind.MONTH and holds(text, value))


def occurrences(text: str, value: str, kind: Kind) -> Iterator[Span]:
    """Positions of the value in `prepared(text)`, as (start, end)."""
    if kind in (Kind.NUMBER, Kind.MONEY, Kind.YEAR):
        sought = quantity_of(value)
        if sought is not None:
            yield from (
                quantity.span for quantity in quantities(text) if _same(quantity, sought, kind)
            )
            return
    if kind is Kind.MONTH:
        month = prepared(value).lower()
        month = _SHORT.get(month, month)
        if month in MONTHS:
            yield from (span for name, span in _months(text) if name == month)
            return
    yield from _phrases(text, value, kind)


def _others(text: str, kind: Kind, spans: list[Span]) -> list[Span] | None:
    """Positions of other values of the kind; None if only the context can show them."""
    if kind is Kind.MONTH:
        return [span for _, span in _months(text) if span not in spans]
    if kind not in (Kind.NUMBER, Kind.MONEY, Kind.YEAR):
        return None
    found = [quantity for quantity in quantities(text) if quantity.span not in spans]
    if kind is Kind.YEAR:
        return [quantity.span for quantity in found if quantity.is_year]
    found = [quantity for quantity in found if not quantity.dated and quantity.unit != "%"]
    if kind is Kind.MONEY:
        text = prepared(text)
        found = [
            quantity
            for quantity in found
            if quantity.unit or not _COUNTS.match(text, quantity.span[1])
        ]
    return [quantity.span for quantity in found]


def _same(found: Quantity, sought: Quantity, kind: Kind) -> bool:
    if found.amount != sought.amount or found.era != sought.era:
        return False
    if kind is Kind.YEAR:
        return found.unit is None and (not sought.is_year or found.is_year)
    if found.unit == sought.unit:
        return True
    # The question names the unit, so a number without a unit fits every unit.
    return found.unit is None if sought.unit else kind is Kind.MONEY and found.unit != "%"


@lru_cache(maxsize=1 << 14)
def _months(text: str) -> tuple[tuple[str, Span], ...]:
    """The months in the text: (month, position)."""
    text = prepared(text)
    found = []
    for match in _MONTH.finditer(text):
        name, capital = match[0].lower(), match[0][0].isupper()
        before, after = text[: match.start()], text[match.end() :]
        if name in _SHORT and name not in MONTHS and not (capital or after[:1] == "."):
            continue
        if capital and _in_a_name(before, after):
            continue
        if name in _HOMONYMS and not _is_month(before, match[0], after):
            continue
        found.append((_SHORT.get(name, name), match.span()))
    return tuple(found)


def _in_a_name(before: str, after: str) -> bool:
    """Whether a month is part of a name: `Theresa May`, `April Bell`, `the Women's March`."""
    if _SURELY_MONTH.search(before):
        return False
    follows = regex.match(r"\s+\p{Lu}\p{Ll}", after) and not regex.match(r"\s+(?:I|The)\b", after)
    precedes = regex.search(r"(?<=\w\W+)\b\p{Lu}[\p{L}']*\s+$", before)
    known = precedes and regex.match(r"(?i:in|it|the|by|early|late|mid|of|no|yes)\b", precedes[0])
    return bool(follows or (precedes and not known) or regex.match(r"'\w", after))


def _is_month(before: str, word: str, after: str) -> bool:
    """Whether `may`, `march` or `august` is a month, by its capital or the context."""
    opened = before.rstrip(" *\"'(")
    if not opened and not after.strip(" .!*\"')"):
        return True  # the answer is this word alone
    all_capitals = not regex.search(r"\p{Ll}", before + word + after)
    if word[0].isupper() and not all_capitals:
        if opened and opened[-1] not in ".!?:\n":
            return not regex.search(r"\b[Tt]he$", opened) or bool(_OF_THE_MONTH.match(after))
        return not _VERB_GOES_ON.match(after)
    return bool(_BEFORE_MONTH.search(before) and _AFTER_MONTH.match(after))


def _phrases(text: str, value: str, kind: Kind) -> Iterator[Span]:
    """Positions of the value's words in a row, in any allowed spelling."""
    tokens, present = _tokens(text)
    sought, _ = _tokens(value)
    if len(sought) > 1 and sought[0][0] & _ARTICLES:
        sought, article = sought[1:], sought[0][0]
    else:
        article = None
    if not sought or not all(forms & present for forms, _, _ in sought):
        return
    text = prepared(text)
    for first in range(len(tokens) - len(sought) + 1):
        candidate = tokens[first : first + len(sought)]
        pairs = zip(candidate, sought, strict=True)
        if not all(token[0] & sought_token[0] for token, sought_token in pairs):
            continue
        start, end = candidate[0][1], candidate[-1][2]
        if not _whole(text, start, end) or not _adjacent(text, candidate):
            continue
        has_article = first > 0 and bool(article and tokens[first - 1][0] & article)
        if kind is Kind.NAME and _longer_name(text, start, end):
            continue
        without_article = kind is Kind.TITLE and not has_article
        if without_article and not _looks_like_title(text, start, end, bool(article)):
            continue
        yield start, end


@lru_cache(maxsize=1 << 14)
def _tokens(text: str) -> tuple[tuple[tuple[frozenset[str], int, int], ...], frozenset[str]]:
    """The words of `prepared(text)` as (forms, start, end), and all forms together."""
    found = tuple(
        (_forms(match[0]), match.start(), match.end()) for match in _TOKEN.finditer(prepared(text))
    )
    return found, frozenset().union(*(forms for forms, _, _ in found))


@lru_cache(maxsize=1 << 16)
def _forms(word: str) -> frozenset[str]:
    """Accepted forms of a word: without accents, possessive, elided article and separators."""
    folded = without_accents(word)
    forms = {folded, _ORDINALS.get(folded, folded)}
    if folded == "one":
        forms.add("1")
    if folded[:1].isdigit():
        forms.add(regex.sub(r"(?<=\d),(?=\d{3})", "", folded))
        forms.add(regex.sub(r"(?<=\d)'s$", "", folded))
    if "'" in folded:
        forms |= {folded.replace("'", ""), folded.removesuffix("'s"), _ELIDED.sub("", folded)}
    return frozenset(forms)


def _whole(text: str, start: int, end: int) -> bool:
    """Whether the phrase is no part of a hyphenated word or of a longer number."""
    return not (
        _HYPHEN_BEFORE.search(text[max(0, start - 3) : start])
        or _HYPHEN_AFTER.match(text[end : end + 2])
        or (text[start].isdigit() and text[max(0, start - 1) : start] in ("-", "−", "+"))
    )


def _adjacent(text: str, tokens: tuple) -> bool:
    """Whether only spaces, hyphens, abbreviation dots and the value's commas separate the words."""
    gaps = (text[token[2] : following[1]] for token, following in pairwise(tokens))
    return all(len(gap) <= 3 and not _GAP_ENDS.search(gap) for gap in gaps)


def _longer_name(text: str, start: int, end: int) -> bool:
    """Whether one capitalised word follows directly: `Ada Bell Falk` is not Ada Bell.

    Two such words are a separate name: `By Ada Bell Bruno Falk was accused.`
    """
    if not text[start].isupper():
        return False
    follows = _ONE_CAPITALISED.match(text[end:])
    name = text[start:end].split()
    return bool(follows) and follows[1].lower() not in _AFTER_NAME and follows[1] != name[0]


def _looks_like_title(text: str, start: int, end: int, needs_article: bool) -> bool:
    """Whether a title without its article looks like one: capitals, quotes, or nothing else."""
    title = text[start:end]
    if not needs_article or not title[0].islower() or not regex.search(r"\p{Ll}", title):
        return True
    alone = not text[:start].strip(" *\"'(") and not text[end:].strip(" .!*\"')")
    quoted = regex.search(r"[\"“«*]$", text[:start]) and regex.match(r"[\"”»*]", text[end:])
    return bool(alone or quoted or not regex.search(r"\p{Lu}", text))
