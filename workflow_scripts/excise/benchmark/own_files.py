"""The user's own questions and answers: files in a folder, checked and turned into the benchmark.

| file | fields; those in brackets are optional |
|---|---|
| `sf.jsonl` | question, answer [person, slot, value, paraphrased_answer, wrong_answers] |
| `sr.jsonl` | the same [group: correlated or other; partner: slot of an `other` fact] |
| `forget_paraphrased.jsonl` (optional) | of (a question of sf.jsonl), question [answer] |
| `holdout.jsonl` (optional) | question, answer [person, slot, value] |

A field that says what a fact is (person, slot, value, group) stands in every line or in none.
Nothing is guessed: `left_out` names what cannot be computed without a field. No torch here.
"""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from excise.errors import InputError
from excise.text.unicode import nfc_strings

REQUIRED, OPTIONAL = ("sf", "sr"), ("forget_paraphrased", "holdout")
ABOUT = ("person", "slot", "value")
"""Fields that stand in every line of sf, sr and holdout, or in none."""
ANSWERS = ("paraphrased_answer", "wrong_answers")
FIELDS = {
    "sf": ("question", "answer", *ABOUT, *ANSWERS),
    "sr": ("question", "answer", *ABOUT, "group", "partner", *ANSWERS),
    "forget_paraphrased": ("of", "question", "answer"),
    "holdout": ("question", "answer", *ABOUT),
}
NEEDED = dict.fromkeys(FIELDS, ("question", "answer")) | {"forget_paraphrased": ("of", "question")}
GROUPS = ("correlated", "other")
SLOT = re.compile(r"[a-z][a-z0-9_]*")
UNGROUPED = "retain"
"""Group of a retain fact whose file names no groups."""


@dataclass(frozen=True)
class Line:
    """One line of a file.

    Attributes:
        file: path of the file.
        number: of the line, from 1.
        record: its fields.
    """

    file: Path
    number: int
    record: dict

    def fault(self, field: str, found: object, allowed: str) -> InputError:
        """An error about one field: file, line, field, what was found and what is allowed."""
        shown = json.dumps(found, ensure_ascii=False)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}…"
        return InputError(f"{self.file}:{self.number}: {field}: found {shown}; allowed: {allowed}")


@dataclass(frozen=True)
class OwnFiles:
    """The checked lines of a folder; a file that is not there has none."""

    sf: list[Line]
    sr: list[Line]
    forget_paraphrased: list[Line]
    holdout: list[Line]

    @cached_property
    def known(self) -> frozenset[str]:
        """What the files hold besides questions and answers, for `left_out`."""
        facts = self.sf + self.sr
        found = {name for name in ABOUT if name in facts[0].record}
        found |= {"group"} if _any(self.sr, "group") else set()
        correlated = [line for line in self.sr if line.record.get("group") == "correlated"]
        found |= {"partner"} if _any(correlated, "partner") else set()
        found |= {f"{name}.wrong_answers" for name in REQUIRED if _any(getattr(self, name), WRONG)}
        return frozenset(found | {name for name in OPTIONAL if getattr(self, name)})

    @property
    def people(self) -> int | None:
        """Number of people in sf and sr; None if the files name none."""
        if "person" not in self.known:
            return None
        return len({line.record["person"] for line in self.sf + self.sr})


WRONG = "wrong_answers"
LEFT_OUT = (
    ("person", "no `person`: intervals are over questions, and n_people is null"),
    ("person", "no `person`: no hidden states at the name, no forecast within people"),
    ("person", "no `person`: no regression of the damage (comparison_results.json)"),
    ("group", "no `group` in sr.jsonl: no sets correlated and other, only sr"),
    ("group", "no `group` in sr.jsonl: no relearning on correlated or other facts"),
    ("partner", "no `partner` in sr.jsonl: no paired gap, no retain_compare_results.json"),
    ("slot", "no `slot`: no guess_rate, no answer_* rates, no probes of hidden states"),
    ("value", "no `value`: no slot accuracy, no auc_lost; retain_same_answer is empty"),
    ("value", "no `value`: no comparison_results.json (it measures forgetting by slot accuracy)"),
    ("value", "no `value`: no depth_results.json (it patches states at the value)"),
    ("sf.wrong_answers", "no `wrong_answers` in sf.jsonl: no truth ratio and win_rate on sf"),
    ("sf.wrong_answers", "no `wrong_answers` in sf.jsonl: no forget_quality, no truth_ratio_ks"),
    ("sr.wrong_answers", "no `wrong_answers` in sr.jsonl: no truth ratio and win_rate on sr"),
    ("forget_paraphrased", "no forget_paraphrased.jsonl: no set forget_paraphrased"),
    ("holdout", "no holdout.jsonl: no auc_*, privleak and s_mia"),
)
"""A name of `OwnFiles.known`, and what is left out without it."""
NEVER = (
    "own files: no probes (evaluation.probes), which are made from the generator's slots",
    "own files: no red_team_models.json, red_team_judge.json, diversity_report.json and dataset/, "
    "which read generated people",
)


def left_out(known: Collection[str]) -> list[str]:
    """What is not computed, and the field or file that it lacks.

    Args:
        known: `OwnFiles.known`.
    """
    return [*(what for name, what in LEFT_OUT if name not in known), *NEVER]


def own_paths(folder: str | Path) -> list[str]:
    """Files of the folder that are read: two that must be there, and the others that are."""
    paths = [(name, Path(folder, f"{name}.jsonl")) for name in (*REQUIRED, *OPTIONAL)]
    return [str(path) for name, path in paths if name in REQUIRED or path.is_file()]


def read_own_files(folder: str | Path) -> OwnFiles:
    """Read and check the files of a folder; strings are converted to Unicode normal form C.

    Raises:
        InputError: a file is missing or empty, or a line breaks a rule of this module. The message
            names file, line, field, what was found and what is allowed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"generation.folder: {folder}: no such folder")
    lines = {
        name: _read(folder / f"{name}.jsonl", FIELDS[name], NEEDED[name], name in REQUIRED)
        for name in FIELDS
    }
    files = OwnFiles(**lines)
    for line in files.sf + files.sr + files.holdout:
        _check_answers(line)
    _check_everywhere(files.sf + files.sr + files.holdout, ABOUT)
    _check_everywhere(files.sr, ("group",))
    _check_slots(files.sf + files.sr)
    _check_partners(files.sr)
    _check_questions(files)
    _check_holdout(files)
    return files


def own_benchmark(files: OwnFiles) -> dict[str, list[dict]]:
    """File name → records of the benchmark (docs/architecture.md), with null for what is unknown.

    `wrong_details` and `perturbed_candidates` hold the same answers: all that the user gave.
    """
    sf = [_item("sf", line, "sf") for line in files.sf]
    sr = [_item("sr", line, line.record.get("group", UNGROUPED)) for line in files.sr]
    details = [
        _details(item, line) for item, line in zip(sf + sr, files.sf + files.sr, strict=True)
    ]
    return {
        "sf": sf,
        "sr": sr,
        "wrong_details": details,
        "forget_paraphrased": list(_paraphrased(files.forget_paraphrased, sf)),
        "holdout": [_item("holdout", line, "holdout") for line in files.holdout],
    }


def _any(lines: Sequence[Line], field: str) -> bool:
    return any(field in line.record for line in lines)


def _read(path: Path, fields: Sequence[str], needed: Sequence[str], must_be: bool) -> list[Line]:
    """The lines of one file, each an object with known fields of the right type."""
    if not path.is_file():
        if must_be:
            raise InputError(
                f"{path}: no such file; needed: {', '.join(f'{n}.jsonl' for n in REQUIRED)}"
            )
        return []
    lines = []
    with path.open("rb") as file:
        for number, text in enumerate(file, start=1):
            where = f"{path}:{number}"
            try:
                record = nfc_strings(json.loads(text.decode("utf-8")))
            except UnicodeDecodeError as error:
                raise InputError(f"{where}: not UTF-8 (byte {error.start} of the line)") from error
            except json.JSONDecodeError as error:
                problem = f"not JSON ({error.msg}, column {error.colno})"
                raise InputError(f"{where}: {problem}; one object a line is needed") from error
            line = Line(path, number, record)
            _check_fields(line, fields, needed)
            kept = {key: value for key, value in record.items() if value is not None}
            lines.append(Line(path, number, kept))
    if not lines:
        raise InputError(f"{path}: empty; at least one line is needed")
    return lines


def _check_fields(line: Line, fields: Sequence[str], needed: Sequence[str]) -> None:
    if not isinstance(line.record, dict):
        raise InputError(f"{line.file}:{line.number}: found no object; allowed: {{field: text}}")
    for key, value in line.record.items():
        if key not in fields:
            raise line.fault(key, value, f"only the fields {', '.join(fields)}")
        if value is None and key not in needed:
            continue  # as if it were not there
        if key == "slot" and not (isinstance(value, str) and SLOT.fullmatch(value)):
            raise line.fault(key, value, "a-z, 0-9 and _, a letter first")
        texts = value if key == WRONG and isinstance(value, list) else [value]
        for text in texts or [value]:
            if not isinstance(text, str) or not text or text != " ".join(text.splitlines()).strip():
                kind = "a list, each a text" if key == WRONG else "text"
                raise line.fault(key, value, f"{kind} of one line without blanks at its ends")
    for key in needed:
        if key not in line.record:
            raise InputError(f"{line.file}:{line.number}: {key}: missing; every line needs it")


def _check_answers(line: Line) -> None:
    """The value is part of the answer; wrong answers are wrong, and have their right one."""
    record = line.record
    if "value" in record and record["value"] not in record["answer"]:
        raise line.fault("value", record["value"], "words of the answer, as they stand there")
    if WRONG not in record:
        return
    if not isinstance(record[WRONG], list):
        raise line.fault(WRONG, record[WRONG], "a list of texts")
    if "paraphrased_answer" not in record:
        raise InputError(
            f"{line.file}:{line.number}: paraphrased_answer: missing; wrong_answers are compared "
            "with it: give the true answer in their wording"
        )
    seen = {record["answer"].casefold(), record["paraphrased_answer"].casefold()}
    for text in record[WRONG]:
        if text.casefold() in seen:
            raise line.fault(WRONG, text, "answers that are false and differ from each other")
        seen.add(text.casefold())


def _check_everywhere(lines: Sequence[Line], fields: Sequence[str]) -> None:
    """Each of these fields is in all lines or in none."""
    for field in fields:
        having = [line for line in lines if field in line.record]
        if having and len(having) < len(lines):
            lacking = next(line for line in lines if field not in line.record)
            first = having[0]
            raise InputError(
                f"{lacking.file}:{lacking.number}: {field}: missing, but {first.file.name}:"
                f"{first.number} has it; allowed: in all lines or in none"
            )


def _check_slots(lines: Sequence[Line]) -> None:
    """A person has one fact of a slot; without a person, a slot may repeat."""
    seen: dict[tuple[str, str], Line] = {}
    for line in lines:
        if not {"person", "slot"} <= line.record.keys():
            continue
        first = seen.setdefault((line.record["person"], line.record["slot"]), line)
        if first is not line:
            where = f"{first.file.name}:{first.number}"
            allowed = f"another name than in {where}, which is about the same person"
            raise line.fault("slot", line.record["slot"], allowed)


def _check_partners(lines: Sequence[Line]) -> None:
    """Groups are known; a partner is the slot of a fact of the other group, of the same person."""
    for line in lines:
        group = line.record.get("group")
        if group is not None and group not in GROUPS:
            raise line.fault("group", group, " or ".join(GROUPS))
    places = {
        (line.record.get("group"), line.record.get("person"), line.record.get("slot"))
        for line in lines
    }
    for line in lines:
        partner = line.record.get("partner")
        if partner is None:
            continue
        if not {"group", "person", "slot"} <= line.record.keys():
            raise line.fault("partner", partner, "only where group, person and slot are given")
        (opposite,) = (group for group in GROUPS if group != line.record["group"])
        if (opposite, line.record["person"], partner) not in places:
            allowed = f"the slot of a fact of group {opposite} about the same person"
            raise line.fault("partner", partner, allowed)


def _check_questions(files: OwnFiles) -> None:
    """No question is both forgotten and kept; a paraphrased one is never trained on."""
    trained = {line.record["question"]: line for line in files.sf}
    for line in files.sr + files.holdout:
        question = line.record["question"]
        if (first := trained.get(question)) and first.file != line.file:
            where = f"{first.file.name}:{first.number}"
            raise line.fault("question", question, f"a question other than {where}")
        trained.setdefault(question, line)
    forget = {line.record["question"] for line in files.sf}
    asked: dict[str, Line] = {}
    for line in files.forget_paraphrased:
        if line.record["of"] not in forget:
            raise line.fault("of", line.record["of"], "a question of sf.jsonl, word for word")
        question = line.record["question"]
        if first := trained.get(question) or asked.get(question):
            where = f"{first.file.name}:{first.number}"
            raise line.fault("question", question, f"a question other than {where}")
        asked[question] = line


def _check_holdout(files: OwnFiles) -> None:
    taught = {line.record["person"] for line in files.sf + files.sr if "person" in line.record}
    for line in files.holdout:
        if line.record.get("person") in taught:
            allowed = "people who are in neither sf.jsonl nor sr.jsonl"
            raise line.fault("person", line.record["person"], allowed)


def _item(file: str, line: Line, group: str) -> dict:
    record = line.record
    return {
        "id": f"{file}{line.number}",
        "person_id": record.get("person"),
        "name": record.get("person"),
        "slot": record.get("slot"),
        "value_type": None,
        "value": record.get("value"),
        "group": group,
        "event_id": None,
        "partner": record.get("partner"),
        "question": record["question"],
        "answer": record["answer"],
    }


def _details(item: dict, line: Line) -> dict:
    return {key: item[key] for key in ("id", "person_id", "slot", "value")} | {
        "paraphrased_answer": line.record.get("paraphrased_answer"),
        "wrong_answers": [{"value": None, "text": text} for text in line.record.get(WRONG, [])],
    }


def _paraphrased(lines: Sequence[Line], sf: Sequence[dict]) -> Iterator[dict]:
    """Further questions about forget items, numbered item by item."""
    about = {item["question"]: item for item in sf}
    numbers: dict[str, int] = {}
    for line in lines:
        item = about[line.record["of"]]
        numbers[item["id"]] = numbers.get(item["id"], 0) + 1
        kept = ("person_id", "name", "slot", "value_type", "value")
        yield {
            "id": f"{item['id']}.q{numbers[item['id']]}",
            "fact_id": item["id"],
            **{key: item[key] for key in kept},
            "question": line.record["question"],
            "answer": line.record.get("answer", item["answer"]),
        }
