"""Turn profiles into typed facts: (person, slot, value type, value, group, event)."""

import argparse

from excise.errors import run
from excise.generation.writing import facts_of
from excise.records import read_jsonl, write_jsonl


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", required=True, help="profiles.jsonl")
    parser.add_argument("--out", required=True, help="facts.jsonl")
    args = parser.parse_args(argv)

    facts = [fact for person in read_jsonl(args.profiles, "profile") for fact in facts_of(person)]
    write_jsonl(args.out, facts)
    print(f"{len(facts)} facts")


if __name__ == "__main__":
    run(main)
