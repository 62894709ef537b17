"""Report config mistakes for which Snakemake itself would print a traceback.

The profiles call this (`__definitions__`), because Snakemake reads config files before the
Snakefile. No torch here.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from excise.config.load import COMMAND_LINE, read_config_file
from excise.errors import InputError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_CONFIG = ("--config", "-C")
_CONFIG_FILES = ("--configfile", "--configfiles")


def check_command_line(arguments: Sequence[str]) -> None:
    """End with a one-line error if a config file or an override cannot be read.

    Args:
        arguments: of Snakemake.
    """
    try:
        for path in _values(arguments, _CONFIG_FILES):
            if not Path(path).suffix and not Path(path).exists():  # a target, probably
                raise InputError(f"--configfile {path}: no such file; write --configfile=FILE")
            _check_folders(read_config_file(path), path)
        for text in _values(arguments, _CONFIG):
            _check_override(text)
    except InputError as error:
        sys.exit(f"error: {error}")


def _values(arguments: Sequence[str], options: Sequence[str]) -> Iterator[str]:
    """Values of an option: after its `=`, or all arguments up to the next option."""
    taking = False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument == "--":
            return
        if argument.startswith("-"):
            taking = argument in options
            if equals and name in options:
                yield value
        elif taking:
            yield argument


def _check_override(text: str) -> None:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(
            f"{COMMAND_LINE} {text}: `=` is missing; write key=value (and put targets first)"
        )
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{COMMAND_LINE} {text}: {name!r} is not a key; write a top-level name, and keys "
            "below it as 'finetuning={epochs: 3}'"
        )
    if name == "pathvars" and not value.lstrip().startswith("{"):
        _check_folders({"pathvars": value}, COMMAND_LINE)


def _check_folders(content: dict, source: str) -> None:
    """Check `pathvars`, which Snakemake uses before it runs our own checks."""
    folders = content.get("pathvars", {})
    if not isinstance(folders, dict):
        raise InputError(
            f"{source}: pathvars: found {folders!r}; it must be a mapping, such as "
            "{results: experiments/mine/results}"
        )
    for name, folder in folders.items():
        if not isinstance(folder, str):
            raise InputError(f"{source}: pathvars.{name}: found {folder!r}; it must be text")
