"""Plant a dose of entanglement in drawn people: bind correlated facts to forget facts.

The people are drawn first and changed afterwards. So all doses have the same people, the same
forget facts and the same unbound facts. Facts that are bound at a low dose are so at a higher one.
"""

import math
import random
from collections import defaultdict

from excise.benchmark.bindings import DONORS, WHOLE, bindable, bound_value
from excise.benchmark.slots import SLOTS
from excise.generation.sampler import POOLS, Sampler

DRAWS = 200  # names drawn as decoys before a shared word is accepted


def plant(people: list[dict], dose: float, seed: int, forbidden: frozenset[str]) -> list[dict]:
    """Bind a share of the correlated facts of every person (`excise.benchmark.bindings`).

    Args:
        people: drawn people, without texts.
        dose: share of the facts that can be bound, 0 to 1. A person's number is rounded so that
            the people have the dose together.
        seed: of the dataset.
        forbidden: names that no decoy may use, case-folded.

    Returns:
        The people; with dose 0 the very same records.
    """
    if not dose:
        return people
    taken = forbidden | {person["name"].casefold() for person in people}
    taken |= {value.casefold() for person in people for value in person["slots"].values()}
    held: dict[str, set[str]] = defaultdict(set)
    planted, due, done = [], 0.0, 0
    for person in people:
        slots = bindable(person["slots"])
        due += dose * len(slots)
        count = math.floor(due + 1e-9) - done
        done += count
        random.Random(f"entangled-{seed}-{person['person_id']}").shuffle(slots)
        bound = {slot: donor for slot, donor in DONORS.items() if slot in slots[:count]}
        planted.append(_bind(person, bound, seed, taken, held))
    return planted


def _bind(
    person: dict,
    bound: dict[str, str],
    seed: int,
    taken: frozenset[str],
    held: dict[str, set[str]],
) -> dict:
    """The person with bound facts; `held` collects the values of the partners of all people."""
    if not bound:
        return person
    values = dict(person["slots"])
    for slot, donor in bound.items():
        forget = person["slots"][donor]
        values[slot] = bound_value(slot, forget, person["slots"][slot])
        partner = SLOTS[slot].partner
        if slot in WHOLE or partner not in values:
            continue
        rng = random.Random(f"decoy-{seed}-{person['person_id']}-{slot}")
        own = person["slots"][partner]
        options = [bound_value(slot, decoy, own) for decoy in _decoys(donor, forget, rng, taken)]
        values[partner] = next((one for one in options if one not in held[partner]), options[0])
        held[partner].add(values[partner])
    return person | {"slots": values, "bound": bound}


def _decoys(donor: str, forget: str, rng: random.Random, taken: frozenset[str]) -> list[str]:
    """Values of the donor's type in random order, without words of the forget value."""
    if SLOTS[donor].value_type == "person":
        names = Sampler(rng.getrandbits(64), None, [], forbidden_names=taken)
        found = [names._full_name() for _ in range(DRAWS)]
    else:
        found = rng.sample(POOLS[SLOTS[donor].value_type], len(POOLS[SLOTS[donor].value_type]))
    words = set(forget.split()) - {"the"}
    return [value for value in found if not words & set(value.split())] or found
