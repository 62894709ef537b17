"""Choose the author of the texts: the phrase frames or a language model.

An author turns drawn people into records and reports its cost (`usage`). All authors use the same
values and return records of the same form.
"""

import argparse
from pathlib import Path

from excise.errors import InputError
from excise.generation.offline_author import OfflineAuthor
from excise.generation.settings import AuthorSettings, BudgetSettings
from excise.records import write_json
from excise.settings import json_of


def add_author_arguments(parser: argparse.ArgumentParser, kind: type[AuthorSettings]) -> None:
    """Add the arguments of the four generating programs that choose and configure the author.

    Args:
        parser: of the program.
        kind: class of its settings.
    """
    add = parser.add_argument
    add("--hp", type=json_of(kind), required=True, help="generation settings, JSON")
    add("--prompt", help="openai: prompt file, its schema beside it")
    add("--journal", help="openai: JSON Lines of all requests and answers; append-only")
    client = json_of(dict, "--client")
    add("--client", type=client, default={}, help="openai: limits, retries, budget … as JSON")
    budget = json_of(BudgetSettings, "--author")
    add("--author", type=budget, help="openai: people, incomplete_people … as JSON")
    add("--usage", type=Path, help="where to write the cost, JSON")


def open_author(part: str, args: argparse.Namespace, may_leave_out_all: bool = False):
    """The author that the settings name, as a context manager.

    Args:
        part: `profiles`, `facts`, `qa` or `forget_paraphrased`.
        args: with the arguments of `add_author_arguments`.
        may_leave_out_all: whether it is no error if everybody stays without a text.

    Raises:
        InputError: the model's author lacks a file or a setting.
    """
    if args.hp.backend == "offline":
        return OfflineAuthor()
    for name in ("prompt", "journal", "author"):
        if not getattr(args, name):
            raise InputError(f"--{name}: missing; generation.backend openai needs it")
    # For the offline author, the rules' import closure skips this import (`rules/common.smk`).
    from excise.generation.verbalising.author import ModelAuthor

    llm = (args.hp.llm or {}) | args.client
    limits = getattr(args.hp, "limits", None)  # the profiles have none
    if limits is None and part != "profiles":
        raise InputError("--hp: limits: missing; generation.backend openai needs them")
    return ModelAuthor(part, args.prompt, args.journal, llm, args.author, limits, may_leave_out_all)


def write_usage(author, path: Path | None) -> None:
    """Write the author's usage, if a path is given."""
    if path is not None:
        write_json(path, author.usage())
