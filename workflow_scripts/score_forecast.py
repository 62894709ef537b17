"""Score the forecast of the damage: compare it with the damage at the chosen checkpoints.

The program reads predictors from before unlearning, and per-question records. For each checkpoint
and predictor it writes the rank correlation with the damage, and the AUC for lost facts.
"""

from pathlib import Path

from excise.benchmark.items import asked_questions
from excise.errors import run
from excise.evaluation.results import summary_parser, write_result
from excise.evaluation.tables.common import with_units
from excise.evaluation.tables.forecast import FORECAST_NOTES, score_forecast
from excise.evaluation.tables.settings import ScoreSettings


def main(argv: list[str] | None = None) -> None:
    """Read the forecast and `<eval-dir>/<model>/items.jsonl`, and write the result file."""
    parser = summary_parser(__doc__, ScoreSettings, "--eval-dir")
    parser.add_argument("--forecast", type=Path, required=True, help="output of forecast_damage")
    args = parser.parse_args(argv)
    asked = asked_questions(args.data, args.utility)
    rows = score_forecast(args.forecast, args.eval_dir, args.models, args.hp, asked)
    rows, notes = with_units(rows, FORECAST_NOTES, asked)
    write_result(args.out, experiment=args.experiment, config=args.config, notes=notes, rows=rows)
    print(f"{args.out}: {len(rows)} rows of {len(args.models)} models")


if __name__ == "__main__":
    run(main)
