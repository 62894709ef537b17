"""Find numbers in a text: amount, unit and place.

English conventions apply: a comma before three digits separates thousands, a point begins decimals.
The module reads digits of any script, numbers in English words, `k`, `thousand`, `million`,
currencies and percent.
"""

import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

import regex

from excise.text.unicode import LETTER, visible

_UNITS = "one two three four five six seven eight nine".split()
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_WORDS = {word: number for number, word in enumerate(_UNITS, start=1)}
_WORDS |= {word: number for number, word in enumerate(_TEENS, start=10)}
_WORDS |= {word: 10 * number for number, word in enumerate(_TENS, start=2)}
_SCALES = {
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "mn": 10**6,
    "bn": 10**9,
    "k": 1000,
}

_UNIT, _TEEN, _TEN = ("|".join(words) for words in (_UNITS, _TEENS, _TENS))
_BELOW_100 = rf"(?:(?:{_TEN})(?:[- ](?:{_UNIT}))?|{_TEEN}|{_UNIT})"
_BELOW_1000 = rf"(?:(?:{_BELOW_100}|a)[- ]hundred(?:[- ](?:and )?{_BELOW_100})?|{_BELOW_100})"
_SPELLED = regex.compile(
    rf"(?<![\w'$.-])(?=(?:{_TEN}|{_TEEN}|{_UNIT}|a[- ](?:hundred|thousand|million))\b)"
    rf"(?:(?:{_BELOW_1000}|a)[- ]million(?:,? (?:and )?(?={_BELOW_1000}\b))?)?"
    rf"(?:(?:{_BELOW_1000}|a)[- ]thousand(?:,? (?:and )?(?={_BELOW_1000}\b))?)?"
    rf"(?:{_BELOW_1000})?(?![\w'])",
    regex.IGNORECASE,
)
_SPELLED_YEAR = regex.compile(
    rf"(?<![\w'-])(?P<century>{_TEEN}|twenty)[- ]"
    rf"(?:(?P<rest>(?:{_TEN})(?:[- ](?:{_UNIT}))?|{_TEEN})|oh[- ](?P<unit>{_UNIT}))(?![\w'])",
    regex.IGNORECASE,
)

_ISO = (
    "USD EUR GBP JPY CHF CNY RMB INR RUB KRW CAD AUD NZD HKD SGD BRL MXN SEK NOK DKK PLN TRY UAH "
    "ILS THB VND ZAR CZK HUF"
).split()
_SIGNS = {
    "$": "USD", "US$": "USD", "U.S.$": "USD", "A$": "AUD", "AU$": "AUD", "C$": "CAD", "CA$": "CAD",
    "NZ$": "NZD", "HK$": "HKD", "S$": "SGD", "R$": "BRL", "€": "EUR", "£": "GBP", "¥": "JPY",
    "₹": "INR", "₽": "RUB", "₩": "KRW", "₪": "ILS", "฿": "THB", "₺": "TRY", "₫": "VND", "₴": "UAH",
    "Rs": "INR",
}  # fmt: skip
_NOUNS = {
    "dollar": "USD", "dollars": "USD", "buck": "USD", "bucks": "USD", "us dollars": "USD",
    "u.s. dollars": "USD", "american dollars": "USD", "canadian dollars": "CAD",
    "australian dollars": "AUD", "new zealand dollars": "NZD", "hong kong dollars": "HKD",
    "singapore dollars": "SGD", "euro": "EUR", "euros": "EUR", "pound": "GBP", "pounds": "GBP",
    "yen": "JPY", "yuan": "CNY", "rupee": "INR", "rupees": "INR", "ruble": "RUB", "rubles": "RUB",
    "roubles": "RUB", "franc": "CHF", "francs": "CHF", "peso": "MXN", "pesos": "MXN",
    "korean won": "KRW", "zloty": "PLN", "zlotys": "PLN", "krona": "SEK", "kronor": "SEK",
    "kroner": "NOK", "cent": "cent", "cents": "cent", "pence": "pence",
    "долларов": "USD", "доллара": "USD", "рублей": "RUB", "рубля": "RUB", "евро": "EUR",
    "美元": "USD", "欧元": "EUR", "元": "CNY", "円": "JPY", "ドル": "USD", "ユーロ": "EUR",
}  # fmt: skip


def _any(words) -> str:
    return "|".join(regex.escape(word) for word in sorted(words, key=len, reverse=True))


_EDGE = rf"(?![{LETTER}_])"
_NUMBER = r"[0-9]+(?:[.,'][0-9]+)*"
_QUANTITY = regex.compile(
    rf"""
    (?P<minus> (?<![\p{{L}}\p{{M}}\p{{N}}.,)\]%])[-−] | \b(?:minus|negative)\s )?
    (?P<before> (?<![\p{{L}}\p{{N}}]) (?:{_any(_SIGNS)}|{_any(_ISO)}|\p{{Sc}}) )? (?P<gap>\s?)
    (?P<minus2>(?<=\p{{Sc}}\s?)[-−])?
    (?P<number>{_NUMBER})
    (?: (?P<scale> \s(?:thousand|million|billion|mn|bn)|(?:bn|[kKmM]) ) {_EDGE} )?
    (?: \s?(?P<percent> %|per\s?cent{_EDGE} ) )?
    (?: \s?(?P<after> (?:{_any(_ISO)}|(?i:{_any(_NOUNS)})){_EDGE} | \p{{Sc}}(?!\s?\d) ) )?
    """,
    regex.VERBOSE | regex.V1,
)
_DATE = regex.compile(
    r"(?<![\d.,/-])(?:(?P<y>[12][0-9]{3})[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?P<y>[12][0-9]{3}))"
    r"(?![\d/-])"
)
_ERA = regex.compile(r"\s?(?:BCE?|B\.C\.(?:E\.)?)(?!\w)")
_NO_NUMBER_AFTER = regex.compile(rf"{LETTER}|[-‐‑]\p{{L}}|'s\b|\+(?!\d)", regex.V1)
_NO_NUMBER_BEFORE = regex.compile(rf"(?:{LETTER}|_|[\p{{L}}\p{{N}}][-‐‑]|\d[.,])$", regex.V1)
_IN_YEAR = regex.compile(r"\b(?:in|since|of|by|until|during|year|from|circa)\s+$", regex.IGNORECASE)
_THOUSANDS = regex.compile(r"\d{1,3}(?:,\d{2,3})*,\d{3}(?:\.\d+)?|\d{1,3}(?:'\d{3})+(?:\.\d+)?")


@dataclass(frozen=True)
class Quantity:
    """A number in a text.

    Attributes:
        amount: the value.
        unit: currency code, `%`, or None.
        era: `BC` or None.
        is_year: it has the form of a year: four digits and nothing else.
        dated: it is a year in a date or after a word such as `in`.
        span: position in `prepared(text)`.
    """

    amount: Decimal
    unit: str | None
    era: str | None
    is_year: bool
    dated: bool
    span: tuple[int, int]


@lru_cache(maxsize=1 << 14)
def prepared(text: str) -> str:
    """`text` with straight quotes, plain digits and spaces, and numbers in words as digits.

    `one` alone stays a word: `no one` is not a number.
    """
    text = visible(text)
    text = text.translate(_PLAIN)
    if not text.isascii():
        text = regex.sub(r"[\uFF01-\uFFEF]+", lambda match: _wide(match[0]), text)
        text = regex.sub(
            r"\p{Nd}", lambda match: str(unicodedata.decimal(match[0], match[0])), text
        )
        text = regex.sub(r"(?<=\d)[\u00A0\u2009\u202F](?=\d{3}(?!\d))", ",", text)
        text = regex.sub(r"[\u00A0\u2009\u202F\u3000]", " ", text)
    text = _SPELLED_YEAR.sub(_year_in_digits, text)
    return _SPELLED.sub(_in_digits, text)


_PLAIN = {ord("’"): "'", ord("‘"): "'", ord("ʼ"): "'", ord("“"): '"', ord("”"): '"'}
_PLAIN |= {ord("٬"): ",", ord("٫"): "."}


def _wide(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _in_digits(found: regex.Match) -> str:
    words = found[0].lower().replace(",", " ").replace("-", " ").split()
    if not words or words == ["one"]:
        return found[0]
    total = current = 0
    for word in words:
        if word == "hundred":
            current *= 100
        elif word in _SCALES:
            total, current = total + current * _SCALES[word], 0
        elif word != "and":
            current += 1 if word == "a" else _WORDS[word]
    return str(total + current)


def _year_in_digits(found: regex.Match) -> str:
    century = _WORDS[found["century"].lower()]
    words = regex.split("[- ]", (found["rest"] or found["unit"]).lower())
    return str(100 * century + sum(_WORDS[word] for word in words))


def quantity_of(value: str) -> Quantity | None:
    """`value` as a number, or None if it is not exactly one number."""
    text = prepared(value).strip()
    found = quantities(value)
    if len(found) == 1 and found[0].span == (0, len(text)) and not _DATE.match(text):
        return found[0]
    return None


@lru_cache(maxsize=1 << 14)
def quantities(text: str) -> tuple[Quantity, ...]:
    """The numbers in a text, in order.

    These are left out: parts of words (`90s`, `90th`, `B90`, `90km`) and of hyphenated words
    (`90-year-old`), and numbers that only give a bound (`more than 90`, `90+`, `before 1990`).
    """
    text = prepared(text)
    found, dates = [], []
    for date in _DATE.finditer(text):
        dates.append(date.span())
        found.append(Quantity(Decimal(date["y"]), None, None, True, True, date.span()))
    for match in _QUANTITY.finditer(text):
        if any(start < match.end() and match.start() < end for start, end in dates):
            continue
        found += _read(text, match)
    return tuple(sorted(found, key=lambda quantity: quantity.span))


def _read(text: str, match: regex.Match) -> list[Quantity]:
    start, end = match.start("number"), match.end()
    if _NO_NUMBER_AFTER.match(text[end : end + 2]):
        return []
    unit = _unit(match)
    first = match.start() if match["minus"] or match["before"] else start
    # A currency sign may follow a word directly (`owed$5`). A digit and a dash mean a range.
    glued = _NO_NUMBER_BEFORE.search(text[max(0, first - 2) : first])
    if glued and not match["before"] and not regex.search(r"\d[-‐‑]$", text[:first]):
        return []
    if _BOUND.search(text[:first]):
        return []
    scale = (match["scale"] or "").strip().lower()
    if scale == "m":
        if unit is None:
            return []  # metres, minutes
        scale = "million"
    numbers = _amounts(match["number"])
    negative = bool(match["minus"] or match["minus2"])
    if len(numbers) > 1:
        return [
            Quantity(
                amount, unit, None, _yearlike(digits), False, (start + at, start + at + len(digits))
            )
            for digits, amount, at in numbers
        ]
    [(digits, amount, _)] = numbers
    plain = unit is None and not scale and not negative
    is_year = plain and _yearlike(digits)
    if is_year and _BOUND_OF_YEAR.search(text[:first]):
        return []
    era = _ERA.match(text, end) if plain else None
    amount = amount * _SCALES.get(scale, 1) * (-1 if negative else 1)
    dated = is_year and bool(_IN_YEAR.search(text[:first]))
    last = era.end() if era else end
    return [Quantity(amount, unit, "BC" if era else None, is_year, dated, (first, last))]


_BOUND = regex.compile(
    r"\b(?:(?:more|less|fewer|greater|higher|lower|other|rather) than|over|under|above|below|"
    r"at least|at most|up to|nearly|almost|beyond|exceeding)\s+$",
    regex.IGNORECASE,
)

_BOUND_OF_YEAR = regex.compile(
    r"(?<!\bnot )\b(?:before|after|prior to|(?:earlier|later) than)\s+$", regex.IGNORECASE
)


def _yearlike(digits: str) -> bool:
    return bool(regex.fullmatch(r"[12]\d{3}", digits))


def _unit(match: regex.Match) -> str | None:
    if match["percent"]:
        return "%"
    before, after = match["before"], match["after"]
    of_before = None if before is None else _SIGNS.get(before, before)
    of_after = None
    if after is not None:
        of_after = _NOUNS.get(after.lower()) or _SIGNS.get(after, after)
    if before in (None, "$"):
        return of_after or of_before
    return of_before


def _amounts(number: str) -> list[tuple[str, Decimal, int]]:
    """(digits, amount, offset): one number, or several separated by commas without spaces."""
    if _THOUSANDS.fullmatch(number):
        return [(number, Decimal(regex.sub("[,']", "", number)), 0)]
    if regex.fullmatch(r"\d+(?:\.\d+)?", number):
        return [(number, Decimal(number), 0)]
    if regex.fullmatch(r"\d{1,3}(?:\.\d{3}){2,}", number):
        return [(number, Decimal(number.replace(".", "")), 0)]
    if regex.fullmatch(r"\d+,\d{1,2}", number):
        return [(number, Decimal(number.replace(",", ".")), 0)]
    return [
        (match[0], Decimal(match[0]), match.start()) for match in regex.finditer(r"\d+", number)
    ]
