"""The card of the exported dataset: YAML for `datasets`, and text for people.

The numbers come from the rows and from the data report; the text is in card.md. The card contains
no times and no paths, so the same data give the same bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import DatasetCard, DatasetCardData

from excise.benchmark.export import OWN_SUBSETS, SUBSETS, TOFU_SUBSETS, Subset
from excise.errors import InputError
from excise.records import schema_validator

TEMPLATE = Path(__file__).with_name("card.md")
GROUPS = {"sf": "forget", "correlated": "retain_correlated", "other": "retain_other"}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
REPORT_KEYS = ("experiment", "config", "versions", "checks")


def dataset_card(files: Mapping[str, list[dict]], report: Mapping) -> str:
    """The text of README.md.

    Args:
        files: file name → rows, from `export.subset_files`.
        report: content of data_report.json.

    Raises:
        InputError: the report lacks a section that the card needs.
    """
    for section, keys in ((report, REPORT_KEYS), (report.get("config", {}), ("generation",))):
        for key in keys:
            if key not in section:
                raise InputError(
                    f"data_report.json: no {key!r}; a report of red_team_dataset is needed"
                )
    generation = report["config"]["generation"]
    card = DatasetCard.from_template(
        _metadata(files, report["experiment"]),
        template_path=str(TEMPLATE),
        experiment=report["experiment"],
        own=[_row(subset, files) for subset in OWN_SUBSETS if has_rows(subset, files)],
        tofu=[_row(subset, files) for subset in TOFU_SUBSETS],
        rows={subset.name: row_count(subset, files) for subset in subsets_of(files)},
        slots=slot_table(files),
        fields=field_table(),
        wrong_answers=_wrong_answer_counts(files),
        generation={key: value for key, value in generation.items() if _plain(value)},
        writer=(generation.get("llm") or {}).get("model"),
        versions={name: version for name, version in report["versions"].items() if version},
        digest=digest(files),
        checks=report["checks"],
    )
    return card.content.rstrip("\n") + "\n"


def features(row: Mapping) -> list[dict]:
    """Column types of a row in the notation of the card's YAML; null is a missing text."""
    return [{"name": name, **_type(value)} for name, value in row.items()]


def _type(value) -> dict:
    if isinstance(value, Mapping):
        return {"struct": features(value)}
    if isinstance(value, list):
        inner = _type(value[0])
        return {"list": inner.get("struct", inner.get("dtype"))}
    if value is None or isinstance(value, str):
        return {"dtype": "string"}
    raise TypeError(f"{value!r}: rows may hold texts, lists and mappings of them")


def has_rows(subset: Subset, files: Mapping[str, list[dict]]) -> bool:
    """Whether the dataset has this subset; it may have no held-out people."""
    return all(name in files for name in subset.files)


def subsets_of(files: Mapping[str, list[dict]]) -> list[Subset]:
    """The subsets of the dataset."""
    return [subset for subset in SUBSETS if has_rows(subset, files)]


def row_count(subset: Subset, files: Mapping[str, list[dict]]) -> int:
    """Number of rows of a subset, over all its files."""
    return sum(len(files[name]) for name in subset.files)


def slot_table(files: Mapping[str, list[dict]]) -> list[dict]:
    """One row per slot: subset, value type, partner, and numbers of facts and different values."""
    table: dict[str, dict] = {}
    for subset in GROUPS.values():
        for fact in files[f"data/{subset}.jsonl"]:
            start = {key: fact[key] for key in ("slot", "value_type", "partner")}
            entry = table.setdefault(
                fact["slot"], start | {"subset": subset, "n": 0, "values": set()}
            )
            entry["n"] += 1
            entry["values"].add(fact["value"])
    return [entry | {"distinct": len(entry.pop("values"))} for entry in table.values()]


def field_table() -> dict[str, str]:
    """Field of `data/` → its meaning, from the schemas."""
    meanings: dict[str, list[str]] = {}
    for kind in ("qa", "forget_paraphrased", "utility", "profile"):
        for name, rule in schema_validator(kind).schema["properties"].items():
            meanings.setdefault(name, []).append(rule["description"])
    return {name: "; or: ".join(dict.fromkeys(texts)) for name, texts in meanings.items()}


def digest(files: Mapping[str, list[dict]]) -> str:
    """Hex SHA-256 of all rows of all files; it identifies the dataset."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def size_category(rows: int) -> str:
    """The hub's category for a number of rows."""
    return next((name for limit, name in SIZES if rows < limit), "1M<n<10M")


def _metadata(files: Mapping[str, list[dict]], experiment: str) -> DatasetCardData:
    return DatasetCardData(
        pretty_name=f"Excise ({experiment})",
        language="en",
        license="mit",
        annotations_creators="machine-generated",
        language_creators="machine-generated",
        multilinguality="monolingual",
        source_datasets=["original"],
        task_categories=["question-answering", "text-generation"],
        size_categories=size_category(sum(len(rows) for rows in files.values())),
        tags=["machine-unlearning", "unlearning", "synthetic", "fictional people", "TOFU"],
        configs=[_config(subset) for subset in subsets_of(files)],
        dataset_info=[
            {"config_name": subset.name, "features": features(files[subset.files[0]][0])}
            for subset in subsets_of(files)
        ],
    )


def _config(subset: Subset) -> dict:
    data_files = [{"split": "train", "path": list(subset.files)}]
    default = {"default": True} if subset.name == "full" else {}
    return {"config_name": subset.name, "data_files": data_files} | default


def _row(subset: Subset, files: Mapping[str, list[dict]]) -> dict:
    return {"name": subset.name, "rows": row_count(subset, files), "about": subset.about}


def _wrong_answer_counts(files: Mapping[str, list[dict]]) -> dict[str, int]:
    """TOFU subset → number of wrong answers of each row."""
    return {
        subset.name: len(files[subset.files[0]][0]["perturbed_answer"])
        for subset in TOFU_SUBSETS
        if subset.name.endswith("_perturbed")
    }


def _plain(value) -> bool:
    return isinstance(value, str | int | float)
