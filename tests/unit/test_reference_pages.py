"""The reference pages name and describe all that the code has, and are what the code gives now."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from excise.evaluation.metrics.registry import METRICS
from excise.settings import schema_of
from excise.unlearning.registry import FOLDER, find
from reference_pages import PAGES, config_keys, methods, metrics, programs, result_columns
from reference_pages.markdown import plain, source_of, table, without_source

ROOT = Path(__file__).parents[2]
METHODS = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))


def names_below(part: dict, above: str, definitions: dict) -> Iterator[str]:
    """Dotted names of all keys of a JSON Schema."""
    for name, given in part.get("properties", {}).items():
        inner = {**definitions.get(given.get("$ref", "").rpartition("/")[2], {}), **given}
        yield above + name
        yield from names_below(inner, f"{above}{name}.", definitions)
        yield from names_below(inner.get("items", {}), f"{above}{name}[].", definitions)


def section(page: str, title: str) -> str:
    """The part of a page below the heading `title`, up to the next one."""
    return re.search(rf"^#+ `{title}`$(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)[1]


def cells(text: str) -> dict[str, list[str]]:
    """First cell, without its markup → the other cells of the rows of all tables in a text."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = (re.split(r" (?<!\\)\| ", line.removeprefix("| ").removesuffix(" |")) for line in lines)
    return {first.strip("`… "): rest for first, *rest in rows}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_gives_now(name):
    assert (ROOT / name).read_text(encoding="utf-8") == PAGES[name](), "run `make reference`"


def test_every_config_key_is_there_with_its_meaning():
    whole = yaml.safe_load((ROOT / "config.schema.yaml").read_text())
    wanted = list(names_below(whole, "", whole["$defs"]))
    assert len(wanted) > 100
    found = {key.name: key for key in config_keys.all_keys()}
    assert list(found) == wanted
    assert all(key.description for key in found.values())
    page = config_keys.page()
    for name, key in found.items():
        assert (f"# {name}\n" if key.is_section else f"| `{name}` |") in page, name


def test_a_config_key_has_its_range_default_and_unit():
    row = cells(config_keys.page())["generation.holdout"]
    assert row[:2] == ["a whole number or null, at least 0, at most 10000", "`null`"]
    assert row[2].endswith("Unit: people.")
    assert cells(config_keys.page())["finetuning.epochs"][1] == "required"


def test_every_metric_is_there_with_definition_convention_and_source():
    page = metrics.page()
    for name, metric in METRICS.items():
        text = section(page, name)
        facts = cells(text)
        assert facts["source"] == [plain(source_of(metric.function.__doc__))] != [""], name
        assert facts["convention"] == [plain(metric.convention)] != [""], name
        assert plain(inspect.getdoc(metric.function).split("\n\n")[0].split(" Source:")[0]) in text


def test_the_range_of_a_metric_is_the_one_it_declares():
    page = metrics.page()
    assert cells(section(page, "truth_ratio"))["range"] == ["0 to ∞ (geometric)"]
    assert cells(section(page, "privleak"))["range"] == ["−100 to ∞ (unbounded)"]
    assert cells(section(page, "guess_rate"))["range"] == ["0 to 1 (fixed)"]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_there_with_source_and_hyperparameters(name):
    text = section(methods.page(), name)
    assert re.search(r"^Source: .*\d{4}", text, re.MULTILINE)
    rows = cells(text)
    for field, declared in schema_of(find(name).Settings).items():
        short, allowed, default, meaning = rows[field]
        assert short == f"`{find(name).axes[field]}`" and allowed and meaning
        assert default == (f"`{declared['default']:g}`" if "default" in declared else "required")


def test_what_a_method_needs_is_asked_of_the_method():
    retain = "a batch of the retain set"
    assert (retain, "always") in methods.needs_of(find("gd"))
    assert (retain, "with `retain_weight` above 0") in methods.needs_of(find("npo"))
    assert methods.needs_of(find("ga")) == []
    assert ("hidden states behind a block", "always") in methods.needs_of(find("rmu"))


def test_every_column_of_result_files_is_there_with_its_meaning():
    page = result_columns.page()
    for name, column in result_columns.columns().items():
        assert column.get("description"), name
        assert f"| `{name}` |" in page


def test_every_program_is_there_and_every_argument_has_a_meaning():
    page, without_help = programs.page(), []
    for path in (ROOT / "workflow_scripts").glob("*.py"):
        rows = cells(section(page, path.stem))
        declared = set(re.findall(r'"(--[a-z-]+)"', path.read_text()))
        assert declared <= {name.strip("`") for name in rows} | {"--hp"}, path.name
        without_help += [f"{path.name} {name}" for name, rest in rows.items() if not rest[1]]
    assert not without_help


def test_arguments_in_json_name_their_keys():
    meaning = cells(section(programs.page(), "check_model"))["--hp"][1]
    assert meaning == "settings, JSON; keys: `system_prompt`, `lora`, `max_new_tokens`"


def test_text_cannot_break_a_table_or_become_markup():
    assert plain("|a|, b*, <c>\n[d] and `e|*`") == r"\|a\|, b\*, \<c\> \[d\] and `e\|*`"
    assert table(["a"], [["1"]]) == ["| a |", "| --- |", "| 1 |", ""]


def test_the_source_is_the_last_sentence_of_a_docstring():
    docstring = "What it is.\n\n    Range 0–1. Source: A (2020),\n    table 1; B.\n    "
    assert source_of(docstring) == "A (2020), table 1; B"
    assert without_source(docstring) == "What it is.\n\nRange 0–1."
    assert source_of("Nothing.") == ""
