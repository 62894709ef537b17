"""Write down every file that a program of the workflow opens or renames (for tests)."""

import json
import os
import sys

_folder = os.environ.get("EXCISE_AUDIT")
_program = next((one for one in sys.orig_argv[1:2] if one.endswith(".py")), "")

if _folder and _program.startswith("workflow_scripts/"):
    _root = os.getcwd() + os.sep
    _log = os.open(
        os.path.join(_folder, f"{os.path.basename(_program)}.{os.getpid()}.jsonl"),
        os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    )

    def _note(what, path):
        try:
            path = os.path.abspath(os.fsdecode(path))
        except TypeError:
            return
        if path.startswith(_root):
            os.write(_log, (json.dumps([what, path[len(_root) :]]) + "\n").encode())

    def _heard(event, arguments):
        if event == "open" and not isinstance(arguments[0], int):
            flags = arguments[2] or 0
            mode = arguments[1] or ""
            writes = flags & (os.O_WRONLY | os.O_RDWR) or any(c in mode for c in "wax+")
            _note("write" if writes else "read", arguments[0])
        elif event == "os.rename":
            _note("make", arguments[1])

    sys.addaudithook(_heard)
