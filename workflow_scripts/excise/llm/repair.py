"""From the model's words to a checked JSON object, mended where that is safe.

Mending happens here, for free, before anything is asked again: fences, thinking and prose around
the object are stripped, broken JSON goes through json-repair. An object that does not end is not
mended: json-repair would close it and a sentence cut in half would pass for a whole one.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import json_repair
from jsonschema import Draft202012Validator, ValidationError

_THINKING = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_THOUGHT_END = re.compile(r"^.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_QUOTE = re.compile("[\"']")
_SINGLE_QUOTE = re.compile(r"(?<!\w)'|'(?!\w)")  # no apostrophe
_VALUE_END = re.compile(r"""(["'”\]}\d]|[tT]rue|[fF]alse|null|None)[\s,]*}$""")
ERRORS_SHOWN, LONGEST_LINE = 3, 400


@dataclass(frozen=True)
class Judged:
    """A text judged: `status` is `ok`, `repaired` or `invalid`.

    `said` is the part that can be sent back: the object in the text, or the text itself.
    """

    status: str
    value: dict | None
    errors: list[str]
    said: str = ""


def judge(text: str, schema: dict, check: Callable[[dict], list[str]], mend: bool = True) -> Judged:
    """Judge the model's words.

    Args:
        text: the words.
        schema: JSON Schema of the object wanted.
        check: what is wrong with a value that fits the schema; an empty list: nothing.
        mend: whether anything but a bare JSON object may be mended.
    """
    value, status = json_object(text), "ok"
    if value is None and mend:
        value, status = mended(text), "repaired"
    if value is None:
        return Judged("invalid", None, [_complaint(text)], _sendable(text))
    if errors := not_text(value):
        return Judged("invalid", None, errors, _sendable(text))
    if errors := schema_errors(value, schema) or check(value):
        return Judged("invalid", None, errors, json.dumps(value, ensure_ascii=False))
    return Judged(status, value, [])


def _sendable(text: str) -> str:
    """The text without lone surrogates, which a request cannot contain."""
    return text.encode("utf-8", errors="replace").decode()


def json_object(text: str) -> dict | None:
    """The JSON object that a text is, with nothing around it; None otherwise.

    A collapsed model can open brackets without end: too deep to read is no object either.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def not_text(value: dict) -> list[str]:
    """Half of a surrogate pair is valid JSON, but no file can hold it; nor what nests too deep."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return ["the reply holds characters that are no text"]
    return []


def mended(text: str) -> dict | None:
    """The JSON object in a text; None if there is none, or only the beginning of one."""
    text = _THOUGHT_END.sub("", _THINKING.sub("", text))
    fenced = [block for block in _FENCE.findall(text) if "{" in block]
    text = fenced[-1] if fenced else text
    start, end = text.find("{"), text.rfind("}")
    piece = text[start : end + 1] if 0 <= start < end else ""
    if not piece or piece.count("{") > text.count("}", start) or not _ends(piece):
        return None
    try:
        value = json_repair.loads(piece)
    except RecursionError:
        return None
    return value if isinstance(value, dict) and value else None


def _ends(piece: str) -> bool:
    """Whether the last brace closes an object, and is no sign in a sentence that was cut off."""
    bare = _ESCAPED.sub("", piece)
    sign = _QUOTE.search(bare)
    quotes = bare.count('"') if sign and sign[0] == '"' else len(_SINGLE_QUOTE.findall(bare))
    return quotes % 2 == 0 and bool(_VALUE_END.search(piece))


def _complaint(text: str) -> str:
    if not text.strip():
        return "the reply was empty"
    if "{" not in text:
        return "the reply holds no JSON object"
    return "the reply is not a whole JSON object"


def schema_errors(value: dict, schema: dict) -> list[str]:
    """What is wrong with a value, in at most three lines."""
    validator = _validator(json.dumps(schema, sort_keys=True))
    errors = sorted(validator.iter_errors(value), key=lambda error: error.json_path)
    lines = list(dict.fromkeys(_words(error) for error in errors))[:ERRORS_SHOWN]
    return [
        line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 3]}..." for line in lines
    ]


def _words(error: ValidationError) -> str:
    """Instructions about a schema fault; all keys missing in one place share one line."""
    place = error.json_path
    if error.validator == "required":
        there = error.instance
        missing = ", ".join(f'"{key}"' for key in error.validator_value if key not in there)
        return f"{place}: these keys are missing and must be added: {missing}"
    if error.validator == "additionalProperties" and error.validator_value is False:
        wanted = error.schema.get("properties", {})
        extra = ", ".join(f'"{key}"' for key in error.instance if key not in wanted)
        return f"{place}: these keys were not asked for and must be left out: {extra}"
    return f"{place}: {error.message}"


@lru_cache(maxsize=256)
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema))
