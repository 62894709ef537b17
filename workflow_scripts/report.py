"""Put all results of a study into one page that opens without a network.

The program reads tables, the answers of every model about every fact, and the benchmark. It writes
`report.html`.
"""

import argparse
from pathlib import Path

from excise.benchmark.export import CARD, PROFILES
from excise.errors import run
from excise.files import atomic_path
from excise.report.answers import FULL
from excise.report.experiment import Sources, read_experiment, relearned_file
from excise.report.page import part_of, render
from excise.report.settings import ReportSettings
from excise.settings import json_of


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="result files")
    parser.add_argument("--control", type=Path, help="table of the planted entanglement")
    parser.add_argument("--eval-dir", type=Path, help="folder of the records of each model")
    parser.add_argument("--models", nargs="*", default=[], help="models with records in it")
    parser.add_argument(
        "--quantize-dir", type=Path, help="folder of the records of quantized models"
    )
    parser.add_argument("--quantized", nargs="*", default=[], help="models with records in it")
    parser.add_argument("--precisions", nargs="*", default=[], help="their precisions")
    parser.add_argument("--relearn-dir", type=Path, help="folder of the records under attack")
    parser.add_argument("--attacked", nargs="*", default=[], help="models with records in it")
    parser.add_argument("--attacks", nargs="*", default=[], help="relearning attacks")
    parser.add_argument("--last-step", type=int, help="the step of the attacks that is shown")
    parser.add_argument("--logs", type=Path, nargs="*", default=[], help="training logs")
    parser.add_argument("--data-report", type=Path, help="data_report.json")
    parser.add_argument("--dataset", type=Path, nargs="?", help="folder of the exported dataset")
    parser.add_argument("--hp", type=json_of(ReportSettings), required=True, help="settings, JSON")
    parser.add_argument("--out", type=Path, required=True, help="page to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Write the page."""
    args = parse_arguments(argv)
    records = {(model, FULL): args.eval_dir / model / "items.jsonl" for model in args.models}
    records |= {
        (model, precision): args.quantize_dir / model / f"{precision}.jsonl"
        for precision in args.precisions
        for model in args.quantized
    }
    relearned = {
        (model, attack): relearned_file(args.relearn_dir, model, attack, args.last_step)
        for attack in args.attacks
        for model in args.attacked
    }
    tables = [*args.tables, *([args.control] if args.control else [])]
    exported = [args.dataset and args.dataset / name for name in (CARD, PROFILES)]
    sources = Sources(tables, records, args.logs, args.data_report, *exported, relearned)
    part = part_of(read_experiment(sources, args.hp), sources)
    with atomic_path(args.out) as temporary:
        temporary.write_text(render([part]), encoding="utf-8")
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
