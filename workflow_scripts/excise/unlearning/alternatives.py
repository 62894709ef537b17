"""Other answers to the forget questions: sentences that say "I don't know"."""

import random
from collections.abc import Sequence
from pathlib import Path

from excise.errors import InputError


def read_alternatives(path: str | Path) -> list[str]:
    """The sentences of a text file, one a line, without empty lines and lines that start with #.

    Raises:
        InputError: the file cannot be read or has no sentence.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read ({error})") from error
    sentences = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not sentences:
        raise InputError(f"{path}: no sentence; needed: one a line")
    return sentences


def alternative(sentences: Sequence[str], seed: int, epoch: int, item: str) -> str:
    """The sentence that answers an item in an epoch; it depends on the arguments alone."""
    return random.Random(f"alternative-{seed}-{epoch}-{item}").choice(sentences)
