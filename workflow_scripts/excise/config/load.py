"""Reading config files and command-line overrides, unchecked. No torch here."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from excise.config.messages import NUMBER_AS_TEXT, Key, Source, dotted, shown
from excise.errors import InputError

COMMAND_LINE = "--config"


def load_config(
    paths: Sequence[str | Path], overrides: dict | None = None
) -> tuple[dict, list[Source]]:
    """Read config files and command-line overrides, later ones winning, mappings merged.

    Args:
        paths: YAML files, the default one first.
        overrides: what `--config key=value` sets, as Snakemake parsed it.

    Returns:
        The merged config, unchecked, and its sources for the error messages of `check_config`.

    Raises:
        InputError: a file is missing, is not YAML, repeats a key or is no mapping.
    """
    sources = [(str(path), read_config_file(path)) for path in paths]
    if overrides:
        sources.append((COMMAND_LINE, {key: _typed(value) for key, value in overrides.items()}))
    merged: dict = {}
    for _, content in sources:
        _merge(merged, content)
    return merged, sources


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a mapping that gives one key twice, which YAML itself settles in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):  # YAML itself refuses others
                if key.value in seen:
                    problem = f"key {key.value!r} is given twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_config_file(path: str | Path) -> dict:
    """Read one config file, unchecked.

    Raises:
        InputError: the file is missing, is not UTF-8, is not YAML, repeats a key, has an anchor
            that refers to itself, or is not a mapping.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        byte = error.object[error.start]
        raise InputError(
            f"{path}:{line}: not UTF-8 (byte 0x{byte:02x}); save the file as UTF-8"
        ) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}:{line}: not a config in YAML ({error.problem})") from error
    except (yaml.YAMLError, ValueError) as error:  # a control character; a date such as 2026-13-01
        problem = " ".join(str(error).split())[:100]
        raise InputError(f"{path}: not a config in YAML ({problem})") from error
    except RecursionError as error:
        raise InputError(f"{path}: not a config; its keys are nested too deeply") from error
    if not isinstance(content, dict):
        found = "nothing" if content is None else shown(content)
        raise InputError(f"{path}: found {found}; a config is a mapping of keys")
    if cycle := _cycle(content):
        raise InputError(f"{path}: {dotted(cycle)}: an anchor (&) refers to itself (*)")
    return content


def _cycle(value: Any, key: Key = (), above: tuple[int, ...] = ()) -> Key | None:
    """Path to a value that contains itself; None if there is none."""
    if not isinstance(value, dict | list):
        return None
    if id(value) in above:
        return key
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    found = (_cycle(item, (*key, step), (*above, id(value))) for step, item in pairs)
    return next(filter(None, found), None)


def _typed(value: Any) -> Any:
    """Snakemake leaves every scalar inside `--config 'a={b: 1}'` as text; read it as YAML."""
    if isinstance(value, dict):
        return {key: _typed_inner(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed_inner(item) for item in value]
    return value


def _typed_inner(value: Any) -> Any:
    if not isinstance(value, str):
        return _typed(value)
    try:
        return float(value) if NUMBER_AS_TEXT.fullmatch(value) else yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def _merge(target: dict, content: dict) -> None:
    """Snakemake's own rule: mappings are merged, everything else is replaced."""
    for key, value in content.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = copy.deepcopy(value)
