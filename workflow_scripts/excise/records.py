"""Read and write records: JSON Lines with a JSON Schema, and plain JSON.

A reader names the file and the line of the first fault. A writer leaves a complete file or none.
"""

import json
import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from excise.errors import InputError
from excise.files import atomic_path
from excise.text.unicode import nfc_strings, same_case

SCHEMA_FOLDER = Path(__file__).parent / "schemas"


@cache
def schema_validator(kind: str) -> Draft202012Validator:
    """The validator of one kind of record (`profile`, `fact`, `qa`, `item`, …)."""
    schema = json.loads((SCHEMA_FOLDER / f"{kind}.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


def schema_fault(kind: str, record: Any) -> str | None:
    """How `record` violates its schema, in one phrase; None if it does not."""
    error = best_match(schema_validator(kind).iter_errors(record))
    if error is None:
        return None
    where = ".".join(str(step) for step in error.absolute_path)
    return f"{where}: {error.message}" if where else error.message


def meaning_fault(record: dict) -> str | None:
    """A fault that no schema can express: a wrong answer that is right, or that occurs twice."""
    wrong = record.get("wrong_answers")
    if wrong is None:
        return None
    if record["value"] is None or any(one["value"] is None for one in wrong):
        return None  # the user's own answers (`excise.benchmark.own_files` checks them)
    right = {_folded(record["value"])}
    for index, candidate in enumerate(wrong):
        value, text = _folded(candidate["value"]), _folded(candidate["text"])
        if value in right or text == _folded(record["paraphrased_answer"]):
            seen = "the right answer" if index == 0 or value == _folded(record["value"]) else "used"
            return f"wrong_answers.{index}: {candidate['value']!r} is already {seen}"
        right.add(value)
    return None


def _folded(text: str) -> str:
    return " ".join(same_case(text).split())


def read_jsonl(path: str | Path, kind: str) -> list[dict]:
    """Read and check a JSON Lines file; strings are converted to Unicode normal form C.

    Args:
        path: the file.
        kind: name of the schema its lines follow.

    Returns:
        The records, in file order.

    Raises:
        InputError: the file is missing; a line is not JSON, violates its schema, repeats an id,
            or has a wrong answer that equals the right one. The message names file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    records, first_line = [], {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            where = f"{path}:{number}"
            try:
                record = nfc_strings(json.loads(line.decode("utf-8")))
            except UnicodeDecodeError as error:
                raise InputError(f"{where}: not UTF-8 (byte {error.start} of the line)") from error
            except json.JSONDecodeError as error:
                problem = f"not JSON ({error.msg}, column {error.colno})"
                raise InputError(f"{where}: {problem}") from error
            fault = schema_fault(kind, record) or meaning_fault(record)
            if fault:
                raise InputError(f"{where}: {fault}")
            key = record.get("id") or record.get("person_id")
            if key in first_line:
                earlier = first_line[key]
                raise InputError(f"{where}: id {key!r} repeats line {earlier}; ids are unique")
            first_line[key] = number
            records.append(record)
    if not records:
        raise InputError(f"{path}: empty; at least one line is needed")
    return records


def write_jsonl(path: str | Path, records: Iterable[dict]) -> None:
    """Write one JSON object per line, keys in the given order, atomically."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(finite(record), ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; if it is missing or broken, raise an `InputError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror})") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not JSON ({error.msg})") from error


def write_json(path: str | Path, content: Any) -> None:
    """Write indented JSON with sorted keys, atomically: same content, same bytes."""
    with atomic_path(path) as temporary:
        text = json.dumps(finite(content), indent=1, sort_keys=True, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def finite(value: Any) -> Any:
    """`value` with every NaN and infinity replaced by None, which JSON can hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
