"""Let a language model judge the dataset, and plant defects to measure the judge.

The program uses the endpoint of `generation.llm`. A journal keeps all answers, so a rerun sends
only new questions.
"""

import argparse
from pathlib import Path

from excise.errors import run
from excise.evaluation.results import json_object, write_result
from excise.llm import Session, load_settings
from excise.records import write_jsonl
from excise.red_team.dataset import read_dataset
from excise.red_team.judge.cases import cases_of
from excise.red_team.judge.judge import NOTES, judge, judge_rows, read_prompts, usefulness_notes
from excise.red_team.settings import JudgeSettings
from excise.settings import json_of


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of the validated dataset")
    parser.add_argument("--profiles", required=True, help="profiles.jsonl")
    parser.add_argument("--validation", required=True, help="report of validate_dataset")
    parser.add_argument("--public-figures", required=True, help="real names, one per line")
    parser.add_argument("--utility", required=True, help="utility_qa.jsonl")
    parser.add_argument("--prompts", type=Path, required=True, help="folder of judge_*.md")
    settings = json_of(JudgeSettings)
    parser.add_argument("--hp", type=settings, required=True, help="settings, JSON")
    parser.add_argument("--llm", type=json_object, required=True, help="JSON: model and endpoint")
    parser.add_argument("--client", type=json_object, default={}, help="JSON: limits, budget …")
    parser.add_argument(
        "--journal", type=Path, required=True, help="journal of answers; a rerun uses it again"
    )
    parser.add_argument("--experiment", required=True, help="name of the study")
    parser.add_argument("--config", type=json_object, required=True, help="JSON, for the header")
    parser.add_argument("--records", type=Path, required=True, help="judge.jsonl, every verdict")
    parser.add_argument("--out", type=Path, required=True, help="red_team_judge.json")
    args = parser.parse_args(argv)

    settings = load_settings(args.llm | args.client)
    prompts = read_prompts(args.prompts)
    dataset = read_dataset(
        args.data, args.profiles, args.validation, args.public_figures, args.utility
    )
    cases = cases_of(dataset, args.hp.cases, args.hp.planted, args.hp.seed)
    with Session(settings, args.journal) as session:
        records = judge(session, cases, prompts)
        usage = session.usage()
    print(usage)
    rows = judge_rows(records, args.hp.confidence)
    write_jsonl(args.records, records)
    judge_notes = usefulness_notes(rows)
    judge_name = f"The judge is {settings['model']!r}, {model_names(usage)}. {cost_sentence(usage)}"
    notes = [*NOTES, *judge_notes, judge_name]
    if "temperature" in usage:
        notes.append(
            "It accepts no temperature, so every verdict is a draw at its own temperature."
        )
    write_result(args.out, experiment=args.experiment, config=args.config, notes=notes, rows=rows)
    for row in rows:
        print(row["check"], row["metric"], row["value"], f"n={row['n']}")
    print(*judge_notes, sep="\n")


def model_names(usage: dict) -> str:
    """The model names in the judge's answers."""
    return f"which answers as {' and '.join(map(repr, usage['answered_by'])) or 'no model'}"


def cost_sentence(usage: dict) -> str:
    """The cost of all answers, according to the journal."""
    tokens = f"{usage['tokens_in']:,} tokens in, {usage['tokens_out']:,} out"
    money = f", ${usage['usd']:.2f}" if usage["usd"] else ""
    return f"It received {usage['requests']:,} questions: {tokens}{money}."


if __name__ == "__main__":
    run(main)
