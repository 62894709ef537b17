"""The claims that a study tests, and the place of each effect in its tables.

Each claim is written as *effect > 0*. A claim has one case for each row that it is about, or a
few. `verdicts` judges each case. The claim as a whole has a verdict only if all its cases agree.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Snakemake imports this
    import pandas as pd

FIRST_STUDY = "first study on Qwen2.5-1.5B-Instruct"
EXCISE = "Excise"


@dataclass(frozen=True)
class Case:
    """The effect of one claim at one row of a table.

    Attributes:
        row: the row, whose model, set, metric and numbers of questions and people it keeps.
        value: the effect; None if undefined.
        low: lower limit of its interval.
        high: upper limit.
    """

    row: "pd.Series"
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        name: of the finding.
        statement: what it says.
        source: who says it.
        table: stem of the table; `{middle}` is the middle layer.
        test: what is compared, in one sentence.
        smallest: the smallest effect that matters; it does not depend on the data.
        unit: of the effect.
        cases: the table's rows → the cases.
    """

    name: str
    statement: str
    source: str
    table: str
    test: str
    smallest: float
    unit: str
    cases: "Callable[[pd.DataFrame], Iterator[Case]]"


def _number(value: object) -> float | None:
    return None if value is None or value != value else float(value)


def _as_it_stands(rows: "pd.DataFrame") -> Iterator[Case]:
    """Cases whose effects are the values of the rows."""
    for _, row in rows.iterrows():
        yield Case(row, *(_number(row[key]) for key in ("value", "ci_low", "ci_high")))


def _below(rows: "pd.DataFrame", mark: "Callable[[pd.Series], float | None]") -> Iterator[Case]:
    """The effect is how far a row lies below a mark."""
    for _, row in rows.iterrows():
        border = mark(row)
        value, low, high = (_number(row[key]) for key in ("value", "ci_low", "ci_high"))
        if border is None or None in (value, low, high):
            yield Case(row, None, None, None)
        else:
            yield Case(row, border - value, border - high, border - low)


def gap_at_matched_forgetting(rows: "pd.DataFrame") -> Iterator[Case]:
    """The gap other − correlated of slot accuracy where half of the forget facts are forgotten.

    It is the mean over all trajectories that get there.
    """
    return _as_it_stands(
        rows[
            (rows["comparison"] == "matched_forgetting")
            & (rows["matched_at"] == "0.5")
            & (rows["set"] == "gap")
            & (rows["metric"] == "slot_accuracy")
            & rows["method"].isna()
        ]
    )


def drift_below_oracles(rows: "pd.DataFrame") -> Iterator[Case]:
    """How far the drift of checkpoints lies below that of oracles that differ in seed alone."""
    chosen = rows[
        (rows["metric"] == "drift")
        & (rows["set"] == "sr")
        & (rows["position"] == "last_prompt")
        & rows["method"].notna()
    ]
    return _below(chosen, lambda row: _number(row["noise_floor_low"]))


def change_by_quantization(rows: "pd.DataFrame") -> Iterator[Case]:
    """What quantization adds to the answer probability on sf, beyond what it adds to oracles.

    Slot accuracy is too coarse: where no answer changes, its interval is ±.17 with 16 people.
    """
    return _as_it_stands(
        rows[
            (rows["metric"] == "change_beyond_oracles")
            & (rows["of"] == "probability")
            & (rows["set"] == "sf")
            & rows["method"].notna()
        ]
    )


def change_by_benign_relearning(rows: "pd.DataFrame") -> Iterator[Case]:
    """What retain facts bring back of sf at the last step, beyond what they teach the oracles."""
    return _as_it_stands(
        rows[
            (rows["metric"] == "change_beyond_oracles")
            & (rows["of"] == "slot_accuracy")
            & rows["attack"].isin(["correlated", "other"])
            & (rows["step"] == rows["step"].max())
            & rows["method"].notna()
        ]
    )


def distance_beyond_oracles(rows: "pd.DataFrame") -> Iterator[Case]:
    """How much farther checkpoints are from the oracles than these are from each other."""
    chosen = rows[
        (rows["metric"] == "truth_ratio_ks")
        & (rows["set"] == "sf")
        & rows["method"].notna()
        & rows["level"].notna()
    ]
    for _, row in chosen.iterrows():
        keys = ("value", "ci_low", "ci_high", "oracle_null", "null_low", "null_high")
        value, low, high, null, null_low, null_high = (_number(row[key]) for key in keys)
        if None in (value, low, high, null, null_low, null_high):
            yield Case(row, None, None, None)
        else:
            yield Case(row, value - null, low - null_high, high - null_low)


def depth_short_of_oracles(rows: "pd.DataFrame") -> Iterator[Case]:
    """How far the depth of erasure of checkpoints stays below that of the oracles."""
    scores = rows[(rows["metric"] == "uds") & (rows["set"] == "sf")]
    oracles = scores[scores["model"].astype(str).str.startswith("oracle/")]
    mark = _number(oracles["ci_low"].astype(float).min()) if len(oracles) else None
    chosen = scores[scores["method"].notna() & scores["level"].notna()]
    return _below(chosen, lambda row: mark)


def response_to_planted_entanglement(rows: "pd.DataFrame") -> Iterator[Case]:
    """How much the gap of bound pairs grows from dose 0 to dose 1, where most is forgotten."""
    chosen = rows[
        (rows["set"] == "gap_response")
        & (rows["metric"] == "log_probability_change")
        & (rows["dose"] == 1)
        & (rows["pairs"] == "bound")
        & rows["method"].notna()
    ]
    last = chosen.groupby(chosen["model"].str.rpartition("/")[0])["epoch"].transform("max")
    return _as_it_stands(chosen[chosen["epoch"] == last])


CLAIMS = (
    Claim(
        "correlated_suffer_more",
        "Correlated facts suffer more than other facts of the same person.",
        FIRST_STUDY,
        "comparison_results",
        "Gap of slot accuracy, other - correlated, over partner questions, where half of the "
        "forget facts are forgotten: the mean over the trajectories that get there.",
        0.1,
        "slot accuracy",
        gap_at_matched_forgetting,
    ),
    Claim(
        "middle_layer_unmoved",
        "Hidden states of the middle layer do not move (no further than oracles are apart).",
        FIRST_STUDY,
        "repr_results_{middle}",
        "Smallest lower limit of the drift between oracles of different seeds, minus the drift of "
        "a checkpoint on retain facts at the last prompt token; a case for each checkpoint.",
        0.05,
        "drift",
        drift_below_oracles,
    ),
    Claim(
        "quantization_restores",
        "Quantization partly undoes unlearning.",
        FIRST_STUDY,
        "quantize_results",
        "Change of the answer probability on sf by quantization, minus the mean change of the "
        "oracles; a case for each chosen checkpoint and precision.",
        0.05,
        "probability",
        change_by_quantization,
    ),
    Claim(
        "relearning_restores",
        "A few steps of training on retain facts bring forgotten facts back.",
        EXCISE,
        "relearn_results",
        "Change of slot accuracy on sf by the last step of an attack that shows only retain facts, "
        "minus the mean change of the oracles; a case for each chosen checkpoint and attack.",
        0.1,
        "slot accuracy",
        change_by_benign_relearning,
    ),
    Claim(
        "not_like_never_learnt",
        "Unlearned models do not behave like models that never saw the facts.",
        EXCISE,
        "distance_results",
        "KS statistic of truth ratios on sf against the oracles, minus that between oracles; a "
        "case for each chosen checkpoint.",
        0.1,
        "KS statistic",
        distance_beyond_oracles,
    ),
    Claim(
        "erasure_is_shallow",
        "The forgotten values can still be read in the layers of unlearned models.",
        EXCISE,
        "depth_results",
        "Lower limit of the Unlearning Depth Score of oracles, minus that of a checkpoint; a case "
        "for each chosen checkpoint.",
        0.1,
        "UDS",
        depth_short_of_oracles,
    ),
)
CONTROL = Claim(
    "instrument_sees_entanglement",
    "The gap grows where entanglement is planted, so this instrument can see it.",
    EXCISE,
    "entanglement_response",
    "Gap of the change of log-probability at dose 1 minus that at dose 0, over bound pairs; a case "
    "for the last checkpoint of each trajectory.",
    0.1,
    "nats per token",
    response_to_planted_entanglement,
)
"""The positive control; its table is made by another experiment."""
