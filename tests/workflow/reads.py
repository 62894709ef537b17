"""What the programs of a run opened, held against what their rules declare.

`audit/sitecustomize.py` writes down, process by process, every file of the workspace that a program
opens or renames to its final name; Snakemake's own records tell which inputs a job declared.
"""

import base64
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

AUDIT = Path(__file__).parent / "audit"
CACHED = re.compile(r"(.*/)?__pycache__/(.+)\.cpython-\d+\.pyc")


def environment(log: Path) -> dict[str, str]:
    """What a Snakemake must find in its environment so that its programs are listened to."""
    log.mkdir(parents=True, exist_ok=True)
    # Plain programs: a forked one starts no Python, so nobody would listen to it.
    return {"EXCISE_AUDIT": str(log), "PYTHONPATH": str(AUDIT), "EXCISE_FORK": "0"}


@dataclass
class Process:
    """What one program opened and made, as paths below the workspace."""

    program: str
    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)


def processes(log: Path) -> Iterator[Process]:
    """The programs that were listened to."""
    for file in sorted(log.glob("*.jsonl")):
        heard = defaultdict(set)
        for line in file.read_text().splitlines():
            what, path = json.loads(line)
            heard[what].add(source_of(path))
        program = file.name.split(".")[0]
        yield Process(program, heard["read"], heard["write"], heard["make"])


NO_JOBS = {"check_model"}
"""Programs that Snakemake's main process runs before the first job: they make no file."""


def source_of(path: str) -> str:
    """The module behind a compiled one; any other path as it is."""
    cached = CACHED.fullmatch(path)
    return f"{cached[1] or ''}{cached[2]}.py" if cached else path


def declared(workspace: Path) -> dict[str, dict]:
    """Output → what Snakemake wrote down of the job that made it."""
    records = {}
    for file in (workspace / ".snakemake/metadata").rglob("*"):
        if file.is_file():
            encoded = str(file.relative_to(workspace / ".snakemake/metadata"))
            key = base64.b64decode("".join(part.removeprefix("@") for part in encoded.split("/")))
            records[key.decode()] = json.loads(file.read_text())
    return records


def undeclared(workspace: Path, log: Path) -> set[tuple[str, str]]:
    """(rule, file) of every file that a program read without its rule naming it."""
    records, found = declared(workspace), set()
    for one in processes(log):
        if Path(one.program).stem in NO_JOBS:
            continue
        jobs = [records[path] for path in one.made | one.written if path in records]
        assert jobs, f"{one.program}: made nothing that Snakemake knows of: {one.made}"
        inputs = {path for job in jobs for path in job["input"]}
        own = one.made | one.written
        found |= {(jobs[0]["rule"], path) for path in one.read - inputs - own}
    return found


def never_read(workspace: Path, log: Path) -> set[tuple[str, str]]:
    """(rule, file) of every input but modules that no job of the rule opened.

    Libraries written in Rust and C open files without Python hearing of it: weights of models.
    """
    records = declared(workspace)
    inputs, read = defaultdict(set), defaultdict(set)
    for one in processes(log):
        for path in one.made | one.written:
            if path in records:
                rule = records[path]["rule"]
                inputs[rule] |= set(records[path]["input"])
                read[rule] |= one.read
    return {
        (rule, path)
        for rule, paths in inputs.items()
        for path in paths - read[rule]
        if not path.endswith((".py", ".safetensors"))
    }
