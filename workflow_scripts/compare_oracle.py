"""Compare every model with the oracles: does it behave like one that never saw the forget facts?

The program reads per-question records. For each model, set and metric it writes the distance to the
oracles, beside the distance between oracles.
"""

from excise.benchmark.items import asked_questions
from excise.errors import run
from excise.evaluation.results import summary_parser, write_result
from excise.evaluation.tables.common import with_units
from excise.evaluation.tables.distance import compare_with_oracles, distance_notes
from excise.evaluation.tables.settings import SummarySettings


def main(argv: list[str] | None = None) -> None:
    """Read `<eval-dir>/<model>/items.jsonl` of every model and write the result file."""
    args = summary_parser(__doc__, SummarySettings, "--eval-dir").parse_args(argv)
    asked = asked_questions(args.data, args.utility)
    rows = compare_with_oracles(args.eval_dir, args.models, args.hp, asked)
    rows, notes = with_units(rows, distance_notes(args.models, args.hp), asked)
    write_result(args.out, experiment=args.experiment, config=args.config, notes=notes, rows=rows)
    print(f"{args.out}: {len(rows)} rows of {len(args.models)} models")


if __name__ == "__main__":
    run(main)
