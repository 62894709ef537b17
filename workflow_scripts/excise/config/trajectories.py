"""Section `unlearning.trajectories` of the config: blocks checked, expanded into trajectories.

The keys of a block are the hyperparameters of its method. Their types, ranges and defaults come
from the method's `Settings` (`excise.unlearning.method`); each is a list here, an axis of the
block's grid.
"""

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from excise.config.messages import Key, Source, refuse, refuse_schema_error, shown
from excise.config.schema import filled, schema
from excise.errors import InputError
from excise.records import read_json
from excise.settings import parse, schema_of
from excise.unlearning.method import Needs
from excise.unlearning.registry import Method, find, is_file, names

RESULT_SCHEMA = Path(__file__).parents[1] / "schemas" / "result.schema.json"


def checked_blocks(config: dict, sources: Sequence[Source] = ()) -> list[dict]:
    """The blocks of trajectories, checked against the `Settings` of their methods.

    Args:
        config: a config that fits config.schema.yaml.
        sources: for error messages.

    Returns:
        New blocks with defaults filled in, numbers in their type.

    Raises:
        InputError: the first fault, in one line.
    """
    blocks, files = [], {}
    for index, block in enumerate(config["unlearning"]["trajectories"]):
        key = ("unlearning", "trajectories", index)
        method = _found(block["method"], (*key, "method"), sources)
        if files.setdefault(method.name, method.file) != method.file:
            problem = f"{method.file} and {files[method.name]} give one name to two methods"
            refuse(sources, (*key, "method"), f"{problem}; allowed: different file names")
        expected = block_schema(method)
        if errors := list(Draft202012Validator(expected).iter_errors(block)):
            # A misspelt key explains the missing one beside it, so it goes first.
            error = min(errors, key=lambda error: error.validator != "additionalProperties")
            refuse_schema_error(error, sources, key)
        blocks.append(filled(expected, block))
    return blocks


def _found(given: str | dict, key: Key, sources: Sequence[Source]) -> Method:
    """The method that a block names, or whose file it names."""
    if isinstance(given, str):
        if given not in names():
            listed = ", ".join(names())
            allowed = f"one of {listed}, or {{file: my_method.py}}"
            refuse(sources, key, f"found {shown(given)}; allowed: {allowed}")
        return find(given)
    file, key = given["file"], (*key, "file")
    if not is_file(file):
        refuse(sources, key, f"found {shown(file)}; allowed: a Python file, such as my_method.py")
    if file != os.path.normpath(file):  # Snakemake compares paths as text
        refuse(sources, key, f"found {shown(file)}; allowed: {os.path.normpath(file)!r}")
    try:
        method = find(file)
    except InputError as error:
        refuse(sources, key, str(error))
    if taken := sorted(set(method.axes) & other_columns()):
        refuse(sources, key, f"{file}: Settings.{taken[0]}: a column of result files has this name")
    return method


@cache
def other_columns() -> frozenset[str]:
    """Columns of result files that are no hyperparameters."""
    content = json.loads(RESULT_SCHEMA.read_text(encoding="utf-8"))
    columns = content["properties"]["rows"]["items"]["properties"]
    return frozenset(
        name for name, column in columns.items() if column.get("$comment") != "hyperparameter"
    )


def block_schema(method: Method) -> dict:
    """JSON Schema of a block: each hyperparameter is a list of what `Settings` allows."""
    fields = schema_of(method.Settings)
    axes = {name: _axis_schema(dict(field)) for name, field in fields.items()}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["method", *(n for n in axes if "default" not in axes[n]), "epochs"],
        "properties": {"method": {}, **axes, "epochs": {"$ref": "#/$defs/epochs"}},
        "$defs": schema()["$defs"],
    }


def _axis_schema(field: dict) -> dict:
    """A list of what one hyperparameter may be; the list's default is the default alone."""
    beside = {"description": field.pop("description", "A hyperparameter of this method.")}
    if "default" in field:
        beside["default"] = [field.pop("default")]
    return {"type": "array", "minItems": 1, "uniqueItems": True, "items": field, **beside}


def expand_trajectories(config: dict, sources: Sequence[Source] = ()) -> dict[str, dict]:
    """Every unlearning trajectory of a checked config.

    Args:
        config: a config from `check_config`.
        sources: for error messages.

    Returns:
        Name → `method` (a name, or the path of a user's own file), `hyperparameters` and
        `epochs` (sorted). A name such as `npo/lr0.0002_beta0.1` comes from the values, so a new
        point leaves the others' names alone; a value of 0 is left out of it.

    Raises:
        InputError: two points have the same name.
    """
    trajectories: dict[str, dict] = {}
    first_block: dict[str, int] = {}
    for index, block in enumerate(config["unlearning"]["trajectories"]):
        method = find(_name_of(block))
        for point in _points(block, list(method.axes)):
            name = f"{method.name}/{config_id(method, point)}"
            if name in trajectories:
                refuse(
                    sources,
                    ("unlearning", "trajectories", index),
                    f"{name} is already made by trajectories[{first_block[name]}]; "
                    "allowed: each point once, with all its epochs",
                )
            first_block[name] = index
            trajectories[name] = {
                "method": _name_of(block),
                "hyperparameters": point,
                "epochs": sorted(block["epochs"]),
            }
    return trajectories


def check_methods_fit(config: dict, folder: str | Path, sources: Sequence[Source] = ()) -> None:
    """Check that the hyperparameters of every trajectory fit the base model.

    Args:
        config: section `unlearning` of a checked config, as `{"unlearning": …}` or more.
        folder: the base model; its config.json is read.
        sources: for error messages.

    Raises:
        InputError: the first trajectory that a method's own `check` refuses, in one line.
    """
    model_config = read_json(Path(folder) / "config.json")
    for index, block in enumerate(config["unlearning"]["trajectories"]):
        method = find(_name_of(block))
        if method.check is None:
            continue
        key = ("unlearning", "trajectories", index)
        for point in _points(block, list(method.axes)):
            try:
                method.check(parse(method.Settings, point), model_config)
            except InputError as error:
                refuse(sources, key, f"{error} ({folder})")
            except Exception as error:  # of a user's own file
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                refuse(sources, key, f"{method.file}: check fails ({reason})")


def _name_of(block: dict) -> str:
    """What `find` takes: the name of a block's method, or the path of its file."""
    given = block["method"]
    return given if isinstance(given, str) else given["file"]


def _points(block: dict, axes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every combination of the lists of a block."""
    for values in itertools.product(*(block[axis] for axis in axes)):
        yield dict(zip(axes, values, strict=True))


def config_id(method: Method, point: dict[str, Any]) -> str:
    """`lr0.0002_beta0.1`: short names and values, without values of 0."""
    return "_".join(f"{method.axes[name]}{value:g}" for name, value in point.items() if value)


def needs_of(trajectory: dict) -> Needs:
    """What a trajectory from `expand_trajectories` needs."""
    method = find(trajectory["method"])
    return method.needs(parse(method.Settings, trajectory["hyperparameters"], method.name))


def keeps_finetuned(trajectory: dict) -> bool:
    """Whether the job of a trajectory holds a copy of the finetuned adapter in memory."""
    method = find(trajectory["method"])
    settings = parse(method.Settings, trajectory["hyperparameters"], method.name)
    return method.keeps_finetuned(settings)


def labels_of(trajectories: dict[str, dict]) -> dict[str, str]:
    """Method → its label in figures."""
    methods = [find(trajectory["method"]) for trajectory in trajectories.values()]
    return {method.name: method.label for method in methods}


def check_checkpoints(config: dict, sources: Sequence[Source]) -> None:
    """Check that each checkpoint of `evaluation.checkpoints` is one of a trajectory.

    Raises:
        InputError: the first that is none.
    """
    trajectories = expand_trajectories(config, sources)
    for level, checkpoints in config["evaluation"]["checkpoints"].items():
        for index, checkpoint in enumerate(checkpoints):
            name, epoch = checkpoint.rsplit("/epoch_", 1)
            key = ("evaluation", "checkpoints", level, index)
            if name not in trajectories:
                listed = ", ".join(trajectories)
                refuse(sources, key, f"found {checkpoint!r}; the trajectories are {listed}")
            made = trajectories[name]["epochs"]
            if int(epoch) not in made:
                epochs = ", ".join(map(str, made))
                refuse(sources, key, f"found {checkpoint!r}; {name} is saved at epochs {epochs}")
