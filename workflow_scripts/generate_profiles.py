"""Draw fictional people: a name, a breakthrough event and a value for every slot.

The last ones are held out: no model is taught about them.
"""

import argparse

from excise.errors import run
from excise.generation.authors import add_author_arguments, open_author, write_usage
from excise.generation.people import draw_people
from excise.generation.settings import PeopleSettings
from excise.records import write_jsonl


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--public-figures", required=True, help="names to avoid, one per line")
    parser.add_argument("--out", required=True, help="profiles.jsonl")
    add_author_arguments(parser, PeopleSettings)
    args = parser.parse_args(argv)

    drawn = draw_people(args.hp, args.public_figures)
    people = drawn.everybody
    with open_author("profiles", args) as author:
        author.check_budget(people, args.hp.seed)
        profiles = author.write_profiles(people, drawn.draw_again)
        write_usage(author, args.usage)
    write_jsonl(args.out, profiles)
    apart = f", {len(drawn.holdout)} of them held out" if drawn.holdout else ""
    spare = f", {drawn.spare} spare" if drawn.spare else ""
    print(f"{len(profiles)} people{apart}{spare}, {len(people[0]['slots'])} facts each")


if __name__ == "__main__":
    run(main)
