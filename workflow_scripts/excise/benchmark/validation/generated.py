"""The generator's four files, and the faults found in them."""

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from excise.errors import InputError
from excise.records import read_jsonl

FAULTS_PRINTED = 20


@dataclass(frozen=True)
class Fault:
    """One reason to stop the dataset: `where` is `file:line`, `check` the name of the check."""

    where: str
    check: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.check}: {self.why}"


@dataclass(frozen=True)
class Generated:
    """The generator's four files.

    Attributes:
        profiles, facts, qa, forget_paraphrased: the records, in file order.
        paths: the file of each list.
        lines: list → line of each record; a list without an entry has one record per line.
    """

    profiles: list[dict]
    facts: list[dict]
    qa: list[dict]
    forget_paraphrased: list[dict]
    paths: dict[str, Path]
    lines: dict[str, list[int]] = field(default_factory=dict)

    def where(self, kind: str, index: int) -> str:
        """`file:line` of the record at `index` of one of the four lists."""
        return f"{self.paths[kind]}:{self.line(kind, index)}"

    def line(self, kind: str, index: int) -> int:
        """Line of the record at `index` of one of the four lists in its file."""
        return self.lines[kind][index] if kind in self.lines else index + 1


def read_generated(profiles: str, facts: str, qa: str, forget_paraphrased: str) -> Generated:
    """Read the generator's files.

    Raises:
        InputError: a line does not fit its schema; the message names the first one.
    """
    return Generated(
        profiles=read_jsonl(profiles, "profile"),
        facts=read_jsonl(facts, "fact"),
        qa=read_jsonl(qa, "qa"),
        forget_paraphrased=read_jsonl(forget_paraphrased, "forget_paraphrased"),
        paths={
            "profiles": Path(profiles),
            "facts": Path(facts),
            "qa": Path(qa),
            "forget_paraphrased": Path(forget_paraphrased),
        },
    )


def stop_at_faults(faults: list[Fault]) -> None:
    """Print the first faults and raise an error; return if there are none.

    Raises:
        InputError: the first fault, and the number of faults of each check.
    """
    if not faults:
        return
    for fault in faults[:FAULTS_PRINTED]:
        print(fault, file=sys.stderr)
    if len(faults) > FAULTS_PRINTED:
        print(f"… and {len(faults) - FAULTS_PRINTED} more", file=sys.stderr)
    count = Counter(fault.check for fault in faults)
    tally = ", ".join(f"{check} {number}" for check, number in sorted(count.items()))
    raise InputError(f"{faults[0]} (faults: {tally})")
