"""What a metric is: one function, its kind, and what is known of its values.

| kind | the function takes | and gives |
|---|---|---|
| `item_metric` | records of one model | one number per question |
| `reference_metric` | records of one model and of a reference | one number per question |
| `two_set_metric` | scores of one set and of another, by another metric | the AUC of the scores |
| `leak_metric` | that AUC, and the AUC of a reference | one number |
| `rescaled_metric` | that AUC, and the AUCs of finetuned and of the oracles | one number |
| `distribution_metric` | records of one set, of one model and of a reference | one number |
| `composite_metric` | the means of other metrics | one number |

Records are a frame with one row per question, indexed by question id. Its columns are the keys of
`items.jsonl`, and those columns of `tokens.parquet` that `needs` names as `<answer>.<column>`:
`answer.rank` holds for each question an array with the rank of every token of the true answer
(`excise.evaluation.tokens`). A number is NaN where it is undefined.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from excise.benchmark.items import GENERATED_SETS, HOLDOUT_SET, SELECTED_SETS
from excise.evaluation.statistics import Scale

HigherMeans = Literal["remembered", "forgotten", "neither"]
WRONG_ANSWERS = "logprob_wrong"
"""Column of the records that is an empty list where a question has no wrong answers."""
MAY_LACK = frozenset({"slot_match", "slot_match_strict", "value", "slot", "person_id"})
"""Columns that are null where the user's own files lack a field; no model makes them null."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A function with its declarations; calling it calls the function.

    Attributes:
        name: as in result files.
        function: its docstring gives formula, range, direction and source.
        scale: range of the numbers. It decides how mean and interval are computed.
        higher_means: what a higher number says about the facts asked for.
        needs: columns of the records that the function reads.
        joint: whether it also means something where only the generation is known: two questions
            with one answer, and probes.
        utility: whether it also means something for real-world questions.
        whole_set: whether a question's number depends on the other questions of its set.
        convention: which of the forms in circulation this is, in a few words. It stands beside
            every figure of the metric.
    """

    name: str
    function: Callable
    scale: Scale
    higher_means: HigherMeans
    needs: tuple[str, ...]
    joint: bool = False
    utility: bool = True
    whole_set: bool = False
    convention: str = ""

    def __call__(self, *records: pd.DataFrame) -> pd.Series | float:
        """What the function gives."""
        return self.function(*records)

    def applies_to(self, name: str) -> bool:
        """Whether the metric means something on the set `name`."""
        if name in GENERATED_SETS:
            return self.joint
        if name in SELECTED_SETS:
            return not self.whole_set
        if name == HOLDOUT_SET:  # only the true answer is scored
            return not any("paraphrase" in one or "wrong" in one for one in self.needs)
        return self.utility or name != "utility"

    def defined_on(self, items: pd.DataFrame) -> pd.DataFrame:
        """The questions that count: those with wrong answers, a value, a slot, a person if needed.

        The others do not count in `n`, and not in `n_undefined` either, which counts failures of
        a collapsed model.
        """
        for name in MAY_LACK.intersection(self.needs).intersection(items.columns):
            if items[name].isna().any():
                items = items[items[name].notna()]
        if WRONG_ANSWERS not in self.needs or items.empty:
            return items
        return items[[isinstance(wrong, list) and bool(wrong) for wrong in items[WRONG_ANSWERS]]]


class ItemMetric(Metric):
    """One number per question of one model."""

    def values(self, items: pd.DataFrame) -> np.ndarray:
        """The number of each question, NaN where undefined: (n,)."""
        return self.function(items).astype(float).to_numpy()


@dataclass(frozen=True, kw_only=True)
class ReferenceMetric(Metric):
    """One number per question of one model, compared with a reference model.

    Attributes:
        reference: `finetuned` or `oracle`. With several oracles, a question's number is the mean
            over them. An oracle is compared with the other oracles.
    """

    reference: Literal["finetuned", "oracle"]

    def values(self, items: pd.DataFrame, references: Sequence[pd.DataFrame]) -> np.ndarray:
        """The number of each question, NaN where undefined: (n,).

        Args:
            items: records of the model.
            references: records of each reference model, with all questions of `items`.
        """
        columns = list(self.needs)
        found = [self.function(items, one.loc[items.index, columns]) for one in references]
        return np.mean([one.astype(float).to_numpy() for one in found], axis=0)


@dataclass(frozen=True, kw_only=True)
class TwoSetMetric(Metric):
    """The AUC of another metric's numbers for one model: do they tell one set from another?

    Attributes:
        members: the set of the questions that were trained on.
        others: the set it is compared with, about other people. Records without it have no row of
            this metric.
        score: the other metric.
    """

    members: str
    others: str
    score: ItemMetric | ReferenceMetric

    def scores(self, items: pd.DataFrame, references: Sequence[pd.DataFrame] = ()) -> np.ndarray:
        """How much each question looks like one of `members`, NaN where undefined: (n,).

        Args:
            items: records of the model.
            references: of the score's reference models, if it has any.
        """
        compared = (references,) if isinstance(self.score, ReferenceMetric) else ()
        sign = -1 if self.score.higher_means == "forgotten" else 1
        return sign * self.score.values(items, *compared)


@dataclass(frozen=True, kw_only=True)
class LeakMetric(TwoSetMetric):
    """The AUC of one model, compared with the mean AUC of reference models.

    Attributes:
        reference: as in `ReferenceMetric`. Without one there is no row.
    """

    reference: Literal["oracle"]


@dataclass(frozen=True, kw_only=True)
class RescaledMetric(TwoSetMetric):
    """The AUC of one model between that of the finetuned model and the mean AUC of the oracles.

    Without a finetuned model or without an oracle there is no row. An oracle is compared with the
    other oracles.
    """

    references: tuple[str, ...] = ("finetuned", "oracle")


@dataclass(frozen=True, kw_only=True)
class DistributionMetric(Metric):
    """One number for a set of questions: all answers of one model against those of a reference.

    Attributes:
        reference: as in `ReferenceMetric`; an oracle is compared with the other oracles.
        column: of the records, whose distribution is compared.
        sets: where it means something; empty: on every set.
        is_test: whether the number is the p of a test: it has no interval, and several references
            give the geometric mean. Otherwise it is a distance D, and they give the mean.
    """

    reference: Literal["finetuned", "oracle"]
    column: str
    sets: tuple[str, ...] = ()
    is_test: bool = False

    def applies_to(self, name: str) -> bool:
        """Whether the metric means something on the set `name`."""
        return super().applies_to(name) and (not self.sets or name in self.sets)


@dataclass(frozen=True, kw_only=True)
class CompositeMetric(Metric):
    """One number for one model, from the means of other metrics on sets of questions.

    Attributes:
        parts: a set of result files and the metric that is averaged on it. Records without one of
            the sets have no row.
    """

    parts: tuple[tuple[str, ItemMetric], ...]

    def applies_to(self, name: str) -> bool:
        """Never: it is of no single set."""
        return False


def item_metric(name: str, **declared) -> Callable[[Callable], ItemMetric]:
    """Declare a metric of one model; the keywords are the attributes of `Metric`."""
    return lambda function: ItemMetric(name=name, function=function, **declared)


def reference_metric(name: str, **declared) -> Callable[[Callable], ReferenceMetric]:
    """Declare a metric against a reference model; keywords as in `ReferenceMetric`."""
    return lambda function: ReferenceMetric(name=name, function=function, **declared)


def two_set_metric(name: str, score: Metric, **declared) -> Callable[[Callable], TwoSetMetric]:
    """Declare the AUC of a score; keywords as in `TwoSetMetric`. It needs what the score needs."""
    declared |= {"score": score, "needs": score.needs}
    return lambda function: TwoSetMetric(name=name, function=function, **declared)


def leak_metric(name: str, score: Metric, **declared) -> Callable[[Callable], LeakMetric]:
    """Declare a comparison of such an AUC with the oracles'; keywords as in `LeakMetric`."""
    declared |= {"score": score, "needs": score.needs}
    return lambda function: LeakMetric(name=name, function=function, **declared)


def rescaled_metric(name: str, score: Metric, **declared) -> Callable[[Callable], RescaledMetric]:
    """Declare such an AUC between finetuned's and the oracles'; keywords as in `TwoSetMetric`."""
    declared |= {"score": score, "needs": score.needs}
    return lambda function: RescaledMetric(name=name, function=function, **declared)


def distribution_metric(name: str, **declared) -> Callable[[Callable], DistributionMetric]:
    """Declare a metric of whole distributions; keywords as in `DistributionMetric`."""
    return lambda function: DistributionMetric(name=name, function=function, **declared)


def composite_metric(name: str, **declared) -> Callable[[Callable], CompositeMetric]:
    """Declare a metric made of the means of others; keywords as in `CompositeMetric`."""
    return lambda function: CompositeMetric(name=name, function=function, **declared)
