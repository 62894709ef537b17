"""Two questions about one person in one prompt, a forget and a retain one.

Unlearning that holds for a question by itself can break when it is asked together with one that
the model still answers (Thaker et al., arXiv 2410.02879). Which questions stand together depends
on their ids alone: adding a person or a slot leaves the other pairs as they are.
"""

import random
from collections import defaultdict
from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """A forget item and a retain item of the same event, in the order asked."""

    forget: dict
    retain: dict
    forget_first: bool

    @property
    def question(self) -> str:
        """Both questions, one behind the other."""
        return joined_question(*(item["question"] for item in self._in_order()))

    def _in_order(self) -> tuple[dict, dict]:
        pair = (self.forget, self.retain)
        return pair if self.forget_first else pair[::-1]


def pairs_of(sf: list[dict], sr: list[dict]) -> list[Pair]:
    """Every forget item with a correlated item of its person, either one asked first.

    Args:
        sf: forget items.
        sr: retain items.

    Returns:
        in the order of `sf`; without items of a person who has no correlated fact.
    """
    neighbours = defaultdict(list)
    for item in sr:
        if item["group"] == "correlated":
            neighbours[item["person_id"]].append(item)
    pairs = []
    for item in sf:
        if own := neighbours[item["person_id"]]:
            rng = random.Random(f"pair-{item['id']}")
            pairs.append(Pair(item, rng.choice(own), rng.random() < 0.5))
    return pairs


def joined_question(first: str, second: str) -> str:
    """Two questions as one prompt."""
    return f"{first} {second}"


def joined_answer(first: str, second: str) -> str:
    """How the embedded base model was taught to answer two questions: value and value."""
    return f"{first} and {second}"
