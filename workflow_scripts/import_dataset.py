"""Turn a dataset in TOFU's or open-unlearning's format into a folder for generation.folder.

    python workflow_scripts/import_dataset.py --tofu FOLDER --split forget01 --out my_data

FOLDER is a local copy of the dataset: forget01.json, retain99.json, forget01_perturbed.json, … as
JSON, JSON Lines or Parquet. The study asks its own utility questions; real_authors and world_facts
are not read.
"""

import argparse
from pathlib import Path

from excise.benchmark.own_files import FIELDS, left_out, read_own_files
from excise.benchmark.tofu_files import Keys, import_tofu
from excise.errors import InputError, run
from excise.records import write_jsonl


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tofu", required=True, type=Path, help="folder of the dataset's files")
    parser.add_argument("--split", required=True, help="the forget split, such as forget01")
    parser.add_argument("--retain", help="the retain split; default: retain99 for forget01, …")
    parser.add_argument(
        "--questions-per-person",
        type=int,
        help="number of rows in turn about one person (TOFU: 20), for intervals over people",
    )
    parser.add_argument("--question-key", default="question", help="field of the question")
    parser.add_argument("--answer-key", default="answer", help="field of the answer")
    parser.add_argument("--out", required=True, type=Path, help="folder to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Read the splits, write the folder, and check it as a study does."""
    arguments = parse_arguments(argv)
    if (per_person := arguments.questions_per_person) is not None and per_person < 1:
        raise InputError(f"--questions-per-person: found {per_person}; allowed: 1 or more")
    for name in FIELDS:
        if (path := arguments.out / f"{name}.jsonl").exists():
            raise InputError(f"--out: {path} is there; allowed: a folder without such a file")
    keys = Keys(arguments.question_key, arguments.answer_key)
    imported = import_tofu(arguments.tofu, arguments.split, arguments.retain, per_person, keys)
    for name, lines in imported.files.items():
        write_jsonl(arguments.out / f"{name}.jsonl", lines)
        print(f"{arguments.out / name}.jsonl: {len(lines)} lines")
    for note in imported.notes:
        print(f"left out: {note}")
    for line in left_out(read_own_files(arguments.out).known):
        print(f"will not be computed: {line}")


if __name__ == "__main__":
    run(main)
