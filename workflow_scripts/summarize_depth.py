"""Summarise how deep erasure goes: patching (UDS), logit lens and linear probes.

The program reads per-question records. For each model and set it writes the scores, with intervals
over people.
"""

from excise.benchmark.items import asked_questions
from excise.errors import run
from excise.evaluation.results import summary_parser, write_result
from excise.evaluation.tables.common import with_units
from excise.evaluation.tables.depth import DEPTH_NOTES, summarize_depth
from excise.evaluation.tables.settings import DepthTableSettings


def main(argv: list[str] | None = None) -> None:
    """Read `<depth-dir>/<model>/` of every model and write the result file."""
    args = summary_parser(__doc__, DepthTableSettings, "--depth-dir").parse_args(argv)
    asked = asked_questions(args.data, args.utility)
    rows = summarize_depth(args.depth_dir, args.models, args.hp, asked)
    rows, notes = with_units(rows, DEPTH_NOTES, asked)
    write_result(args.out, experiment=args.experiment, config=args.config, notes=notes, rows=rows)
    print(f"{args.out}: {len(rows)} rows of {len(args.models)} models")


if __name__ == "__main__":
    run(main)
