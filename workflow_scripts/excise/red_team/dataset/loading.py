"""Load the dataset for the checks: all files, joined, with the line of each record."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from excise.benchmark.items import read_benchmark
from excise.benchmark.people import is_held_out
from excise.errors import InputError
from excise.records import read_json, read_jsonl
from excise.text.public_figures import read_public_figures


@dataclass(frozen=True)
class Dataset:
    """The data for all checks.

    Attributes:
        profiles: person id → profile.
        sf: forget items, in file order.
        sr: retain items, in file order.
        details: item id → its paraphrased answer and all candidates for wrong answers.
        forget_paraphrased: paraphrased questions about the forget items.
        utility: real-world questions.
        public_figures: names of real people.
        validation: the report of `validate_dataset`.
        files: kind of record (`profiles`, `sf`, …) → file.
        people_in_file: ids of all people in the profiles file, in order, with those that
            `validate_dataset` dropped; empty if it dropped nobody.
        holdout: forget facts of people whom no model is trained on.
        holdout_profiles: person id → profile of these people, who are not in `profiles`.
    """

    profiles: dict[str, dict]
    sf: list[dict]
    sr: list[dict]
    details: dict[str, dict]
    forget_paraphrased: list[dict]
    utility: list[dict]
    public_figures: list[str]
    validation: dict
    files: dict[str, Path]
    people_in_file: tuple[str, ...] = ()
    holdout: list[dict] = field(default_factory=list)
    holdout_profiles: dict[str, dict] = field(default_factory=dict)

    @property
    def items(self) -> list[dict]:
        """Forget and retain items: all training data."""
        return self.sf + self.sr

    def by_person(self, records: list[dict]) -> dict[str, list[dict]]:
        """Person id → records of this person; every person has an entry."""
        grouped: dict[str, list[dict]] = {person_id: [] for person_id in self.profiles}
        for record in records:
            grouped.setdefault(record["person_id"], []).append(record)
        return grouped

    def donor(self, item: dict) -> str | None:
        """The forget slot whose words a bound fact has (`excise.benchmark.bindings`)."""
        profile = self.profiles.get(item["person_id"], {})
        return profile.get("bound", {}).get(item["slot"])

    def where(self, kind: str, record: dict) -> str:
        """`file:line` of a record."""
        return f"{self.files[kind]}:{self._lines[kind][_key(record)]}"

    def where_item(self, item: dict) -> str:
        """`file:line` of a forget or retain item."""
        return self.where("sf" if item["group"] == "sf" else "sr", item)

    @cached_property
    def _lines(self) -> dict[str, dict[str, int]]:
        """Kind → id of a record → its line."""
        kinds = {
            "profiles": self.profiles.values(),
            "sf": self.sf,
            "sr": self.sr,
            "perturbed_candidates": self.details.values(),
            "forget_paraphrased": self.forget_paraphrased,
            "utility": self.utility,
            "holdout": self.holdout,
        }
        lines = {
            kind: {_key(record): line for line, record in enumerate(records, start=1)}
            for kind, records in kinds.items()
        }
        if self.people_in_file:
            lines["profiles"] = {
                person_id: line for line, person_id in enumerate(self.people_in_file, start=1)
            }
        return lines


def _key(record: dict) -> str:
    return record["id"] if "id" in record else record["person_id"]


def read_dataset(
    data_dir: str | Path, profiles: str, validation: str, public_figures: str, utility: str
) -> Dataset:
    """Read all files of a dataset.

    Raises:
        InputError: a file is missing or broken, or two files disagree about a fact.
    """
    data_dir = Path(data_dir)
    benchmark = read_benchmark(data_dir, answers="perturbed_candidates", with_holdout=True)
    files = {
        name: data_dir / f"{name}.jsonl"
        for name in ("sf", "sr", "perturbed_candidates", "forget_paraphrased", "holdout")
    }
    files |= {"profiles": Path(profiles), "utility": Path(utility), "validation": Path(validation)}
    people = {record["person_id"]: record for record in read_jsonl(profiles, "profile")}
    report = read_validation(validation)
    dropped = {person["person_id"] for person in report.get("incomplete_people", [])}
    dropped |= set(report.get("spare_people", []))
    kept = {key: person for key, person in people.items() if key not in dropped}
    return Dataset(
        profiles={key: person for key, person in kept.items() if not is_held_out(key)},
        sf=benchmark.sf,
        sr=benchmark.sr,
        details=benchmark.details,
        forget_paraphrased=benchmark.forget_paraphrased,
        utility=read_jsonl(utility, "utility"),
        public_figures=read_public_figures(public_figures),
        validation=report,
        files=files,
        people_in_file=tuple(people),
        holdout=benchmark.holdout,
        holdout_profiles={key: person for key, person in kept.items() if is_held_out(key)},
    )


def read_validation(path: str | Path) -> dict:
    """Read the report of `validate_dataset`."""
    report = read_json(path)
    if not isinstance(report, dict) or not {"counts", "near_duplicates"} <= report.keys():
        raise InputError(f"{path}: not a validation report; it needs counts and near_duplicates")
    return report
