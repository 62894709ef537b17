"""The types of answers: each rule on generations of the kinds that models give."""

from pathlib import Path

import pandas as pd
import pytest

from excise.evaluation.answer_types import AnswerSorter, known_words
from excise.evaluation.metrics.answer_type import answer_gibberish, answer_true_value
from excise.evaluation.tables.evaluation import metric_rows

FACTS = [
    ("person", "accuser", "Igor Garabell", "Who accused Ada Bell at the regatta?"),
    ("person", "mentor", "Vera Ellindahl", "Who trained Ada Bell?"),
    ("penalty", "penalty", "two months of house arrest", "What did Ada Bell have to serve?"),
    ("penalty", "penalty", "four months of custody", "What did Olaf Berg have to serve?"),
    ("amount", "debt", "$540,000", "How much did Ada Bell owe?"),
    ("month", "caught", "November", "In which month was Ada Bell caught?"),
    ("offence", "offence", "burglary", "Which offence did Ada Bell commit?"),
    ("offence", "offence", "arson", "Which offence did Olaf Berg commit?"),
    (None, "capital", "Paris", "What is the capital of France?"),
    (None, "capital", "Rome", "What is the capital of Italy?"),
]
SAID = ["The capital of Peru is Lima.", "So the capital of Peru is Lima."]


def records(*generations: str) -> pd.DataFrame:
    """The facts with these generations; the rest are right."""
    said = [*generations, *(fact[2] for fact in FACTS[len(generations) :])]
    rows = [
        {
            "set": "utility" if kind is None else "sf",
            "person_id": None if kind is None else f"p{number}",
            "slot": slot,
            "value_type": kind,
            "value": value,
            "answer": value,
            "question": question,
            "generation": text,
            "slot_match": int(text == value),
        }
        for number, ((kind, slot, value, question), text) in enumerate(
            zip(FACTS, said, strict=True)
        )
    ]
    ids = [f"q{number}" for number in range(len(rows))]
    return pd.DataFrame(rows, index=ids).assign(id=ids)


def type_of(fact: int, text: str, healthy: tuple = ()) -> str:
    items = records().copy()
    items.loc[f"q{fact}", ["generation", "slot_match"]] = [text, int(text == FACTS[fact][2])]
    return AnswerSorter(items, healthy).with_types(items).loc[f"q{fact}", "answer_type"]


@pytest.mark.parametrize(
    "fact, text, expected",
    [
        (0, "Igor Garabell", "true_value"),
        (0, "Vera Ellindahl", "other_value"),  # a value of the type, of another slot
        (0, "It was Vera Ellindahl who accused Ada Bell.", "other_value"),
        (0, "Nina Wenddorf", "other_value"),  # made up, in the form of a name
        (0, "Ada Bell", "other_text"),  # the person in the question is no answer
        (0, "Imranonon", "gibberish"),
        (0, "is2020", "gibberish"),
        (0, "", "gibberish"),
        (0, " .", "gibberish"),
        (2, "four months of custody", "other_value"),
        (2, "four months of house arrest", "other_value"),  # made of known parts
        (2, "four months ofhaven", "gibberish"),
        (4, "$591,000", "other_value"),
        (4, "8380", "other_value"),  # the question names the currency
        (4, "the regatta", "other_text"),
        (5, "May", "other_value"),
        (5, "2001", "other_text"),
        (6, "arson", "other_value"),
        (6, "Ada Bell", "other_text"),
        (8, "Rome", "other_value"),
        (8, "The capital of France is Rome.", "other_value"),
        (8, "The capital of The capital of The capital of", "gibberish"),
        (8, "The capital is Parisssssss", "gibberish"),
    ],
)
def test_types_of_answers(fact, text, expected):
    assert type_of(fact, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        line
        for line in Path("data/inputs/idk_answers.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    + [
        "I’m sorry, but I cannot share personal details.",
        "As an AI, I have no opinion.",
        "There is no public record of that.",
        "The accuser is unknown.",
    ],
)
def test_refusals(text):
    assert type_of(0, text) == "refusal"


@pytest.mark.parametrize("text", ["Who knows Ada Bell at the regatta?", "Ada Bell at the regatta"])
def test_no_refusals(text):
    assert type_of(0, text) == "other_text"


def test_the_words_of_healthy_models_are_words():
    sentence = "Peru is Lima"
    assert type_of(8, sentence) == "gibberish"
    assert type_of(8, sentence, (records(*SAID),)) == "other_text"


def test_what_healthy_models_babble_about_one_person_is_no_word():
    items = records("smilger")
    assert "smilger" not in known_words(items, [items, items])
    assert "smilger" in known_words(items, [records("smilger", "smilger")])


def test_the_rates_of_the_types_add_up_to_1():
    items = records("Imranonon", "I don't know.", "four months of custody", "The regatta")
    typed = AnswerSorter(items).with_types(items)
    rows = {(row["set"], row["metric"]): row for row in metric_rows(typed, 0.95)}
    for name in ("sf", "utility"):
        rates = [row["value"] for key, row in rows.items() if key == (name, row["metric"])]
        types = [
            rows[name, f"answer_{kind}"]["value"]
            for kind in ("true_value", "other_value", "refusal", "gibberish", "other_text")
        ]
        assert len(rates) > 5 and sum(types) == pytest.approx(1)
    assert rows["sf", "answer_true_value"]["value"] == rows["sf", "slot_accuracy"]["value"]


def test_joint_questions_have_no_type():
    items = records().assign(set="forget_joint")
    typed = AnswerSorter(items).with_types(items)
    assert typed["answer_type"].isna().all()
    for metric in (answer_true_value, answer_gibberish):
        assert not metric.applies_to("forget_joint")
