"""The files that count as a program's code, whose edits make it run again."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from excise.workflow.imports import import_closure
from excise.workflow.study import MODEL_AUTHOR

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(path.name for path in (ROOT / "workflow_scripts").glob("*.py"))
WRITING = ("generate_facts", "generate_forget_paraphrased", "generate_profiles", "generate_qa")
LATER = {
    "excise.generation.verbalising": (*WRITING, "preview"),  # needs openai; only if a model writes
    "excise.plots.forgetting": ("plot",),  # each figure's module is an input of its own figures
    "excise.plots.drift": ("plot",),
    "excise.plots.comparisons": ("plot",),
    "excise.plots.depth": ("plot",),
    "excise.plots.relearning": ("plot",),
    "excise.config": ("download_model", "convert_gguf"),  # only if it is asked for
    # Takes seconds; only if it is asked for.
    "excise.workflow.model_check": ("download_model", "convert_gguf"),
}
"""Modules and packages that are imported in a function, and the programs that do so."""


@pytest.fixture
def tree(tmp_path):
    """Write files; return the closure of `program.py`, relative to the folder."""

    def build(**files: str) -> list[str]:
        (tmp_path / "lib" / "schemas").mkdir(parents=True, exist_ok=True)
        for name, text in {"lib/__init__": "", **files}.items():
            name = name.replace("__in__", "/")
            path = tmp_path / (name if "." in name else f"{name}.py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        found = import_closure(tmp_path / "program.py")
        return [str(Path(path).relative_to(tmp_path)) for path in found]

    return build


@pytest.mark.parametrize(
    "statement",
    [
        "import lib.a",
        "import lib.a as a",
        "from lib import a",
        "from lib.a import thing",
        "def main():\n    from lib import a",
        "try:\n    import lib.a\nexcept ImportError:\n    pass",
    ],
)
def test_every_form_of_import_counts(tree, statement):
    assert tree(program=statement, lib__in__a="") == ["lib/__init__.py", "lib/a.py"]


def test_imports_of_imports_count(tree):
    closure = tree(program="import lib.a", lib__in__a="from lib.b import x", lib__in__b="x = 1")
    assert closure == ["lib/__init__.py", "lib/a.py", "lib/b.py"]


def test_a_circle_of_imports_ends(tree):
    closure = tree(program="import lib.a", lib__in__a="import lib.b", lib__in__b="import lib.a")
    assert closure == ["lib/__init__.py", "lib/a.py", "lib/b.py"]


@pytest.mark.parametrize("statement", ["from . import b", "from .b import x"])
def test_relative_imports_count(tree, statement):
    closure = tree(program="import lib.a", lib__in__a=statement, lib__in__b="x = 1")
    assert closure == ["lib/__init__.py", "lib/a.py", "lib/b.py"]


def test_imports_of_a_package_count(tree):
    closure = tree(program="import lib", **{"lib/__init__": "from lib import a"}, lib__in__a="")
    assert closure == ["lib/__init__.py", "lib/a.py"]


def test_modules_that_are_not_imported_do_not_count(tree):
    assert "lib/b.py" not in tree(program="import lib.a", lib__in__a="", lib__in__b="")


def test_third_party_packages_do_not_count(tree):
    assert tree(program="import json, torch\nfrom numpy import linalg") == []


SCHEMAS = {"lib/schemas/item.schema.json": "{}", "lib/schemas/fact.schema.json": "{}"}


def test_a_schema_counts_if_code_that_reads_records_names_its_kind(tree):
    reader = {"lib/records": "def read_jsonl(path, kind): ..."}
    program = "from lib.records import read_jsonl\nread_jsonl('x', 'item')\nother = 'fact'"
    closure = tree(program=program, **reader, **SCHEMAS)
    assert closure == ["lib/__init__.py", "lib/records.py", "lib/schemas/item.schema.json"]


def test_a_schema_does_not_count_if_no_records_are_read(tree):
    assert tree(program="import lib\nkind = 'item'", **SCHEMAS) == ["lib/__init__.py"]


def test_a_data_file_beside_a_module_counts(tree):
    closure = tree(
        program="import lib.a",
        lib__in__a="from pathlib import Path\nTEXT = Path(__file__).with_name('names.txt')",
        **{"lib/names.txt": "Ada"},
    )
    assert "lib/names.txt" in closure


@pytest.mark.parametrize("program", PROGRAMS)
def test_paths_are_sorted_and_have_the_form_of_the_programs_path(program, monkeypatch):
    monkeypatch.chdir(ROOT)
    closure = import_closure(f"workflow_scripts/{program}")
    assert closure == sorted(set(closure))
    assert all(path.startswith("workflow_scripts/excise/") for path in closure)
    assert all(Path(path).is_file() for path in closure)
    assert f"workflow_scripts/{program}" not in closure


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """Program → our modules that a fresh interpreter loads with it."""
    command = [sys.executable, "tests/fresh_imports.py", "workflow_scripts"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def modules_of(program: str, without: Sequence[str] = ()) -> set[str]:
    folder = ROOT / "workflow_scripts"
    closure = map(Path, import_closure(folder / program, without))
    return {str(path.relative_to(folder)) for path in closure if path.suffix == ".py"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_closure_is_what_a_fresh_interpreter_loads_and_what_functions_load_later(program, loaded):
    stem = Path(program).stem
    later = [name for name, programs in LATER.items() if stem in programs]
    assert modules_of(program, later) == set(loaded[stem])
    assert set(loaded[stem]) < modules_of(program) or not later


def test_offline_programs_load_what_their_rules_list(loaded):
    for program in WRITING:
        assert modules_of(f"{program}.py", MODEL_AUTHOR) == set(loaded[program])


def closure_of(program: str, without: Sequence[str] = ()) -> set[str]:
    script = ROOT / "workflow_scripts" / f"{program}.py"
    return {Path(path).name for path in import_closure(script, without)}


METHODS = sorted((ROOT / "workflow_scripts/excise/unlearning/methods").glob("[a-z]*.py"))


@pytest.mark.parametrize("method", METHODS, ids=lambda path: path.stem)
def test_a_method_is_read_by_its_own_trajectories_alone(method):
    """Their rule adds the method's file and what it imports (rules/common.smk)."""
    for program in PROGRAMS:
        closure = import_closure(ROOT / "workflow_scripts" / program)
        assert str(method) not in closure, program
    own = import_closure(method, root=ROOT / "workflow_scripts")
    assert not {str(other) for other in METHODS} & set(own)
    assert str(method.parents[1] / "method.py") in own


def test_shared_terms_of_losses_are_read_by_the_methods_that_use_them():
    def reads(name: str) -> bool:
        closure = import_closure(METHODS[0].with_name(f"{name}.py"), root=ROOT / "workflow_scripts")
        return str(METHODS[0].parents[1] / "losses.py") in closure

    assert reads("npo") and reads("ga") and not reads("rmu")


def test_no_program_depends_on_the_check_of_the_config():
    for program in PROGRAMS:
        assert "excise/config/check.py" not in modules_of(program), program


def test_excluded_modules_are_omitted_with_their_own_imports(tree, tmp_path):
    files = {"lib__in__a": "import lib.b\nimport lib.both", "lib__in__b": "", "lib__in__both": ""}
    tree(program="import lib.both\ndef main():\n    import lib.a", **files)
    found = import_closure(tmp_path / "program.py", without=["lib.a"])
    assert [Path(path).name for path in found] == ["__init__.py", "both.py"]


def test_offline_generation_does_not_depend_on_the_llm_code():
    for part in ("profiles", "facts", "qa", "forget_paraphrased"):
        assert "session.py" in closure_of(f"generate_{part}")
        offline = closure_of(f"generate_{part}", MODEL_AUTHOR)
        assert not offline & {"session.py", "asking.py", "prompts.py", "limits.py"}


def test_plots_do_not_depend_on_models():
    assert not any("/modeling/" in path for path in modules_of("plot.py"))
