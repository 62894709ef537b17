"""Check the generator's records and turn them into the benchmark's five files.

The program writes sf.jsonl, sr.jsonl, perturbed_candidates.jsonl, forget_paraphrased.jsonl and
holdout.jsonl into --out-dir, and a report on duplicates. If there is a fault, it writes nothing.
"""

import argparse
from pathlib import Path

from excise.benchmark.limits import ValidationLimits
from excise.benchmark.validation.generated import read_generated
from excise.benchmark.validation.validate import validate
from excise.errors import run
from excise.records import write_json, write_jsonl
from excise.settings import json_of


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profiles", required=True, help="profiles.jsonl")
    parser.add_argument("--facts", required=True, help="facts.jsonl")
    parser.add_argument("--qa", required=True, help="qa.jsonl")
    parser.add_argument(
        "--forget-paraphrased", required=True, help="forget_paraphrased.jsonl, as generated"
    )
    limits = json_of(ValidationLimits)
    parser.add_argument("--hp", type=limits, required=True, help="limits, JSON")
    parser.add_argument("--out-dir", required=True, type=Path, help="folder of the five files")
    parser.add_argument("--report", required=True, type=Path, help="validation.json")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Check the records, write the files, print the counts."""
    arguments = parse_arguments(argv)
    generated = read_generated(
        arguments.profiles, arguments.facts, arguments.qa, arguments.forget_paraphrased
    )
    validated = validate(generated, arguments.hp)
    for name in ("sf", "sr", "perturbed_candidates", "forget_paraphrased", "holdout"):
        write_jsonl(arguments.out_dir / f"{name}.jsonl", getattr(validated, name))
    write_json(arguments.report, validated.report)
    for key, number in validated.report["counts"].items():
        print(f"{key}: {number}")


if __name__ == "__main__":
    run(main)
