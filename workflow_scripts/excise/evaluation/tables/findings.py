"""The findings of a study: each claim with its cases, and one row with the verdict on all."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from excise.evaluation.findings.claims import Case, Claim
from excise.evaluation.findings.verdicts import detectable, together, verdict
from excise.evaluation.results import checkpoint_levels
from excise.evaluation.tables.settings import FindingSettings

FINDING_NOTES = [
    "Each effect is defined so that the claim predicts a value above 0. confirmed = its interval "
    "lies above 0. refuted = it lies below smallest_effect. undecided = neither; detectable = the "
    "effect that a study of this precision finds with a chance of 80 % (in rows with cases: the "
    "largest).",
    "A row with `cases` is about the claim as a whole, or about one level of unlearning: its "
    "verdict is that of all its cases if they agree, otherwise undecided. cases counts them by "
    "their verdicts. Such a row has an effect only if it has one case.",
    "Intervals are not adjusted for the number of cases.",
    "replicated = the same claim as a whole has this verdict in every replication (findings of "
    "the same experiment with other seeds of data and finetuning); null without one. Only a "
    "verdict that is replicated stands.",
    "A finding holds for the model, the people and the methods of this experiment (`config`), and "
    "for no others.",
]
KEYS = ("model", "method", "epoch", "seed", "learning_rate", "beta", "retain_weight", "set")
COUNTS = ("interval", "n", "n_people", "n_undefined")
PLACES = ("level", "precision", "attack", "step", "layer", "position", "matched_at")
Verdicts = Mapping[tuple[str, str | None], str]
"""(claim, level or None for all cases) → verdict."""


def finding_rows(
    tables: Mapping[str, pd.DataFrame],
    claims: Sequence[Claim],
    settings: FindingSettings,
    replications: Sequence[Verdicts] = (),
) -> Iterator[dict]:
    """The rows of every claim as a whole and per level, then those of its cases.

    Args:
        tables: stem of a table → its rows. A claim without its table has no row.
        claims: to judge.
        settings: coverage of the intervals in the tables, and levels.
        replications: verdicts of other runs.
    """
    levels = checkpoint_levels(settings.levels)
    for claim in claims:
        if claim.table not in tables:
            continue
        cases = claim.cases(_of_the_study(tables[claim.table]))
        rows = [_case_row(claim, case, levels, settings.confidence) for case in cases]
        yield _whole_row(claim, None, rows, replications)
        for level in settings.levels:
            if own := [row for row in rows if row["level"] == level]:
                yield _whole_row(claim, level, own, replications)
        yield from rows


def _of_the_study(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows without audited models: claims are about the methods of this experiment."""
    return rows[~rows["model"].astype(str).str.startswith(("audit/", "reference/"))]


def _about(claim: Claim) -> dict:
    return {
        "finding": claim.name,
        "statement": claim.statement,
        "source": claim.source,
        "table": claim.table,
        "test": claim.test,
        "unit": claim.unit,
        "smallest_effect": claim.smallest,
    }


def _case_row(claim: Claim, case: Case, levels: Mapping[str, str], confidence: float) -> dict:
    here = {key: _plain(case.row.get(key)) for key in (*KEYS, *COUNTS, *PLACES)}
    here["level"] = levels.get(here["model"])
    here["n"] = here["n"] or 0
    here["n_undefined"] = here["n_undefined"] or 0
    return (
        _about(claim)
        | here
        | {
            "metric": claim.name,
            "value": case.value,
            "ci_low": case.low,
            "ci_high": case.high,
            "verdict": verdict(case.low, case.high, claim.smallest),
            "detectable": detectable(case.low, case.high, confidence),
            "replicated": None,
            "stands": None,
            "cases": None,
        }
    )


def _whole_row(
    claim: Claim, level: str | None, rows: list[dict], replications: Sequence[Verdicts]
) -> dict:
    verdicts = [row["verdict"] for row in rows]
    whole, key = together(verdicts), (claim.name, level)
    known = [one[key] for one in replications if key in one]
    replicated = all(one == whole for one in known) if known else None
    found = [row["detectable"] for row in rows if row["detectable"] is not None]
    people = [row["n_people"] for row in rows if row["n_people"] is not None]
    counted = [f"{count} {name}" for name, count in sorted(Counter(verdicts).items())]
    effect = ("value", "ci_low", "ci_high", "interval")
    shown = rows[0] if len(rows) == 1 else {}
    return _about(claim) | {
        **dict.fromkeys((*KEYS, *PLACES)),
        **{key: shown.get(key) for key in effect},
        "level": level,
        "metric": claim.name,
        "n": len(rows),
        "n_people": min(people, default=None),
        "n_undefined": sum(row["value"] is None for row in rows),
        "verdict": whole,
        "detectable": max(found, default=None),
        "replicated": replicated,
        "stands": bool(replicated) and whole != "undecided",
        "cases": ", ".join(counted) or "none",
    }


def _plain(value: object) -> object:
    """A cell of a frame as JSON has it: null for NaN, whole numbers as such."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value.item() if hasattr(value, "item") else value


def verdicts_of(rows: pd.DataFrame) -> Verdicts:
    """The verdicts on claims as a whole and per level, from the rows of a findings file."""
    whole = rows[rows["cases"].notna()]
    levels = [level if isinstance(level, str) else None for level in whole["level"]]
    keys = zip(whole["finding"], levels, strict=True)
    return dict(zip(keys, whole["verdict"], strict=True))
