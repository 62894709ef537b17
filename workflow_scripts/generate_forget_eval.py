"""Ask the facts to be forgotten again, in phrasings that are never trained on."""

import argparse
import json

from excise.errors import run
from excise.generation.presets import resolve
from excise.generation.writing import held_out_questions
from excise.records import read_jsonl, write_jsonl


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", required=True, help="profiles.jsonl")
    parser.add_argument("--facts", required=True, help="facts.jsonl")
    parser.add_argument("--hp", type=json.loads, required=True, help="generation settings, JSON")
    parser.add_argument("--out", required=True, help="forget_eval.jsonl")
    args = parser.parse_args(argv)

    people = {person["person_id"]: person for person in read_jsonl(args.profiles, "profile")}
    count = resolve(args.hp).paraphrases
    records = [
        record
        for fact in read_jsonl(args.facts, "fact")
        if fact["group"] == "sf"
        for record in held_out_questions(fact, people[fact["person_id"]], count)
    ]
    write_jsonl(args.out, records)
    print(f"{len(records)} held-out questions")


if __name__ == "__main__":
    run(main)
