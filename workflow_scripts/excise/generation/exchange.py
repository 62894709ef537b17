"""A value in a sentence: where it stands, and another one in its place."""

import re

_SENTENCE_END = re.compile(r"[.!?:][\"'”’)]*\s+[\"'“‘(]*$")


def exchanged(text: str, value: str, wrong: str) -> str:
    """`text` with its value exchanged; capital at a sentence's start and a/an follow the new one.

    Raises:
        ValueError: the value does not stand in the text.
    """
    spans = occurrences(text, value)
    if not spans:
        raise ValueError(f"{value!r} is not in {text!r}")
    start, end = spans[0]
    new = wrong[0].upper() + wrong[1:] if text[start] != value[0] else wrong
    before = text[:start]
    if article := re.search(r"\b([Aa])n?(\s+)$", before):
        agreed = article[1] + ("n" if sounds_open(wrong) else "")
        before = f"{before[: article.start()]}{agreed}{article[2]}"
    return before + new + text[end:]


def one_article(text: str) -> str:
    """`text` with every `an` as `a`: what may differ when a value is exchanged."""
    return re.sub(r"\b([Aa])n\b", r"\1", text)


def occurrences(text: str, phrase: str) -> list[tuple[int, int]]:
    """Where `phrase` stands in `text`, letter by letter (at a sentence's start also capital)."""
    if phrase[1:] not in text:
        return []
    first = phrase[0]
    capital = f"[{re.escape(first)}{re.escape(first.upper())}]" if first.islower() else None
    pattern = (capital or re.escape(first)) + re.escape(phrase[1:])
    spans = []
    for found in re.finditer(rf"(?<![\w$]){pattern}(?!\w|[.,]\d)", text):
        if found[0] == phrase or starts_sentence(text, found.start()):
            spans.append(found.span())
    return spans


def starts_sentence(text: str, position: int) -> bool:
    """Whether a sentence of `text` begins at `position`."""
    before = text[:position]
    return not before.strip("\"'“‘( ") or bool(_SENTENCE_END.search(before))


def sounds_open(phrase: str) -> bool:
    """Whether `an` goes before the phrase: it begins with a vowel, or with 8, 11 or 18 spoken."""
    bare = phrase.lstrip("$")
    return bare[:1].lower() in "aeiou" or bool(re.match(r"8|1[18](,|\D|$)", bare))
