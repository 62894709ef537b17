"""Check that the benchmark does not reveal the forget facts to models that never saw them.

The program reads scores and answers of base and oracles and writes red_team_models.json. It prints
one line about failed gates; `on_failure` in --hp decides whether they stop the run.
"""

import argparse
import sys
from pathlib import Path

from excise.benchmark.completeness import check_ids
from excise.benchmark.items import asked_questions, read_benchmark
from excise.errors import InputError, run
from excise.evaluation.reading import read_complete, read_items
from excise.evaluation.results import json_object, write_result
from excise.records import read_jsonl
from excise.red_team.models.gates import NOTES, failures, gate_rows, overconfident_names
from excise.red_team.models.name_probe import name_ids, names_to_ask
from excise.red_team.settings import GateSettings
from excise.settings import json_of
from excise.text.public_figures import read_public_figures


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=Path, required=True, help="candidate_scores.jsonl")
    parser.add_argument("--eval-dir", type=Path, required=True, help="evaluation records")
    parser.add_argument("--names-dir", type=Path, required=True, help="output of ask_about_names")
    parser.add_argument("--gradients", type=Path, required=True, help="output of compare_gradients")
    parser.add_argument("--data", type=Path, help="folder of the benchmark, to check completeness")
    parser.add_argument("--utility", type=Path, help="utility_qa.jsonl of the same benchmark")
    parser.add_argument("--public-figures", help="real names for the same benchmark, one per line")
    parser.add_argument("--models", nargs="+", required=True, help="base and the oracles")
    settings = json_of(GateSettings)
    parser.add_argument("--hp", type=settings, required=True, help="gates and intervals, JSON")
    parser.add_argument("--experiment", required=True, help="name of the study")
    parser.add_argument("--config", type=json_object, required=True, help="JSON, for the header")
    parser.add_argument("--out", type=Path, required=True, help="red_team_models.json")
    args = parser.parse_args(argv)

    scores, gradients, evaluated, name_answers = read_all(args)
    rows = gate_rows(
        args.models,
        scores,
        evaluated,
        name_answers,
        gradients,
        args.hp.gates,
        args.hp.confidence,
    )
    failed = failures(rows)
    if failed:
        line = f"{len(failed)} gates failed: {'; '.join(failed)}"
        if args.hp.on_failure == "stop":
            raise InputError(f"red_team.models: {line}")
        print(f"warning: {line}", file=sys.stderr)
    names = overconfident_names(name_answers["base"])
    notes = [*NOTES, *(f"The base is confident about: {name}" for name in names)]
    write_result(args.out, experiment=args.experiment, config=args.config, notes=notes, rows=rows)
    gated = sum(row["passed"] is not None for row in rows)
    print(f"{args.out}: {len(rows)} rows, {gated - len(failed)} of {gated} gates passed")


def read_all(args: argparse.Namespace) -> tuple[list, list, dict, dict]:
    """Read and check scores, gradients, model → evaluation, and model → answers about names."""
    questions = asked_questions(args.data, args.utility)
    evaluated = dict(read_complete(args.eval_dir, args.models, questions))
    scores = read_jsonl(args.scores, "candidate_scores")
    gradients = read_jsonl(args.gradients, "gradients")
    name_answers = {
        model: read_items(args.names_dir / model / "items.jsonl") for model in args.models
    }
    if args.data is not None:
        check_complete(args, scores, gradients, name_answers)
    return scores, gradients, evaluated, name_answers


def check_complete(
    args: argparse.Namespace, scores: list[dict], gradients: list[dict], name_answers: dict
) -> None:
    """Check that each fact and each name of the benchmark has one line."""
    benchmark = read_benchmark(args.data, answers=None, with_forget_paraphrased=False)
    facts, whose = benchmark.sf + benchmark.sr, "the benchmark"
    forget = [item["id"] for item in benchmark.sf]
    check_ids(args.scores, (line["id"] for line in scores), (fact["id"] for fact in facts), whose)
    check_ids(args.gradients, (line["id"] for line in gradients), forget, whose)
    names = names_to_ask(facts, read_public_figures(args.public_figures))
    for model, items in name_answers.items():
        expected = forget + (name_ids(facts, names) if model == "base" else [])
        check_ids(args.names_dir / model / "items.jsonl", items.index, expected, whose)


if __name__ == "__main__":
    run(main)
