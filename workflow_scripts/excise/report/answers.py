"""What every model said about every fact, and what comes back under each way of asking.

The ways of asking come from the records: the sets of questions about forget facts, each at the
precisions that models were quantized to. A new attack that writes such records needs no code here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from excise.benchmark.items import RETAIN_SETS
from excise.evaluation.answer_types import AnswerSorter
from excise.evaluation.peers import Peers, peers_of
from excise.evaluation.reading import people_of, read_items
from excise.evaluation.statistics import SHARE, Estimate, difference_interval
from excise.report.coding import packed

FULL = "full"
"""Precision of a model that is not quantized."""
FORGET, UTILITY = "sf", "utility"
ASKED_PLAINLY = (FORGET, *RETAIN_SETS, UTILITY)
"""Sets with one question about each fact. Those about people are in the words of training."""
LEFT_OUT = ("holdout",)
"""Sets about facts that no model was taught."""
CODES = {
    "true_value": "t",
    "other_value": "o",
    "refusal": "r",
    "gibberish": "g",
    "other_text": "x",
}
MISSED, NOT_ASKED, NOT_JUDGED = "n", "-", "u"
"""Codes of an answer that has no type and is not the true value, of no answer, and of an answer
about a fact without a value (the user's own files)."""
NO_FILES: Mapping[tuple[str, str], Path] = {}
NO_OTHERS: Mapping[str, Peers] = {}
"""A study that audits no models of others."""
_END_OF_ID = re.compile(r"[.+]")
MOST_BYTES = 2_300_000
"""Largest size of all answers in the page, packed."""
READ = ("id", "set", "person_id", "slot", "value_type", "value", "question", "answer")
ANSWERED = ("generation", "slot_match", "shown")


def is_forget(name: str) -> bool:
    """Whether the questions of a set are about forget facts."""
    return name == FORGET or name.startswith("forget_")


@dataclass(frozen=True)
class Subject:
    """A model at a precision, or after a relearning attack, and its records.

    Attributes:
        model: its name.
        precision: `full`, or what it was quantized to.
        records: one row per question, indexed by id. Columns `answer_type`, `generation` and
            `slot_match` are missing where nothing was generated. After an attack, `shown` says
            whether the attacker showed the fact.
        attack: the relearning attack; None: not attacked.
    """

    model: str
    precision: str
    records: pd.DataFrame
    attack: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is the model itself: not quantized, not attacked."""
        return self.precision == FULL and self.attack is None


def read_subjects(
    files: Mapping[tuple[str, str], Path], relearned: Mapping[tuple[str, str], Path] = NO_FILES
) -> list[Subject]:
    """The records of all models with the type of each answer.

    Args:
        files: (model, precision) → file of records.
        relearned: (model, attack) → file of records after the attack.

    Raises:
        InputError: a file is missing or broken.
    """
    frames = {(*key, None): read_items(path) for key, path in files.items()}
    healthy = [
        frame
        for (model, precision, _), frame in frames.items()
        if precision == FULL
        and not model.startswith(("unlearn/", "audit/"))
        and "generation" in frame
    ]
    frames |= {(model, FULL, at): read_items(path) for (model, at), path in relearned.items()}
    sorter = AnswerSorter(healthy[0], healthy) if healthy else None
    subjects = []
    for (model, precision, attack), frame in frames.items():
        about = frame[~frame["set"].isin(LEFT_OUT)]
        if sorter is not None and not about.empty:
            about = sorter.with_types(about)
        kept = [name for name in (*READ, *ANSWERED, "answer_type") if name in about]
        subjects.append(Subject(model, precision, about[kept], attack))
    return subjects


def place_of(record: Mapping) -> tuple[str, str]:
    """Whose fact a question is about, and the fact's name among this person's.

    The name is the slot. The user's own files may have no persons or no slots: then the id of a
    fact names it. Ids of further questions about it continue after a dot or a plus.
    """
    person, slot, fact = record["person_id"], record["slot"], _END_OF_ID.split(record["id"])[0]
    if record["set"] == UTILITY:
        return UTILITY, fact
    if not isinstance(person, str):
        return fact, fact
    return person, slot if isinstance(slot, str) else fact


# --- what the page shows of each fact ---


class AnswerBook:
    """All facts of all people, with what each subject answered.

    Args:
        subjects: with the same questions; some may have been asked less.
    """

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self.subjects = list(subjects)
        self.texts: dict[str, int] = {}
        self.people: dict[str, dict[tuple[str, bool], dict]] = {}
        self.named: set[str] = set()  # people; own files may have none
        for number, subject in enumerate(self.subjects):
            for record in subject.records.to_dict("records"):
                self._add(number, record)

    def _add(self, number: int, record: dict) -> None:
        asked = self._asked(record)
        text = record.get("generation")
        if not isinstance(text, str):
            return
        kind = CODES.get(record.get("answer_type"))
        asked["said"][number] = self.texts.setdefault(text, len(self.texts))
        asked["kinds"][number] = kind or _kind_by_match(record["slot_match"])
        if record.get("shown") is True:
            asked["shown"] |= {self.subjects[number].attack}

    def _asked(self, record: dict) -> dict:
        person, name = place_of(record)
        facts = self.people.setdefault(person, {})
        if person == record["person_id"]:
            self.named.add(person)
        slot, value = (_text(record[key]) for key in ("slot", "value"))
        new = {"key": name, "slot": slot, "asked": {}}
        fact = facts.setdefault((name, is_forget(record["set"])), new)
        if record["set"] in ASKED_PLAINLY:
            fact |= {"group": record["set"], "value": value, "answer": record["answer"]}
        question = {"id": record["id"], "set": record["set"], "question": record["question"]}
        size = len(self.subjects)
        empty = {"said": [-1] * size, "kinds": [NOT_ASKED] * size, "shown": set()}
        return fact["asked"].setdefault(record["id"], question | empty)

    def packed(self, most: int = MOST_BYTES) -> tuple[str, list[str]]:
        """The answers, packed, and the people whose answers these are.

        The answers to utility questions are not counted among people. They are left out if they
        alone take more than half of the space.

        All people if they fit into `most` bytes. Otherwise as many as fit, of these in turn: whose
        retain facts were lost most, whose forget facts resisted most, and people by chance.
        """
        people = self.by_interest()
        general = [UTILITY] if UTILITY in self.people else []
        if general and len(packed(self.content(general))) > most / 2:
            general = []
        while True:
            text = packed(self.content([*people, *general]))
            if len(text) <= most or len(people) <= 1:
                return text, sorted(people)
            people = people[
                : max(1, min(len(people) - 1, int(0.95 * len(people) * most / len(text))))
            ]

    def content(self, people: Sequence[str]) -> dict:
        """The page's form of the answers of these people: subjects, texts and facts."""
        places: dict[int, int] = {}
        listed = []
        for person in sorted(people, key=lambda who: (who == UTILITY, who)):
            facts = [fact for fact in self.people[person].values() if "group" in fact]
            listed.append({"person_id": person, "facts": [_encoded(one, places) for one in facts]})
        by_place = {place: text for text, place in self.texts.items()}
        return {
            "subjects": [[one.model, one.precision, one.attack] for one in self.subjects],
            "texts": [by_place[place] for place in places],
            "people": listed,
        }

    def by_interest(self) -> list[str]:
        """All people: the most damaged, the most resistant and one by chance, in turn.

        Facts of own files without persons count as people here.
        """
        checkpoints = [
            number
            for number, one in enumerate(self.subjects)
            if one.model.startswith("unlearn/") and one.attack is None
        ]
        people = [who for who in self.people if who != UTILITY]
        lost = {who: self._known(who, RETAIN_SETS, checkpoints, 1.0) for who in people}
        kept = {who: -self._known(who, (FORGET,), checkpoints, 0.0) for who in people}
        chance = dict(
            zip(sorted(lost), np.random.default_rng(0).permutation(len(lost)), strict=True)
        )
        orders = [sorted(lost, key=lambda who: (by[who], who)) for by in (lost, kept, chance)]
        return list(dict.fromkeys(who for turn in zip(*orders, strict=True) for who in turn))

    def _known(
        self, person: str, groups: Sequence[str], subjects: Sequence[int], nothing: float
    ) -> float:
        """Share of a person's answers of these subjects that are the true value.

        `nothing` if no answer was judged.
        """
        kinds = [
            asked["kinds"][number]
            for fact in self.people[person].values()
            if fact.get("group") in groups
            for asked in fact["asked"].values()
            for number in subjects
            if asked["kinds"][number] not in (NOT_ASKED, NOT_JUDGED)
        ]
        return sum(kind == "t" for kind in kinds) / len(kinds) if kinds else nothing


def _encoded(fact: dict, places: dict[int, int]) -> dict:
    asked = [
        {
            "set": one["set"],
            "question": one["question"],
            "said": [-1 if n < 0 else places.setdefault(n, len(places)) for n in one["said"]],
            "kinds": "".join(one["kinds"]),
            "shown": sorted(one["shown"]),
        }
        for one in fact["asked"].values()
    ]
    kept = ("key", "slot", "group", "value", "answer")
    return {key: fact[key] for key in kept} | {"asked": asked}


def _text(value: object) -> str | None:
    """A text of a record; what a table reads for none is None again."""
    return value if isinstance(value, str) else None


def _kind_by_match(match: float | None) -> str:
    if match is None or np.isnan(match):
        return NOT_JUDGED
    return CODES["true_value"] if match else MISSED


# --- what comes back ---


def attack_rows(
    subjects: Sequence[Subject], confidence: float, given: Mapping[str, Peers] = NO_OTHERS
) -> Iterator[dict]:
    """Per model and way of asking: what is known of the forget facts, beyond the oracles.

    `value` is the share of questions answered with the true value (slot accuracy). `beyond` is it
    minus the mean of the oracles that were asked the same questions at the same precision; an
    oracle is compared with the others. `returned` counts only the facts that the model misses when
    it is asked plainly at full precision, also beyond the oracles (`returned_beyond`). Relearning
    has a table of its own; its subjects are left out here.

    Args:
        subjects: models at their precisions.
        confidence: coverage of the intervals.
        given: audited models and their references → what the config compares them with. Every
            other model is compared with the study's oracles.
    """
    subjects = [one for one in subjects if one.attack is None]
    models = list(dict.fromkeys(one.model for one in subjects))
    plain = {one.model: one for one in subjects if one.is_plain}
    for subject in subjects:
        if subject.model == "base" or "slot_match" not in subject.records:
            continue
        for name, asked in subject.records.groupby("set", sort=False):
            if not is_forget(name) or asked["slot_match"].isna().any():
                continue
            names = peers_of(subject.model, models, given).oracles
            same = [one for one in subjects if one.precision == subject.precision]
            oracles = [one for one in same if one.model in names]
            reference = _oracle_mean(oracles, asked.index)
            missed = _missed(plain.get(subject.model), asked)
            people = asked["person_id"]
            yield {
                "model": subject.model,
                "set": name,
                "precision": subject.precision,
                "n": len(asked),
                "n_people": people.nunique() if people.notna().all() else None,
                "value": float(asked["slot_match"].mean()),
                "oracle": None if reference is None else float(reference.mean()),
                "n_missed": int(missed.sum()),
                "returned": float(asked["slot_match"][missed].mean()) if missed.any() else None,
                **_beyond("beyond", asked, reference, confidence),
                **_beyond(
                    "returned_beyond",
                    asked[missed],
                    None if reference is None else reference[missed.to_numpy()],
                    confidence,
                ),
            }


def _oracle_mean(oracles: Sequence[Subject], ids: pd.Index) -> np.ndarray | None:
    """Mean over oracles of whether each question is answered, (n,); None if none was asked all."""
    asked = [
        one.records["slot_match"].reindex(ids).astype(float)
        for one in oracles
        if "slot_match" in one.records
    ]
    whole = [one.to_numpy() for one in asked if one.notna().all()]
    return np.mean(whole, axis=0) if whole else None


def _missed(plain: Subject | None, asked: pd.DataFrame) -> pd.Series:
    """Whether each question is about a fact that the model misses when asked plainly."""
    if plain is None or "slot_match" not in plain.records:
        return pd.Series(False, index=asked.index)
    forget = plain.records[plain.records["set"] == FORGET]
    known = {place_of(one): one["slot_match"] for one in forget.to_dict("records")}
    missed = [known.get(place_of(one)) == 0 for one in asked.to_dict("records")]
    return pd.Series(missed, index=asked.index, dtype=bool)


def _beyond(
    name: str, asked: pd.DataFrame, reference: np.ndarray | None, confidence: float
) -> dict[str, float | None]:
    if reference is None or asked.empty:
        found = Estimate(None, None, None, 0, 0)
    else:
        match, people = asked["slot_match"].to_numpy(float), people_of(asked).to_numpy(str)
        found = difference_interval(match, reference, people, SHARE, confidence)
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
