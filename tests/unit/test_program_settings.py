"""Every program gets from its rule exactly the settings that it reads, and checks them itself."""

import ast
import dataclasses
import importlib
import json
import re
from pathlib import Path
from typing import get_type_hints

import pytest

import job_settings
from excise.config.check import check_config
from excise.config.load import load_config
from excise.workflow.study import Study

ROOT = Path(__file__).parents[2]
RULE = re.compile(r"^ *rule ?(\w*):\n(.*?)(?=^ *rule\b|\Z)", re.MULTILINE | re.DOTALL)
NOT_IN_THE_RULE = {"unlearn": {"epochs"}}
"""Settings that a rule gives as another argument, because Snakemake must not track them."""
CLASS_IN = {
    "json_of": lambda arguments: arguments[0] if len(arguments) == 1 else None,  # else not --hp
    "add_author_arguments": lambda arguments: arguments[1],
    "summary_parser": lambda arguments: arguments[1],
}
"""Function that reads `--hp` → the class among its arguments."""


def rules_with_settings() -> list[tuple[str, str]]:
    """Program and method of `Study` for each rule with a param `hp`."""
    found = set()
    for file in sorted((ROOT / "rules").glob("*.smk")):
        for _, body in RULE.findall(file.read_text()):
            program = re.search(r'script="workflow_scripts/(\w+)\.py"', body)
            method = re.search(r"hp=study\.(\w+)", body)
            assert ("hp=" in body) == bool(method), f"{file}: hp is no method of study"
            if method:
                found.add((program[1], method[1]))
    return sorted(found)


RULES = rules_with_settings()


def settings_class(program: str) -> type | None:
    """The class that the program hands to `json_of` or to the maker of its arguments."""
    tree = ast.parse((ROOT / f"workflow_scripts/{program}.py").read_text())
    modules = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            name = CLASS_IN.get(node.func.id, lambda _: None)(node.args)
            if name is not None:
                return getattr(importlib.import_module(modules[name.id]), name.id)
    return None


def keys_of(kind: type) -> dict:
    """Field → None, or the same of a settings class."""
    hints = get_type_hints(kind)
    return {
        field.name: keys_of(hint) if dataclasses.is_dataclass(hint := hints[field.name]) else None
        for field in dataclasses.fields(kind)
    }


def keys_given(content: dict, kind: dict) -> dict:
    return {
        key: keys_given(value, kind[key]) if kind.get(key) is not None else None
        for key, value in content.items()
    }


def given(study: Study, method: str) -> dict:
    wildcards = job_settings.wildcards(
        trajectory=next(iter(study.trajectories)), table="repr_layers"
    )
    if method == "finetuning_settings":
        wildcards = job_settings.wildcards()
    try:
        return json.loads(getattr(study, method)())
    except TypeError:
        return json.loads(getattr(study, method)(wildcards))


def test_every_rule_is_looked_at():
    assert len(RULES) >= 25
    assert {program for program, _ in RULES} >= {"unlearn", "evaluate", "pretrain_base", "preview"}


@pytest.mark.parametrize("backend", ["offline", "openai"])
@pytest.mark.parametrize("program, method", RULES)
def test_a_rule_gives_a_program_the_keys_that_it_reads_and_no_others(program, method, backend):
    kind = settings_class(program)
    assert kind is not None, program
    config = {"generation": {"backend": backend, "llm": {"model": "m"}}}
    default, _ = load_config([ROOT / "config.yaml"])
    study = Study(
        check_config(default | {"generation": default["generation"] | config["generation"]})
    )
    wanted = keys_of(kind)
    for key in NOT_IN_THE_RULE.get(program, ()):
        del wanted[key]
    assert keys_given(given(study, method), keys_of(kind)) == wanted


@pytest.mark.parametrize("program", sorted({program for program, _ in RULES}))
def test_no_class_has_a_default_for_a_key_of_the_config(program):
    fields = dataclasses.fields(settings_class(program))
    defaults = {field.name for field in fields if field.default is not dataclasses.MISSING}
    assert defaults <= NOT_IN_THE_RULE.get(program, set())
