"""Write the record of each job: what its files were made from (`excise.provenance`).

Every Snakemake loads this module, also the one inside a SLURM job, because it runs the commands.
"""

import contextlib
import hashlib
import inspect
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from excise.files import atomic_path
from excise.provenance import DRAFT, digest, record_path, upstream_versions


class Digests:
    """Digests of files, stored until size, times or inode of a file change.

    The times include the last change (ctime), which copy programs cannot set. So a changed file
    with an older time stamp is noticed.

    Attributes:
        memory: file of the stored digests; read at first use, because most calls of Snakemake do
            not need it.
        allowance: number of bytes that `differs` may still read; limits the cost of a check.
    """

    def __init__(self, memory: Path | None = None, allowance: float = float("inf")):
        self.memory = memory
        self.allowance = allowance
        self.changed = False
        self.lock = Lock()  # jobs run in threads
        self._known: dict[str, list] | None = None
        self._seen: dict[str, list[int] | None] | None = None  # states, while `states_cached`

    def __call__(self, path: str | Path) -> str | None:
        """Digest of a file; None if the file does not exist."""
        key = os.path.normpath(path)
        state = _state(key)
        return None if state is None else self._digest(key, state)

    def _digest(self, key: str, state: list[int]) -> str | None:
        known = self._remembered(key)
        if known and known[1] == state:
            return known[0]
        try:
            made = digest(key)
        except OSError:
            return None
        with self.lock:
            self._known[key] = [made, state]
            self.changed = True
        return made

    def _remembered(self, key: str) -> list | None:
        with self.lock:
            if self._known is None:
                self._known = _read_memory(self.memory)
            return self._known.get(key)

    @contextlib.contextmanager
    def states_cached(self) -> Iterator[None]:
        """Query the state of each file only once in this block: all jobs share library files."""
        self._seen = {}
        try:
            yield
        finally:
            self._seen = None

    def exists(self, path: str | Path) -> bool:
        """Whether a file exists."""
        return self._state(os.path.normpath(path)) is not None

    def _state(self, key: str) -> list[int] | None:
        if self._seen is None:
            return _state(key)
        if key not in self._seen:
            self._seen[key] = _state(key)
        return self._seen[key]

    def differs(self, path: str | Path, recorded: str | None) -> bool:
        """Whether a file differs from its recorded digest; False if the allowance is exhausted.

        Args:
            path: the file; a missing file differs.
            recorded: its recorded digest.
        """
        key = os.path.normpath(path)
        state = self._state(key)
        if state is None:
            return recorded is not None
        known = self._remembered(key)
        if known and known[1] == state:
            return known[0] != recorded
        if state[0] > self.allowance:
            return False
        self.allowance -= state[0]
        return self._digest(key, state) != recorded

    def remember(self) -> None:
        """Save the digests of existing files for the next run.

        Nothing is saved if the folder cannot be written.
        """
        if self.memory and self.changed and self.memory.parent.is_dir():
            with contextlib.suppress(Exception):
                with self.lock:
                    kept = {key: known for key, known in self._known.items() if _state(key)}
                    self.changed = False
                with atomic_path(self.memory) as temporary:
                    temporary.write_text(json.dumps(kept), encoding="utf-8")


def _state(key: str) -> list[int] | None:
    """Size, times and inode of a file; None if it does not exist."""
    try:
        found = os.stat(key)  # noqa: PTH116 (a Path costs more than the call)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _read_memory(memory: Path | None) -> dict[str, list]:
    """Digests of an earlier run; invalid entries are dropped, and their files are read again."""
    try:
        entries = json.loads(memory.read_text(encoding="utf-8")).items()
    except (OSError, ValueError, AttributeError):
        return {}
    return {key: entry for key, entry in entries if _is_entry(entry)}


def _is_entry(entry: Any) -> bool:
    match entry:
        case [str(), [int(), int(), int(), int()]]:
            return True
    return False


def plain(value: Any) -> Any:
    """A param, converted to a JSON type."""
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return str(value)


def params_of(params: Any) -> dict[str, Any]:
    """A job's params, converted to JSON types."""
    return {name: plain(value) for name, value in params.items()}


def command_digest(command: str) -> str:
    """Digest of a rule's command, before Snakemake inserts values."""
    return hashlib.sha256(command.encode()).hexdigest()[:32]


def recording(
    shell: Callable,
    folders: Mapping[str, str],
    digests: Digests,
    variables: Callable[[Mapping[str, Any], Path], dict[str, str]] = lambda job, scratch: {},
) -> Callable:
    """Wrap Snakemake's `shell`: run the command of a rule, then write the job's record.

    Snakemake 9 calls `shell` in the body of a rule, and `shell` reads the job from the local
    variables there. The wrapper passes these variables on by name.

    Args:
        shell: Snakemake's function.
        folders: `results` and `data` of the experiment.
        digests: of files.
        variables: further environment variables of a job, from the local variables of its rule's
            body and a folder that lasts as long as the job.
    """

    def recorded(command: str, **given: Any) -> None:
        job = inspect.currentframe().f_back.f_locals
        outputs = [str(path) for path in job["output"]]
        place = record_path(outputs, folders) if outputs else None
        if place is None:
            shell(command, **{**job, **given})
            return
        place.unlink(missing_ok=True)
        record = {
            "rule": job["rule"],
            "inputs": {str(path): digests(path) for path in job["input"]},
            "params": params_of(job["params"]),
            "command": command_digest(command),
            "outputs": dict.fromkeys(outputs),
            "folders": dict(folders),
        }
        draft_content = record
        if "experiment" in record["params"]:  # a result table: its header lists the versions
            draft_content = record | {"behind": upstream_versions(record["inputs"], folders)}
        with tempfile.TemporaryDirectory(prefix="excise-") as scratch:
            draft = Path(scratch, "job.json")
            draft.write_text(json.dumps(draft_content), encoding="utf-8")
            environment = {DRAFT: str(draft)} | variables(job, Path(scratch))
            shell(command, **{**job, **given, "additional_envvars": environment})
            finished = json.loads(draft.read_text(encoding="utf-8"))
        record["versions"] = finished.get("versions", {})
        record["outputs"] = {path: digests(path) for path in outputs}
        text = json.dumps(record, indent=0, sort_keys=True, ensure_ascii=False)
        with atomic_path(place) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")

    return recorded
