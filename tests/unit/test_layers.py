"""The library's packages stand one above the other: none imports one above it, in no circle."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "workflow_scripts" / "excise"

# From the bottom to the top: a package or module may import those before it.
LAYERS = [
    *("lifeline", "provenance", "machine", "errors", "files", "settings"),
    *("text", "records", "benchmark"),
    *("modeling", "training", "unlearning"),
    *("config", "llm"),
    *("evaluation", "attacks", "plots", "report"),
    *("red_team", "generation"),
    *("slurm", "workflow"),
]
DATA = {"schemas"}
NO_TORCH = ("torch", "transformers", "peft", "pandas", "scipy", "bitsandbytes")
OF_THE_SNAKEFILE = ("hooks", "study", "unchanged", "planning", "job_records")


def module_name(path: Path) -> str:
    parts = path.relative_to(LIBRARY.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(LIBRARY.rglob("*.py"))}


def imported(name: str, later: bool = True) -> Iterator[str]:
    """Our modules that a module imports; those in functions and for type checkers only if asked."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    for node in ast.walk(tree) if later else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: imports are written in full"
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            yield from inner
            if node.module in MODULES and len(inner) < len(node.names):
                yield node.module


GRAPH = {name: set(imported(name)) - {name} for name in MODULES}


def unit(name: str) -> str | None:
    """The package or module of the top level that a module belongs to."""
    return name.split(".")[1] if "." in name else None


def test_the_top_level_is_small_and_every_part_of_it_has_its_place():
    names = {path.stem for path in LIBRARY.iterdir() if not path.name.startswith("_")}
    assert names - DATA == set(LAYERS)
    assert len(names) < 30


@pytest.mark.parametrize("name", LAYERS)
def test_nothing_imports_what_stands_above_it(name):
    above = set(LAYERS[LAYERS.index(name) + 1 :])
    up = {
        f"{module} imports {other}"
        for module, others in GRAPH.items()
        for other in others
        if unit(module) == name and unit(other) in above
    }
    assert not up


def test_no_modules_import_each_other_in_a_circle():
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def reachable(name: str) -> set[str]:
    """All modules that are loaded with a module."""
    found, waiting = set(), [name]
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        parents = [module.rsplit(".", depth)[0] for depth in range(1, module.count(".") + 1)]
        waiting += [*imported(module, later=False), *parents]
    return found


def top_level_imports(name: str) -> set[str]:
    """Packages, ours or not, that the statements at the top of a module import."""
    body = ast.parse(MODULES[name].read_text(encoding="utf-8")).body
    found = {
        alias.name.split(".")[0]
        for node in body
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    return found | {node.module.split(".")[0] for node in body if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("module", OF_THE_SNAKEFILE)
def test_what_the_snakefile_imports_loads_no_heavy_package(module):
    for name in sorted(reachable(f"excise.workflow.{module}")):
        heavy = top_level_imports(name) & {*NO_TORCH}
        assert not heavy, f"{name} imports {', '.join(heavy)}"
