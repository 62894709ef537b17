"""Plant what drawn people lack: entanglement in a dose, and answers that two people share.

The people are drawn first and changed afterwards. So all doses have the same people, the same
forget facts and the same unbound facts. Facts that are bound at a low dose are so at a higher one.
The same is true of shared answers.
"""

import math
import random
from collections import defaultdict

from excise.benchmark.bindings import (
    DONORS,
    SHARED,
    SHARED_FROM,
    WHOLE,
    bindable,
    bound_value,
)
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


def share_answers(people: list[dict], share: float, seed: int) -> list[dict]:
    """Give a share of the people a retain fact with the value of another person's forget fact.

    Only the fact may be forgotten, not the words: the other fact must survive (the set
    retain_same_answer). A forget value is shared at most once.

    Args:
        people: drawn people, without texts.
        share: of the people, rounded down.
        seed: of the dataset.

    Returns:
        The people; with share 0 the very same records.
    """
    if not share:
        return people
    order = [one for one in people if {SHARED, SHARED_FROM} <= one["slots"].keys()]
    random.Random(f"shared-{seed}").shuffle(order)
    donors = zip(order, order[1:] + order[:1], strict=True)
    pairs = [(taker, donor) for taker, donor in donors if _can_share(taker, donor)]
    wanted = math.floor(share * len(people) + 1e-9)
    given = {taker["person_id"]: donor for taker, donor in pairs[:wanted]}
    return [_share(one, given.get(one["person_id"])) for one in people]


def _can_share(taker: dict, donor: dict) -> bool:
    """Whether they are two people, and no value or name of the taker has a word of the donor's."""
    words = set(donor["slots"][SHARED_FROM].split())
    own = [taker["name"], *taker["slots"].values()]
    return taker is not donor and not any(words & set(value.split()) for value in own)


def _share(person: dict, donor: dict | None) -> dict:
    if donor is None:
        return person
    slots = person["slots"] | {SHARED: donor["slots"][SHARED_FROM]}
    return person | {"slots": slots, "shared": {SHARED: donor["person_id"]}}


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
