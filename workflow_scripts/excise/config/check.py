"""The experiment's config: read, checked against config.schema.yaml, completed, expanded.

Every mistake becomes one line that names the file and the key, what was found and what is
allowed. Parsed in every job, so it knows nothing of torch.
"""

import copy
import difflib
import itertools
import math
import os
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from excise.config.presets import PRESETS
from excise.errors import InputError

SCHEMA_FILE = Path(__file__).parents[3] / "config.schema.yaml"
COMMAND_LINE = "--config"
CALL_KEYS = frozenset(  # of a chat completion, that the client sets, by all their names
    "model messages temperature response_format stream max_tokens max_completion_tokens "
    "max_new_tokens max_output_tokens".split()
)
COSTLY_KEYS = frozenset(  # that some provider may charge beyond a call's reserved worst case
    # several answers; tokens that are none of the answer
    "n best_of candidate_count num_generations prediction modalities audio "
    # searches and tools, charged by use
    "tools functions plugins mcp_servers data_sources web_search web_search_options "
    "search_parameters enable_search "
    # other prices, other models
    "service_tier speed inference_geo cache_control models fallbacks".split()
)

Key = tuple[str | int, ...]  # ("unlearning", "trajectories", 0, "beta")
Source = tuple[str, dict]  # a config file or the command line, and what it sets


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
        found = "nothing" if content is None else _shown(content)
        raise InputError(f"{path}: found {found}; a config is a mapping of keys")
    if cycle := _cycle(content):
        raise InputError(f"{path}: {_dotted(cycle)}: an anchor (&) refers to itself (*)")
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
        return float(value) if _NUMBER_AS_TEXT.fullmatch(value) else yaml.safe_load(value)
    except yaml.YAMLError:
        return value


_NUMBER_AS_TEXT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")  # numbers that YAML reads as text


def _merge(target: dict, content: dict) -> None:
    """Snakemake's own rule: mappings are merged, everything else is replaced."""
    for key, value in content.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = copy.deepcopy(value)


def check_config(config: dict, sources: Sequence[Source] = ()) -> dict:
    """Check a config and fill in its defaults.

    Args:
        config: the merged config.
        sources: who set what, from `load_config`, in the order of precedence.

    Returns:
        A new config with every key of the schema present, `generation.people` settled from its
        preset, and numbers in the type the schema gives them (so 1 and 1.0 are the same value).

    Raises:
        InputError: the first fault, in one line.
    """
    _check_finite(config, sources)
    errors = list(Draft202012Validator(_schema()).iter_errors(config))
    if errors:
        # A misspelt key explains the missing one beside it, so it goes first.
        error = min(errors, key=lambda error: error.validator != "additionalProperties")
        _refuse_schema_error(error, sources)
    resolved = _filled(_schema(), config)
    generation = resolved["generation"]
    generation["people"] = generation["people"] or PRESETS[generation["preset"]].people
    resolved["quantization"]["precisions"] = resolved["quantization"]["precisions"] or []
    _check_folders(resolved, sources)
    _check_model_choice(resolved, sources)
    _check_candidates(resolved, sources)
    if generation["backend"] == "openai" or resolved["red_team"]["judge"]["enabled"]:
        _check_llm(generation["llm"], sources)
    _check_checkpoints(resolved, sources)
    return resolved


@cache
def _schema() -> dict:
    """config.schema.yaml, with one branch per entry of $defs.methods put into the blocks."""
    schema = yaml.safe_load(SCHEMA_FILE.read_text(encoding="utf-8"))
    methods = list(schema["$defs"]["methods"])
    block = schema["properties"]["unlearning"]["properties"]["trajectories"]["items"]
    block["properties"]["method"] = {"enum": methods}
    block["allOf"] = [
        {
            "if": {"properties": {"method": {"const": method}}, "required": ["method"]},
            "then": {"$ref": f"#/$defs/methods/{method}"},
        }
        for method in methods
    ]
    return schema


def _check_finite(value: Any, sources: Sequence[Source], key: Key = ()) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        _refuse(sources, key, f"found {value}; allowed: a finite number")
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for step, item in pairs:
            _check_finite(item, sources, (*key, step))


def _check_folders(config: dict, sources: Sequence[Source]) -> None:
    """Refuse unusual spellings: Snakemake compares paths as text, so `results//x` differs."""
    for name, folder in config["pathvars"].items():
        plain = os.path.normpath(folder)
        if plain != folder:
            _refuse(sources, ("pathvars", name), f"found {folder!r}; allowed: {plain!r}")


def _check_model_choice(config: dict, sources: Sequence[Source]) -> None:
    path, hub = config["model"]["path"], config["model"]["hub"]
    if (path is None) == (hub is None):
        found = "neither" if path is None else "both"
        _refuse(
            sources,
            ("model",),
            f"found {found} of path and hub; allowed: exactly one "
            "(an experiment that sets hub also sets path: null)",
        )


def _check_candidates(config: dict, sources: Sequence[Source]) -> None:
    generation = config["generation"]
    if generation["perturbed_candidates"] < generation["wrong_answers"]:
        _refuse(
            sources,
            ("generation", "perturbed_candidates"),
            f"found {generation['perturbed_candidates']}; allowed: at least the "
            f"{generation['wrong_answers']} of generation.wrong_answers",
        )


def check_llm(section: dict) -> dict:
    """Check a `generation.llm` section on its own, as a program gets it.

    Returns:
        A new section with every key present.

    Raises:
        InputError: the first fault, in one line.
    """
    config = {"generation": {"llm": section}}
    sources = [("--hp", config)]
    schema = _schema()["properties"]["generation"]["properties"]["llm"]
    _check_finite(config, sources)
    whole = {"properties": {"generation": {"properties": {"llm": schema}}}}
    errors = list(Draft202012Validator(whole).iter_errors(config))
    if errors:
        _refuse_schema_error(errors[0], sources)
    resolved = _filled(schema, section)
    _check_llm(resolved, sources)
    return resolved


def _check_llm(llm: dict, sources: Sequence[Source]) -> None:
    key = ("generation", "llm")
    if llm["model"] is None:
        _refuse(sources, (*key, "model"), "missing; needed: a model's name for backend openai")
    for refused, why in (
        (CALL_KEYS, "the client sets it"),
        (COSTLY_KEYS, "it may cost more than the budget reserves for a call"),
    ):
        if taken := sorted(refused & llm["extra_body"].keys()):
            allowed = f"allowed: any key but {', '.join(sorted(refused))}"
            _refuse(sources, (*key, "extra_body", taken[0]), f"found, but {why}; {allowed}")
    budget = llm["budget"]
    prices = budget["usd_per_million_in"], budget["usd_per_million_out"]
    if budget["usd"] is not None and not any(prices):
        _refuse(
            sources,
            (*key, "budget", "usd"),
            f"found {budget['usd']:g} with no price; needed: usd_per_million_in and _out",
        )


def _check_checkpoints(config: dict, sources: Sequence[Source]) -> None:
    trajectories = expand_trajectories(config, sources)
    for level, checkpoints in config["evaluation"]["checkpoints"].items():
        for index, checkpoint in enumerate(checkpoints):
            name, epoch = checkpoint.rsplit("/epoch_", 1)
            key = ("evaluation", "checkpoints", level, index)
            if name not in trajectories:
                names = ", ".join(trajectories)
                _refuse(sources, key, f"found {checkpoint!r}; the trajectories are {names}")
            made = trajectories[name]["epochs"]
            if int(epoch) not in made:
                epochs = ", ".join(map(str, made))
                _refuse(sources, key, f"found {checkpoint!r}; {name} is saved at epochs {epochs}")


def expand_trajectories(config: dict, sources: Sequence[Source] = ()) -> dict[str, dict]:
    """Every unlearning trajectory of a checked config.

    Args:
        config: a config from `check_config`.
        sources: for error messages.

    Returns:
        Name → hyperparameters: `method`, `epochs` (sorted) and the method's own axes
        (`learning_rate`, `beta`, `retain_weight`, …). A name such as `npo/lr0.0002_beta0.1`
        comes from the values, so a new point leaves the others' names alone; a value of 0 is
        left out of it.

    Raises:
        InputError: two points have the same name.
    """
    trajectories: dict[str, dict] = {}
    first_block: dict[str, int] = {}
    for index, block in enumerate(config["unlearning"]["trajectories"]):
        axes = _axes(block["method"])
        for values in itertools.product(*(block[axis] for axis in axes)):
            point = dict(zip(axes, values, strict=True))
            labels = [f"{axes[axis]}{value:g}" for axis, value in point.items() if value]
            name = f"{block['method']}/{'_'.join(labels)}"
            if name in trajectories:
                _refuse(
                    sources,
                    ("unlearning", "trajectories", index),
                    f"{name} is already made by trajectories[{first_block[name]}]; "
                    "allowed: each point once, with all its epochs",
                )
            first_block[name] = index
            epochs = sorted(block["epochs"])
            trajectories[name] = {"method": block["method"], **point, "epochs": epochs}
    return trajectories


def needs_reference(method: str) -> bool:
    """Whether a method reads the finetuned model's log-probabilities of the forget answers."""
    return _schema()["$defs"]["methods"][method].get("needs_reference", False)


def _axes(method: str) -> dict[str, str]:
    """A method's hyperparameters, in the order of the schema, and their short names."""
    properties = _schema()["$defs"]["methods"][method]["properties"]
    resolved = {key: _dereferenced(schema) for key, schema in properties.items()}
    return {key: schema["axis"] for key, schema in resolved.items() if "axis" in schema}


def _dereferenced(schema: dict) -> dict:
    """`schema` with its `$ref` followed; what stands beside the reference wins."""
    if "$ref" not in schema:
        return schema
    target = _schema()
    for step in schema["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    return {**_dereferenced(target), **schema}


def _filled(schema: dict, value: Any) -> Any:
    """`value` with absent keys set to their defaults and numbers in the schema's type."""
    schema = _dereferenced(schema)
    if isinstance(value, dict):
        if "allOf" in schema:  # a block of trajectories: its method's own schema
            schema = _schema()["$defs"]["methods"][value["method"]]
        filled = copy.deepcopy(value)
        for key, inner in schema.get("properties", {}).items():
            inner = _dereferenced(inner)
            if key in value or "default" in inner:
                filled[key] = _filled(inner, value.get(key, copy.deepcopy(inner.get("default"))))
        return filled
    if isinstance(value, list):
        return [_filled(schema.get("items", {}), item) for item in value]
    types = schema.get("type", ())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return float(value) if "number" in types else int(value) if "integer" in types else value


def _refuse(sources: Sequence[Source], key: Key, message: str) -> NoReturn:
    raise InputError(f"{_origin(sources, key)}: {_dotted(key)}: {message}")


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


def _dotted(key: Key) -> str:
    """`unlearning.trajectories[0].beta`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in key)
    return text.removeprefix(".") or "top level"


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    text = f"text {text}" if isinstance(value, str) else text
    return text if len(text) <= 80 else f"{text[:77]}..."


def _refuse_schema_error(error: ValidationError, sources: Sequence[Source]) -> NoReturn:
    key: Key = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        _refuse_unknown_key(error, key, sources)
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        meaning = _dereferenced(error.schema.get("properties", {}).get(missing, {}))
        about = meaning.get("description") or _allowed(meaning)
        _refuse(sources, (*key, missing), f"missing; needed: {about}")
    if error.parent is None and error.validator == "pattern" and error.schema.keys() == {"pattern"}:
        # The name of a level, which jsonschema reports at the mapping that holds it.
        _refuse(sources, (*key, error.instance), f"allowed: a name like {error.validator_value}")
    found = "something else" if error.schema.get("secret") else _shown(error.instance)
    if isinstance(error.instance, str) and _NUMBER_AS_TEXT.fullmatch(error.instance):
        number = re.sub(r"^([+-]?\d+)\.?[eE]", r"\1.0e", error.instance)
        found += f" (YAML reads this as text: write {number})"
    _refuse(sources, key, f"found {found}; allowed: {_allowed(error.schema)}")


def _refuse_unknown_key(error: ValidationError, key: Key, sources: Sequence[Source]) -> NoReturn:
    known = list(error.schema.get("properties", {}))
    unknown = next(name for name in error.instance if name not in known)
    near = difflib.get_close_matches(str(unknown), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(sorted(known))}"
    _refuse(sources, (*key, unknown), f"unknown key; {hint}")


_TYPE_NAMES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


def _allowed(schema: dict) -> str:
    """What a key may hold, in words."""
    return ", ".join(_constraints(_dereferenced(schema))) or "see config.schema.yaml"


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
        yield f"each entry {_allowed(schema['items'])}"
    if "unit" in schema:
        yield f"in {schema['unit']}"
