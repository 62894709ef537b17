"""Choose the author of the texts: the phrase frames or a language model.

An author turns drawn people into records and reports its cost (`usage`). All authors use the same
values and return records of the same form.
"""

import argparse
import json
from pathlib import Path

from excise.errors import InputError
from excise.generation.offline_author import OfflineAuthor
from excise.records import write_json

BACKENDS = ("offline", "openai")


def add_author_arguments(parser: argparse.ArgumentParser, needs_hp: bool = True) -> None:
    """Add the arguments of the four generating programs that choose and configure the author."""
    add = parser.add_argument
    settings = "generation settings, JSON; backend: the author"
    add("--hp", type=json.loads, required=needs_hp, default={}, help=settings)
    add("--prompt", help="openai: prompt file, its schema beside it")
    add("--journal", help="openai: JSON Lines of all requests and answers; append-only")
    add("--client", type=json.loads, default={}, help="openai: limits, retries, budget … as JSON")
    add("--author", type=json.loads, default={}, help="openai: incomplete_people … as JSON")
    add("--usage", type=Path, help="where to write the cost, JSON")


def open_author(part: str, args: argparse.Namespace):
    """The author that `--hp` names, as a context manager.

    Args:
        part: `profiles`, `facts`, `qa` or `forget_paraphrased`.
        args: with the arguments of `add_author_arguments`.

    Raises:
        InputError: an unknown backend, or the model's author lacks a file or a setting.
    """
    backend = args.hp.get("backend", "offline")
    if backend == "offline":
        return OfflineAuthor()
    if backend not in BACKENDS:
        raise InputError(f"generation.backend: {backend!r}; allowed: {', '.join(BACKENDS)}")
    for name in ("prompt", "journal"):
        if not getattr(args, name):
            raise InputError(f"--{name}: missing; generation.backend openai needs it")
    # For the offline author, the rules' import closure skips this import (`rules/common.smk`).
    from excise.generation.verbalising.author import ModelAuthor

    llm = args.hp.get("llm", {}) | args.client
    return ModelAuthor(part, args.prompt, args.journal, llm, args.author)


def write_usage(author, path: Path | None) -> None:
    """Write the author's usage, if a path is given."""
    if path is not None:
        write_json(path, author.usage())
