"""docs/reference/result-columns.md: the columns of result files, from result.schema.json."""

import json

from excise.config.trajectories import RESULT_SCHEMA
from reference_pages.markdown import code, heading, plain, table
from reference_pages.values import in_words

INTRODUCTION = """\
Every `results/*.json` is one JSON object. `pandas.DataFrame(json.load(file)["rows"])` makes a data
frame of it. [Tables](../architecture.md#tables) says what each file is about, and
[Metrics](metrics.md) what the numbers mean. `data_report.json` has rows of its own.

NaN and infinite numbers are null. A job checks its file against the schema before it writes it.
"""
HYPERPARAMETERS = """\
Each hyperparameter of a method that is in the table has a column of its own, under its full name:
[unlearning methods](methods.md).
"""


def columns() -> dict[str, dict]:
    """Column → its JSON Schema."""
    return _schema()["properties"]["rows"]["items"]["properties"]


def page() -> str:
    """The text of docs/reference/result-columns.md."""
    lines = heading("workflow_scripts/excise/schemas/result.schema.json", "Result columns")
    lines += [*INTRODUCTION.splitlines(), "", "## Keys of a file", ""]
    top = _schema()["properties"]
    lines += table(
        ["key", "content"], ([code(name), plain(part["description"])] for name, part in top.items())
    )
    required = _schema()["properties"]["rows"]["items"]["required"]
    lines += ["## Columns of every file", "", *_table(required)]
    others = [name for name in columns() if name not in required]
    lines += ["## Columns where needed", "", *_table(others), *HYPERPARAMETERS.splitlines()]
    return "\n".join(lines).rstrip() + "\n"


def _schema() -> dict:
    return json.loads(RESULT_SCHEMA.read_text(encoding="utf-8"))


def _table(names: list[str]) -> list[str]:
    rows = [
        [code(name), in_words(columns()[name]), plain(columns()[name]["description"])]
        for name in names
    ]
    return table(["column", "values", "meaning"], rows)
