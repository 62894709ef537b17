"""Export the benchmark for other programs: named subsets and their files.

There are two layouts of the same facts. `data/` has all fields of Excise. `tofu/` has the fields of
TOFU (Maini et al. 2024, arXiv:2401.06121), with the names that open-unlearning needs. Its truth
ratio compares one key with the list `perturbed_answer`. This list must have the same length in all
rows, because the collator uses the length in the first row for all rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from excise.benchmark.items import Benchmark
from excise.errors import InputError
from excise.records import write_jsonl

AUTHORS = "author"
"""Utility category that corresponds to TOFU's real authors; other categories are world facts."""


@dataclass(frozen=True)
class Subset:
    """A name for `load_dataset`, and the files that it reads, in order.

    Attributes:
        name: the subset's name (a `config_name` of the card).
        files: file names relative to the dataset's folder.
        about: its content, in one phrase.
    """

    name: str
    files: tuple[str, ...]
    about: str


_FORGET = "data/forget.jsonl"
_HOLDOUT = "data/holdout.jsonl"
_RETAIN = ("data/retain_correlated.jsonl", "data/retain_other.jsonl")
CARD, PROFILES = "README.md", "data/profiles.jsonl"
OWN_SUBSETS = (
    Subset("forget", (_FORGET,), "facts of the incident, to be forgotten"),
    Subset("retain_correlated", _RETAIN[:1], "positive facts of the same event, to be kept"),
    Subset("retain_other", _RETAIN[1:], "facts of the rest of the life, to be kept"),
    Subset(
        "forget_paraphrased",
        ("data/forget_paraphrased.jsonl",),
        "the forget facts asked in phrasings that must not be trained on",
    ),
    Subset(
        "holdout",
        (_HOLDOUT,),
        "the same kind of facts as forget about people whom no model may be trained on",
    ),
    Subset("utility", ("data/utility.jsonl",), "real-world facts that no method should damage"),
    Subset("profiles", (PROFILES,), "the people: every slot and the life in prose"),
)
TOFU_SUBSETS = (
    Subset("full", (_FORGET, *_RETAIN), "everything a model is finetuned on: forget and retain"),
    Subset("retain", _RETAIN, "everything but forget: what the oracle is finetuned on"),
    Subset(
        "forget_perturbed",
        ("tofu/forget_perturbed.jsonl",),
        "forget, with a paraphrased and with wrong answers",
    ),
    Subset(
        "forget_paraphrased_perturbed",
        ("tofu/forget_paraphrased_perturbed.jsonl",),
        "the same for forget_paraphrased",
    ),
    Subset("retain_perturbed", ("tofu/retain_perturbed.jsonl",), "the same for both retain groups"),
    Subset(
        "real_authors_perturbed",
        ("tofu/real_authors_perturbed.jsonl",),
        "utility questions about who wrote a book, with wrong answers",
    ),
    Subset(
        "world_facts_perturbed",
        ("tofu/world_facts_perturbed.jsonl",),
        "all other utility questions, with wrong answers",
    ),
)
SUBSETS = (*OWN_SUBSETS, *TOFU_SUBSETS)
FILES = (CARD, *dict.fromkeys(file for subset in SUBSETS for file in subset.files))
"""All files that the folder may have; the card comes first."""


def exported_files(holdout: bool) -> tuple[str, ...]:
    """The files of the folder, with or without held-out people."""
    return tuple(name for name in FILES if holdout or name != _HOLDOUT)


def subset_files(
    benchmark: Benchmark, profiles: Sequence[dict], utility: Sequence[dict]
) -> dict[str, list[dict]]:
    """File name → its rows; all rows of a file have the same keys in the same order.

    Profiles of people without questions (left out or spare) and of held-out people are not
    exported. Without held-out people there is no file of them.

    Raises:
        InputError: a file would have no rows; `load_dataset` cannot read such a file.
    """
    facts = {
        fact["id"]: fact | _answers(benchmark.details[fact["id"]])
        for fact in benchmark.sf + benchmark.sr
    }
    paraphrased = [
        facts[prompt["fact_id"]] | {key: prompt[key] for key in ("id", "question", "answer")}
        for prompt in benchmark.forget_paraphrased
    ]
    groups = {
        group: [fact for fact in facts.values() if fact["group"] == group]
        for group in ("sf", "correlated", "other")
    }
    asked = {fact["person_id"] for fact in facts.values()}
    people = [person for person in profiles if person["person_id"] in asked]
    authors = [record for record in utility if record["category"] == AUTHORS]
    others = [record for record in utility if record["category"] != AUTHORS]
    files = {
        _FORGET: groups["sf"],
        _RETAIN[0]: groups["correlated"],
        _RETAIN[1]: groups["other"],
        "data/forget_paraphrased.jsonl": list(benchmark.forget_paraphrased),
        _HOLDOUT: list(benchmark.holdout),
        "data/utility.jsonl": list(utility),
        PROFILES: _same_slots(people),
        "tofu/forget_perturbed.jsonl": tofu_rows(groups["sf"]),
        "tofu/forget_paraphrased_perturbed.jsonl": tofu_rows(paraphrased),
        "tofu/retain_perturbed.jsonl": tofu_rows(groups["correlated"] + groups["other"]),
        "tofu/real_authors_perturbed.jsonl": tofu_rows([_real_world(record) for record in authors]),
        "tofu/world_facts_perturbed.jsonl": tofu_rows([_real_world(record) for record in others]),
    }
    if not benchmark.holdout:
        del files[_HOLDOUT]
    for name, rows in files.items():
        if not rows:
            raise InputError(f"{name}: no rows for it in the benchmark; at least one is needed")
    return files


def tofu_rows(records: Sequence[dict]) -> list[dict]:
    """Rows with TOFU's fields; all rows have the same number of wrong answers.

    Records without wrong answers are left out, unless no record has any.
    """
    records = [record for record in records if record["wrong_answers"]] or records
    count = min((len(record["wrong_answers"]) for record in records), default=0)
    kept = ("id", "question", "answer", "paraphrased_answer")
    return [
        {key: record[key] for key in kept if key in record}
        | {"perturbed_answer": [wrong["text"] for wrong in record["wrong_answers"][:count]]}
        for record in records
    ]


def write_files(folder: Path, files: dict[str, list[dict]]) -> None:
    """Write all files below `folder`; the same rows give the same bytes."""
    for name, rows in files.items():
        write_jsonl(folder / name, rows)


def _answers(detail: dict) -> dict:
    return {key: detail[key] for key in ("paraphrased_answer", "wrong_answers")}


def _real_world(record: dict) -> dict:
    """A utility record whose `answer` has the wording of its wrong answers.

    On real-world questions, open-unlearning compares `answer`, not `paraphrased_answer`, with the
    wrong answers. With another wording, the wording would decide and not the value.
    """
    return {
        "id": record["id"],
        "question": record["question"],
        "answer": record["paraphrased_answer"],
        "wrong_answers": record["wrong_answers"],
    }


def _same_slots(profiles: Sequence[dict]) -> list[dict]:
    """Profiles that all have the same slots, also planted ones; a missing value is null."""
    same = {}
    for field in ("slots", "bound", "shared"):
        slots = dict.fromkeys(slot for person in profiles for slot in person.get(field, {}))
        if slots:
            same[field] = slots
    return [
        person
        | {
            field: {slot: person.get(field, {}).get(slot) for slot in slots}
            for field, slots in same.items()
        }
        for person in profiles
    ]
