"""What an attacker trains on: the attack sets of relearning. No torch: Snakemake imports this."""

import random
from collections.abc import Mapping, Sequence

from excise.errors import InputError

ATTACKS = ("forget_part", "correlated", "other", "forget_all")
"""Names of the attack sets; all but two hold no forget fact."""
GROUPS = {
    "forget_part": "sf",
    "correlated": "correlated",
    "other": "other",
    "forget_all": "sf",
}
"""Attack → the group of facts that it shows."""


def attack_set(attack: str, facts: Sequence[Mapping], share: float, seed: int) -> list[Mapping]:
    """The facts that an attack shows, in file order.

    Args:
        attack: one of `ATTACKS`.
        facts: all forget and retain facts (records *item*).
        share: share of the people whose forget facts `forget_part` shows.
        seed: of the choice of people. A larger share also holds the people of a smaller one.

    Raises:
        InputError: there are no such facts, or `forget_part` would leave no fact to score.
    """
    found = [fact for fact in facts if fact["group"] == GROUPS[attack]]
    if attack == "forget_part":
        people = shown_people([whose(fact) for fact in found], share, seed)
        found = [fact for fact in found if whose(fact) in people]
    if not found:
        raise InputError(
            f"relearning.attacks: {attack} needs facts of the group {GROUPS[attack]!r}; "
            "the benchmark has none"
        )
    return found


def shown_people(people: Sequence[str], share: float, seed: int) -> set[str]:
    """A seeded share of the people: at least one, and never all.

    Raises:
        InputError: there is only one person.
    """
    order = sorted(set(people))
    if len(order) < 2:
        raise InputError(
            f"relearning.attacks: forget_part needs forget facts about two people or more; "
            f"found {len(order)}"
        )
    random.Random(f"relearning-{seed}").shuffle(order)
    number = round(share * len(order))
    return set(order[: min(max(number, 1), len(order) - 1)])


def whose(fact: Mapping) -> str:
    """The person of a fact; where own files name nobody, the fact stands for itself."""
    return fact["id"] if fact["person_id"] is None else fact["person_id"]
