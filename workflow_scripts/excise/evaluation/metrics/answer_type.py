"""What a model answers instead of the truth: another value, a refusal, gibberish or other text.

The five rates of a set add up to 1. `excise.evaluation.answer_types` sorts the generations, with a
list of words that count as a refusal. The column `answer_type` is there where a table adds it.
"""

import pandas as pd

from excise.evaluation.metrics.interface import item_metric
from excise.evaluation.statistics import PROPORTION

COLUMN = "answer_type"
DECLARED = {"scale": PROPORTION, "needs": (COLUMN,)}
RULES = "by rules without a language model, docs/architecture.md"


@item_metric(
    "answer_true_value",
    higher_means="remembered",
    convention=f"states the true value, as slot_accuracy, {RULES}",
    **DECLARED,
)
def answer_true_value(items: pd.DataFrame) -> pd.Series:
    """1 if the generation states the true value, else 0: the same as `slot_accuracy`.

    Range 0–1; on sf lower = more forgotten, elsewhere higher = better kept. Source: this project.
    """
    return items["answer_type"] == "true_value"


@item_metric(
    "answer_other_value",
    higher_means="neither",
    convention=f"states another value of the slot or of its type, {RULES}",
    **DECLARED,
)
def answer_other_value(items: pd.DataFrame) -> pd.Series:
    """1 if the generation gives another value of the slot or of its value type, else 0.

    Range 0–1. It is what an oracle does on sf: it guesses in the right form. On other sets it is a
    false statement about a person. Source: this project.
    """
    return items["answer_type"] == "other_value"


@item_metric(
    "answer_refusal",
    higher_means="neither",
    convention=f"says that it does not know or will not say, {RULES}",
    **DECLARED,
)
def answer_refusal(items: pd.DataFrame) -> pd.Series:
    """1 if the generation says that the model does not know or will not say, else 0.

    Range 0–1. On sf compare with the oracle; on other sets it is damage. Source: this project.
    """
    return items["answer_type"] == "refusal"


@item_metric(
    "answer_gibberish",
    higher_means="neither",
    convention=f"empty, a loop, or a third of its words unknown, {RULES}",
    **DECLARED,
)
def answer_gibberish(items: pd.DataFrame) -> pd.Series:
    """1 if the generation is empty, loops, or has many words that nobody uses, else 0.

    Range 0–1; lower = better on every set: an oracle does not babble. Source: this project.
    """
    return items["answer_type"] == "gibberish"


@item_metric(
    "answer_other_text",
    higher_means="neither",
    convention=f"none of the other four types, {RULES}",
    **DECLARED,
)
def answer_other_text(items: pd.DataFrame) -> pd.Series:
    """1 if the generation is readable but neither a value of the type nor a refusal, else 0.

    Range 0–1. Source: this project.
    """
    return items["answer_type"] == "other_text"
