"""The results of one experiment, read from their files, and what the page says of it at the top."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from excise.benchmark.export import CARD, PROFILES
from excise.errors import InputError
from excise.evaluation.peers import AUDITED, REFERENCES, Peers, peers_in
from excise.evaluation.results import model_columns
from excise.files import sha256
from excise.plots.names import COLORS, audited_name, color_number, method_name, settings_name
from excise.records import read_json
from excise.report.answers import FULL
from excise.report.settings import ReportSettings

EMBEDDED = "data/inputs/base/tiny-qwen2"
"""Path of the base model that is shipped: a toy. Its results say nothing about larger models."""
CONTROL = "entanglement_response"
"""A table of other studies: those of the positive control."""
RELEARNING = "relearn_results"
"""The table of the relearning attack."""
KINDS = {
    "base": "base",
    "finetuned": "finetuned",
    "oracle": "oracle",
    REFERENCES: "reference",
    "unlearn": "unlearned",
    AUDITED: "audited",
}
"""First part of a model's name → its kind, in the order in which the page lists models."""
SEEN_BY_ALL = ("experiment", "config", "versions", "notes", "rows")


@dataclass(frozen=True)
class Sources:
    """The files of one experiment. What is missing here is missing in the page.

    Attributes:
        tables: result files.
        records: (model, precision) → records of its answers.
        logs: training log of each trained model or trajectory.
        data_report: report on the benchmark.
        card: card of the exported dataset.
        profiles: the people, as exported.
        relearned: (model, attack) → records after the last step of the attack.
    """

    tables: Sequence[Path]
    records: Mapping[tuple[str, str], Path] = field(default_factory=dict)
    logs: Sequence[Path] = ()
    data_report: Path | None = None
    card: Path | None = None
    profiles: Path | None = None
    relearned: Mapping[tuple[str, str], Path] = field(default_factory=dict)


def sources_of(results: Path) -> Sources:
    """All files of a results folder that the report shows.

    Of a study that trains nothing, these are the tables of its audit.

    Raises:
        InputError: no table of a study is in the folder, or a file there is not JSON.
    """
    found = (sorted(results.glob(pattern)) for pattern in ("*.json", "audit/*.json"))
    tables = next(filter(None, ([one for one in files if _is_table(one)] for files in found)), [])
    if not tables:
        raise InputError(
            f"{results}: no result file is in it; a results folder of a finished study is needed"
        )
    records = {
        (_below(path.parent, results / "eval"), FULL): path
        for path in sorted((results / "eval").rglob("items.jsonl"))
    }
    records |= {
        (_below(path.parent, results / "quantize"), path.stem): path
        for path in sorted((results / "quantize").rglob("*.jsonl"))
    }
    known = [path for path in records if _is_model(path[0])]
    optional = {
        "data_report": results / "data_report.json",
        "card": results / "dataset" / CARD,
        "profiles": results / "dataset" / PROFILES,
    }
    return Sources(
        tables,
        {key: records[key] for key in sorted(known, key=_order)},
        sorted((results / "models").rglob("training_log.json")),
        **{name: path if path.is_file() else None for name, path in optional.items()},
        relearned=_relearned(tables, results / "relearn"),
    )


def _relearned(tables: Sequence[Path], folder: Path) -> dict[tuple[str, str], Path]:
    """Records after the last step of each attack in the table; older files may lie beside them."""
    last: dict[tuple[str, str], int] = {}
    for row in (row for path in tables if path.stem == RELEARNING for row in _table(path)["rows"]):
        if row.get("attack") and row.get("step") is not None:
            key = row["model"], row["attack"]
            last[key] = max(last.get(key, 0), row["step"])
    files = {key: relearned_file(folder, *key, step) for key, step in last.items()}
    return {key: path for key, path in files.items() if path.is_file()}


def relearned_file(folder: Path, model: str, attack: str, step: int) -> Path:
    """Records of a model after so many steps of an attack."""
    return folder / model / attack / f"step_{step}.jsonl"


def _is_table(path: Path) -> bool:
    if path.name in ("data_report.json", "validation.json"):
        return False
    content = read_json(path)
    return isinstance(content, dict) and set(SEEN_BY_ALL) <= set(content)


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _is_model(name: str) -> bool:
    try:
        model_columns(name)
    except InputError:
        return False
    return True


def _order(key: tuple[str, str]) -> tuple:
    """Full precision first; then the order of `KINDS`, oracles by seed, trajectories by epoch."""
    model, precision = key
    columns = model_columns(model)
    kind, trajectory = model.split("/")[0], model.rpartition("/")[0]
    place = list(KINDS).index(kind), trajectory, columns["seed"] or 0, columns["epoch"] or 0, model
    return (precision != FULL, precision, *place)


@dataclass(frozen=True)
class Experiment:
    """One experiment, read.

    Attributes:
        name: of the experiment.
        tables: stem → content of a result file, and its digest.
        config: the sections of the config that the tables name, together.
        versions: package → versions that made the tables.
        models: model → how the page writes and colours it.
        cost: what it took: (what, how much).
        data_report: content of data_report.json; empty if there is none.
        card: text of the dataset's card; None if there is none.
        profiles: the people; empty without them.
        confidence: coverage of the intervals.
    """

    name: str
    tables: dict[str, dict]
    config: dict
    versions: dict[str, str]
    models: dict[str, dict]
    cost: list[tuple[str, str]]
    data_report: dict
    card: str | None
    profiles: list[dict]
    confidence: float

    @property
    def is_toy(self) -> bool:
        """Whether the base model is the embedded one."""
        return (self.config.get("model") or {}).get("path") == EMBEDDED

    @property
    def peers(self) -> dict[str, Peers]:
        """What models of others are compared with; empty if the study audits none."""
        return peers_in(self.config) if self.config.get("audit") else {}


def read_experiment(sources: Sources, settings: ReportSettings | None = None) -> Experiment:
    """Read the tables and the texts about an experiment, not the records.

    Args:
        sources: its files.
        settings: labels and coverage; without them, methods are written in capitals and the
            coverage is that of the tables' config.

    Raises:
        InputError: a file is missing, broken, or of another kind.
    """
    tables = {path.stem: _table(path) for path in sources.tables}
    config, versions = _together(tables)
    first = next(iter(tables.values()))
    labels = settings.labels if settings else {}
    confidence = settings.confidence if settings else _confidence(config)
    report = read_json(sources.data_report) if sources.data_report else {}
    if not isinstance(report, dict):
        raise InputError(f"{sources.data_report}: not a report of red_team_dataset")
    names = dict.fromkeys([*_models_of(tables), *(model for model, _ in sources.records)])
    return Experiment(
        name=first["experiment"],
        tables=tables,
        config=config,
        versions=versions,
        models={name: model_entry(name, labels) for name in names},
        cost=_cost(sources, report),
        data_report=report,
        card=sources.card.read_text(encoding="utf-8") if sources.card else None,
        profiles=_profiles(sources.profiles),
        confidence=confidence,
    )


def _table(path: Path) -> dict:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("rows"), list):
        raise InputError(f"{path}: not a result file; it needs a list `rows`")
    header = {"experiment": "", "config": {}, "versions": {}, "notes": []}
    return header | content | {"sha256": sha256(path)}


def _together(tables: Mapping[str, dict]) -> tuple[dict, dict]:
    config: dict[str, Any] = {}
    versions: dict[str, set[str]] = {}
    for table in (one for stem, one in tables.items() if stem != CONTROL):
        for key, section in table["config"].items():
            both = isinstance(section, dict) and isinstance(config.get(key), dict)
            config[key] = config[key] | section if both else section
        for package, version in table["versions"].items():
            versions.setdefault(package, set()).update((version or "").split(", "))
    named = {package: ", ".join(sorted(filter(None, found))) for package, found in versions.items()}
    return config, dict(sorted(named.items()))


def _confidence(config: dict) -> float:
    return float((config.get("evaluation") or {}).get("confidence") or 0.95)


def _models_of(tables: Mapping[str, dict]) -> list[str]:
    """Models of this workflow that the tables name; a trajectory (no epoch) is not one."""
    found = {row.get("model"): None for table in tables.values() for row in table["rows"]}
    return sorted(
        (name for name in found if name and _is_model(name)), key=lambda n: _order((n, FULL))
    )


def model_entry(model: str, labels: Mapping[str, str]) -> dict:
    """How the page writes and colours a model.

    Returns:
        `kind` (one of `KINDS`), `label`, `short`; of a checkpoint also `method`, `method_label`,
        `trajectory`, `setting`, `epoch` and `color` (0 to 9).
    """
    columns = model_columns(model)
    kind = KINDS[model.split("/")[0]]
    if kind in ("audited", "reference"):
        name = model.split("/")[1]
        label = audited_name(model) if kind == "audited" else f"{name} (reference)"
        return {"kind": kind, "label": label, "short": name}
    if kind != "unlearned":
        seed = "" if columns["seed"] is None else f", seed {columns['seed']}"
        return {"kind": kind, "label": f"{kind}{seed}", "short": f"{kind}{seed}"}
    method, settings = model.split("/")[1:3]
    label = method_name(method, labels)
    short, setting = label.split(" (")[0], settings_name(settings)
    return {
        "kind": kind,
        "label": f"{short}, {setting}, epoch {columns['epoch']}",
        "short": f"{short} {columns['epoch']}",
        "method": method,
        "method_label": label,
        "trajectory": f"{method}/{settings}",
        "setting": setting,
        "epoch": columns["epoch"],
        "color": color_number(method) % COLORS,
    }


def _cost(sources: Sources, report: dict) -> list[tuple[str, str]]:
    """What the experiment took: training, answers, and what a language model was paid."""
    cost = []
    if sources.logs:
        steps = [len(read_json(path).get("steps", [])) for path in sources.logs]
        cost.append(("training runs", f"{len(steps):,}"))
        cost.append(("optimizer steps", f"{sum(steps):,}"))
    cost.append(("evaluated models", f"{len(sources.records):,} (with precisions)"))
    usage = (report.get("generation") or {}).values()
    parts = [part for part in usage if isinstance(part, dict)]
    if asked := sum(part.get("requests") or 0 for part in parts):
        tokens = sum((part.get("tokens_in") or 0) + (part.get("tokens_out") or 0) for part in parts)
        money = sum(part.get("usd") or 0 for part in parts)
        cost.append(
            ("writing the benchmark", f"{asked:,} requests, {tokens:,} tokens, ${money:.2f}")
        )
    elif parts:
        cost.append(("writing the benchmark", "offline, no requests"))
    return cost


def _profiles(path: Path | None) -> list[dict]:
    if path is None:
        return []
    lines = re.split("\r?\n", path.read_text(encoding="utf-8"))
    try:
        return [json.loads(line) for line in lines if line.strip()]
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON Lines ({error.msg})") from error
