"""The page: one file of HTML with its script, its data and plotly.js inside."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from excise.evaluation.conventions import CONVENTIONS
from excise.report.answers import UTILITY, AnswerBook, attack_rows, read_subjects
from excise.report.coding import encode_rows, packed, safe_json
from excise.report.definitions import column_definitions, metric_definitions
from excise.report.experiment import Experiment, Sources
from excise.report.meanings import MEANINGS

TEMPLATE, STYLE = "page/page.html", "page/style.css"
SCRIPTS = (
    "page/store.js",
    "page/widgets.js",
    "page/figures.js",
    "page/verdicts.js",
    "page/trade_off.js",
    "page/facts.js",
    "page/correlated.js",
    "page/comes_back.js",
    "page/quantized.js",
    "page/relearning.js",
    "page/inside.js",
    "page/benchmark.js",
    "page/tables.js",
    "page/start.js",
)
MOST_PROFILES = 10


@dataclass(frozen=True)
class Part:
    """One experiment as the page holds it.

    Attributes:
        about: small facts, readable JSON.
        tables: all tables, packed.
        answers: all answers, packed; None without records.
    """

    about: dict
    tables: str
    answers: str | None


def part_of(experiment: Experiment, sources: Sources) -> Part:
    """Read an experiment's records and put all of it into the page's form.

    Raises:
        InputError: records are missing or broken.
    """
    subjects = read_subjects(sources.records, sources.relearned)
    book = AnswerBook(subjects)
    answers, shown = book.packed() if book.texts else (None, [])
    tables = {
        stem: {key: table[key] for key in ("notes", "sha256")} | encode_rows(table["rows"])
        for stem, table in experiment.tables.items()
    }
    report = experiment.data_report
    about = {
        "name": experiment.name,
        "toy": experiment.is_toy,
        "confidence": experiment.confidence,
        "config": experiment.config,
        "versions": experiment.versions,
        "models": experiment.models,
        "cost": experiment.cost,
        "people": len(book.named),
        "shown_of": len(book.people.keys() - {UTILITY}),
        "people_shown": shown,
        "names": {one["person_id"]: one.get("name") for one in experiment.profiles},
        "profiles": experiment.profiles[:MOST_PROFILES],
        "card": experiment.card,
        "checks": report.get("checks", []),
        "measures": report.get("rows", []),
        "counts": report.get("validation", {}),
        "attacks": encode_rows(
            list(attack_rows(subjects, experiment.confidence, experiment.peers))
        ),
    }
    return Part(about, packed(tables), answers)


def render(parts: Sequence[Part]) -> str:
    """The page of one experiment, or of several beside each other."""
    here = Path(__file__).parent
    template = Environment(undefined=StrictUndefined, autoescape=True).from_string(
        (here / TEMPLATE).read_text(encoding="utf-8")
    )
    script = "\n".join((here / name).read_text(encoding="utf-8") for name in SCRIPTS)
    shared = {
        "metrics": metric_definitions(),
        "meanings": MEANINGS,
        "conventions": CONVENTIONS,
        "columns": column_definitions(),
    }
    return template.render(
        title=" and ".join(str(part.about["name"]) for part in parts),
        style=Markup((here / STYLE).read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()),
        script=Markup(script),
        shared=Markup(safe_json(shared)),
        parts=[
            {
                "about": Markup(safe_json(part.about)),
                "tables": Markup(part.tables),
                "answers": Markup(part.answers or ""),
            }
            for part in parts
        ],
    )
