"""Compare the diversity of datasets and write diversity_report.json."""

import argparse
from pathlib import Path

import numpy as np

from excise.errors import InputError, run
from excise.evaluation.results import json_object, write_result
from excise.generation.diversity_rows import NOTES, diversity_rows, offline_twin, read_texts
from excise.generation.settings import TwinSettings
from excise.settings import json_of


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", nargs="+", type=named_path, required=True, help="NAME=FOLDER")
    parser.add_argument("--embeddings", nargs="*", type=named_path, default=[], help="NAME=FILE")
    parser.add_argument(
        "--offline-twin",
        type=json_of(TwinSettings, "--offline-twin"),
        help="generation settings, JSON: compare with the texts of the offline frames about the "
        "people of the first dataset",
    )
    parser.add_argument("--experiment", required=True, help="name of the study")
    parser.add_argument("--config", type=json_object, required=True, help="JSON, for the header")
    parser.add_argument("--out", type=Path, required=True, help="diversity_report.json")
    args = parser.parse_args(argv)

    datasets = {name: read_texts(folder) for name, folder in args.datasets}
    if args.offline_twin:
        datasets |= {"offline": offline_twin(args.datasets[0][1], args.offline_twin)}
    embeddings = {name: read_embeddings(path) for name, path in args.embeddings}
    rows = diversity_rows(datasets, embeddings)
    write_result(args.out, experiment=args.experiment, config=args.config, notes=NOTES, rows=rows)
    print(f"{args.out}: {len(rows)} rows of {', '.join(datasets)}")


def named_path(text: str) -> tuple[str, Path]:
    """`offline=data` as ("offline", Path("data")).

    Raises:
        InputError: there is no name or no path.
    """
    name, _, path = text.partition("=")
    if not name or not path:
        raise InputError(f"{text!r}: allowed is NAME=PATH, for example offline=data")
    return name, Path(path)


def read_embeddings(path: Path) -> dict[str, np.ndarray]:
    """`kind.variant` → (texts, hidden), from embed_texts.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with np.load(path) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a file of embeddings ({error})") from error


if __name__ == "__main__":
    run(main)
