"""Mistakes that Snakemake itself would answer with a traceback, before it reads the Snakefile.

The profiles call this (`__definitions__`): nothing of ours is asked earlier. No torch here.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from excise.config import COMMAND_LINE, read_config_file
from excise.errors import InputError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_CONFIG = ("--config", "-C")
_CONFIG_FILES = ("--configfile", "--configfiles")


def check_command_line(arguments: Sequence[str]) -> None:
    """End with one line where a config file or an override cannot be read.

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
    """What follows an option, up to the next one, or stands behind its `=`."""
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
        raise InputError(f"{COMMAND_LINE} {text}: no `=`; needed: key=value (put targets first)")
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{COMMAND_LINE} {text}: {name!r} is no key; allowed: a name, and what lies below it "
            "as 'finetuning={epochs: 3}'"
        )
    if name == "pathvars" and not value.lstrip().startswith("{"):
        _check_folders({"pathvars": value}, COMMAND_LINE)


def _check_folders(content: dict, source: str) -> None:
    """Snakemake uses them before it asks us."""
    folders = content.get("pathvars", {})
    if not isinstance(folders, dict):
        raise InputError(
            f"{source}: pathvars: found {folders!r}; allowed: a mapping, as "
            "{results: experiments/mine/results}"
        )
    for name, folder in folders.items():
        if not isinstance(folder, str):
            raise InputError(f"{source}: pathvars.{name}: found {folder!r}; allowed: text")
