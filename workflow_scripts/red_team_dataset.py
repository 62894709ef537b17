"""Attack the dataset before a model is trained on it, and write the findings to data_report.json.

A hard finding stops the workflow: the program prints its lines and writes no report.
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

FINDINGS_PRINTED = 20
NOTES = [
    "severity hard: one finding stops the workflow, so the count is 0 here. severity report: "
    "findings are only counted.",
    "near_duplicate_rate_*_across_people_masked is high by design with the offline generator, "
    "because people share phrasings.",
    "premise_leak: 17 % of TOFU's forget10 questions contain half of their answers' content words "
    "or more; the mean is 0.31. A model that never saw them has a ROUGE-L recall of 0.41. "
    "red_team_models.json has the results of such models on this dataset.",
    "auc_sf_vs_sr and auc_correlated_vs_other are high by nature, because the sets ask for "
    "different things. auc_function_words_* measures the style, with all content words masked; it "
    "has a limit.",
    "holdout_style: a finding needs an AUC above its limit and above auc_by_chance_*, the 95 % "
    "quantile if other people were held out.",
]


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of the dataset files")
    parser.add_argument("--profiles", required=True, help="profiles.jsonl")
    parser.add_argument("--validation", required=True, help="report of validate_dataset")
    parser.add_argument("--public-figures", required=True, help="real names, one per line")
    parser.add_argument("--utility", required=True, help="utility_qa.jsonl")
    parser.add_argument("--usage", nargs="*", default=[], help="*.usage.json: cost of the texts")
    limits = json_of(RedTeamLimits)
    parser.add_argument("--hp", type=limits, required=True, help="limits, JSON")
    parser.add_argument("--experiment", required=True, help="name of the study")
    parser.add_argument("--config", type=json_object, required=True, help="JSON, for the header")
    parser.add_argument("--out", required=True, type=Path, help="data_report.json")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Run all checks; stop at hard findings, otherwise write the report."""
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
    """Print the first hard findings and raise an error; return if there are none.

    Raises:
        InputError: the first finding, and the number of findings of each check.
    """
    hard = [result for result in results if result.severity == HARD and result.findings]
    if not hard:
        return
    lines = [
        f"{finding.where}: {result.check}: {finding.why}"
        for result in hard
        for finding in result.findings
    ]
    for line in lines[:FINDINGS_PRINTED]:
        print(line, file=sys.stderr)
    if len(lines) > FINDINGS_PRINTED:
        print(f"… and {len(lines) - FINDINGS_PRINTED} more", file=sys.stderr)
    tally = ", ".join(f"{result.check} {len(result.findings)}" for result in hard)
    raise InputError(f"{lines[0]} (hard findings: {tally})")


if __name__ == "__main__":
    run(main)
