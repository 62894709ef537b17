"""Normalise text of any script and divide it into words.

Python's `\\w` does not match combining marks: it cuts a Devanagari word at each vowel sign. The
package `regex` supports them, and also scripts without spaces between words.
"""

import unicodedata
from functools import lru_cache
from typing import Any

import regex

# Each character is a word, as usual for ROUGE with Chinese and Japanese.
_IDEOGRAPHIC = r"\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Bopomofo}\p{Yi}"
# Each grapheme cluster (a consonant with its vowel signs and tone marks) is a word.
_CLUSTERED = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tai_Tham}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Viet}"
UNSPACED = _IDEOGRAPHIC + _CLUSTERED
"""Scripts without spaces between words, as the inside of a `regex` set."""
LETTER = rf"[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]"
"""A character inside a word (letter, mark or digit), as a `regex` set (V1)."""
UNSPACED_WORD = rf"[[\p{{L}}\p{{N}}]&&[{_IDEOGRAPHIC}]]\p{{M}}*|(?=[{_CLUSTERED}])\X"
"""A character or cluster that is a word by itself, as a `regex` pattern (V1)."""

# Joiners, soft hyphens and direction marks are not part of the visible text.
_INVISIBLE = dict.fromkeys([0xAD, 0x200C, 0x200D, 0x2060, 0xFEFF, 0x200E, 0x200F, 0x61C])
_INVISIBLE |= dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
_WORD = regex.compile(rf"{UNSPACED_WORD}|{LETTER}+|(?=\p{{So}})\X", regex.V1)
_ACCENTS = regex.compile(r"(?<=[\p{Latin}\p{Greek}])\p{Mn}+")
_VOWEL_POINTS = regex.compile(r"[[\p{Arabic}\p{Hebrew}\p{scx=Arabic}]&&\p{Mn}]|ـ", regex.V1)
_UNDECOMPOSED = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ħ": "h", "æ": "ae", "œ": "oe"})


def nfc(text: str) -> str:
    """Unicode normal form C: equal texts become equal strings, however their accents are stored."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def nfc_strings(value: Any) -> Any:
    """A JSON value with `nfc` of all strings, including keys."""
    if isinstance(value, str):
        return nfc(value)
    if isinstance(value, dict):
        return {nfc(key): nfc_strings(item) for key, item in value.items()}
    if isinstance(value, list):
        return [nfc_strings(item) for item in value]
    return value


def visible(text: str) -> str:
    """`nfc` without joiners, soft hyphens and direction marks."""
    return text if text.isascii() else nfc(text.translate(_INVISIBLE))


def same_case(text: str) -> str:
    """A form that is equal for texts that differ in case or in the storage of accents."""
    return text.lower() if text.isascii() else nfc(nfc(text).casefold())


@lru_cache(maxsize=1 << 17)
def without_accents(text: str) -> str:
    """Fold case; remove accents (Latin, Greek, ё) and vowel points (Arabic, Hebrew).

    Marks of other scripts stay: without them が would become か, and й would become и.
    """
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFD", text.casefold()).replace("е\u0308", "е")
    folded = _VOWEL_POINTS.sub("", _ACCENTS.sub("", folded))
    return unicodedata.normalize("NFC", folded).translate(_UNDECOMPOSED)


def word_tokens(text: str) -> list[str]:
    """The words of a text in any script, case folded, without punctuation.

    A word is a run of letters, marks and digits. These are also words: each character of Chinese
    and Japanese, each grapheme cluster of Thai, Lao, Khmer and Myanmar, and each pictograph. On
    ASCII text, the words are the tokens of `rouge_score` without stemming: runs of a–z and 0–9.
    """
    return _WORD.findall(same_case(visible(text)))
