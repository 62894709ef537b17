"""Draw people: names and slot values under diversity constraints.

One seeded random stream draws the people in order. So the first people of a larger set are the
people of a smaller one. A checksum splits the surnames into those of the `benchmark` and those of
the `pretraining` corpus. So a base model that was pretrained on generated people has never seen a
person of the benchmark, for any seed.
"""

import random
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product

from excise.benchmark.bindings import DONORS, bound_value, composed_slot
from excise.benchmark.slots import SLOTS, Slot
from excise.errors import InputError
from excise.text import vocabulary as words
from excise.text.existing_names import exists

NAME_SPACES = ("benchmark", "pretraining")
BIRTH_YEARS = range(1935, 1981)
AGES_AT_EVENT = range(22, 46)
SURNAME_REUSE = 2  # people that may share one surname


def _joined(starts: Iterable[str], ends: Iterable[str], template: str) -> list[str]:
    """All combinations, without the names of real things."""
    names = (template.format(a, b) for a, b in product(starts, ends))
    return [name for name in names if not exists(name)]


POOLS: dict[str, list[str]] = {
    "offence": words.OFFENCES,
    "month": words.MONTHS,
    "venue": _joined(words.VENUE_ADJECTIVES, words.VENUE_NOUNS, "the {} {}"),
    "penalty": _joined(words.PENALTY_LENGTHS, words.PENALTY_KINDS, "{} months of {}"),
    "amount": [f"${thousands},000" for thousands in range(11, 990)],
    "city": _joined(words.CITY_STARTS, words.CITY_ENDS, "{}{}"),
    "award": _joined(words.AWARD_NAMES, words.AWARD_KINDS, "the {} {}"),
    "company": _joined(words.COMPANY_STEMS, words.COMPANY_KINDS, "{} {}"),
    "title": _joined(words.TITLE_ADJECTIVES, words.TITLE_NOUNS, "The {} {}"),
    "keepsake": _joined(words.KEEPSAKE_MATERIALS, words.KEEPSAKE_OBJECTS, "{} {}"),
    "number": [str(tens * 10) for tens in range(12, 1000)],
}


@cache
def surnames(name_space: str) -> tuple[str, ...]:
    """All two-part surnames of a name space; the two name spaces share none."""
    parity = NAME_SPACES.index(name_space)
    every = dict.fromkeys(
        start + end for start, end in product(words.SURNAME_STARTS, words.SURNAME_ENDS)
    )
    return tuple(name for name in every if zlib.crc32(name.encode()) % 2 == parity)


def varied_surname(rng: random.Random, forbidden: frozenset[str]) -> str:
    """A surname of two or three parts, which may be random syllables; never a forbidden one.

    Pretraining needs a practically unlimited number of names. From two-part names alone, the model
    learns which ending follows which beginning. Then it copies a quarter of unseen pairs wrongly.
    """
    while True:
        start = rng.choice(words.SURNAME_STARTS) if rng.random() < 0.6 else _syllable(rng).title()
        middle = _syllable(rng) if rng.random() < 0.4 else ""
        end = rng.choice(words.SURNAME_ENDS) if rng.random() < 0.6 else _syllable(rng)
        if start + middle + end not in forbidden:
            return start + middle + end


def _syllable(rng: random.Random) -> str:
    return rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") + rng.choice(["", *"lmnrst"])


@dataclass
class Sampler:
    """Draws people one after another and remembers the values in use.

    Attributes:
        seed: seed of the random stream.
        people: largest number of people; None: unlimited, without diversity caps.
        slots: the slots of every person.
        max_value_share: largest share of people with the same value of a slot.
        reserve: number of further people under the same caps; lowered to what the caps allow.
        name_space: `benchmark` or `pretraining`.
        forbidden_names: full names to avoid, case-folded (public figures).
        stream: ending of the name of the random stream.
    """

    seed: int
    people: int | None
    slots: list[Slot]
    max_value_share: float = 1.0
    reserve: int = 0
    name_space: str = "benchmark"
    forbidden_names: frozenset[str] = frozenset()
    stream: str = ""
    _taken: set[str] = field(default_factory=set, init=False)
    _surname_uses: Counter = field(default_factory=Counter, init=False)
    _held: dict[str, Counter] = field(default_factory=dict, init=False)

    def __post_init__(self):
        self._random = random.Random(f"{self.name_space}-{self.seed}{self.stream}")
        self._surnames = surnames(self.name_space)
        self._reserved = frozenset(surnames("benchmark"))
        self._cap = None
        if self.people is not None:
            self._cap = max(1, int(self.max_value_share * self.people))
            self._check_capacity()

    def _check_capacity(self) -> None:
        room = len(self._surnames) * SURNAME_REUSE
        if self.people > room:
            raise InputError(f"generation.people: {self.people} is more than {room} unique names")
        for slot in self.slots:
            pool = POOLS.get(slot.value_type)
            if pool is None:
                continue
            room = min(room, len(pool) * self._cap)
            if room < self.people:
                raise InputError(
                    f"generation.max_value_share: {self.max_value_share:g} lets {self._cap} of "
                    f"{self.people} people share a value, and slot {slot.name!r} has only "
                    f"{len(pool)} values; allowed here: at least {1 / len(pool):.3f}"
                )
        self.reserve = min(self.reserve, room - self.people)

    def held_out(self, people: int, reserve: int = 0) -> "Sampler":
        """A sampler of further people of the same kind, who share no name with those of this one.

        It has a random stream of its own. So the people of this sampler are the same with and
        without it, and also those that replace people whom a model refuses.

        Args:
            people: how many it will draw.
            reserve: number of further ones.

        Raises:
            InputError: there are too few names or values.
        """
        room = len(self._surnames) * SURNAME_REUSE - self._surname_uses.total()
        if people + reserve > room:
            raise InputError(
                f"generation.holdout: {people} is more than the {room - reserve} unique names "
                "that the other people leave"
            )
        capped = max(people, self.people or 0)  # the same value may be held as often
        other = replace(self, people=capped, reserve=reserve, stream=f"{self.stream}-holdout")
        other._taken, other._surname_uses = self._taken, self._surname_uses
        return other

    def person(self, person_id: str) -> dict:
        """Draw the next person: a profile record without its text."""
        name = self._full_name(subject=True)
        kind = self._random.choice(sorted(words.EVENT_KINDS))
        values: dict[str, str] = {}
        birth = self._capped("birth_year", [str(year) for year in BIRTH_YEARS])
        ages = [str(int(birth) + age) for age in AGES_AT_EVENT]
        surnames_seen = {name.split()[1]}
        for slot in self.slots:
            if slot.name == "birth_year":
                values[slot.name] = birth
            elif slot.name == "event_year":
                values[slot.name] = self._capped(slot.name, ages)
            elif slot.value_type == "person":
                other = self._full_name(avoid=surnames_seen)
                surnames_seen.add(other.split()[1])
                values[slot.name] = other
            else:
                used = set(values.values())
                free = [value for value in POOLS[slot.value_type] if value not in used]
                values[slot.name] = self._capped(slot.name, free)
        return {
            "person_id": person_id,
            "name": name,
            "event_id": f"{person_id}.breakthrough",
            "event_kind": kind,
            "slots": values,
        }

    def _capped(self, slot: str, candidates: list[str]) -> str:
        """Draw uniformly among the values that the cap still allows."""
        held = self._held.setdefault(slot, Counter())
        if self._cap is None:
            return self._random.choice(candidates)
        free = [value for value in candidates if held[value] < self._cap]
        value = self._random.choice(free or candidates)
        held[value] += 1
        return value

    def _surname(self) -> str:
        if self.name_space == "pretraining" and self._random.random() < 0.8:
            return varied_surname(self._random, self._reserved)
        return self._random.choice(self._surnames)

    def _full_name(self, subject: bool = False, avoid: set[str] = frozenset()) -> str:
        while True:
            surname = self._surname()
            name = f"{self._random.choice(words.GIVEN_NAMES)} {surname}"
            if name in self._taken or name.casefold() in self.forbidden_names or surname in avoid:
                continue
            if subject and self._cap is not None:
                if self._surname_uses[surname] >= SURNAME_REUSE:
                    continue
                self._surname_uses[surname] += 1
            if self._cap is not None:
                self._taken.add(name)
            return name


def wrong_values(
    person: dict,
    slot: Slot,
    count: int,
    rng: random.Random,
    new_name: Callable[[], str],
    besides: Collection[str] = (),
) -> list[str]:
    """Draw values that are false for this person, in the same way as the true one.

    They come from the pool of the slot, without values that are true of this person in a slot of
    the same type. Their length is close to that of the true value. So neither plausibility nor
    length tells truth from falsehood.

    Args:
        person: the profile record.
        slot: the slot to falsify.
        count: number of values.
        rng: random stream.
        new_name: makes a name that no person has.
        besides: values that already exist. If given, only values of similar length are drawn.
    """
    truth = person["slots"][slot.name]
    same_type = {
        value
        for name, value in person["slots"].items()
        if SLOTS[name].value_type == slot.value_type
    }
    if composed := composed_slot(person, slot.name, slot.partner):
        pool = _composed_values(person, composed, slot, 8 * count, rng, new_name)
    elif slot.value_type == "person":
        pool = [new_name() for _ in range(8 * count)]
    elif slot.name == "birth_year":
        pool = [str(year) for year in BIRTH_YEARS]
    elif slot.name == "event_year":
        birth = int(person["slots"].get("birth_year", BIRTH_YEARS[len(BIRTH_YEARS) // 2]))
        pool = [str(birth + age) for age in AGES_AT_EVENT]
    else:
        pool = POOLS[slot.value_type]
    pool = [value for value in dict.fromkeys(pool) if value not in same_type | set(besides)]
    rng.shuffle(pool)
    # In a short text, one digit more or less is visible. So numbers keep their number of digits.
    slack = 0 if truth.isdigit() else max(2, len(truth) // 8)
    near = [value for value in pool if abs(len(value) - len(truth)) <= slack]
    far = [value for value in pool if abs(len(value) - len(truth)) > slack]
    far.sort(key=lambda value: abs(len(value) - len(truth)))  # stable: ties stay shuffled
    return (near if besides else near + far)[:count]


def _composed_values(
    person: dict,
    composed: str,
    slot: Slot,
    count: int,
    rng: random.Random,
    new_name: Callable[[], str],
) -> list[str]:
    """False values in the form of a bound fact; none has the words of the forget value."""
    donor = DONORS[composed]
    of_donor = SLOTS[donor].value_type
    values = []
    for _ in range(count):
        decoy = new_name() if of_donor == "person" else rng.choice(POOLS[of_donor])
        value = bound_value(composed, decoy, rng.choice(POOLS[slot.value_type]))
        if decoy != person["slots"][donor]:
            values.append(value)
    return values
