"""Compare studies with different doses of planted entanglement: how does the gap respond?

`make entangled` runs the studies (experiments/entangled.yaml) and this program. It reads several
result folders, so no rule of one study can make its table.
"""

import argparse
from pathlib import Path

from excise.errors import run
from excise.evaluation.results import write_result
from excise.evaluation.tables.entanglement import (
    DOSE_NOTES,
    check_comparable,
    dose_rows,
    read_run,
)


def main(argv: list[str] | None = None) -> None:
    """Read the runs and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--runs", nargs="+", type=Path, required=True, help="folders with data and results"
    )
    parser.add_argument("--out", type=Path, required=True, help="entanglement_response.json")
    args = parser.parse_args(argv)

    runs = [read_run(folder) for folder in args.runs]
    check_comparable(runs)
    first = runs[0]
    rows = dose_rows(runs, first.config["evaluation"]["confidence"])
    write_result(
        args.out, experiment=first.experiment, config=first.config, notes=DOSE_NOTES, rows=rows
    )
    print(f"{args.out}: {len(rows)} rows of {len(runs)} doses")


if __name__ == "__main__":
    run(main)
