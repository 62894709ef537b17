"""Files of TOFU and open-unlearning, as the folder that `excise.benchmark.own_files` reads.

TOFU (Maini et al. 2024, arXiv:2401.06121) and open-unlearning share one layout. A split is a file
of rows with question and answer. `<split>_perturbed` adds paraphrased_answer, perturbed_answer (a
list) and maybe paraphrased_question to the same questions. Files are JSON (one array, or one value
a line) or Parquet. Excise's own export has the same rows and keeps person, slot, value and group.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from excise.benchmark.own_files import GROUPS
from excise.errors import InputError

FOLDERS = ("", "data", "tofu")
SUFFIXES = (".json", ".jsonl", ".parquet")
KEPT = {"name": "person", "person": "person", "slot": "slot", "value": "value"}
"""Field of a row → field of own files."""
RETAINED = {"group": "group", "partner": "partner"}
NUMBERED = re.compile(r"forget(\d\d)")


@dataclass(frozen=True)
class Rows:
    """The rows of one split, in order.

    Attributes:
        path: the file, or the first of them.
        rows: the rows.
    """

    path: Path
    rows: list[dict]


@dataclass
class Imported:
    """Lines of own files by name, and what was left out.

    Attributes:
        files: `sf`, `sr` and those of `forget_paraphrased` and `holdout` that have lines.
        notes: one line for each kind of thing that was left out.
    """

    files: dict[str, list[dict]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Keys:
    """Names of the fields of a row, as open-unlearning's `question_key` and `answer_key`."""

    question: str = "question"
    answer: str = "answer"


def import_tofu(
    folder: Path,
    split: str,
    retain: str | None = None,
    per_person: int | None = None,
    keys: Keys = Keys(),
) -> Imported:
    """Read a forget split, its retain split and what belongs to them.

    Args:
        folder: a copy of the dataset's folder.
        split: the forget split, such as `forget01`.
        retain: the retain split; None: `retain99` for `forget01` and so on, `retain` for others.
        per_person: so many questions in a row are about one person (TOFU: 20); None: unknown.
        keys: names of the fields.

    Raises:
        InputError: the folder or a file is missing or broken, or a row lacks a field.
    """
    if not folder.is_dir():
        raise InputError(f"--tofu: {folder}: no such folder")
    number = NUMBERED.fullmatch(split)
    retain = retain or (f"retain{100 - int(number[1])}" if number else "retain")
    holdout = f"holdout{number[1]}" if number else "holdout"
    forget_rows, retain_rows = _needed(folder, split), _retain_rows(folder, retain)
    notes: list[str] = []
    perturbed = _perturbed(folder, [f"{split}_perturbed", "retain_perturbed"], keys)
    people = per_person and _people(forget_rows, per_person, "forget")
    sf = _lines(forget_rows, keys, perturbed, notes, people, KEPT)
    people = per_person and _people(retain_rows, per_person, "retain")
    sr = _lines(retain_rows, keys, perturbed, notes, people, KEPT | RETAINED)
    files = {"sf": sf, "sr": sr}
    if paraphrased := _paraphrased(folder, forget_rows, sf, sr, perturbed, keys, notes):
        files["forget_paraphrased"] = paraphrased
    if apart := _found(folder, holdout):
        people = per_person and _people(apart, per_person, "holdout")
        files["holdout"] = _lines(apart, keys, {}, notes, people, KEPT)
    return Imported(files, notes)


def read_rows(path: Path) -> list[dict]:
    """Rows of a file: a JSON array, JSON values or arrays line by line, or Parquet.

    Raises:
        InputError: it is none of these, or a row is no object.
    """
    rows = _parquet(path) if path.suffix == ".parquet" else _json_rows(path)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise InputError(f"{path}: row {number}: found no object; allowed: {{field: text}}")
    if not rows:
        raise InputError(f"{path}: found no rows; at least one is needed")
    return rows


def _parquet(path: Path) -> list[dict]:
    import pyarrow.parquet  # here: no other file needs it
    from pyarrow.lib import ArrowException

    try:
        return pyarrow.parquet.read_table(path).to_pylist()
    except (ArrowException, OSError) as error:
        raise InputError(f"{path}: not Parquet ({str(error).splitlines()[0]})") from error


def _json_rows(path: Path) -> list[dict]:
    """The rows; Hugging Face's own files hold several arrays, one a line."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start})") from error
    decoder, place, rows = json.JSONDecoder(), 0, []
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        try:
            value, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}:{error.lineno}: not JSON ({error.msg})") from error
        rows += value if isinstance(value, list) else [value]
    return rows


def _files_of(folder: Path, name: str) -> list[Path]:
    """Files of a split: `name.json`, …, or the Parquet files of a folder of its name."""
    for place in FOLDERS:
        for suffix in SUFFIXES:
            if (path := folder / place / f"{name}{suffix}").is_file():
                return [path]
        if found := sorted((folder / place / name).glob("**/*.parquet")):
            return found
    return []


def _found(folder: Path, name: str) -> Rows | None:
    """The rows of a split that may be missing."""
    files = _files_of(folder, name)
    return Rows(files[0], [row for path in files for row in read_rows(path)]) if files else None


def _needed(folder: Path, name: str) -> Rows:
    found = _found(folder, name)
    if found is None:
        ends = ", ".join(f"{name}{suffix}" for suffix in SUFFIXES)
        raise InputError(
            f"{folder}: no split {name!r}; needed is one of {ends} or {name}/*.parquet"
        )
    return found


def _retain_rows(folder: Path, name: str) -> Rows:
    """The retain split; Excise's own export has it in two files, one a group."""
    groups = [_found(folder, f"{name}_{group}") for group in GROUPS]
    if _found(folder, name) is None and all(groups):
        return Rows(groups[0].path, [row for one in groups for row in one.rows])
    return _needed(folder, name)


def _text(rows: Rows, number: int, row: dict, key: str) -> str:
    """A field of a row as one line of text."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        found = "nothing" if key not in row else json.dumps(value, ensure_ascii=False)[:80]
        known = ", ".join(row)
        raise InputError(
            f"{rows.path}: row {number}: {key}: found {found}; allowed: text (the row has {known}; "
            "--question-key and --answer-key name other fields)"
        )
    return " ".join(value.split())


def _perturbed(folder: Path, names: Sequence[str], keys: Keys) -> dict[str, dict]:
    """Question → its row of the perturbed splits."""
    found = {}
    for name in names:
        if (rows := _found(folder, name)) is None:
            continue
        for number, row in enumerate(rows.rows, start=1):
            wrong = row.get("perturbed_answer", [])
            wrong = [wrong] if isinstance(wrong, str) else wrong
            if not isinstance(wrong, list) or not all(isinstance(one, str) for one in wrong):
                raise InputError(
                    f"{rows.path}: row {number}: perturbed_answer: allowed: a list of texts"
                )
            found[_text(rows, number, row, keys.question)] = row | {"perturbed_answer": wrong}
    return found


def _people(rows: Rows, per_person: int, of: str) -> list[str]:
    """A name for the person of each row: so many rows in a row are about one."""
    count = len(rows.rows)
    if count % per_person:
        raise InputError(
            f"--questions-per-person: found {per_person}; allowed: a divisor of {count}, the "
            f"number of rows of {rows.path}"
        )
    return [f"{of} person {number // per_person + 1}" for number in range(count)]


def _lines(
    rows: Rows,
    keys: Keys,
    perturbed: dict[str, dict],
    notes: list[str],
    people: Sequence[str] | None,
    kept: dict[str, str],
) -> list[dict]:
    """Lines of own files; wrong answers that are right or occur twice are left out and counted."""
    lines, dropped = [], 0
    for number, row in enumerate(rows.rows, start=1):
        line = {
            "question": _text(rows, number, row, keys.question),
            "answer": _text(rows, number, row, keys.answer),
        }
        line |= {new: row[old] for old, new in kept.items() if isinstance(row.get(old), str)}
        if people:
            line["person"] = people[number - 1]
        given = perturbed.get(line["question"], {})
        right = given.get("paraphrased_answer")
        if isinstance(right, str) and right.strip():
            line["paraphrased_answer"] = " ".join(right.split())
            wrong = [" ".join(text.split()) for text in given["perturbed_answer"]]
            false = _false(wrong, line["answer"], line["paraphrased_answer"])
            dropped += len(wrong) - len(false)
            line |= {"wrong_answers": false} if false else {}
        lines.append(line)
    if dropped:
        notes.append(f"{rows.path}: {dropped} wrong answers that are right or occur twice")
    return lines


def _false(wrong: Sequence[str], *right: str) -> list[str]:
    """The wrong answers that are neither right nor repeated."""
    seen = {text.casefold() for text in right} | {""}
    false = []
    for text in wrong:
        if text.casefold() not in seen:
            seen.add(text.casefold())
            false.append(text)
    return false


def _paraphrased(
    folder: Path,
    forget: Rows,
    sf: Sequence[dict],
    sr: Sequence[dict],
    perturbed: dict[str, dict],
    keys: Keys,
    notes: list[str],
) -> list[dict]:
    """Paraphrased questions: of Excise's export, or the field of the perturbed split."""
    found = []
    if exported := _found(folder, "forget_paraphrased"):
        by_id = dict(zip((row.get("id") for row in forget.rows), sf, strict=True))
        for number, row in enumerate(exported.rows, start=1):
            if row.get("fact_id") in by_id:
                of = by_id[row["fact_id"]]["question"]
                found.append({"of": of, "question": _text(exported, number, row, keys.question)})
    else:
        for line in sf:
            text = perturbed.get(line["question"], {}).get("paraphrased_question")
            if isinstance(text, str) and text.strip():
                found.append({"of": line["question"], "question": " ".join(text.split())})
    taken = {line["question"] for line in (*sf, *sr)}
    lines = []
    for line in found:
        if line["question"] not in taken:
            taken.add(line["question"])
            lines.append(line)
    if len(lines) < len(found):
        count = len(found) - len(lines)
        notes.append(f"{folder}: {count} paraphrased questions that are trained or occur twice")
    return lines
