"""One clear line for a user's mistake, a traceback for ours."""

import sys
from collections.abc import Callable

from excise.lifeline import end_with_snakemake
from excise.machine import description, leave_versions


class InputError(Exception):
    """A mistake in what the user gave us: config, data, model folder, endpoint or disk.

    The message names the file, the line or key, what was found and what is allowed.
    """


def run(main: Callable[[], None]) -> None:
    """Run a program; an `InputError` becomes one line on stderr and exit status 1.

    The first line of its log tells the machine and the versions.
    """
    print(description(), flush=True)
    end_with_snakemake()
    try:
        main()
        leave_versions()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
