"""Print which of our modules each program loads when a fresh interpreter imports it.

    python tests/fresh_imports.py workflow_scripts

Other people's packages are loaded once, before the programs: a process of its own is forked for
each program, and starts with none of ours. The answer is JSON: program → sorted files.
"""

import importlib
import json
import os
import sys
from pathlib import Path

OTHERS = ("torch", "transformers", "peft", "pandas", "scipy.stats", "matplotlib", "openai")


def loaded(folder: Path, program: str) -> list[str]:
    """Files below `folder` that importing the program loads, itself not counted."""
    importlib.import_module(program)
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    inside = {Path(file) for file in files if file and Path(file).is_relative_to(folder)}
    return sorted(str(file.relative_to(folder)) for file in inside - {folder / f"{program}.py"})


def in_a_fork(folder: Path, program: str) -> list[str]:
    """The same, in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            with os.fdopen(writing, "w") as file:
                json.dump(loaded(folder, program), file)
        except BaseException as error:
            print(f"{program}: {error!r}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{program} could not be imported")
    return json.loads(text)


def main() -> None:
    """Program entry point."""
    folder = Path(sys.argv[1]).resolve()
    for name in OTHERS:
        importlib.import_module(name)
    assert not [name for name in sys.modules if name.split(".")[0] == "excise"]
    sys.path.insert(0, str(folder))
    programs = sorted(path.stem for path in folder.glob("*.py"))
    print(json.dumps({program: in_a_fork(folder, program) for program in programs}))


if __name__ == "__main__":
    main()
