"""Ask for the forget facts again, in phrasings that no model is trained on."""

import argparse

from excise.errors import run
from excise.generation.authors import add_author_arguments, open_author, write_usage
from excise.generation.settings import ParaphraseSettings
from excise.records import read_jsonl, write_jsonl


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", required=True, help="profiles.jsonl")
    facts = parser.add_mutually_exclusive_group(required=True)
    facts.add_argument("--facts", help="facts.jsonl, for the offline author")
    facts.add_argument("--qa", help="qa.jsonl, for the openai author: questions not to repeat")
    parser.add_argument("--out", required=True, help="forget_paraphrased.jsonl")
    add_author_arguments(parser, ParaphraseSettings)
    args = parser.parse_args(argv)

    people = {person["person_id"]: person for person in read_jsonl(args.profiles, "profile")}
    facts = read_jsonl(args.qa, "qa") if args.qa else read_jsonl(args.facts, "fact")
    with open_author("forget_paraphrased", args) as author:
        records = author.write_forget_paraphrased(people, facts, args.hp.forget_paraphrases)
        write_usage(author, args.usage)
    write_jsonl(args.out, records)
    print(f"{len(records)} paraphrased questions")


if __name__ == "__main__":
    run(main)
