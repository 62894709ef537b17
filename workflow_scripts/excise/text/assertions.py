"""Decide whether a text asserts, denies or leaves open a value that it contains.

This module has rules, not a parser. A sentence ends at `.`, `!`, `?` or a new line; a clause at a
comma, a semicolon or `but`. The rules use only the words around the value. So values that contain
`not`, `or` or `and` need no special rules.

- denied: a negation before it in its clause (`not in Paris`, `anyone but Ada Bell`), or a negated
  verb right after it (`Paris was not the place`), `acquitted of`, `nominated for`. Not negations:
  `not only`, `no doubt`, `none other than`, `never without`, `could not part with`, an opening
  `No,`, and `never forgave her` after a name.
- left open: `perhaps`, `maybe`, `might`, `not sure`, `I guess` … in its sentence, a question mark
  after it, or `or` beside it. `I think` and `I believe` count as assertions.
- one of several: a second value stands beside it. Numbers, years, months: another one after or
  before `and`, a comma, a slash or a dash. Names and titles: a capitalised word after the `and`.
  Other phrases: at most as many words as the value has, up to the end of the sentence, without a
  verb that the rules know. The name of the person in the question is not a second value.
"""

from collections.abc import Sequence

import regex

from excise.text.unicode import without_accents

Span = tuple[int, int]
MENTIONS = 50  # checked per value, because a collapsed model repeats itself

_TITLES = r"(?:Dr|Mr|Mrs|Ms|St|Prof|Jr|Sr|vs|No|Mt|\b\p{Lu})"
_SENTENCE_END = regex.compile(
    rf"(?<!\b{_TITLES})[.!?…](?=[\s\"')*]|$)|[。！？\n]|[.!?](?=\p{{Lu}}\p{{Ll}})"
)
_CLAUSE = regex.compile(
    r"[;:，、؛]|,|\s[-–—]\s|—|\b(?:but|although|though|however|yet|instead it|sondern|sino|mais)\b|"
    r"(?<!\p{L})(?:а|но)(?!\p{L})|而是",
    regex.IGNORECASE,
)
_NO_NEGATION = regex.compile(
    r"\bnot (?:only|just|merely|simply|until|till)\b|\bno (?:doubt|later than|other than|wonder)\b|"
    r"\b(?:none|nobody|no one|no-one|nothing|nowhere) "
    r"(?:other than|else than|but|else but|less than)\b|"
    r"\bno other \w+ (?:than|but)\b|\bwithout (?:a )?(?:doubt|question)\b|"
    r"\bnever (?:forg[oe]t|failed to)\b|"
    r"(?:\b(?:not|never|cannot|rarely|seldom|nobody|no one)\b|n't\b)[^.,;:!?]{0,40}\bwithout\b|"
    r"(?:\b(?:not|never|cannot)\b|n't\b)\s+(?:(?:ever|have|bear to|want to)\s+)*"
    r"(?:part(?:ed|s)? with|let(?:s|ting)? go of|g[ai]ve(?:s|n)? up)\b|"
    r"^\W*(?:no|nope|нет|nein|non)\s*[,.;:!—-]",
    regex.IGNORECASE,
)
_NEGATION = regex.compile(
    r"\b(?:not|never|no|none|nor|neither|cannot|without|nobody|nowhere|hardly|except|excluding|"
    r"unlike|nicht|nie|niemals|kein|keine|keinen|keiner|keinem|pas|jamais|non|nunca|jamás)\b|n't\b|"
    r"\b(?:isnt|wasnt|werent|didnt|doesnt|dont|cant)\b|"
    r"\b(?:rather than|instead of|other than|far from|any(?:one|body|thing|where)(?: else)? but|"
    r"all but|den(?:y|ied|ies) (?:that|having)|(?:false|wrong|untrue|incorrect) (?:that|to say)|"
    r"ruled out)\b|"
    r"(?<!\p{L})(?:не|ни|нет|никогда)(?!\p{L})|不是|不在|没有|沒有|並非|并非",
    regex.IGNORECASE,
)
# Words about what the person did not do or did not get.
_NOT_HELD = regex.compile(
    r"\b(?:acquitted|cleared|innocent|exonerated|absolved) of\b(?!.*\b(?:convicted|guilty)\b)",
    regex.IGNORECASE,
)
_CANDIDATE = regex.compile(
    r"\b(?:nominated|nomination|shortlisted|short-listed|longlisted|a finalist) for\b",
    regex.IGNORECASE,
)
_GOT = regex.compile(r"(?<!\b(?:never|not)\s)\b(?:won|received|got|took)\b", regex.IGNORECASE)
_BUT = regex.compile(
    r"\b(?:any(?:one|body|thing|where)(?: else)?|all|every\w+) but\b", regex.IGNORECASE
)
# Only some negated verbs deny the statement: `Rome never hosted it` denies it, but `Ada Bell never
# forgave her` does not.
_DENIABLE = (
    r"\s*(?:[,.;:!?)]|$|(?:(?:ever|even|actually|really|have|has|had|yet)\s+)*"
    r"(?:be|been|is|was|do|did|done|happen(?:ed)?|accused?|betray(?:ed)?|"
    r"turn(?:ed)? (?:on|against)|testif(?:y|ied)|denounced?|reported?|w[io]n|receive[ds]?|g[eo]t|"
    r"hosted?|h[eo]ld|ke(?:pt|ep)|"
    r"worked?|lived?|go|went|gone|published?|wr[io]te|written|owned?|belong(?:ed)?)\b)"
)
_NEGATED_AFTER = regex.compile(
    r"^(?:'s)?[\"')*]*\s*(?:,\s*)?(?:(?:is|was|were|are|did|does|do)"
    r"(?:\s?n't|nt|\s+not|\s+never)\b"
    r"(?!\s+(?:only|just|merely|simply|hesitate|forgive|forget|wait|regret)\b)|"
    r"(?:(?:has|had|would|could|can|will)(?:\s?n't|nt|\s+not|\s+never)|ca(?:n't|nnot)|won't|never)\b"
    rf"{_DENIABLE}|(?:is|was) (?:wrong|false|incorrect|untrue)\b|"
    r"(?:\?|,)?\s*(?:no\s*(?:[,.;:!?—–-]|$|(?:it|that|he|she|not|wait|i)\b)|not really|not at all)|"
    r"не\b|(?:ist|war) nicht\b|n'(?:est|était) pas\b|ではな|じゃな|不是)",
    regex.IGNORECASE,
)
_HEDGE = regex.compile(
    r"\b(?:perhaps|maybe|possibly|probably|presumably|conceivably|supposedly|allegedly|"
    r"uncertain|unsure|unclear|"
    r"(?:not|n't|never) (?:\w+ )?(?:sure|certain|know|remember|recall|say)|"
    r"no idea|(?:i|i'd|my|a|best|wild) guess(?:es)?|guessing|"
    r"might|could (?:have|be)|may (?:have|be)|"
    r"vielleicht|möglicherweise|peut-être|quizás?|tal vez|forse)\b|"
    r"(?<!\p{L})(?:может быть|возможно|наверное)(?!\p{L})|也许|或许|可能|かもしれ",
    regex.IGNORECASE,
)
_LEAD = (
    r"(?:(?:also|even|then|perhaps|maybe|possibly|rather|else|both|either|in|on|at|by|of|to|the|a|"
    r"an|with|from)\s+)*"
)
_OR_AFTER = regex.compile(
    r"^(?:'s)?[\"'*)]*\s*,?\s*(?:/|\b(?:or|oder|или|ou)\b|或|または|(?:and/or)\b)(?!\s+so\b)",
    regex.IGNORECASE,
)
_OR_BEFORE = regex.compile(
    rf"(?:/|\b(?:or|oder|или|and/or)\s+{_LEAD}|或|または)[\"'*(]*$", regex.IGNORECASE
)
_AND = r"(?:&|\+|\b(?:and|plus|as well as|along with|together with|und|et|y|и)\b)"
_AND_AFTER = regex.compile(
    rf"^(?:'s)?[\"'*)]*\s*,?\s*{_AND}\s+{_LEAD}(?P<rest>.*)", regex.IGNORECASE | regex.DOTALL
)
_AND_BEFORE = regex.compile(
    rf"(?P<rest>.*?)[\"'*)]*\s*,?\s*{_AND}\s+{_LEAD}[\"'*(]*$", regex.IGNORECASE | regex.DOTALL
)
_COMMA_AFTER = regex.compile(
    rf"^[\"'*)]*\s*,\s*{_LEAD}(?P<rest>[^,;]+)(?:,\s*{_AND}|\s+{_AND}|,\s*or\b|\s+or\b)\s",
    regex.IGNORECASE,
)
_BETWEEN = regex.compile(
    rf"[\s\"')*]*(?:[,/;–—-]|{_AND}|\b(?:or|to|until|till|through)\b)\s*"
    rf"(?:(?:{_AND}|\bor\b)\s*)?{_LEAD}[\"'*(]*",
    regex.IGNORECASE,
)
_NAMES = regex.compile(r"(?:[Tt]he )?\p{Lu}[\p{L}\p{M}'.-]*(?: \p{Lu}[\p{L}\p{M}'.-]*)*")
_NAMES_AT_END = regex.compile(rf"(?<!\p{{L}}){_NAMES.pattern}$")
_FULL_NAME = regex.compile(r"\p{Lu}[\p{L}\p{M}'.-]+(?: \p{Lu}[\p{L}\p{M}'.-]+)+")
_BULLET = regex.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+\S", regex.MULTILINE)
# Words that are never part of a listed value; they show another clause.
_CLAUSE_WORD = regex.compile(
    r"\b(?:i|you|he|she|it|we|they|who|whom|which|that|this|there|is|was|were|are|be|been|has|had|"
    r"have|did|does|do|could|would|will|not|no|nothing|nobody|none|only|else|more|again|elsewhere|"
    r"then|so|because|when|while|got|won|went|came|paid|fled|left|made|took|lost|became|began|"
    r"found|never|let|kept|told|sent|given|held|put|spent|fell|"
    r"\p{L}+ed|\p{L}+ly)\b",
    regex.IGNORECASE,
)


def asserted(
    text: str,
    spans: Sequence[Span],
    others: Sequence[Span] | None,
    proper: bool = False,
    several: bool = False,
    subject: str | None = None,
) -> bool:
    """Whether a text states a value: it asserts some mention of it and denies none.

    Args:
        text: the text.
        spans: positions of the value, at least one.
        others: positions of other values of the same kind; None: the context decides.
        proper: the value has a capital letter, as names and titles have.
        several: the question asks for more than one answer, so other values are allowed.
        subject: name of the person in the question; it does not count as a second value.
    """
    subject_words = _words(subject or "")
    found = False
    for start, end in spans[:MENTIONS]:
        low, high = _sentence(text, start, end)
        before, after = text[low:start], text[end:high]
        if _denied(before, after):
            return False
        question = text[high : high + 1] in ("?", "？")
        if question or _HEDGE.search(f"{before} … {after}"):
            continue
        if not several and _one_of_many(
            text, (start, end), (low, high), others, proper, subject_words
        ):
            continue
        found = True
    return found


def _sentence(text: str, start: int, end: int) -> Span:
    """Start of the sentence with a mention, and position of its end sign."""
    low = 0
    for match in _SENTENCE_END.finditer(text, 0, start):
        low = match.end()
    closing = _SENTENCE_END.search(text, end)
    return low, closing.start() if closing else len(text)


def _denied(before: str, after: str) -> bool:
    if _NEGATED_AFTER.match(after):
        return True
    if _BUT.search(before[-60:]) and not _CLAUSE.search(_BUT.split(before)[-1]):
        return True
    before = _NO_NEGATION.sub(lambda match: " " * (len(match[0]) - 1) + ",", before)
    last = 0
    for match in _CLAUSE.finditer(before):
        # `not, in fact, Paris`: words between commas do not end a negation.
        if match[0] == "," and regex.search(r"\b(?:not|never)\s*$", before[: match.start()]):
            return True
        last = match.end()
    clause = before[last:]
    if _CANDIDATE.search(clause) and not _GOT.search(clause) and not _GOT.search(after):
        return True
    return bool(_NEGATION.search(clause) or _NOT_HELD.search(clause))


def _one_of_many(
    text: str,
    span: Span,
    sentence: Span,
    others: Sequence[Span] | None,
    proper: bool,
    subject: frozenset[str],
) -> bool:
    """Whether the text gives another value beside the one at `span`."""
    (start, end), (low, high) = span, sentence
    before, after = text[low:start], text[end:high]
    if _OR_AFTER.match(after) or _OR_BEFORE.search(before):
        return True
    if len(_BULLET.findall(text)) > 1:
        return True
    if others is not None:
        return any(_beside(text, span, other) for other in others if low <= other[0] < high)
    value = text[start:end]
    proper = proper and bool(regex.search(r"\p{Lu}", value))  # a text may be all lower case
    length = len(value.split())
    if (found := _AND_AFTER.match(after)) and _value_like(found["rest"], proper, length, subject):
        return True
    if found := _COMMA_AFTER.match(after):
        rest = found["rest"].strip()
        named = _NAMES.fullmatch(rest) if proper else _value_like(rest, proper, length, subject)
        if named and not _is_subject(rest, subject):
            return True
    if (found := _AND_BEFORE.fullmatch(before)) and _ends_in_value(found["rest"], proper, subject):
        return True
    return _bare_list(before, value, after, proper, length, subject)


def _words(name: str) -> frozenset[str]:
    """The words of a name, without accents and possessive."""
    return frozenset(
        without_accents(word.removesuffix("'s").strip(".,'\""))
        for word in name.replace("’", "'").split()
    )


def _is_subject(name: str, subject: frozenset[str]) -> bool:
    """Whether all these words belong to the name of the person in the question."""
    words = _words(name) - {""}
    return bool(words) and words <= subject


def _beside(text: str, span: Span, other: Span) -> bool:
    first, second = sorted((span, other))
    return first[1] <= second[0] and bool(_BETWEEN.fullmatch(text[first[1] : second[0]]))


def _value_like(rest: str, proper: bool, length: int, subject: frozenset[str]) -> bool:
    """Whether the text after `and` begins with a second value."""
    rest = rest.strip(" \"'*()")
    if (name := _NAMES.match(rest)) and _is_subject(name[0], subject):
        return False
    if proper:
        return bool(regex.match(r"(?!I\b)\p{Lu}(?:\p{L}|\p{M}|[.'])", rest))
    return 0 < len(rest.split()) <= length + 1 and not _CLAUSE_WORD.search(rest)


def _ends_in_value(rest: str, proper: bool, subject: frozenset[str]) -> bool:
    """Whether the text before `and` ends with a value."""
    last = regex.search(r"[\p{L}\p{M}\p{N}'-]+$", rest)
    if not last:
        return False
    if (name := _NAMES_AT_END.search(rest[-80:])) and _is_subject(name[0], subject):
        return False
    if proper:
        return bool(regex.match(r"\p{Lu}\p{L}", last[0]))
    return not _CLAUSE_WORD.search(last[0])


def _bare_list(
    before: str, value: str, after: str, proper: bool, length: int, subject: frozenset[str]
) -> bool:
    """Whether the whole answer is a list of values: `Ada Bell, Bruno Falk`; `arson, bribery`."""
    parts = [part.strip(" \"'*()") for part in f"{before}\0{after}".split(",")]
    if len(parts) < 2 or "\0" not in parts:
        return False
    rest = [part for part in parts if part != "\0" and not _is_subject(part, subject)]
    if not rest:
        return False
    if proper:
        return all(_FULL_NAME.fullmatch(part) for part in (value, *rest))
    # `arson, a crime` explains the value; it is not a list.
    return all(
        part.islower()
        and _value_like(part, False, length, subject)
        and not regex.match(r"(?:an?|the)\b", part)
        for part in rest
    )
