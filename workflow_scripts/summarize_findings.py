"""Judge the claims about unlearning by the tables of a study: confirmed, refuted or undecided.

A claim has a row for each of its cases, and one for the claim as a whole.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd

from excise.errors import InputError, run
from excise.evaluation.findings.claims import CLAIMS, CONTROL
from excise.evaluation.results import json_object, read_rows, write_result
from excise.evaluation.tables.findings import FINDING_NOTES, finding_rows, verdicts_of
from excise.evaluation.tables.settings import FindingSettings
from excise.settings import json_of


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="result files")
    parser.add_argument("--control", type=Path, help="result file of the planted entanglement")
    parser.add_argument(
        "--replications", type=Path, nargs="*", default=[], help="findings of other runs"
    )
    parser.add_argument("--hp", type=json_of(FindingSettings), required=True, help="settings, JSON")
    parser.add_argument("--experiment", required=True, help="name of the study")
    parser.add_argument("--config", type=json_object, required=True, help="JSON, for the header")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    args = parser.parse_args(argv)

    middle = args.hp.middle_layer
    claims = [replace(one, table=one.table.format(middle=middle)) for one in CLAIMS]
    tables = {path.stem: read_rows(path) for path in args.tables}
    if args.control is not None:
        claims.append(CONTROL)
        needed = f"{CONTROL.table}.json"
        rows = _of_other_study("--control", args.control, needed, "dose", "pairs")
        tables[CONTROL.table] = rows
    keys = ("finding", "cases", "verdict", "level")
    replications = [
        verdicts_of(_of_other_study("--replications", path, "findings.json", *keys))
        for path in args.replications
    ]
    rows = list(finding_rows(tables, claims, args.hp, replications))
    write_result(
        args.out, experiment=args.experiment, config=args.config, notes=FINDING_NOTES, rows=rows
    )
    for row in rows:
        if row["cases"] is not None:
            level = row["level"] or "all"
            print(f"{row['verdict']:10} {level:8} {row['statement']} ({row['cases']})")


def _of_other_study(argument: str, path: Path, needed: str, *columns: str) -> pd.DataFrame:
    """The rows of a table that another study made.

    Raises:
        InputError: it is another table, without these columns.
    """
    rows = read_rows(path)
    if missing := [name for name in columns if name not in rows]:
        raise InputError(f"{argument}: {path}: found no {missing[0]}; needed: {needed}")
    return rows


if __name__ == "__main__":
    run(main)
