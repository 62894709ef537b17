"""Ask every fact: a trained question, its answer, a paraphrase and single-slot wrong answers."""

import argparse
import json

from excise.errors import run
from excise.generation.presets import resolve
from excise.generation.writing import QuestionWriter
from excise.records import read_jsonl, write_jsonl


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", required=True, help="profiles.jsonl")
    parser.add_argument("--facts", required=True, help="facts.jsonl")
    parser.add_argument("--hp", type=json.loads, required=True, help="generation settings, JSON")
    parser.add_argument("--out", required=True, help="qa.jsonl")
    args = parser.parse_args(argv)

    people = {person["person_id"]: person for person in read_jsonl(args.profiles, "profile")}
    facts = read_jsonl(args.facts, "fact")
    candidates = args.hp.get("wrong_candidates") or resolve(args.hp).wrong_answers
    writer = QuestionWriter(people, args.hp["seed"], candidates)
    write_jsonl(args.out, [writer.write(fact) for fact in facts])
    print(f"{len(facts)} questions")


if __name__ == "__main__":
    run(main)
