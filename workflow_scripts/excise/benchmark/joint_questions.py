"""Joint questions: a forget question and a retain question about one person in one prompt.

A model that has unlearned a single question may still answer it in one prompt with a question that
it knows (Thaker et al., arXiv 2410.02879). The pairs depend on the ids of the questions only. So a
further person or slot does not change the other pairs.
"""

import random
from collections import defaultdict
from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """A forget item and a retain item of the same event, and their order in the prompt."""

    forget: dict
    retain: dict
    forget_first: bool

    @property
    def question(self) -> str:
        """Both questions, in order."""
        return joined_question(*(item["question"] for item in self._in_order()))

    def _in_order(self) -> tuple[dict, dict]:
        pair = (self.forget, self.retain)
        return pair if self.forget_first else pair[::-1]


def pairs_of(sf: list[dict], sr: list[dict]) -> list[Pair]:
    """Pair every forget item with a correlated item of its person, in random order.

    Args:
        sf: forget items.
        sr: retain items.

    Returns:
        The pairs, in the order of `sf`, without people who have no correlated fact, and without
        facts about nobody.
    """
    correlated = defaultdict(list)
    for item in sr:
        if item["group"] == "correlated" and item["person_id"] is not None:
            correlated[item["person_id"]].append(item)
    pairs = []
    for item in sf:
        if candidates := correlated[item["person_id"]]:
            rng = random.Random(f"pair-{item['id']}")
            pairs.append(Pair(item, rng.choice(candidates), rng.random() < 0.5))
    return pairs


def joined_question(first: str, second: str) -> str:
    """Two questions as one prompt."""
    return f"{first} {second}"


def joined_answer(first: str, second: str) -> str:
    """The answer to two questions that the embedded base model was trained on: value and value."""
    return f"{first} and {second}"
