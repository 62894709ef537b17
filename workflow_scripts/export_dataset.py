"""Export the benchmark as a folder that `datasets.load_dataset` and open-unlearning read."""

import argparse
from pathlib import Path

from excise.benchmark.card import dataset_card
from excise.benchmark.export import CARD, subset_files, write_files
from excise.benchmark.items import read_benchmark
from excise.errors import run
from excise.files import atomic_path
from excise.records import read_json, read_jsonl


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of the dataset files")
    parser.add_argument("--profiles", required=True, help="profiles.jsonl")
    parser.add_argument("--utility", required=True, help="utility_qa.jsonl")
    parser.add_argument("--report", required=True, help="data_report.json, which the card quotes")
    parser.add_argument("--out", required=True, type=Path, help="folder to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Write the rows, then the card that names them."""
    arguments = parse_arguments(argv)
    files = subset_files(
        read_benchmark(arguments.data, with_holdout=True),
        read_jsonl(arguments.profiles, "profile"),
        read_jsonl(arguments.utility, "utility"),
    )
    card = dataset_card(files, read_json(arguments.report))
    write_files(arguments.out, files)
    with atomic_path(arguments.out / CARD) as temporary:
        temporary.write_text(card, encoding="utf-8")
    for name, rows in files.items():
        print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    run(main)
