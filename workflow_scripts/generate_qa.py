"""Write a trained question for every fact, with its answer, a paraphrase and wrong answers."""

import argparse

from excise.errors import run
from excise.generation.authors import add_author_arguments, open_author, write_usage
from excise.generation.settings import QuestionSettings
from excise.records import read_jsonl, write_jsonl


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", required=True, help="profiles.jsonl")
    parser.add_argument("--facts", required=True, help="facts.jsonl")
    parser.add_argument("--out", required=True, help="qa.jsonl")
    add_author_arguments(parser, QuestionSettings)
    args = parser.parse_args(argv)

    people = {person["person_id"]: person for person in read_jsonl(args.profiles, "profile")}
    with open_author("qa", args) as author:
        facts = read_jsonl(args.facts, "fact")
        records = author.write_questions(people, facts, args.hp.seed, args.hp.perturbed_candidates)
        write_usage(author, args.usage)
    write_jsonl(args.out, records)
    print(f"{len(records)} questions")


if __name__ == "__main__":
    run(main)
