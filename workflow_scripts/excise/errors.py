"""Report mistakes of the user in one line; our own faults keep their traceback."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable

from excise.lifeline import end_with_snakemake
from excise.machine import description, record_versions

NOBODY_READS = 141
"""Exit status if the reader of the output has gone, as in `program | head`: 128 + SIGPIPE."""

DISK_FULL = "the disk is full, or your quota on it; make room and run again"


class InputError(Exception):
    """A mistake in the user's config, data, model folder, endpoint or disk.

    The message names the file, the line or key, the value found and the allowed values.
    """


def run(main: Callable[[], None]) -> None:
    """Run a program; an `InputError` becomes one line on stderr and exit status 1.

    The first line of the log gives the machine and the versions.
    """
    end_with_snakemake()
    try:
        print(description(), flush=True)
        main()
        record_versions()
        sys.stdout.flush()  # here, so that a closed pipe or a full disk is reported as below
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        os._exit(NOBODY_READS)  # a normal exit would flush to the closed pipe and print a traceback
    except OSError as error:
        if not is_full(error):
            raise
        what = error.filename or "a file, perhaps the log"
        with contextlib.suppress(OSError):  # stderr may be on the full disk
            print(f"error: {what}: not written: {DISK_FULL}", file=sys.stderr)
        os._exit(1)  # a normal exit would flush buffers to the full disk and print a traceback


def is_full(error: BaseException) -> bool:
    """Whether a disk or quota is full; safetensors reports this in its own exception."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"(os error {errno.ENOSPC})" in str(error) or f"(os error {errno.EDQUOT})" in str(error)
