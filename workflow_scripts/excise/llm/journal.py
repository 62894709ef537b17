"""The journal of requests, answers and costs: append-only JSON lines that survive kills.

One `os.write` writes a line. Before anything else happens, two kinds of lines are synced to disk:
`req`, which announces a cost, and `res`, the raw body that was paid for. A kill may leave an
incomplete last line, which is cut off. Any other broken line is an error with its line number.

Lines (`v` is the version of the format, `key` identifies the request, `attempt` counts attempts):

    req  an attempt will be sent now, with its highest cost
    res  the raw body of the response
    err  the attempt failed; class `unknown` may have been paid for, other classes were not
    val  the verdict on the answer (for readers; every run judges again)
    cap  a finding about the endpoint
"""

import contextlib
import errno
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from excise.errors import InputError
from excise.llm.replies import model_named, tokens_billed

VERSION = 1
FIELDS = {
    "req": {
        "key": str,
        "attempt": int,
        "part": str,
        "rung": str,
        "limit": int,
        "again": bool,
        "prompt_version": str,
        "worst_in": int,
        "worst_out": int,
    },
    "res": {"key": str, "attempt": int, "http": int, "body": str},
    "err": {"key": str, "attempt": int, "class": str},
    "val": {"key": str, "status": str, "errors": list},
    "cap": {"endpoint": str, "model": str, "name": str, "value": str},
}


@dataclass(slots=True)
class Attempt:
    """One attempt of a request; `state` is `unknown`, `answered` or `unbilled`."""

    number: int
    part: str
    rung: str
    limit: int
    again: bool
    prompt_version: str
    worst_in: int
    worst_out: int
    state: str = "unknown"
    billed: tuple[int, int] | None = None  # tokens in and out, if the body gives them
    where: tuple[int, int] | None = None  # offset and length of the `res` line
    model: str | None = None  # the model name in the answer
    sent_now: bool = False  # sent by this program, not by an earlier run

    def cost(self) -> tuple[int, int]:
        """Tokens in and out that count against the budget; the worst case if unknown."""
        if self.state == "unbilled":
            return 0, 0
        return self.billed or (self.worst_in, self.worst_out)


@dataclass(slots=True)
class Ledger:
    """The content of a journal, without the bodies."""

    attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    capabilities: dict[tuple[str, str, str], str] = field(default_factory=dict)
    errors: int = 0

    def cost(self) -> tuple[int, int]:
        """Tokens in and out counted against the budget."""
        costs = [attempt.cost() for tries in self.attempts.values() for attempt in tries]
        return sum(tokens for tokens, _ in costs), sum(tokens for _, tokens in costs)


def read_ledger(path: Path) -> tuple[Ledger, int]:
    """Read a journal.

    Returns:
        The content, and the number of bytes of its complete lines (an incomplete one may follow).

    Raises:
        InputError: a complete line is broken, or has another version of the format.
    """
    ledger, end = Ledger(), 0
    for place, offset, line in _lines(path):
        _enter(ledger, _parsed(line, place), offset, len(line), place)
        end = offset + len(line)
    return ledger, end


def _lines(path: Path) -> Iterator[tuple[str, int, bytes]]:
    try:
        with path.open("rb") as file:
            offset = 0
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield f"{path}:{number}", offset, line
                offset += len(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror})") from error


def _parsed(line: bytes, place: str) -> dict:
    advice = "delete this line to buy its content again, or move the file away"
    try:
        record = json.loads(line)
    except ValueError as error:
        raise InputError(f"{place}: corrupt journal line (not JSON); {advice}") from error
    if not isinstance(record, dict):
        raise InputError(f"{place}: corrupt journal line (not a mapping); {advice}")
    if record.get("v") != VERSION:
        found = record.get("v")
        raise InputError(
            f"{place}: journal of another format: version {found!r}; this program reads "
            f"{VERSION}; move the file away"
        )
    fields = FIELDS.get(record.get("t"))
    if fields is None:
        raise InputError(f"{place}: corrupt journal line (kind {record.get('t')!r}); {advice}")
    for name, kind in fields.items():
        if not isinstance(record.get(name), kind):
            raise InputError(f"{place}: corrupt journal line (field {name!r}); {advice}")
    return record


def _enter(ledger: Ledger, record: dict, offset: int, length: int, place: str) -> None:
    kind = record["t"]
    if kind == "req":
        names = ("part", "rung", "limit", "again", "prompt_version", "worst_in", "worst_out")
        attempt = Attempt(record["attempt"], *(record[name] for name in names))
        ledger.attempts.setdefault(record["key"], []).append(attempt)
    elif kind == "cap":
        found = (record["endpoint"], record["model"], record["name"])
        ledger.capabilities[found] = record["value"]
    elif kind == "val":
        ledger.verdicts[record["key"]] = record["status"]
    else:
        tries = ledger.attempts.get(record["key"], [])
        attempt = next((attempt for attempt in tries if attempt.number == record["attempt"]), None)
        if attempt is None:
            raise InputError(
                f"{place}: corrupt journal: an answer to attempt {record['attempt']}, "
                "which was never sent; delete this line too, or move the file away"
            )
        if kind == "res":
            attempt.state = "answered"
            attempt.where = offset, length
            attempt.billed = billed_by(record["http"], record["body"])
            attempt.model = model_named(record["body"])
        else:
            ledger.errors += 1
            attempt.state = "unknown" if record["class"] == "unknown" else "unbilled"


def billed_by(http: int, body: str) -> tuple[int, int] | None:
    """Tokens in and out of an answer; without HTTP 200, nothing was billed."""
    return tokens_billed(body) if http == 200 else (0, 0)


class Journal:
    """A journal that is open for writing. The caller must lock its folder.

    Args:
        path: the file; it is created with its folder if needed.
        secret: a key that must never reach the file; it is removed from all texts.

    Raises:
        InputError: a corrupt line, another version of the format, or no permission to write.
    """

    def __init__(self, path: Path, secret: str | None = None):
        self.path, self.secret = path, secret
        self.ledger, end = read_ledger(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            if os.fstat(self._file).st_size > end:
                os.ftruncate(self._file, end)
                os.fsync(self._file)
        except OSError as error:
            raise InputError(f"{path}: cannot write here ({error.strerror})") from error
        self._end = end
        self._broken: str | None = None  # the reason why nothing more is written

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def history(self, key: str) -> list[Attempt]:
        """The attempts of a request, oldest first."""
        return self.ledger.attempts.get(key, [])

    def body(self, attempt: Attempt) -> tuple[int, str]:
        """HTTP status and raw body of an answered attempt."""
        offset, length = attempt.where
        record = json.loads(os.pread(self._file, length, offset))
        return record["http"], record["body"]

    def request(self, key: str, subject: str, attempt: Attempt) -> None:
        """Record that an attempt will be sent now."""
        self._append(
            {
                "t": "req",
                "key": key,
                "attempt": attempt.number,
                "part": attempt.part,
                "subject": subject,
                "rung": attempt.rung,
                "limit": attempt.limit,
                "again": attempt.again,
                "prompt_version": attempt.prompt_version,
                "worst_in": attempt.worst_in,
                "worst_out": attempt.worst_out,
                "ts": round(time.time(), 3),
            }
        )
        attempt.sent_now = True
        self.ledger.attempts.setdefault(key, []).append(attempt)

    def answer(
        self, key: str, attempt: Attempt, http: int, body: bytes, request_id: str, seconds: float
    ) -> str:
        """Record a raw body before it is parsed, and return it as text."""
        text = body.decode("utf-8", errors="replace")
        text = self._without_secret(text)
        attempt.where = self._append(
            {
                "t": "res",
                "key": key,
                "attempt": attempt.number,
                "http": http,
                "latency_s": round(seconds, 3),
                "rid": request_id,
                "body": text,
            }
        )
        attempt.state = "answered"
        attempt.billed = billed_by(http, text)
        attempt.model = model_named(text)
        return text

    def error(
        self,
        key: str,
        attempt: Attempt,
        kind: str,
        http: int | None,
        wait_s: float | None,
        message: str,
    ) -> None:
        """Record an attempt without an answer."""
        self._append(
            {
                "t": "err",
                "key": key,
                "attempt": attempt.number,
                "class": kind,
                "http": http,
                "wait_s": wait_s,
                "msg": self._without_secret(message),
            },
            sync=False,
        )
        self.ledger.errors += 1
        attempt.state = "unknown" if kind == "unknown" else "unbilled"

    def verdict(self, key: str, status: str, errors: list[str]) -> None:
        """Record the outcome of a request, unless the journal already contains it."""
        if self.ledger.verdicts.get(key) != status:
            self._append({"t": "val", "key": key, "status": status, "errors": errors}, sync=False)
            self.ledger.verdicts[key] = status

    def capability(self, endpoint: str, model: str, name: str, value: str, why: str) -> None:
        """Record a finding about the endpoint."""
        self._append(
            {
                "t": "cap",
                "endpoint": endpoint,
                "model": model,
                "name": name,
                "value": value,
                "why": self._without_secret(why),
            }
        )
        self.ledger.capabilities[endpoint, model, name] = value

    def _without_secret(self, text: str) -> str:
        return text.replace(self.secret, "[key]") if self.secret else text

    def _write(self, data: bytes) -> None:
        """Write a whole line or nothing: a partial line, on a full disk, is cut off again."""
        try:
            if os.write(self._file, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with contextlib.suppress(OSError):  # then the last line is incomplete, as after a kill
                os.ftruncate(self._file, self._end)
            raise

    def _append(self, record: dict, sync: bool = True) -> tuple[int, int]:
        line = json.dumps({"v": VERSION, **record}, ensure_ascii=True, allow_nan=False)
        data = line.encode() + b"\n"
        if self._broken is not None:
            raise InputError(self._broken)
        try:
            self._write(data)
            if sync:
                os.fsync(self._file)
        except OSError as error:
            self._broken = f"{self.path}: cannot write ({error.strerror}); its content is kept"
            raise InputError(self._broken) from error
        start, self._end = self._end, self._end + len(data)
        return start, len(data)
