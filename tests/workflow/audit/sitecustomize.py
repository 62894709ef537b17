"""Write down every file of the workspace that a program of the workflow opens or renames.

Python imports this module at its start where it is in PYTHONPATH (tests/workflow/reads.py).
"""

import json
import os
import sys
from pathlib import Path

folder = os.environ.get("EXCISE_AUDIT")
program = next((one for one in sys.orig_argv[1:2] if one.endswith(".py")), "")


def listen() -> None:
    """Hear of every file from now on; files of Rust and C libraries are not heard of."""
    root = str(Path.cwd()) + os.sep
    name = f"{Path(program).name}.{os.getpid()}.jsonl"
    log = os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(what: str, path: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        path = os.path.normpath(Path(root, os.fsdecode(path)))
        if path.startswith(root):
            os.write(log, (json.dumps([what, path.removeprefix(root)]) + "\n").encode())

    def heard(event: str, arguments: tuple) -> None:
        if event == "open":
            path, mode, flags = arguments
            changes = (flags or 0) & (os.O_WRONLY | os.O_RDWR) or set(mode or "") & set("wax+")
            note("write" if changes else "read", path)
        elif event == "os.rename":
            note("make", arguments[1])

    sys.addaudithook(heard)


if folder and program.startswith("workflow_scripts/"):
    listen()
