"""Find a value in a sentence, and replace it by another one."""

import re

_SENTENCE_END = re.compile(r"[.!?:][\"'”’)]*\s+[\"'“‘(]*$")


def exchanged(text: str, value: str, wrong: str) -> str:
    """`text` with its value replaced; a capital at a sentence's start and a/an are adapted.

    Raises:
        ValueError: the text does not contain the value.
    """
    spans = occurrences(text, value)
    if not spans:
        raise ValueError(f"{value!r} is not in {text!r}")
    start, end = spans[0]
    new = wrong[0].upper() + wrong[1:] if text[start] != value[0] else wrong
    before = text[:start]
    if article := re.search(r"\b([Aa])n?(\s+)$", before):
        agreed = article[1] + ("n" if takes_an(wrong) else "")
        before = f"{before[: article.start()]}{agreed}{article[2]}"
    return before + new + text[end:]


def one_article(text: str) -> str:
    """`text` with every `an` as `a`, which an exchange may change."""
    return re.sub(r"\b([Aa])n\b", r"\1", text)


def occurrences(text: str, phrase: str) -> list[tuple[int, int]]:
    """Positions of `phrase` in `text`; a sentence may begin with its capitalised form."""
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


def takes_an(phrase: str) -> bool:
    """Whether the phrase takes `an`: it begins with a vowel, 8, 11 or 18."""
    bare = phrase.lstrip("$")
    return bare[:1].lower() in "aeiou" or bool(re.match(r"8|1[18](,|\D|$)", bare))
