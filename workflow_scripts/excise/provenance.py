"""Format of job records: what the results were made from, in one small file per job.

`<results>/.made_from/<first output>.json` (and the same below `<data>`) holds the rule, a digest of
every input and output, the settings, and the versions of the packages that the program used. It
holds no times, so equal inputs give equal bytes. The records are copied with the results.
`workflow.job_records` writes them, and `workflow.result_checks` compares results with them. Every
job imports this module, so it must not import torch.
"""

import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = ".made_from"
DRAFT = "EXCISE_JOB"
"""Environment variable that names the unfinished record of the running job."""


EPOCH = re.compile(r"/epoch_(\d+)/")
DIGITS = 32  # of a digest; half of SHA-256 is sufficient to distinguish files


def digest(path: str | Path) -> str:
    """SHA-256 of a file, shortened to `DIGITS` hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]


def record_path(outputs: Iterable[str], folders: Mapping[str, str]) -> Path | None:
    """Path of a job's record.

    Args:
        outputs: the job's files.
        folders: `results` and `data` of the experiment, by the names of their path variables.

    Returns:
        A path named after the first output; None if the output is outside these folders.
    """
    first = os.path.normpath(next(iter(outputs)))
    inside = [root for root in map(os.path.normpath, folders.values()) if _holds(root, first)]
    if not inside:
        return None
    root = max(inside, key=len)
    return Path(root, FOLDER, f"{os.path.relpath(first, root)}.json")


def _holds(folder: str, path: str) -> bool:
    return Path(path).is_relative_to(folder)


def read_record(path: Path) -> dict | None:
    """A record; None if it is missing or unreadable."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if _is_whole(record) else None


def _is_whole(record: Any) -> bool:
    parts = ("inputs", "outputs", "folders", "versions")
    if not (isinstance(record, dict) and record.keys() >= {*parts[:3], "params"}):
        return False
    record = {"versions": {}} | record
    if not all(isinstance(record[part], dict) for part in (*parts, "params")):
        return False
    found = [value for part in parts for value in record[part].values()]
    return all(value is None or isinstance(value, str) for value in found)


def all_records(folders: Mapping[str, str]) -> Iterator[dict]:
    """All records of an experiment, with paths in its current folders."""
    for root in sorted(set(folders.values())):
        for path in sorted(Path(root, FOLDER).rglob("*.json")):
            record = read_record(path)
            if record is not None:
                yield with_current_paths(record, folders)


def with_current_paths(record: dict, folders: Mapping[str, str]) -> dict:
    """A record with its paths moved to the current folders of the experiment.

    A versioned input (`data/inputs/utility_qa.jsonl`) keeps its path.
    """
    then = record["folders"]
    if all(then.get(name) == folder for name, folder in folders.items()):
        return record

    def current(path: str) -> str:
        homes = [name for name in folders if name in then and _holds(then[name], path)]
        if not homes:
            return path
        home = max(homes, key=lambda name: len(then[name]))
        there = os.path.join(folders[home], os.path.relpath(path, then[home]))  # noqa: PTH118
        return there if Path(there).exists() or not Path(path).exists() else path

    files = {
        kind: {current(path): value for path, value in record[kind].items()}
        for kind in ("inputs", "outputs")
    }
    return record | files


def upstream_versions(inputs: Iterable[str], folders: Mapping[str, str]) -> dict[str, dict]:
    """Versions of the packages that made the given files and everything they depend on.

    Args:
        inputs: the files.
        folders: `results` and `data` of the experiment.

    Returns:
        Package → {version: one file that it made, first by name}.
    """
    made_by = {path: record for record in all_records(folders) for path in record["outputs"]}
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    waiting, seen = [*inputs], set()
    while waiting:
        path = os.path.normpath(waiting.pop())
        if path in seen or path not in made_by:
            continue
        seen.add(path)
        record = made_by[path]
        for package, version in record.get("versions", {}).items():
            found[package][version] = min(found[package].get(version, path), path)
        waiting += record["inputs"]
    return dict(found)


def inputs_of_same_epoch(inputs: Iterable[str], output: str) -> list[str]:
    """Inputs of an output; if it belongs to an epoch, without inputs of other epochs."""
    epoch = EPOCH.search(output)
    if epoch is None:
        return list(inputs)
    found = ((file, EPOCH.search(file)) for file in inputs)
    return [file for file, one in found if one is None or one[1] == epoch[1]]


def running_job() -> dict | None:
    """The unfinished record of the job that runs this program; None outside of a job."""
    place = os.environ.get(DRAFT)
    return read_record(Path(place)) if place else None
