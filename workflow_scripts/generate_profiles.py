"""Draw fictional people: a name, a breakthrough event and a value for every slot."""

import argparse
from functools import partial

from excise.errors import run
from excise.generation.authors import add_author_arguments, open_author, write_usage
from excise.generation.presets import reserve_people, resolve
from excise.generation.sampler import Sampler
from excise.generation.slots import chosen_slots
from excise.generation.writing import drawn_again
from excise.public_figures import read_public_figures
from excise.records import write_jsonl


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--public-figures", required=True, help="names not to use, one a line")
    parser.add_argument("--out", required=True, help="profiles.jsonl")
    add_author_arguments(parser)
    args = parser.parse_args(argv)

    preset = resolve(args.hp)
    sampler = Sampler(
        seed=args.hp["seed"],
        people=preset.people,
        reserve=reserve_people(args.hp),
        slots=chosen_slots(preset.forget, preset.retain),
        max_value_share=args.hp["max_value_share"],
        forbidden_names=frozenset(map(str.casefold, read_public_figures(args.public_figures))),
    )
    people = [sampler.person(f"p{index:03d}") for index in range(preset.people + sampler.reserve)]
    with open_author("profiles", args) as author:
        author.check_budget(people, args.hp)
        profiles = author.profiles(people, partial(drawn_again, sampler))
        write_usage(author, args.usage)
    write_jsonl(args.out, profiles)
    spare = f", {sampler.reserve} of them spare" if sampler.reserve else ""
    print(f"{len(profiles)} people{spare}, {len(people[0]['slots'])} facts each")


if __name__ == "__main__":
    run(main)
