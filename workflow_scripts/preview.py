"""Show the first people of the benchmark and estimate the cost of the whole.

The program writes no dataset file. It keeps a language model's answers in the journals of the four
parts, so the whole run uses them again.
"""

import argparse
from pathlib import Path

from excise.errors import run
from excise.generation.authors import open_author
from excise.generation.people import Drawn, draw_people
from excise.generation.preview import Shown, cost_text, people_text
from excise.generation.settings import BudgetSettings, PreviewSettings
from excise.settings import json_of


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--public-figures", required=True, help="names to avoid, one per line")
    settings = json_of(PreviewSettings)
    add("--hp", type=settings, required=True, help="generation settings of all parts, JSON")
    add("--people", type=int, default=2, help="number of people shown")
    add("--prompts", type=Path, help="openai: folder of the prompt files")
    add("--journals", type=Path, help="openai: folder of the journals")
    add(
        "--client",
        type=json_of(dict, "--client"),
        default={},
        help="openai: limits, retries, budget … as JSON",
    )
    budget = json_of(BudgetSettings, "--author")
    add("--author", type=budget, help="openai: people, judge … as JSON")
    args = parser.parse_args(argv)

    drawn = draw_people(args.hp, args.public_figures)
    shown = write(args, drawn)
    print(people_text(shown))
    print(cost_text(shown, drawn, args.hp))


def write(args: argparse.Namespace, drawn: Drawn) -> Shown:
    """Write the texts of the first people, as the four generating programs do."""
    hp, shown = args.hp, Shown(drawn.people[: args.people])
    with author_of("profiles", args) as author:
        shown.profiles = author.write_profiles(shown.drawn, drawn.draw_again)
        shown.enter("profiles", author, len(shown.drawn))
        shown.judge = author.judge_estimate(drawn.people, hp.seed)
    if shown.profiles:
        with author_of("facts", args) as author:
            shown.facts = author.write_facts(shown.profiles)
            shown.enter("facts", author, len(shown.profiles))
    # False names are drawn from the other people, so the author needs them all.
    people = {person["person_id"]: person for person in [*drawn.people, *shown.profiles]}
    if shown.facts:
        with author_of("qa", args) as author:
            shown.qa = author.write_questions(people, shown.facts, hp.seed, hp.perturbed_candidates)
            shown.enter("qa", author, len({fact["person_id"] for fact in shown.facts}))
    if shown.qa:
        with author_of("forget_paraphrased", args) as author:
            shown.forget_paraphrased = author.write_forget_paraphrased(
                people, shown.qa, hp.forget_paraphrases
            )
            asked = {record["person_id"] for record in shown.qa}
            shown.enter("forget_paraphrased", author, len(asked))
    return shown


def author_of(part: str, args: argparse.Namespace):
    """The author of a part; it may leave out all people without an error."""
    part_args = argparse.Namespace(
        hp=args.hp,
        prompt=args.prompts and args.prompts / f"{part}.md",
        journal=args.journals and args.journals / f"{part}.jsonl",
        client=args.client,
        author=args.author,
    )
    return open_author(part, part_args, may_leave_out_all=True)


if __name__ == "__main__":
    run(main)
