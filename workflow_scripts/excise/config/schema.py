"""config.schema.yaml: read, its references followed, its defaults filled in. No torch."""

import copy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

SCHEMA_FILE = Path(__file__).parents[3] / "config.schema.yaml"


@cache
def schema() -> dict:
    """Content of config.schema.yaml."""
    return yaml.safe_load(SCHEMA_FILE.read_text(encoding="utf-8"))


def defaults_of(section: str) -> dict:
    """Key → default of a section of the config, such as `validation`."""
    return filled(schema()["properties"][section], {})


def dereferenced(part: dict) -> dict:
    """`part` with its `$ref` followed; what stands beside the reference wins."""
    if "$ref" not in part:
        return part
    target = schema()
    for step in part["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    return {**dereferenced(target), **part}


def filled(part: dict, value: Any) -> Any:
    """`value` with absent keys set to their defaults and numbers in the schema's type."""
    part = dereferenced(part)
    if isinstance(value, dict):
        whole = copy.deepcopy(value)
        for key, inner in part.get("properties", {}).items():
            inner = dereferenced(inner)
            if key in value or "default" in inner:
                whole[key] = filled(inner, value.get(key, copy.deepcopy(inner.get("default"))))
        return whole
    if isinstance(value, list):
        return [filled(part.get("items", {}), item) for item in value]
    types = part.get("type", ())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return float(value) if "number" in types else int(value) if "integer" in types else value
