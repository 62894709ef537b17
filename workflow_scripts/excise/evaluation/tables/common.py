"""What all tables share: sets of questions, and notes for the reader."""

from collections.abc import Mapping, Sequence

import pandas as pd

from excise.benchmark.items import RETAIN_SETS, SELECTED_SETS, UNGROUPED_SET, Item
from excise.benchmark.probes import PROBES

SETS = {
    "sf": ("sf",),
    "forget_paraphrased": ("forget_paraphrased",),
    "correlated": ("correlated",),
    "other": ("other",),
    "sr": RETAIN_SETS,
    "utility": ("utility",),
    "holdout": ("holdout",),
    "forget_joint": ("forget_joint",),
    "retain_joint": ("retain_joint",),
    "forget_reversed": ("forget_reversed",),
    "forget_two_hop": ("forget_two_hop",),
    "forget_alias": ("forget_alias",),
    "retain_same_answer": RETAIN_SETS,
}
"""Sets of questions in result files, and the sets of the records they are made of."""
OPTIONAL_SETS = (*PROBES, *SELECTED_SETS)
"""Sets that may have no questions, and then have no rows."""


def members_of(items: pd.DataFrame, name: str) -> pd.DataFrame:
    """The records of a set in `SETS`.

    `retain_same_answer` keeps the retain facts whose value is also a forget value, of the same or
    of another person (FaithUn, arXiv 2502.19207): only the fact may be forgotten, not its words.
    """
    members = items[items["set"].isin(SETS[name])]
    if name not in SELECTED_SETS or members.empty:
        return members
    if "value" not in items:  # records of other programs
        return members[:0]
    forget = set(items.loc[items["set"] == "sf", "value"].dropna().map(str.casefold))
    members = members[members["value"].notna()]
    return members[members["value"].map(str.casefold).isin(forget)]


def row_set(name: str) -> str:
    """The set of a row about records of one set: retain facts without groups are all of `sr`."""
    return "sr" if name == UNGROUPED_SET else name


def with_units(
    rows: list[dict], notes: Sequence[str], asked: Mapping[str, Item] | None
) -> tuple[list[dict], list[str]]:
    """Rows and notes of a table; where no question is about a person, they say so.

    Intervals then are over questions (`excise.evaluation.reading.people_of`), and `n_people` is
    null.

    Args:
        rows: of the table.
        notes: of the table.
        asked: what models were asked; None: unknown, nothing changes.
    """
    if asked is None or any(item.person_id is not None for item in asked.values()):
        return rows, [*notes]
    return [row | {"n_people": None} for row in rows], [*notes, ABOUT_NOBODY]


ABOUT_NOBODY = (
    "The data name no person: every interval is over questions, where other notes say people."
)
BASIC_NOTES = [
    "Intervals: over people (over questions for utility), not adjusted for the number of rows; "
    "`interval` names the method (docs/statistics.md). Limits are null if all inputs were "
    "equal and the metric is unbounded: the width is then unknown. fixed: computed, not sampled.",
    "A value is null if any of its n inputs was NaN or infinite (n_undefined says how many).",
]
