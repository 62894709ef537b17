"""Who writes the texts: the offline grammar, or a language model. The one place that decides.

An author turns drawn people into records, in the same shape and around the same values whoever
it is, and says what that took (`usage`).
"""

import argparse
import json
from pathlib import Path

from excise.errors import InputError
from excise.generation.offline_author import OfflineAuthor
from excise.records import write_json

BACKENDS = ("offline", "openai")


def add_author_arguments(parser: argparse.ArgumentParser, needs_hp: bool = True) -> None:
    """The arguments of the four generating programs that say who writes, and how."""
    add = parser.add_argument
    about = "generation settings, JSON; backend: the author"
    add("--hp", type=json.loads, required=needs_hp, default={}, help=about)
    add("--prompt", help="openai: prompt file, its schema beside it")
    add("--journal", help="openai: JSON Lines of everything asked and answered; only appended to")
    add("--client", type=json.loads, default={}, help="openai: limits, retries, budget … as JSON")
    add("--author", type=json.loads, default={}, help="openai: incomplete_people … as JSON")
    add("--usage", type=Path, help="where to write what it took, JSON")


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
    # Not followed by the rules' import closure when the author is offline (`rules/common.smk`).
    from excise.generation.verbalising.author import ModelAuthor

    llm = args.hp.get("llm", {}) | args.client
    return ModelAuthor(part, args.prompt, args.journal, llm, args.author)


def write_usage(author, path: Path | None) -> None:
    """Write what the author needed, if somebody wants to know."""
    if path is not None:
        write_json(path, author.usage())
