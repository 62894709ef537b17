"""Check that a wrong answer is false and differs from the true one in its value only."""

from collections.abc import Iterable

from excise.text.matching import normalised, words
from excise.text.values import states


def falsehood_faults(item: dict, detail: dict, person_items: Iterable[dict]) -> list[str]:
    """Find faults in the wrong answers of one question.

    Args:
        item: the question.
        detail: its true paraphrase and its wrong answers.
        person_items: all questions about the person, with the true values.
    """
    true_values = {
        normalised(other["value"]): other["slot"]
        for other in person_items
        if other["value_type"] == item["value_type"]
    }
    return edit_faults(detail, true_values, value_type=item["value_type"])


def edit_faults(
    record: dict, true_values: dict[str, str], edits: bool = True, value_type: str | None = None
) -> list[str]:
    """Find faults in the wrong answers of one record.

    Args:
        record: has `value`, `paraphrased_answer` and `wrong_answers`.
        true_values: normal form of each true value of the person → its slot.
        edits: whether each text must be the paraphrase with another value.
        value_type: type of the value (see `excise.text.values`).
    """
    paraphrase, value = record["paraphrased_answer"], record["value"]
    faults, seen = [], set()
    if not states(paraphrase, value, value_type):
        faults.append(f"paraphrased answer does not state {value!r}")
    for wrong in record["wrong_answers"]:
        candidate = normalised(wrong["value"])
        if candidate in true_values:
            faults.append(f"{wrong['value']!r} is true: it is the {true_values[candidate]!r}")
        elif candidate in seen:
            faults.append(f"{wrong['value']!r} occurs twice")
        elif not states(wrong["text"], wrong["value"], value_type):
            faults.append(f"text does not state its value {wrong['value']!r}")
        elif 0 < _count(paraphrase, value) <= _count(wrong["text"], value):
            faults.append(f"text holds the true value {value!r}")
        elif edits and not is_slot_edit(paraphrase, value, wrong["text"], wrong["value"]):
            faults.append(f"{wrong['text']!r} differs from the paraphrase in more than the value")
        seen.add(candidate)
    return faults


def is_slot_edit(paraphrase: str, value: str, text: str, wrong_value: str) -> bool:
    """Whether `text` is `paraphrase` with its value replaced once; `a` and `an` are equal."""
    old, new = words(value), words(wrong_value)
    source, target = words(paraphrase), _article_free(words(text))
    return any(
        _article_free(source[:start] + new + source[start + len(old) :]) == target
        for start in range(len(source) - len(old) + 1)
        if source[start : start + len(old)] == old
    )


def _article_free(sentence: tuple[str, ...]) -> list[str]:
    return ["a" if word == "an" else word for word in sentence]


def _count(text: str, value: str) -> int:
    """How often `text` contains the words of `value`."""
    sentence, sought = words(text), words(value)
    starts = range(len(sentence) - len(sought) + 1)
    return sum(sentence[start : start + len(sought)] == sought for start in starts)
