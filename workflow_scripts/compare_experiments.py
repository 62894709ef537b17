"""Put the results of two or more experiments beside each other, in one page like the report's.

Each experiment is a results folder of a finished study. If a folder lacks something, its side of
the page says so.
"""

import argparse
from pathlib import Path

from excise.errors import InputError, run
from excise.files import atomic_path
from excise.report.experiment import read_experiment, sources_of
from excise.report.page import part_of, render


def main(argv: list[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, nargs="+", required=True, help="results folders")
    parser.add_argument("--out", type=Path, required=True, help="page to write")
    args = parser.parse_args(argv)
    if missing := [folder for folder in args.results if not folder.is_dir()]:
        raise InputError(f"--results: {missing[0]}: no such folder")
    parts = []
    for folder in args.results:
        sources = sources_of(folder)
        parts.append(part_of(read_experiment(sources), sources))
    with atomic_path(args.out) as temporary:
        temporary.write_text(render(parts), encoding="utf-8")
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
