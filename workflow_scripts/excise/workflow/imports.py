"""Find our own files that a program depends on; an edit of one of them makes the program run again.

Snakemake knows a program's file, but not the modules it imports. So rules list these as inputs.
This module finds them by parsing the source, without running it, so that no rule loads torch.
"""

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

SCHEMA_READERS = {"read_jsonl": 1, "schema_fault": 0, "schema_validator": 0}
"""Functions with a kind of record as argument, and the index of that argument."""

DATA_SUFFIXES = {".css", ".html", ".js", ".json", ".jsonl", ".md", ".txt", ".yaml"}


def import_closure(
    script: str | Path,
    without: Sequence[str] = (),
    unread: Sequence[str] = (),
    root: str | Path | None = None,
) -> list[str]:
    """Our own files that a program uses.

    Args:
        script: path of a Python program.
        without: dotted names of modules and packages that this use of the program never imports;
            these and their own imports are omitted.
        unread: kinds of records that an imported module could read but the program never reads.
        root: folder where modules are looked up; the program's own if absent.

    Returns:
        Sorted paths, in the same form as the path of the program, without the program itself:
        all modules of that folder which it imports, directly or indirectly, also inside
        functions; the `__init__.py` of their packages; and the data files that these modules
        name. A data file is a file beside a module, or a JSON Schema: a module that calls
        `read_jsonl(path, "item")` depends on `schemas/item.schema.json` beside `records.py`.
    """
    script = Path(script)
    root = script.parent if root is None else Path(root)
    excluded = [root.joinpath(*name.split(".")) for name in without]
    found: set[Path] = set()
    to_visit = [script]
    while to_visit:
        path = to_visit.pop()
        dependencies = {
            new
            for new in _dependencies(path, root)
            if not any(new.with_suffix("").is_relative_to(one) for one in excluded)
        }
        to_visit.extend(new for new in dependencies - found if new.suffix == ".py")
        found |= dependencies
    modules = [script, *(path for path in found if path.suffix == ".py")]
    found |= _schemas(modules, unread)
    return sorted(str(path) for path in found - {script})


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def _dependencies(path: Path, root: Path) -> frozenset[Path]:
    """Files below `root` that a module imports, and data files beside it that it names."""
    found: set[Path] = set()
    for node in ast.walk(_tree(path)):
        for name in _imported_names(node, path, root):
            found |= set(_module_files(name, root))
    for text in _strings(path):
        beside = path.parent / text
        if Path(text).suffix in DATA_SUFFIXES and beside.is_file():
            found.add(beside)
    return frozenset(found)


def _imported_names(node: ast.AST, path: Path, root: Path) -> Iterator[str]:
    """Dotted names that a statement may import; `from a import b` may mean the module `a.b`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = node.module or ""
        if node.level:
            folder = path.parents[node.level - 1].relative_to(root)
            package = ".".join([*folder.parts, *filter(None, [node.module])])
        yield package
        yield from (f"{package}.{alias.name}" for alias in node.names)


def _module_files(name: str, root: Path) -> Iterator[Path]:
    """The file of our module `name` and the `__init__.py` of its packages; empty if not ours."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        module = root.joinpath(*parts[:depth])
        for file in (module.with_suffix(".py"), module / "__init__.py"):
            if file.is_file():
                yield file


@cache
def _strings(path: Path) -> frozenset[str]:
    """Short string constants of a module; each could name a file or a kind of record."""
    return frozenset(
        node.value
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and 0 < len(node.value) < 80
        and "\n" not in node.value
        and "\0" not in node.value
    )


@cache
def _kinds(path: Path) -> frozenset[str]:
    """Kinds of records that a module reads or checks: arguments of `SCHEMA_READERS`.

    If the argument is a variable, every string in the module counts as a possible kind.
    """
    found: set[str] = set()
    for node in ast.walk(_tree(path)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
        place = SCHEMA_READERS.get(name.id if isinstance(name, ast.Name) else name)
        if place is None or len(node.args) <= place:
            continue
        kind = node.args[place]
        found |= {kind.value} if isinstance(kind, ast.Constant) else _strings(path)
    return frozenset(found)


def _schemas(modules: list[Path], unread: Sequence[str]) -> set[Path]:
    """Schema files beside `records.py` of the kinds that the modules read."""
    folders = [path.parent / "schemas" for path in modules if path.name == "records.py"]
    kinds = {kind for path in modules for kind in _kinds(path)} - set(unread)
    schemas = {schema for folder in folders for schema in folder.glob("*.schema.json")}
    return {schema for schema in schemas if schema.name.removesuffix(".schema.json") in kinds}
