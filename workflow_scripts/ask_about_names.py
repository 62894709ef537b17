"""Ask models the forget questions with another person's name, and ask the base who people are.

The program writes one file per model, with one line per question.
"""

import argparse
from functools import partial
from pathlib import Path

from excise.errors import run
from excise.evaluation.settings import EvaluationSettings
from excise.modeling.adapters import AdapterHost
from excise.modeling.base import pick_device, set_determinism
from excise.modeling.decoding import generate
from excise.records import read_jsonl, write_jsonl
from excise.red_team.models.answers_about_names import name_records, swapped_records
from excise.red_team.models.name_probe import names_to_ask
from excise.red_team.models.name_swap import swapped
from excise.settings import json_of
from excise.text.public_figures import read_public_figures


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True, help="base model folder")
    parser.add_argument("--sf", type=Path, required=True, help="sf.jsonl")
    parser.add_argument("--sr", type=Path, required=True, help="sr.jsonl")
    parser.add_argument("--public-figures", required=True, help="real names, one per line")
    settings = json_of(EvaluationSettings)
    parser.add_argument("--hp", type=settings, required=True, help="settings, JSON")
    parser.add_argument("--models-dir", type=Path, required=True, help="folder of the adapters")
    parser.add_argument("--models", nargs="+", required=True, help="base and the oracles")
    parser.add_argument("--out-dir", type=Path, required=True, help="one file per model goes here")
    args = parser.parse_args(argv)

    hp = args.hp
    forget = read_jsonl(args.sf, "item")
    questions, facts = swapped(forget, args.sf), forget + read_jsonl(args.sr, "item")
    people = {item["person_id"]: item["name"] for item in forget}
    names = names_to_ask(facts, read_public_figures(args.public_figures))
    set_determinism(0, hp.threads)
    host = AdapterHost(args.base, hp.dtype, pick_device(hp.gpu))
    for model_name in args.models:
        answer = partial(
            generate,
            host.use(None if model_name == "base" else args.models_dir / model_name),
            host.tokenizer,
            batch_size=hp.batch_size,
            system_prompt=hp.system_prompt,
        )
        records = swapped_records(answer, questions, people, hp.max_new_tokens)
        if model_name == "base":
            records += name_records(host, answer, facts, names, hp.batch_size, hp.system_prompt)
        for record in records:
            if record.get("asked") == "own" and record["sure"]:
                print(f"confident about a person: {record['question']} {record['generation']}")
        write_jsonl(args.out_dir / model_name / "items.jsonl", records)
        print(f"{model_name}: {len(records)} answers", flush=True)


if __name__ == "__main__":
    run(main)
