"""Three lists of packages that must agree: pyproject.toml, requirements.txt and envs/*.yaml."""

import ast
import itertools
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from excise.workflow.imports import import_closure

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))


def pins(lines) -> dict[str, str]:
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(one.name): str(one.specifier) for one in requirements}


LOCK = pins((ROOT / "requirements.txt").read_text().splitlines())


def environment(name: str) -> dict[str, str]:
    content = yaml.safe_load((ROOT / "envs" / f"{name}.yaml").read_text())
    return pins(next(entry for entry in content["dependencies"] if isinstance(entry, dict))["pip"])


def programs_by_environment() -> dict[str, set[str]]:
    """Environment → programs that the rules run in it."""
    programs: dict[str, set[str]] = {}
    for file in (ROOT / "rules").glob("*.smk"):
        for rule in re.split(r"^\s*rule\b", file.read_text(), flags=re.MULTILINE)[1:]:
            script = re.search(r'script=.*"workflow_scripts/(\w+)\.py"', rule)[1]
            name = re.search(r'"\.\./envs/(\w+)\.yaml"', rule)[1]
            programs.setdefault(name, set()).add(script)
    return programs


def imported_packages(program: str) -> set[str]:
    """Distributions that a program and its modules of ours import."""
    script = ROOT / "workflow_scripts" / f"{program}.py"
    modules = set()
    for path in [script, *map(Path, import_closure(script))]:
        nodes = ast.walk(ast.parse(path.read_text())) if path.suffix == ".py" else ()
        for node in nodes:
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.split(".")[0])
    others = modules - set(sys.stdlib_module_names) - {"excise"}
    known = packages_distributions()
    return {canonicalize_name(known[module][0]) for module in others}


def test_the_lock_pins_every_package_to_one_version():
    assert all(re.fullmatch(r"==[^+*,]+", version) for version in LOCK.values())


def test_the_lock_is_within_the_ranges_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"].values()
    ranges = [*project["dependencies"], *itertools.chain.from_iterable(optional)]
    for one in map(Requirement, ranges):
        version = LOCK[canonicalize_name(one.name)].removeprefix("==")
        assert one.specifier.contains(version), one


@pytest.mark.parametrize("file", ENVIRONMENTS, ids=lambda file: file.stem)
def test_an_environment_has_the_versions_of_the_lock(file):
    for name, version in environment(file.stem).items():
        assert version == LOCK[name], name


def test_every_environment_is_used_and_every_used_one_exists():
    assert set(programs_by_environment()) == {file.stem for file in ENVIRONMENTS}


@pytest.mark.parametrize("name", [file.stem for file in ENVIRONMENTS])
def test_an_environment_holds_what_its_programs_import(name):
    for program in programs_by_environment()[name]:
        missing = imported_packages(program) - set(environment(name))
        assert not missing, f"{program} imports {missing}"
