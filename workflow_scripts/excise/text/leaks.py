"""What a text gives away: an incident fact, or the answer to a question."""

from rapidfuzz import fuzz

from excise.text.matching import content_words
from excise.text.values import gives_away


def leaked(fact: dict, text: str, name: str, ratio: float) -> str | None:
    """The part of an incident fact that `text` contains, or None."""
    value = fact["value"]
    if gives_away(text, value, fact["value_type"]):
        return value
    if fact["value_type"] == "month":
        return None
    own, there = content_words(value), content_words(text, without=[name])
    if len(own) > 1 and fuzz.token_set_ratio(" ".join(own), " ".join(there)) >= ratio:
        return f"nearly {value!r}"
    for word in own:
        if word.isdigit() and len(word) >= 3 and word in there:
            return word
    if fact["value_type"] == "person" and own and own[-1] in there:
        return own[-1]
    return None


def premise_share(question: str, answer: str, name: str) -> float:
    """Share of the answer's content words that stand in the question; the name is left out."""
    answer_words = set(content_words(answer, without=[name]))
    if not answer_words:
        return 0.0
    return len(answer_words & set(content_words(question, without=[name]))) / len(answer_words)
