"""One line for each mistake in a config: who set the key, what was found, what is allowed."""

import difflib
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from jsonschema.exceptions import ValidationError

from excise.config.schema import dereferenced
from excise.errors import InputError

Key = tuple[str | int, ...]  # ("unlearning", "trajectories", 0, "beta")
Source = tuple[str, dict]  # a config file or the command line, and what it sets
NUMBER_AS_TEXT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")  # numbers that YAML reads as text


def check_finite(value: Any, sources: Sequence[Source], key: Key = ()) -> None:
    """Check that no number below `key` is NaN or infinite, which YAML can write."""
    if isinstance(value, float) and not math.isfinite(value):
        refuse(sources, key, f"found {value}; allowed: a finite number")
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for step, item in pairs:
            check_finite(item, sources, (*key, step))


def refuse(sources: Sequence[Source], key: Key, message: str) -> NoReturn:
    """Raise InputError: the file that sets the key, the key and the message."""
    raise InputError(f"{_origin(sources, key)}: {dotted(key)}: {message}")


def _origin(sources: Sequence[Source], key: Key) -> str:
    """The last source that sets `key`, or the nearest key above it."""
    for depth in range(len(key), 0, -1):
        for name, content in reversed(sources):
            if _sets(content, key[:depth]):
                return name
    return sources[0][0] if sources else "config"


def _sets(content: Any, key: Key) -> bool:
    for step in key:
        try:
            content = content[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def dotted(key: Key) -> str:
    """`unlearning.trajectories[0].beta`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in key)
    return text.removeprefix(".") or "top level"


def shown(value: Any) -> str:
    """A value in one line of at most 80 characters."""
    text = " ".join(repr(value).split())
    text = f"text {text}" if isinstance(value, str) else text
    return text if len(text) <= 80 else f"{text[:77]}..."


def refuse_schema_error(
    error: ValidationError, sources: Sequence[Source], above: Key = ()
) -> NoReturn:
    """Refuse what a validator found.

    Args:
        error: the fault.
        sources: who set what.
        above: where in the config the checked value is.
    """
    key: Key = (*above, *error.absolute_path)
    if error.validator == "additionalProperties":
        _refuse_unknown_key(error, key, sources)
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        meaning = dereferenced(error.schema.get("properties", {}).get(missing, {}))
        about = meaning.get("description") or allowed(meaning)
        refuse(sources, (*key, missing), f"missing; needed: {about}")
    if error.parent is None and error.validator == "pattern" and error.schema.keys() == {"pattern"}:
        # The name of a level, which jsonschema reports at the mapping that holds it.
        refuse(sources, (*key, error.instance), f"allowed: a name like {error.validator_value}")
    found = "something else" if error.schema.get("secret") else shown(error.instance)
    if isinstance(error.instance, str) and NUMBER_AS_TEXT.fullmatch(error.instance):
        number = re.sub(r"^([+-]?\d+)\.?[eE]", r"\1.0e", error.instance)
        found += f" (YAML reads this as text: write {number})"
    refuse(sources, key, f"found {found}; allowed: {allowed(error.schema)}")


def _refuse_unknown_key(error: ValidationError, key: Key, sources: Sequence[Source]) -> NoReturn:
    known = list(error.schema.get("properties", {}))
    unknown = next(name for name in error.instance if name not in known)
    near = difflib.get_close_matches(str(unknown), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(sorted(known))}"
    refuse(sources, (*key, unknown), f"unknown key; {hint}")


_TYPE_NAMES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


def allowed(schema: dict) -> str:
    """What a key may hold, in words."""
    return ", ".join(_constraints(dereferenced(schema))) or "see config.schema.yaml"


def _constraints(schema: dict) -> Iterator[str]:
    if "anyOf" in schema:
        yield schema["description"].rstrip(".")
    if "const" in schema:
        yield str(schema["const"])
    if "enum" in schema:
        yield f"one of {', '.join(map(str, schema['enum']))}"
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types:
        yield " or ".join(_TYPE_NAMES[name] for name in types)
    limits = {
        "minimum": "at least {}",
        "exclusiveMinimum": "above {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "below {}",
        "multipleOf": "a multiple of {}",
        "pattern": "matching {}",
        "minLength": "of {} or more characters",
        "minItems": "with at least {} entry",
    }
    for keyword, phrase in limits.items():
        if keyword in schema:
            yield phrase.format(schema[keyword])
    if schema.get("uniqueItems"):
        yield "no entry twice"
    if "items" in schema and "array" in types:
        yield f"each entry {allowed(schema['items'])}"
    if "unit" in schema:
        yield f"in {schema['unit']}"
