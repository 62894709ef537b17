"""Result files: one shape for all of them, checked when written, one DataFrame when read.

A result file is a header (`experiment`, `config`, `versions`, `notes`) and tidy `rows`. It holds
no times and no absolute paths: the same inputs give the same bytes.
"""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas

from excise.errors import InputError
from excise.evaluation.conventions import CONVENTIONS
from excise.evaluation.statistics import Estimate
from excise.machine import used_versions
from excise.provenance import running_job
from excise.records import finite, read_json, schema_fault, write_json
from excise.settings import json_of
from excise.unlearning.axes import COLUMNS

_CHECKPOINT = re.compile(r"unlearn/([^/]+)/([^/]+)/epoch_(\d+)")
_OF_OTHERS = re.compile(r"(audit|reference)/([^/]+)")
_SETTING = re.compile(r"([a-z][a-z_]*?)(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?:_|$)")


def write_result(
    path: str | Path, *, experiment: str, config: dict, notes: list[str], rows: list[dict]
) -> None:
    """Write a result file, atomically, after checking it against `result.schema.json`.

    Rows without the key `convention` get that of `CONVENTIONS`, if their figure is in it.

    Raises:
        ValueError: a row breaks the schema: a key missing, of the wrong type, or not in its list.
        InputError: the folder cannot be written.
    """
    rows = [_with_convention(row) for row in rows]
    content = finite(header(experiment=experiment, config=config, notes=notes) | {"rows": rows})
    fault = schema_fault("result", content)
    if fault:
        raise ValueError(f"{path}: {fault}")
    write_json(path, content)


def _with_convention(row: dict) -> dict:
    known = CONVENTIONS.get(row.get("metric"))
    return row if known is None or "convention" in row else row | {"convention": known}


def header(*, experiment: str, config: dict, notes: list[str]) -> dict:
    """What every result file opens with: where it comes from and what it was made with."""
    versions, differing = package_versions()
    return {
        "experiment": experiment,
        "config": config,
        "versions": versions,
        "notes": [*notes, *differing],
    }


def package_versions() -> tuple[dict[str, str], list[str]]:
    """Versions of Python and of the packages behind the numbers.

    They come from the records of the jobs that made this program's inputs. This program's own
    versions fill in where no record exists, and for packages that only it uses.

    Returns:
        Package → version, or versions joined by commas; and a note for each package with
        several versions.
    """
    versions, notes = used_versions(), []
    job = running_job()
    behind = job.get("behind", {}) if job else {}
    for package, found in sorted(behind.items()):
        versions[package] = ", ".join(sorted(found))
        if len(found) > 1:
            made = "; ".join(f"{version} made {path}" for version, path in sorted(found.items()))
            notes.append(f"versions of {package} differ: {made}")
    return versions, notes


def read_rows(path: str | Path) -> pandas.DataFrame:
    """The rows of a result file, one column per key; nulls are NaN or None.

    Raises:
        InputError: the file is missing, is not JSON or is not a result file.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not content.get("rows"):
        raise InputError(f"{path}: not a result file; it needs a list `rows` with at least one row")
    return pandas.DataFrame(content["rows"])


def model_columns(model: str) -> dict[str, Any]:
    """What a model's name says: `model`, `method`, `epoch`, `seed` and its hyperparameters.

    `unlearn/npo/lr0.0002_beta0.1/epoch_5` gives method npo, epoch 5, learning_rate 0.0002 and
    beta 0.1; `oracle/seed_1` gives seed 1. What does not apply is None. The method of an audited
    model is its own name: `theirs` of `audit/theirs`.

    Raises:
        InputError: not the name of a model of this workflow.
    """
    columns: dict[str, Any] = {"model": model, "method": None, "epoch": None, "seed": None}
    columns |= {"learning_rate": None, "beta": None, "retain_weight": None}
    if model in ("base", "finetuned"):
        return columns
    if oracle := re.fullmatch(r"oracle/seed_(\d+)", model):
        return columns | {"seed": int(oracle[1])}
    if others := _OF_OTHERS.fullmatch(model):
        return columns | {"method": others[2] if others[1] == "audit" else None}
    checkpoint = _CHECKPOINT.fullmatch(model)
    if checkpoint is None:
        raise InputError(
            f"model {model!r}: allowed are base, finetuned, oracle/seed_<k>, audit/<name>, "
            "reference/<name> and unlearn/<method>/<settings>/epoch_<e>"
        )
    columns |= {"method": checkpoint[1], "epoch": int(checkpoint[3])}
    return columns | settings_columns(checkpoint[2])


def settings_columns(config_id: str) -> dict[str, float]:
    """`lr0.0002_beta0.1` as {learning_rate: 0.0002, beta: 0.1}."""
    settings = _SETTING.findall(config_id)
    if not settings or "_".join(name + value for name, value in settings) != config_id:
        raise InputError(
            f"settings {config_id!r}: expected name and number joined by _: lr0.0002_…"
        )
    return {COLUMNS.get(name, name): float(value) for name, value in settings}


def checkpoint_levels(levels: Mapping[str, Sequence[str]] | None) -> dict[str, str]:
    """{light: [ga/lr0.0002/epoch_3]} turned round: {unlearn/ga/lr0.0002/epoch_3: light}."""
    return {
        checkpoint if checkpoint.startswith("unlearn/") else f"unlearn/{checkpoint}": level
        for level, checkpoints in (levels or {}).items()
        for checkpoint in checkpoints
    }


def estimate_columns(estimate: Estimate, people: bool = True) -> dict[str, Any]:
    """An estimate as row keys; `n_people` is None where clusters are questions, not people."""
    return {
        "value": estimate.value,
        "ci_low": estimate.low,
        "ci_high": estimate.high,
        "interval": estimate.method,
        "n": estimate.n,
        "n_people": estimate.n_clusters if people else None,
        "n_undefined": estimate.n_undefined,
    }


def json_object(text: str) -> dict:
    """The type of a `--config` argument.

    Raises:
        InputError: not a JSON object.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{text!r}: not JSON ({error.msg}, column {error.colno})") from error
    if not isinstance(value, dict):
        raise InputError(f"{text!r}: a JSON object is needed")
    return value


def summary_parser(
    description: str | None, settings: type, *folders: str
) -> argparse.ArgumentParser:
    """The command line all summaries share.

    Args:
        description: of the program.
        settings: class of `--hp`.
        folders: names of the arguments for input folders.
    """
    parser = argparse.ArgumentParser(description=description)
    for folder in folders:
        parser.add_argument(folder, type=Path, required=True, help="folder of the records")
    parser.add_argument("--models", nargs="+", required=True, help="names of the models")
    parser.add_argument("--data", type=Path, help="folder of the benchmark, with all questions")
    parser.add_argument("--utility", type=Path, help="utility_qa.jsonl of the same benchmark")
    parser.add_argument("--hp", type=json_of(settings), required=True, help="settings, JSON")
    parser.add_argument("--experiment", required=True, help="name of the study")
    parser.add_argument("--config", type=json_object, required=True, help="JSON, for the header")
    parser.add_argument("--out", type=Path, required=True, help="result file to write")
    return parser
