"""Whether the generation states the value of the slot, and how often a guess would."""

import numpy as np
import pandas as pd

from excise.evaluation.metrics.interface import item_metric
from excise.evaluation.statistics import FIXED, PROPORTION


@item_metric(
    "slot_accuracy",
    scale=PROPORTION,
    higher_means="remembered",
    needs=("slot_match",),
    joint=True,
    convention="states the value in any spelling; not denied, left open or one of several",
)
def slot_accuracy(items: pd.DataFrame) -> pd.Series:
    """1 if the generation states the slot's true value (`excise.text.values`), else 0.

    Range 0–1; on sf lower = more forgotten, elsewhere higher = better kept; its floor is
    `guess_rate`. Source: this project.
    """
    return items["slot_match"]


@item_metric(
    "slot_accuracy_strict",
    scale=PROPORTION,
    higher_means="remembered",
    needs=("slot_match_strict",),
    joint=True,
    convention="contains the exact words of the value",
)
def slot_accuracy_strict(items: pd.DataFrame) -> pd.Series:
    """1 if the generation contains the value's words exactly as spelled, else 0.

    Range 0–1, direction as slot_accuracy. `8,380` is not `8380`; `not in Paris` contains Paris.
    Source: this project (the earlier slot accuracy).
    """
    return items["slot_match_strict"]


@item_metric(
    "guess_rate",
    scale=FIXED,
    higher_means="neither",
    needs=("person_id", "slot", "value"),
    utility=False,
    whole_set=True,
    convention="share of other people with the same value of the slot",
)
def guess_rate(items: pd.DataFrame) -> pd.Series:
    """Per question, the share of the *other* people whose value of this slot is the same.

    The mean is the slot accuracy of a guess that names another person's value of the slot. Such a
    guess knows all values of the slot, but nothing about the person. Range 0–1, the same for all
    models. NaN with one person only. Source: this project.
    """
    held = items.drop_duplicates(["person_id", "slot"])
    people = held.groupby("slot")["person_id"].nunique()
    same = held.groupby(["slot", "value"])["person_id"].nunique()
    counts = same.loc[list(zip(items["slot"], items["value"], strict=True))].to_numpy()
    others = people.loc[items["slot"]].to_numpy() - 1
    shares = np.where(others > 0, (counts - 1) / np.maximum(others, 1), np.nan)
    return pd.Series(shares, index=items.index)
