"""docs/reference/programs.md: arguments of every program, from its own argument parser."""

import argparse
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from excise.settings import schema_of
from reference_pages.markdown import code, heading, paragraphs, plain, table

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "workflow_scripts"
INTRODUCTION = """\
Each rule of the workflow runs one program of `workflow_scripts/`. The programs also run without
Snakemake, from the top of the repository, in the environment (`. .venv/bin/activate`):

```
python workflow_scripts/evaluate.py --help
```

- A mistake of the user gives one line, `error: …`, on stderr, and exit status 1.
- An argument in JSON takes one object. An unknown key in it is an error.
- To see the command of a rule with all its arguments, add `--printshellcmds` to Snakemake.
"""


class ParserFoundError(Exception):
    """Carries a program's parser out of its `main`."""


def names() -> list[str]:
    """Names of all programs, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.py"))


def parser_of(program: str) -> argparse.ArgumentParser:
    """The argument parser that a program builds; the program is stopped when it would parse."""

    def stop(parser, *_given):
        raise ParserFoundError(parser)

    if str(FOLDER) not in sys.path:  # as when Python runs the program
        sys.path.append(str(FOLDER))
    module = importlib.import_module(program)
    with mock.patch.object(argparse.ArgumentParser, "parse_args", stop):
        try:
            module.main([])
        except ParserFoundError as found:
            return found.args[0]
    raise LookupError(f"{program}: main parses no arguments")


def rules_of_programs() -> dict[str, list[str]]:
    """Program → files of rules that run it."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for program in re.findall(r"workflow_scripts/(\w+)\.py", path.read_text(encoding="utf-8")):
            found.setdefault(program, []).append(path.name)
    return {program: sorted(set(files)) for program, files in found.items()}


def page() -> str:
    """The text of docs/reference/programs.md."""
    lines = heading("the programs in workflow_scripts", "Programs")
    lines += [*INTRODUCTION.splitlines(), ""]
    rules = rules_of_programs()
    parsers = {program: parser_of(program) for program in names()}
    rows = [
        [f"[{code(name)}](#{name})", plain(_documentation(name).split("\n\n")[0])]
        for name in parsers
    ]
    lines += table(["program", "what it does"], rows)
    for name, parser in parsers.items():
        lines += [f"## {code(name)}", "", *paragraphs(_documentation(name))]
        files = ", ".join(code(f"rules/{file}") for file in rules.get(name, []))
        lines += [f"Run by {files}." if files else "No rule runs it.", ""]
        lines += table(["argument", "default", "meaning"], _arguments(parser))
    return "\n".join(lines).rstrip() + "\n"


def _documentation(program: str) -> str:
    return inspect.getdoc(sys.modules[program]) or ""


def _arguments(parser: argparse.ArgumentParser) -> Iterator[list[str]]:
    for action in parser._actions:
        if action.dest == "help":
            continue
        name = ", ".join(action.option_strings) or action.dest
        values = {"+": " …", "*": " …"}.get(action.nargs, "")
        yield [code(name) + values, _default(action), _meaning(action)]


def _default(action: argparse.Action) -> str:
    if action.required:
        return "required"
    return "" if action.default in (None, [], {}) else plain(str(action.default))


def _meaning(action: argparse.Action) -> str:
    text = plain((action.help or "").replace("%%", "%"))
    if action.choices:
        text += f"; one of {', '.join(map(code, action.choices))}"
    if keys := _json_keys(action.type):
        text += f"; keys: {', '.join(map(code, keys))}"
    return text.removeprefix("; ")


def _json_keys(kind: object) -> list[str]:
    """Keys of the settings that an argument's `json_of` reads; empty for other arguments."""
    if not (inspect.isfunction(kind) and kind.__module__ == "excise.settings"):
        return []
    settings = inspect.getclosurevars(kind).nonlocals["kind"]
    return [] if settings is dict else list(schema_of(settings))
