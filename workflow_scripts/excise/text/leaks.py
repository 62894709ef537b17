"""Find leaks in a text: an incident fact, or the answer to a question."""

from rapidfuzz import fuzz

from excise.text.matching import content_words
from excise.text.values import gives_away


def leaked(fact: dict, text: str, name: str, ratio: float) -> str | None:
    """The part of an incident fact that `text` reveals, or None."""
    value = fact["value"]
    if gives_away(text, value, fact["value_type"]):
        return value
    if fact["value_type"] == "month":
        return None
    value_words, text_words = content_words(value), content_words(text, without=[name])
    similarity = fuzz.token_set_ratio(" ".join(value_words), " ".join(text_words))
    if len(value_words) > 1 and similarity >= ratio:
        return f"nearly {value!r}"
    for word in value_words:
        if word.isdigit() and len(word) >= 3 and word in text_words:
            return word
    if fact["value_type"] == "person" and value_words and value_words[-1] in text_words:
        return value_words[-1]
    return None


def premise_share(question: str, answer: str, name: str) -> float:
    """Share of the answer's content words that the question contains, without the name."""
    answer_words = set(content_words(answer, without=[name]))
    if not answer_words:
        return 0.0
    return len(answer_words & set(content_words(question, without=[name]))) / len(answer_words)
