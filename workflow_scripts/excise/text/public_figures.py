"""Read the names of well-known people, which no invented person may have."""

from pathlib import Path

from excise.errors import InputError
from excise.text.unicode import nfc


def read_public_figures(path: str | Path) -> list[str]:
    """Read a list of names, one per line; empty lines and `#` comments are skipped.

    Raises:
        InputError: the file cannot be read, or contains no name.
    """
    try:
        lines = nfc(Path(path).read_text(encoding="utf-8")).splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror})") from error
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not names:
        raise InputError(f"{path}: no names; needed: one name per line")
    return names
