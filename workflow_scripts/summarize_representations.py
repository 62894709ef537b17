"""Summarise how far hidden states moved, at one layer or at all of them.

The program reads the drift per question and layer. For each model, set and position it writes the
mean, its interval and the noise floor. `--hp '{"confidence": 0.95, "layer": 3}'`; "last" and "all"
are layers too.
"""

from excise.benchmark.items import asked_questions
from excise.errors import run
from excise.evaluation.results import summary_parser, write_result
from excise.evaluation.tables.common import with_units
from excise.evaluation.tables.drift import drift_notes, summarize_representations
from excise.evaluation.tables.settings import DriftSettings


def main(argv: list[str] | None = None) -> None:
    """Read `<repr-dir>/<model>/items.jsonl` of every model and write the result file."""
    args = summary_parser(__doc__, DriftSettings, "--repr-dir").parse_args(argv)
    asked = asked_questions(args.data, args.utility)
    rows = summarize_representations(args.repr_dir, args.models, args.hp, asked)
    rows, notes = with_units(rows, drift_notes(args.models, args.hp), asked)
    write_result(args.out, experiment=args.experiment, config=args.config, notes=notes, rows=rows)
    print(f"{args.out}: {len(rows)} rows of {len(args.models)} models")


if __name__ == "__main__":
    run(main)
