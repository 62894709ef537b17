"""Summarise the quantization stress test: what was forgotten, and what comes back.

The program reads the records of quantized models and of the same models at full precision. It
writes metrics, recovery and the size of the weight update. `--hp` names the precisions.
"""

from excise.benchmark.items import asked_questions
from excise.errors import run
from excise.evaluation.results import summary_parser, write_result
from excise.evaluation.tables.common import with_units
from excise.evaluation.tables.quantization import QUANTIZE_NOTES, summarize_quantize
from excise.evaluation.tables.settings import RecoverySettings


def main(argv: list[str] | None = None) -> None:
    """Read the records below `<quantize-dir>` and `<eval-dir>` and write the result file."""
    args = summary_parser(__doc__, RecoverySettings, "--quantize-dir", "--eval-dir").parse_args(
        argv
    )
    asked = asked_questions(args.data, args.utility)
    rows, notes = summarize_quantize(args.quantize_dir, args.eval_dir, args.models, args.hp, asked)
    rows, notes = with_units(rows, QUANTIZE_NOTES + notes, asked)
    write_result(args.out, experiment=args.experiment, config=args.config, notes=notes, rows=rows)
    print(f"{args.out}: {len(rows)} rows of {len(args.models)} models")


if __name__ == "__main__":
    run(main)
