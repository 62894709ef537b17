"""Turn the text of a reply into a checked JSON object; repair it if that is safe.

Repairs cost nothing, so they come before a re-ask. They remove fences, thinking and prose around
the object, and json-repair fixes broken JSON. An object without an end is not repaired:
json-repair would close it, and half a sentence would pass for a whole one.
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
    """The result of judging a text.

    Attributes:
        status: `ok`, `repaired` or `invalid`.
        value: the checked object, or None.
        errors: faults if there is no value.
        sendable: what a re-ask can send back: the object in the text, or the text itself.
    """

    status: str
    value: dict | None
    errors: list[str]
    sendable: str = ""


def judge(
    text: str, schema: dict, check: Callable[[dict], list[str]], may_repair: bool = True
) -> Judged:
    """Judge the text of a reply.

    Args:
        text: the text.
        schema: JSON Schema of the expected object.
        check: finds faults in a value that fits the schema; an empty list means none.
        may_repair: whether a text may be repaired if it is not a bare JSON object.
    """
    value, status = json_object(text), "ok"
    if value is None and may_repair:
        value, status = repaired_object(text), "repaired"
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
    """The JSON object, if the whole text is one; otherwise None.

    A collapsed model can open brackets without end. An object that is nested too deeply is None.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def not_text(value: dict) -> list[str]:
    """Faults if a file cannot hold the value: lone surrogates, or too deep nesting."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return ["the reply holds characters that are no text"]
    return []


def repaired_object(text: str) -> dict | None:
    """The JSON object in a text; None if there is none or only its beginning."""
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
    """Whether the last brace closes an object, and is not part of an incomplete sentence."""
    bare = _ESCAPED.sub("", piece)
    first_quote = _QUOTE.search(bare)
    quotes = (
        bare.count('"')
        if first_quote and first_quote[0] == '"'
        else len(_SINGLE_QUOTE.findall(bare))
    )
    return quotes % 2 == 0 and bool(_VALUE_END.search(piece))


def _complaint(text: str) -> str:
    if not text.strip():
        return "the reply was empty"
    if "{" not in text:
        return "the reply holds no JSON object"
    return "the reply is not a whole JSON object"


def schema_errors(value: dict, schema: dict) -> list[str]:
    """Faults of a value, in at most three lines."""
    validator = _validator(json.dumps(schema, sort_keys=True))
    errors = sorted(validator.iter_errors(value), key=lambda error: error.json_path)
    lines = list(dict.fromkeys(_words(error) for error in errors))[:ERRORS_SHOWN]
    return [
        line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 3]}..." for line in lines
    ]


def _words(error: ValidationError) -> str:
    """Instructions about a schema fault; all missing keys of an object share one line."""
    place = error.json_path
    if error.validator == "required":
        present = error.instance
        missing = ", ".join(f'"{key}"' for key in error.validator_value if key not in present)
        return f"{place}: these keys are missing and must be added: {missing}"
    if error.validator == "additionalProperties" and error.validator_value is False:
        allowed = error.schema.get("properties", {})
        extra = ", ".join(f'"{key}"' for key in error.instance if key not in allowed)
        return f"{place}: these keys were not asked for and must be left out: {extra}"
    return f"{place}: {error.message}"


@lru_cache(maxsize=256)
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema))
