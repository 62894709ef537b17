"""Turn profiles into typed facts: (person, slot, value type, value, group, event, sentence)."""

import argparse

from excise.errors import run
from excise.generation.authors import add_author_arguments, open_author, write_usage
from excise.generation.settings import TextSettings
from excise.records import read_jsonl, write_jsonl


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", required=True, help="profiles.jsonl")
    parser.add_argument("--out", required=True, help="facts.jsonl")
    add_author_arguments(parser, TextSettings)
    args = parser.parse_args(argv)

    with open_author("facts", args) as author:
        facts = author.write_facts(read_jsonl(args.profiles, "profile"))
        write_usage(author, args.usage)
    write_jsonl(args.out, facts)
    print(f"{len(facts)} facts")


if __name__ == "__main__":
    run(main)
