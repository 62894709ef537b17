"""Check the user's own questions and answers and turn them into the benchmark's files.

The program writes sf.jsonl, sr.jsonl, wrong_details.jsonl, forget_paraphrased.jsonl and
holdout.jsonl into --out-dir, and data_report.json. If there is a fault, it writes nothing.
"""

import argparse
from pathlib import Path

from excise.benchmark.own_files import left_out, own_benchmark, read_own_files
from excise.benchmark.own_report import OWN_NOTES, own_counts, own_rows
from excise.errors import run
from excise.evaluation.results import header, json_object
from excise.records import write_json, write_jsonl


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", required=True, type=Path, help="folder of sf.jsonl, sr.jsonl")
    parser.add_argument("--experiment", required=True, help="name, for the header")
    parser.add_argument("--config", type=json_object, required=True, help="JSON, for the header")
    parser.add_argument("--out-dir", required=True, type=Path, help="folder of the five files")
    parser.add_argument("--report", required=True, type=Path, help="data_report.json")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Check the files, write the benchmark and the report, print what is left out."""
    arguments = parse_arguments(argv)
    files = read_own_files(arguments.folder)
    for name, records in own_benchmark(files).items():
        write_jsonl(arguments.out_dir / f"{name}.jsonl", records)
    counts, missing = own_counts(files), left_out(files.known)
    about = header(experiment=arguments.experiment, config=arguments.config, notes=OWN_NOTES)
    content = {"rows": own_rows(files), "validation": counts, "not_computed": missing}
    write_json(arguments.report, about | content)
    for key, number in counts.items():
        print(f"{key}: {number}")
    for line in missing:
        print(f"not computed: {line}")


if __name__ == "__main__":
    run(main)
