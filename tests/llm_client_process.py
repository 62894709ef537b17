"""A client in a process of its own, which can be killed at any byte of its journal."""

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

from excise.errors import InputError
from excise.llm import Request, Session, load_settings
from excise.llm.journal import read_ledger
from llm_server import KEY

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["text", "year"],
    "properties": {"text": {"type": "string"}, "year": {"type": "integer"}},
}

# A process that has imported everything is forked for each client, which then starts at once.
# It looks for the modules to import in PYTHONPATH: before Python 3.13 it is told of no other.
os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
INPUT_ERROR = 3  # exit status of one that ends with its one line
End = tuple[int, int]  # a signal, and the byte of the journal at which it comes
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["llm_client_process", "pytest"])


def requests_for(count: int, **changes) -> list[Request]:
    fields = {"schema": SCHEMA, "prompt_version": "v1", "max_tokens": 120, **changes}
    return [
        Request("qa", f"p{index}", "You write.", f"Question number {index}.", **fields)
        for index in range(count)
    ]


def accept(request: Request, value: dict) -> list[str]:
    return []


def end_at(kind: int, offset: int) -> None:
    """Send this process a signal once its journal has grown by so many bytes.

    SIGKILL strikes in the middle of a line if need be; the others once.
    """
    write, left = os.write, offset

    def cut_write(file: int, data: bytes) -> int:
        nonlocal left
        if b'{"v": 1,' in data[:8]:
            if left is not None and len(data) > left:
                if kind == signal.SIGKILL:
                    write(file, data[:left])
                left = None
                os.kill(os.getpid(), kind)
            elif left is not None:
                left -= len(data)
        return write(file, data)

    os.write = cut_write


def run_client(section: dict, journal: str, count: int, out: str, end: End | None) -> None:
    os.environ["EXCISE_TEST_KEY"] = KEY
    if end is not None:
        end_at(*end)
    try:
        with Session(load_settings(section), journal, progress=False) as session:
            outcomes = session.complete(requests_for(count), accept)
    except InputError as error:
        print(error)
        sys.exit(INPUT_ERROR)
    found = [{"status": outcome.status, "value": outcome.value} for outcome in outcomes]
    Path(out).write_text(json.dumps(found, sort_keys=True))


def declared_unknown(journal: Path) -> set[str]:
    """Client ids of the calls that a journal says may have been billed without an answer."""
    ledger, _ = read_ledger(journal)
    return {
        f"{key[:32]}-{attempt.number}"
        for key, tries in ledger.attempts.items()
        for attempt in tries
        if attempt.state == "unknown"
    }


def start(section: dict, journal: Path, count: int, out: Path, end: End | None = None):
    """Start a client process; it writes its outcomes to `out` if it lives."""
    arguments = (section, str(journal), count, str(out), end)
    process = processes.Process(target=run_client, args=arguments)
    process.start()
    return process
