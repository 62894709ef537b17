"""Write files that are either complete or absent; compute digests of files."""

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from excise.errors import DISK_FULL, InputError, is_full
from excise.lifeline import SNAKEMAKE_ENDED, is_orphaned


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file beside `path` and rename it to `path` if the block succeeds.

    So a killed or failing program never leaves an incomplete file under the final name. Each
    temporary name is unique: programs that write the same file, even on different nodes, do not
    overwrite each other's temporary file.

    Raises:
        InputError: the folder cannot be made or written, the disk is full, or the Snakemake that
            waits for the file has ended.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    except OSError as error:
        raise InputError(f"{path}: cannot write here ({error.strerror})") from error
    try:
        yield temporary
        if is_orphaned():
            raise InputError(f"{path}: not written: {SNAKEMAKE_ENDED}")
        temporary.replace(path)
    except Exception as error:
        if is_full(error):
            raise InputError(f"{path}: not written: {DISK_FULL}") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """Hex SHA-256 digest of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
