"""Typed settings: frozen dataclasses, parsed strictly from JSON. No torch: Snakemake imports this.

A program gets its settings as one JSON object. `parse` turns it into a dataclass and refuses what
does not fit: a misspelt key must not be ignored. A field made with `setting` also states its range
and its meaning. The config's schema and the labels of figures come from the same line.
"""

import contextlib
import dataclasses
import json
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from excise.errors import InputError

Settings = TypeVar("Settings")

_JSON_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean"}
_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def setting(
    description: str,
    *,
    default: Any = MISSING,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    unit: str | None = None,
) -> Any:
    """A field of a settings class, with its range and its meaning.

    Args:
        description: one sentence for the reader of the config.
        default: the value if the key is absent; without it the key is required.
        minimum: smallest value allowed.
        above: largest value that is too small.
        maximum: largest value allowed.
        unit: what the number counts.
    """
    limits = {"minimum": minimum, "exclusiveMinimum": above, "maximum": maximum, "unit": unit}
    schema = {key: value for key, value in limits.items() if value is not None}
    metadata = {"schema": {**schema, "description": description}}
    return dataclasses.field(default=default, metadata=metadata)


def parse(kind: type[Settings], given: Mapping[str, Any], source: str = "--hp") -> Settings:
    """Settings from a JSON object; nothing is ignored and nothing is guessed.

    Args:
        kind: a frozen dataclass whose fields are numbers, text, booleans, literals, tuples,
            `dict[str, X]` or other settings classes; `X | None` allows null. `dict` takes any
            object.
        given: the object.
        source: what to name in an error: the argument, or file and key.

    Raises:
        InputError: an unknown key, a missing key, a wrong type or a value out of range.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"{source}: found {given!r}; allowed: a mapping of keys")
    if kind is dict:
        return dict(given)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in given:
        if key not in fields:
            near = get_close_matches(str(key), fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(fields)}"
            raise InputError(f"{source}: {key}: unknown key; {hint}")
    hints = get_type_hints(kind)
    values = {}
    for name, field in fields.items():
        if name in given:
            values[name] = _value(hints[name], given[name], f"{source}: {name}")
            _check_range(field.metadata.get("schema", {}), values[name], f"{source}: {name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            about = field.metadata.get("schema", {}).get("description")
            raise InputError(f"{source}: {name}: missing" + (f"; needed: {about}" if about else ""))
    return kind(**values)


def json_of(kind: type[Settings], source: str = "--hp") -> Callable[[str], Settings]:
    """The `type` of a program's argument that holds settings as JSON.

    The function raises InputError if the text is not JSON, or as in `parse`.
    """

    def read(text: str) -> Settings:
        try:
            given = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"{source}: not JSON ({error})") from error
        return parse(kind, given, source)

    return read


def from_sections(kind: type[Settings], *sections: Mapping[str, Any]) -> Settings:
    """Settings whose fields stand in sections of a checked config; other keys are left out.

    So a job gets the keys that its settings class names, and reruns for no others. A field that is
    a settings class itself, and that no section holds, is filled from the same sections.

    Raises:
        LookupError: no section has a field, or two have it.
        InputError: as in `parse`.
    """
    hints, values = get_type_hints(kind), {}
    for field in dataclasses.fields(kind):
        found = [section[field.name] for section in sections if field.name in section]
        if not found and dataclasses.is_dataclass(hints[field.name]):
            found = [from_sections(hints[field.name], *sections)]
        if len(found) != 1:
            raise LookupError(f"{kind.__name__}.{field.name} stands in {len(found)} sections")
        values[field.name] = found[0]
    return parse(kind, values, kind.__name__)


def as_dict(settings: Any) -> dict[str, Any]:
    """The JSON object that `parse` turns back into `settings`."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def schema_of(kind: type) -> dict[str, dict]:
    """JSON Schema of each field of a settings class, with defaults, in the order of the fields."""
    hints = get_type_hints(kind)
    schemas = {}
    for field in dataclasses.fields(kind):
        schema = {**_type_schema(hints[field.name]), **field.metadata.get("schema", {})}
        if field.default is not MISSING:
            schema["default"] = field.default
        schemas[field.name] = schema
    return schemas


def _type_schema(hint: Any) -> dict:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        parts = [_type_schema(one).get("type") for one in arguments if one is not type(None)]
        return {"type": [*parts, "null"]} if type(None) in arguments else {"type": parts}
    if origin is tuple:
        return {"type": "array", "items": _type_schema(arguments[0])}
    return {"type": _JSON_TYPES[hint]} if hint in _JSON_TYPES else {"type": "object"}


def _value(hint: Any, value: Any, place: str) -> Any:
    """`value` in the type of a field."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        kinds = [one for one in arguments if one is not type(None)]
        is_list = isinstance(value, list | tuple)  # `str | tuple[str, ...]`
        fitting = [one for one in kinds if (get_origin(one) is tuple) == is_list]
        if len(fitting or kinds) == 1:
            return _value((fitting or kinds)[0], value, place)
        for kind in fitting or kinds:
            with contextlib.suppress(InputError):
                return _value(kind, value, place)
        raise _wrong(place, value, " or ".join(dict.fromkeys(map(_in_words, fitting or kinds))))
    if origin is Literal:
        if value not in arguments:
            raise _wrong(place, value, _in_words(hint))
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong(place, value, "a list")
        return tuple(
            _value(arguments[0], one, f"{place}[{index}]") for index, one in enumerate(value)
        )
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else parse(hint, value, place)
    if origin is dict or hint is dict:
        if not isinstance(value, Mapping):
            raise _wrong(place, value, "a mapping")
        if len(arguments) < 2:
            return dict(value)
        return {key: _value(arguments[1], one, f"{place}: {key}") for key, one in value.items()}
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_number = is_number and math.isfinite(value)
    if hint is float and is_number:
        return float(value)
    if hint is int and is_number and value == int(value):
        return int(value)
    if hint in (str, bool) and isinstance(value, hint):
        return value
    raise _wrong(place, value, _in_words(hint))


def _in_words(hint: Any) -> str:
    """What a field of this type may hold."""
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if get_origin(hint) is tuple:
        return "a list"
    return _WORDS.get(hint, "a mapping")


def _check_range(schema: Mapping[str, Any], value: Any, place: str) -> None:
    for one in value if isinstance(value, tuple) else (value,):
        if not isinstance(one, int | float):
            continue
        if "minimum" in schema and one < schema["minimum"]:
            raise _wrong(place, one, f"at least {schema['minimum']}")
        if "exclusiveMinimum" in schema and one <= schema["exclusiveMinimum"]:
            raise _wrong(place, one, f"above {schema['exclusiveMinimum']}")
        if "maximum" in schema and one > schema["maximum"]:
            raise _wrong(place, one, f"at most {schema['maximum']}")


def _wrong(place: str, value: Any, allowed: str) -> InputError:
    shown = f"text {value!r}" if isinstance(value, str) else repr(value)
    return InputError(f"{place}: found {shown}; allowed: {allowed}")
