"""Attack the dataset before a model learns it, and write what was found to data_report.json.

A hard finding stops the workflow: its lines are printed and no report is written.
"""

import argparse
import sys
from pathlib import Path

from excise.benchmark.limits import RedTeamLimits
from excise.errors import InputError, run
from excise.evaluation.results import header, json_object
from excise.records import read_json, write_json
from excise.red_team.dataset import CHECKS, HARD, CheckResult, read_dataset
from excise.settings import json_of

SHOWN = 20  # offending lines printed
NOTES = [
    "severity hard: one finding stops the workflow, so their count is 0 here; report: counted.",
    "near_duplicate_rate_*_across_people_masked is high by design with the offline generator: "
    "people share phrasings.",
    "premise_leak: of TOFU's forget10 questions 17 % hold half their answers' content words or "
    "more, 0.31 on average; a model that never saw them scores a ROUGE-L recall of 0.41. What such "
    "models make of this dataset is in red_team_models.json.",
    "auc_sf_vs_sr and auc_correlated_vs_other are high by nature: the sets ask for different "
    "things. Style is auc_function_words_*, all content words masked; that one has a limit.",
]


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of the four dataset files")
    parser.add_argument("--profiles", required=True, help="profiles.jsonl")
    parser.add_argument("--validation", required=True, help="report of validate_dataset")
    parser.add_argument("--public-figures", required=True, help="real names, one a line")
    parser.add_argument("--utility", required=True, help="utility_qa.jsonl")
    parser.add_argument("--usage", nargs="*", default=[], help="what writing took: *.usage.json")
    limits = json_of(RedTeamLimits)
    parser.add_argument("--hp", type=limits, required=True, help="limits, JSON")
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--config", type=json_object, required=True, help="JSON, for the header")
    parser.add_argument("--out", required=True, type=Path, help="data_report.json")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Run every check; stop at hard findings, else write the report."""
    arguments = parse_arguments(argv)
    dataset = read_dataset(
        arguments.data,
        arguments.profiles,
        arguments.validation,
        arguments.public_figures,
        arguments.utility,
    )
    results = [check(dataset, arguments.hp) for check in CHECKS]
    for result in results:
        print(f"{result.check}: {len(result.findings)} findings in {result.n} ({result.severity})")
    stop_at_hard_findings(results)
    content = header(experiment=arguments.experiment, config=arguments.config, notes=NOTES) | {
        "rows": [row for result in results for row in result.rows()],
        "checks": [result.summary() for result in results],
        "validation": dataset.validation["counts"],
        "generation": {
            Path(path).name.removesuffix(".usage.json"): read_json(path) for path in arguments.usage
        },
    }
    write_json(arguments.out, content)


def stop_at_hard_findings(results: list[CheckResult]) -> None:
    """Print the first hard findings to stderr and raise an `InputError`; none: return."""
    hard = [result for result in results if result.severity == HARD and result.findings]
    if not hard:
        return
    lines = [
        f"{finding.where}: {result.check}: {finding.why}"
        for result in hard
        for finding in result.findings
    ]
    for line in lines[:SHOWN]:
        print(line, file=sys.stderr)
    if len(lines) > SHOWN:
        print(f"… and {len(lines) - SHOWN} more", file=sys.stderr)
    tally = ", ".join(f"{result.check} {len(result.findings)}" for result in hard)
    raise InputError(f"{lines[0]} (hard findings: {tally})")


if __name__ == "__main__":
    run(main)
