"""Summarise the updates: how large they are, and how much of them undoes finetuning.

The program reads the norms of every adapted matrix (`measure_updates.py`). It writes rows for each
model and layer.
"""

import argparse
from pathlib import Path

from excise.errors import run
from excise.evaluation.results import json_object, write_result
from excise.evaluation.tables.settings import UpdateSettings
from excise.evaluation.tables.updates import UPDATE_NOTES, summarize_updates
from excise.settings import json_of


def main(argv: list[str] | None = None) -> None:
    """Read `updates.json` and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=Path, required=True, help="output of measure_updates")
    parser.add_argument("--models", nargs="+", required=True, help="names of the models")
    parser.add_argument("--hp", type=json_of(UpdateSettings), required=True, help="settings, JSON")
    parser.add_argument("--experiment", required=True, help="name of the study")
    parser.add_argument("--config", type=json_object, required=True, help="JSON, for the header")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    args = parser.parse_args(argv)
    rows = summarize_updates(args.updates, args.models, args.hp)
    write_result(
        args.out, experiment=args.experiment, config=args.config, notes=UPDATE_NOTES, rows=rows
    )
    print(f"{args.out}: {len(rows)} rows of {len(args.models)} models")


if __name__ == "__main__":
    run(main)
