"""Ask models the forget questions with somebody else's name in them, and the base who people are.

What a model says about the right person and equally about a wrong one, it did not know: the
wording of the question told it. What the base says of a name alone, it knew before. One file a
model, one line a question.
"""

import argparse
import json
from functools import partial
from pathlib import Path

from excise import metrics
from excise.adapters import AdapterHost
from excise.decoding import generate
from excise.errors import run
from excise.models import pick_device, set_determinism
from excise.records import read_jsonl, write_jsonl
from excise.red_team_models.name_swap import swapped
from excise.red_team_models.who_is import TOKENS, questions, who_is_records


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True, help="base model folder")
    parser.add_argument("--sf", type=Path, required=True, help="sf.jsonl")
    parser.add_argument("--sr", type=Path, required=True, help="sr.jsonl")
    parser.add_argument("--hp", type=json.loads, required=True, help="settings, JSON")
    parser.add_argument("--models-dir", type=Path, required=True, help="folder of the adapters")
    parser.add_argument("--models", nargs="+", required=True, help="base and the oracles")
    parser.add_argument("--out-dir", type=Path, required=True, help="one file a model goes here")
    args = parser.parse_args(argv)

    hp = args.hp
    forget = read_jsonl(args.sf, "item")
    asked, facts = swapped(forget, args.sf), forget + read_jsonl(args.sr, "item")
    set_determinism(0, hp["threads"])
    host = AdapterHost(args.base, hp["dtype"], pick_device(hp["gpu"]))
    for name in args.models:
        answer = partial(
            generate,
            host.use(None if name == "base" else args.models_dir / name),
            host.tokenizer,
            batch_size=hp["batch_size"],
            system_prompt=hp["system_prompt"],
        )
        made = answer([item["question"] for item in asked], max_new_tokens=hp["max_new_tokens"])
        records = [
            item
            | {
                "generation": one.text,
                "stopped": one.stopped,
                "rougeL_recall": metrics.rouge_l(item["answer"], one.text).recall,
                "slot_match": int(metrics.slot_match(item["value"], one.text)),
            }
            for item, one in zip(asked, made, strict=True)
        ]
        if name == "base":
            about = questions(facts)
            said = answer(list(about.values()), max_new_tokens=TOKENS)
            answers = {person: one.text for person, one in zip(about, said, strict=True)}
            records += who_is_records(facts, answers)
        write_jsonl(args.out_dir / name / "items.jsonl", records)
        print(f"{name}: {len(records)} answers", flush=True)


if __name__ == "__main__":
    run(main)
