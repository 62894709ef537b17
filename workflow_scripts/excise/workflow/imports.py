"""What a program depends on in our own code: the files that, when edited, make it run again.

Snakemake sees a program's file but not the modules it imports. Rules list them as inputs,
found here by reading the source, never by running it, so that parsing a rule loads no torch.
"""

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

SCHEMA_READERS = {"read_jsonl": 1, "schema_fault": 0, "schema_validator": 0}
"""Functions that take the kind of a record, with the index of that argument."""

DATA_SUFFIXES = {".json", ".jsonl", ".md", ".txt", ".yaml"}


def import_closure(
    script: str | Path,
    without: Sequence[str] = (),
    unread: Sequence[str] = (),
    root: str | Path | None = None,
) -> list[str]:
    """Our own files that a program uses.

    Args:
        script: path of a Python program.
        without: modules and packages, by dotted name, that this use of the program never
            imports; these and their own imports are left out.
        unread: kinds of records that an imported module could read but the program never reads.
        root: folder where modules are looked up; the program's own if absent.

    Returns:
        Sorted paths, as the program's own path is written, of every module of that folder which
        it imports, directly or not, at the top or inside a function; of the `__init__.py` of
        their packages; and of the data files those modules name: a JSON Schema by its kind where
        records are read or checked (`read_jsonl(path, "item")` → `schemas/item.schema.json`
        beside `records.py`), or any file beside the module by its name. The program itself is
        not among them.
    """
    script = Path(script)
    root = script.parent if root is None else Path(root)
    left_out = [root.joinpath(*name.split(".")) for name in without]
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        dependencies = {
            new
            for new in _dependencies(path, root)
            if not any(new.with_suffix("").is_relative_to(one) for one in left_out)
        }
        waiting.extend(new for new in dependencies - found if new.suffix == ".py")
        found |= dependencies
    modules = [script, *(path for path in found if path.suffix == ".py")]
    found |= _schemas(modules, unread)
    return sorted(str(path) for path in found - {script})


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def _dependencies(path: Path, root: Path) -> frozenset[Path]:
    """Files below `root` that one module imports or names as data beside itself."""
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
    """Dotted names a statement may import; `from a import b` may mean the module `a.b`."""
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
    """The file of module `name` and the `__init__.py` of the packages above it, if ours."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        module = root.joinpath(*parts[:depth])
        for file in (module.with_suffix(".py"), module / "__init__.py"):
            if file.is_file():
                yield file


@cache
def _strings(path: Path) -> frozenset[str]:
    """Short string constants of a module: what could name a file or a kind of record."""
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
    """Schema files, beside the record reader, of the kinds that the code reads."""
    folders = [path.parent / "schemas" for path in modules if path.name == "records.py"]
    kinds = {kind for path in modules for kind in _kinds(path)} - set(unread)
    schemas = {schema for folder in folders for schema in folder.glob("*.schema.json")}
    return {schema for schema in schemas if schema.name.removesuffix(".schema.json") in kinds}
