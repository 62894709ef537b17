"""Decide which value types a question asks for, from its question word or noun.

"Tell me who …" asks for a person, and "Which town …" asks for a city. So a question about a crime
must not ask "who". A question without a clear type passes. If several slots fit a question word,
`slot_cues` decides between them.
"""

import re

Kinds = frozenset[str]

WHO: Kinds = frozenset({"person", "company"})
WHERE: Kinds = frozenset({"city", "venue"})
WHEN: Kinds = frozenset({"month", "year"})
MONEY: Kinds = frozenset({"amount"})
COUNT: Kinds = frozenset({"number"})
TERM: Kinds = frozenset({"penalty"})

# value type → nouns that ask for this type only.
_NOUNS = {
    "person": "person man woman individual accuser denouncer informer informant witness reporter "
    "partner mentor teacher tutor instructor master coach companion colleague critic rival people",
    "city": "city town",
    "venue": "venue building hall house chamber",
    "year": "year",
    "month": "month",
    "award": "award prize honour honor trophy medal distinction",
    "company": "company firm business sponsor employer enterprise corporation organisation "
    "organization backer",
    "title": "work piece title painting book composition",
    "keepsake": "object item gift heirloom keepsake present",
    "offence": "offence offense crime misdeed wrong wrongdoing charge accusation felony law",
    "penalty": "penalty punishment sentence sanction",
    "amount": "sum money dollars repayment debt",
    "number": "guests stamps visitors",
}
_SHARED = {
    "place location site spot": WHERE,
    "date day time season period": WHEN | TERM,
    "number count total figure quantity amount size": COUNT | MONEY,
    "term duration length": TERM,
    "price toll": TERM | MONEY,
    "verdict": TERM | {"offence"},
}
NOUNS: dict[str, Kinds] = {
    noun: frozenset({kind}) for kind, nouns in _NOUNS.items() for noun in nouns.split()
} | {noun: kinds for nouns, kinds in _SHARED.items() for noun in nouns.split()}
NOUNS |= {noun: frozenset({"title", "keepsake"}) for noun in ("piece", "creation")}
NOUNS |= dict.fromkeys(("sponsor", "employer", "backer", "supporter", "name-giver"), WHO)
# Words that may follow a noun without being the noun: "person present".
_NO_SECOND = frozenset("present work place time charge count title honour wrong price".split())
_VERBS = {  # verbs after "what did"
    **dict.fromkeys(("commit", "committed"), frozenset({"offence"})),
    **dict.fromkeys(("serve", "served", "suffer", "undergo"), TERM),
    **dict.fromkeys(("repay", "repaid", "owe", "owed"), MONEY),
    **dict.fromkeys(("inherit", "inherited"), frozenset({"keepsake"})),
}
# Phrases in which "what" has no noun: "what … guilty of?", "of what … convicted?".
_CLOSED = r"\s*(?:[?.,;]|$|\b(?:at|after|during|over|because)\b)"
_PHRASES = (
    (
        re.compile(
            rf"\b(?:convicted|guilty|accused|suspected) of{_CLOSED}"
            rf"|\b(?:of|for) what\b.*\b(?:convicted|guilty|accused|tried)\b|trial for what\b",
            re.IGNORECASE,
        ),
        frozenset({"offence"}),
    ),
    (re.compile(rf"\bto what\b.*\bsentenced\b|\bsentenced to{_CLOSED}", re.IGNORECASE), TERM),
    (re.compile(r"\bwhat did the (?:court|judge) impose\b", re.IGNORECASE), TERM),
    (re.compile(r"\bwith what\b.*\bhonou?red\b", re.IGNORECASE), frozenset({"award"})),
)
_MONEY_WORDS = re.compile(r"\b(dollars?|money|sum|repa(y|id)\w*|owed?|owes|debt)\b", re.IGNORECASE)

_QUESTION_WORDS = frozenset("who whom whose which what when where why how".split())
_ASKING = frozenset(
    "name state give tell say know identify specify provide recall mention reveal list report "
    "indicate learn hear write".split()
)
_FILLERS = frozenset("me us please exactly precisely also just and up down out then".split())
_PREPOSITIONS = frozenset(
    "in at by on to from for of with under after before during through against about into inside "
    "within as".split()
)
_BE = frozenset("is was were are be being been s".split())
_DETERMINERS = frozenset("the a an this that any one".split())
_TRANSPARENT = frozenset("name names identity kind type sort nature".split())
_STOPS = frozenset(
    "did does do had has have which who whom whose that where when what why how , : ; . ? !".split()
)
_TOKEN = re.compile(r"<name>|\w+(?:-\w+)*|[,:;.?!]")
_PUNCTUATION = frozenset(",:;.?!")

# Advice to an author whose question asks for something else.
ASK_WITH = {
    "person": 'the question word "who" or "whom", or "the person who"',
    "city": '"which city"',
    "venue": '"which building"',
    "year": '"which year"',
    "month": '"which month"',
    "award": '"which award"',
    "company": '"which company"',
    "title": '"which work"',
    "keepsake": '"which object"',
    "offence": '"which crime"',
    "penalty": '"which punishment"',
    "amount": '"how much money"',
    "number": '"how many"',
}
VALUE_NOUN = {
    "person": "a person",
    "city": "a city",
    "venue": "a building",
    "year": "a year",
    "month": "a month",
    "award": "an award",
    "company": "a company",
    "title": "the title of a work",
    "keepsake": "an object",
    "offence": "a crime",
    "penalty": "a punishment",
    "amount": "a sum of money",
    "number": "a number",
}


def asked_for(question: str, name: str) -> tuple[Kinds | None, str]:
    """The value types that can answer a question, and the words that decide this.

    Args:
        question: a question, or a request such as "Name the …".
        name: the person's name; its words are ignored.

    Returns:
        The types, or None if no word decides; the deciding words, if any.
    """
    tokens = _tokens(question, name)
    found, requested = [], False
    for place, token in enumerate(tokens):
        if token in _QUESTION_WORDS and _asks(tokens, place):
            if not (requested and tokens[place - 1] == ","):  # "Name the …, where … is concerned"
                found.append(_by_question_word(tokens, place, question))
        elif token in _ASKING and _opens(tokens, place):
            request = _by_request(tokens, place, question)
            if request is not None:
                found.append(request)
                requested = True
    if not found and question.rstrip().endswith("?"):
        last = [place for place, token in enumerate(tokens) if token in _QUESTION_WORDS][-1:]
        found = [_by_question_word(tokens, place, question) for place in last]
    if not found or any(kinds is None for kinds, _ in found):
        return _by_phrase(question)
    return frozenset().union(*(kinds for kinds, _ in found)), found[0][1]


def _tokens(text: str, name: str) -> list[str]:
    text = re.sub(re.escape(name), " <name> ", text, flags=re.IGNORECASE)
    text = re.sub(r"['’](?=\w)", " ", text)
    return [token.lower() for token in _TOKEN.findall(text)]


def _asks(tokens: list[str], place: int) -> bool:
    """Whether a question word asks; in "the person who", it only follows its noun."""
    before = place - 1
    while before >= 0 and tokens[before] in _FILLERS:
        before -= 1
    if before >= 0 and tokens[before] in _PREPOSITIONS:
        before -= 1
    while before >= 0 and tokens[before] in _FILLERS:
        before -= 1
    return before < 0 or tokens[before] in _PUNCTUATION or tokens[before] in _ASKING


def _opens(tokens: list[str], place: int) -> bool:
    """Whether a verb such as "tell" begins a request, and is not a part of the question."""
    before = tokens[place - 1] if place else "."
    return before in _PUNCTUATION or (before in ("please", "to") and place < 6) or before == "you"


def _by_request(tokens: list[str], place: int, text: str) -> tuple[Kinds | None, str] | None:
    """What the noun of a request asks for; None if a question word follows and decides."""
    after = place + 1
    while after < len(tokens) and tokens[after] in _FILLERS:
        after += 1
    if after < len(tokens) and tokens[after] == ",":  # an insertion between commas
        closing = next((i for i in range(after + 1, len(tokens)) if tokens[i] == ","), None)
        after = after + 1 if closing is None else closing + 1
    if after < len(tokens) and tokens[after] in _PREPOSITIONS:
        after += 1
    if after < len(tokens) and tokens[after] in _QUESTION_WORDS:
        return None
    return _noun(tokens, after, text)


def _by_question_word(tokens: list[str], place: int, text: str) -> tuple[Kinds | None, str]:
    word, after = tokens[place], tokens[place + 1] if place + 1 < len(tokens) else ""
    if word in ("who", "whom", "whose"):
        return WHO, word
    if word == "where":
        return WHERE, word
    if word == "when":
        return WHEN, word
    if word == "why":
        return frozenset({"offence"}), word
    if word == "how":
        return _how(tokens, place, after, text)
    if after in _BE:
        return _noun(tokens, place + 2, text)
    if after in ("did", "had", "has", "does"):
        verbs = [token for token in tokens[place + 2 : place + 6] if token in _VERBS]
        return (_VERBS[verbs[0]], f"{word} … {verbs[0]}") if verbs else (None, "")
    if after in _DETERMINERS:
        return None, ""
    if after in _PREPOSITIONS:  # "Which for … was the …"
        verbs = (i for i in range(place + 2, min(place + 6, len(tokens))) if tokens[i] in _BE)
        verb = next(verbs, None)
        return (None, "") if verb is None else _noun(tokens, verb + 1, text)
    return _noun(tokens, place + 1, text, word)


def _by_phrase(text: str) -> tuple[Kinds | None, str]:
    """What a phrase of the question asks for, if its question word does not decide."""
    for pattern, kinds in _PHRASES:
        if found := pattern.search(text):
            return kinds, " ".join(found[0].split()).rstrip("?.,; ")
    return None, ""


def _how(tokens: list[str], place: int, after: str, text: str) -> tuple[Kinds | None, str]:
    words, unit = f"how {after}", set(tokens[place + 2 : place + 5])
    if after == "many":
        if unit & {"dollars", "dollar"}:
            return MONEY, "how many dollars"
        return (TERM, words) if unit & {"months", "years", "weeks", "days"} else (COUNT, words)
    if after == "much":
        return (TERM, words) if "time" in unit else (MONEY, words)
    if after == "long":
        return TERM, words
    if after in ("large", "big", "high", "great", "small"):
        return (MONEY if _MONEY_WORDS.search(text) else COUNT), words
    return (frozenset(), words) if after == "old" else (None, "")


def _noun(
    tokens: list[str], place: int, text: str, opening: str = "the"
) -> tuple[Kinds | None, str]:
    """What the noun phrase at `place` asks for."""
    skipped = 0
    while place < len(tokens):
        token = tokens[place]
        if token in _TRANSPARENT:
            if tokens[place + 1 : place + 2] != ["of"]:
                return None, ""
            place += 2
        elif token in _DETERMINERS or (token == "<name>" and skipped == 0) or token == "s":
            place += 1
        elif token in NOUNS:
            following = tokens[place + 1] if place + 1 < len(tokens) else ""
            if following in NOUNS and following not in _NO_SECOND:
                place += 1
                continue
            kinds = NOUNS[token]
            if kinds == COUNT | MONEY:
                kinds = MONEY if _MONEY_WORDS.search(text) else COUNT
            return kinds, f"{opening} {token}"
        elif token in ("who", "whom", "whose") and (
            skipped or tokens[place - 1] == "one"
        ):  # "the guest who …"
            return WHO, f"the {tokens[place - 1]} {token}"
        elif token in _STOPS or token in _PREPOSITIONS or token in _BE or skipped == 3:
            return None, ""
        else:
            skipped, place = skipped + 1, place + 1
    return None, ""
