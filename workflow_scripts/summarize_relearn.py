"""Summarise the relearning attack: what comes back under further training, beyond the oracles.

The program reads the records of attacked models, and those of the finetuned model. It writes the
values at each step, their changes, and the area under each curve. `--hp` names attacks and steps.
"""

from excise.benchmark.items import asked_questions
from excise.errors import run
from excise.evaluation.results import summary_parser, write_result
from excise.evaluation.tables.common import with_units
from excise.evaluation.tables.relearning import RELEARN_NOTES, summarize_relearn
from excise.evaluation.tables.settings import RelearningTableSettings


def main(argv: list[str] | None = None) -> None:
    """Read the records below `<relearn-dir>` and `<eval-dir>` and write the result file."""
    folders = ("--relearn-dir", "--eval-dir")
    args = summary_parser(__doc__, RelearningTableSettings, *folders).parse_args(argv)
    asked = asked_questions(args.data, args.utility)
    rows = summarize_relearn(args.relearn_dir, args.eval_dir, args.models, args.hp, asked)
    rows, notes = with_units(rows, RELEARN_NOTES, asked)
    write_result(args.out, experiment=args.experiment, config=args.config, notes=notes, rows=rows)
    print(f"{args.out}: {len(rows)} rows of {len(args.models)} models")


if __name__ == "__main__":
    run(main)
