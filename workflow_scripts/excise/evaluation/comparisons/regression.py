"""Least squares with standard errors over people, and what describes a retain fact."""

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from excise.benchmark.items import RETAIN_SETS
from excise.benchmark.slots import SLOTS
from excise.evaluation.statistics import Estimate

TERMS = ("same_event", "same_question_form", "same_value_type", "tfidf_distance")
SMALLEST_EIGENVALUE = 1e-10
FEWEST = 10
"""Smallest number of lost and of kept facts for which a coefficient has an interval."""
WORD = re.compile(r"\w+")


class ClusteredRegression:
    """Least squares within people: predictors and outcomes as deviations from a person's mean.

    Intercepts of people are absorbed, so a coefficient compares facts of one person. Standard
    errors are CR2 over people with Satterthwaite's degrees of freedom, for equal and independent
    errors as working model. With intercepts of clusters absorbed, both are exact.
    Sources: Bell and McCaffrey (2002); Pustejovsky and Tipton (2018), also for the absorption.

    Args:
        predictors: (n, k); a column that does not vary within people, or that the columns before
            it determine, has no coefficient.
        clusters: the person of each row, (n,).

    Attributes:
        kept: the columns with a coefficient.
        inflation: variance inflation factor of each column of `kept`: 1 = unrelated to the others.
    """

    def __init__(self, predictors: np.ndarray, clusters: Sequence):
        _, self.membership = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
        within = self._within(predictors)
        self.kept = _independent(within)
        self.design = within[:, self.kept]
        self.n, self.people = len(predictors), int(self.membership.max(initial=-1)) + 1
        square = self.design.T @ self.design
        self.inverse = np.linalg.inv(square)
        self.inflation = np.diag(self.inverse) * np.diag(square)
        self.adjusted = np.zeros_like(self.design)  # CR2: A_g X_g, person by person
        own_part = np.zeros((self.people, len(self.kept)))
        shared_part = np.zeros((self.people, len(self.kept), len(self.kept)))
        for person in range(self.people):
            rows = np.flatnonzero(self.membership == person)
            own = self.design[rows]
            left = np.eye(len(rows)) - 1 / len(rows) - own @ self.inverse @ own.T
            values, vectors = np.linalg.eigh(left)
            roots = np.where(values > SMALLEST_EIGENVALUE, values, np.inf) ** -0.5
            self.adjusted[rows] = (vectors * roots) @ vectors.T @ own
            weights = self.adjusted[rows] @ self.inverse
            own_part[person] = ((weights - weights.mean(axis=0)) ** 2).sum(axis=0)
            shared_part[person] = own.T @ weights
        self.freedom = [
            self._satterthwaite(own_part[:, k], shared_part[:, :, k]) for k in range(len(self.kept))
        ]

    def _satterthwaite(self, own: np.ndarray, shared: np.ndarray) -> float:
        """(tr B)²/tr(B²) with B = W'(I − H)W, where column g of W holds A_g X_g (X'X)⁻¹ c."""
        product = np.diag(own) - shared @ self.inverse @ shared.T
        square = float((product**2).sum())
        return float(np.trace(product)) ** 2 / square if square > 0 else 0.0

    def _within(self, values: np.ndarray) -> np.ndarray:
        """Deviations from the person's mean."""
        sizes = np.bincount(self.membership)
        sums = np.zeros((len(sizes), values.shape[1]))
        np.add.at(sums, self.membership, values)
        return values - (sums / sizes[:, None])[self.membership]

    def fit(self, outcome: np.ndarray, confidence: float) -> list[Estimate]:
        """The coefficient of each column of `kept`; no limits if the fit leaves no error.

        An outcome of 0 and 1 has no limits either if fewer than `FEWEST` numbers are 0 or 1:
        with a handful of lost facts the intervals are too narrow (docs/comparisons.md).

        Args:
            outcome: (n,); coefficients are None if any number is undefined.
            confidence: coverage of the intervals.
        """
        undefined = int((~np.isfinite(outcome)).sum())
        if undefined:
            empty = Estimate(None, None, None, self.n, self.people, undefined)
            return [empty for _ in self.kept]
        centred = self._within(outcome[:, None])[:, 0]
        coefficients = self.inverse @ (self.design.T @ centred)
        left = centred - self.design @ coefficients
        scores = np.zeros((self.people, len(self.kept)))
        np.add.at(scores, self.membership, self.adjusted * left[:, None])
        variance = np.diag(self.inverse @ (scores.T @ scores) @ self.inverse)
        rare = (
            set(np.unique(outcome)) <= {0, 1} and min(outcome.sum(), (1 - outcome).sum()) < FEWEST
        )
        found = []
        for value, own, freedom in zip(coefficients, variance, self.freedom, strict=True):
            estimate = Estimate(float(value), None, None, self.n, self.people)
            if own > 1e-24 and freedom >= 1 and not rare:
                half = float(stdtrit(freedom, (1 + confidence) / 2)) * math.sqrt(own)
                estimate = Estimate(
                    *(float(value), float(value - half), float(value + half)),
                    *(self.n, self.people, 0, "cluster_regression_t"),
                )
            found.append(estimate)
        return found


def _independent(columns: np.ndarray) -> list[int]:
    """The columns that are not a combination of those before them."""
    kept: list[int] = []
    for number in range(columns.shape[1]):
        column, before = columns[:, number], columns[:, kept]
        size = np.linalg.norm(column)
        rest = column - before @ np.linalg.lstsq(before, column, rcond=None)[0] if kept else column
        if size > 1e-9 and np.linalg.norm(rest) > 1e-6 * size:
            kept.append(number)
    return kept


def describe_facts(items: pd.DataFrame) -> pd.DataFrame:
    """What each retain fact shares with the forget facts of its person: `TERMS`, by id.

    same_event: 1 for a fact of the forgotten event (`correlated`). same_question_form: 1 if a
    forget fact of the person is asked in the same frame and phrasing. same_value_type: 1 if one
    has a value of the same type. tfidf_distance: 1 − the largest TF-IDF cosine of question and
    answer with one of them (0 = same words, 1 = no word in common). It measures shared words and
    not meaning.

    Args:
        items: records of one model, all sets.
    """
    retained = items[items["set"].isin(RETAIN_SETS)]
    forget = items[items["set"] == "sf"]
    forms = {name: question_form(*pair) for name, pair in _asked(items).items()}
    texts = {name: f"{q} {a}" for name, q, a in _texts(pd.concat([forget, retained]))}
    vectors = tfidf(texts)
    by_person = {person: list(group["id"]) for person, group in forget.groupby("person_id")}
    typed = forget[forget["value_type"].notna()]
    types = typed.groupby("person_id")["value_type"].agg(set).to_dict()
    rows = []
    for record in retained.itertuples():
        others = by_person.get(record.person_id, [])
        near = max((_cosine(vectors[record.id], vectors[other]) for other in others), default=0.0)
        rows.append(
            {
                "same_event": float(record.set == "correlated"),
                "same_question_form": float(forms[record.id] in {forms[one] for one in others}),
                "same_value_type": float(record.value_type in types.get(record.person_id, ())),
                "tfidf_distance": 1 - near,
            }
        )
    return pd.DataFrame(rows, index=retained.index, columns=list(TERMS))


def _asked(items: pd.DataFrame) -> dict[str, tuple[str, str]]:
    return {
        name: (slot, question)
        for name, slot, question in zip(items["id"], items["slot"], items["question"], strict=True)
    }


def _texts(items: pd.DataFrame) -> zip:
    return zip(items["id"], items["question"], items["answer"], strict=True)


def question_form(slot: str, question: str) -> tuple:
    """The frame of a question and which of its phrasings it is; its first word if it is another.

    Questions of the offline author follow a phrasing word for word. A language model may word
    them otherwise.
    """
    frame = SLOTS[slot].frame.questions if slot in SLOTS else ()
    for number, template in enumerate(frame):
        pattern = re.sub(r"\\\{\w+\\\}", ".+", re.escape(template))
        if re.fullmatch(pattern, question):
            return frame, number
    return frame, question.split(maxsplit=1)[0].casefold() if question.strip() else ""


def tfidf(texts: dict[str, str]) -> dict[str, dict[str, float]]:
    """Text id → word → weight, of length 1: count · (ln((1 + texts)/(1 + texts with it)) + 1).

    Source: Salton and Buckley (1988), with the smoothing that scikit-learn documents.
    """
    words = {name: Counter(WORD.findall(text.casefold())) for name, text in texts.items()}
    spread = Counter(word for found in words.values() for word in found)
    rarity = {word: math.log((1 + len(texts)) / (1 + n)) + 1 for word, n in spread.items()}
    vectors = {}
    for name, found in words.items():
        weights = {word: count * rarity[word] for word, count in found.items()}
        length = math.sqrt(sum(weight**2 for weight in weights.values())) or 1.0
        vectors[name] = {word: weight / length for word, weight in weights.items()}
    return vectors


def _cosine(one: dict[str, float], two: dict[str, float]) -> float:
    return min(1.0, sum(weight * two.get(word, 0.0) for word, weight in one.items()))
