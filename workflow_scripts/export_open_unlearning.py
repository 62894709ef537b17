"""Write an evaluated model as open-unlearning's TOFU_EVAL.json and TOFU_SUMMARY.json.

The program reads per-question records. LEFT_OUT.json names the retain model, and the metrics that
are left out, each with its reason.
"""

import argparse
from pathlib import Path

from excise.benchmark.items import SETS, load_items
from excise.errors import run
from excise.evaluation.open_unlearning import export_model
from excise.evaluation.tables.evaluation import read_answers
from excise.records import write_json


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--eval-dir", type=Path, required=True, help="folder of the records")
    parser.add_argument("--model", required=True, help="name of the model below --eval-dir")
    parser.add_argument("--retain", help="name of the model that never saw the forget facts")
    parser.add_argument("--data", type=Path, required=True, help="folder of the benchmark")
    parser.add_argument("--utility", type=Path, required=True, help="utility_qa.jsonl")
    parser.add_argument("--max-new-tokens", type=int, required=True, help="longest generation")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the three files")
    args = parser.parse_args(argv)

    asked = {item.id: item for item in load_items(args.data, args.utility, SETS)}
    names = [args.model, *([args.retain] if args.retain else [])]
    records = {name: items for one in names for name, items in read_answers(args.eval_dir, [one])}
    made = export_model(records[args.model], asked, args.max_new_tokens, records.get(args.retain))
    write_json(args.out_dir / "TOFU_EVAL.json", made.metrics)
    write_json(args.out_dir / "TOFU_SUMMARY.json", made.summary)
    left_out = {"retain_model": args.retain, "left_out": made.left_out}
    write_json(args.out_dir / "LEFT_OUT.json", left_out)
    print(f"{args.model}: {len(made.metrics)} metrics, without {len(made.left_out)} others")


if __name__ == "__main__":
    run(main)
