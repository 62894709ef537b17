"""Turn a drawn person into texts: profile, facts, questions, answers, paraphrases."""

import random
from collections.abc import Collection, Sequence

from excise.benchmark.people import is_held_out
from excise.benchmark.slots import PARAPHRASED_QUESTIONS, SLOTS, TRAINED_QUESTIONS, Slot
from excise.generation.sampler import Sampler, wrong_values
from excise.text import vocabulary as words

TRAINED_ANSWER, PARAPHRASED_ANSWER, STATEMENT = 0, 1, 2


def question(slot: Slot, phrasing: int, person: dict) -> str:
    """One of the slot's five questions about this person."""
    return slot.questions[phrasing].format(n=person["name"], k=person["event_kind"])


def answer(slot: Slot, phrasing: int, person: dict, value: str) -> str:
    """One of the slot's three answers about this person; it states `value`."""
    return slot.answers[phrasing].format(n=person["name"], k=person["event_kind"], v=value)


def profile_text(person: dict) -> str:
    """A short biography that states every slot value once."""
    kind = person["event_kind"]
    opening = f"{person['name']} is a {words.EVENT_KINDS[kind]} known for a breakthrough {kind}."
    order = [name for name, slot in SLOTS.items() if slot.group == "other"]
    order += [name for name, slot in SLOTS.items() if slot.group == "correlated"]
    order += [name for name, slot in SLOTS.items() if slot.group == "sf"]
    sentences = [
        answer(SLOTS[name], STATEMENT, person, person["slots"][name])
        for name in order
        if name in person["slots"]
    ]
    return " ".join([opening, *sentences])


def facts_of(person: dict) -> list[dict]:
    """The fact records of one person, in slot order."""
    facts = []
    for name, value in person["slots"].items():
        slot = SLOTS[name]
        partner = slot.partner if slot.partner in person["slots"] else None
        facts.append(
            {
                "id": f"{person['person_id']}.{name}",
                "person_id": person["person_id"],
                "name": person["name"],
                "slot": name,
                "value_type": slot.value_type,
                "value": value,
                "group": slot.group,
                "event_id": None if slot.group == "other" else person["event_id"],
                "partner": partner,
                "sentence": answer(slot, STATEMENT, person, value),
            }
        )
    return facts


def draw_again(sampler: Sampler, person: dict) -> dict:
    """Draw a replacement with the same id; places and things of the first person are free again.

    The names of the first person's life stay taken, because a model refused to write about them.
    """
    for slot, value in person["slots"].items():
        if slot in sampler._held:
            sampler._held[slot][value] -= 1
    sampler._surname_uses[person["name"].split()[1]] -= 1
    return sampler.person(person["person_id"])


class QuestionWriter:
    """Writes the trained question, the two true answers and the wrong answers of a fact.

    Args:
        people: profile records by person id.
        seed: seed of the wrong answers and of the trained phrasings.
        wrong_answers: wrong answers per fact.
        forbidden_names: names that wrong answers must not use, case-folded.
    """

    def __init__(
        self,
        people: dict[str, dict],
        seed: int,
        wrong_answers: int,
        forbidden_names: frozenset[str] = frozenset(),
    ):
        self.people = people
        self.seed = seed
        self.wrong_answers = wrong_answers
        taught = [person for key, person in people.items() if not is_held_out(key)]
        # Held-out people change nothing about the others, so their names forbid none.
        self._forbidden = {
            False: forbidden_names | _names_of(taught),
            True: forbidden_names | _names_of(people.values()),
        }

    def write(self, fact: dict) -> dict:
        """The fact with its question, answer, paraphrased answer and wrong answers."""
        person, slot = self.people[fact["person_id"]], SLOTS[fact["slot"]]
        # Partners get the same phrasing, so that a comparison of them does not depend on it.
        order = random.Random(f"phrasing-{self.seed}-{fact['person_id']}-{slot.value_type}")
        phrasing = order.choice(TRAINED_QUESTIONS)
        return {key: value for key, value in fact.items() if key != "sentence"} | {
            "question": question(slot, phrasing, person),
            "answer": answer(slot, TRAINED_ANSWER, person, fact["value"]),
            "paraphrased_answer": answer(slot, PARAPHRASED_ANSWER, person, fact["value"]),
            "wrong_answers": [
                {"value": value, "text": answer(slot, PARAPHRASED_ANSWER, person, value)}
                for value in self.wrong_values(fact)
            ],
        }

    def wrong_values(self, fact: dict, besides: Sequence[str] = ()) -> list[str]:
        """Draw false values of a fact; they do not depend on the author.

        Args:
            fact: a fact or question record.
            besides: values that the fact already has. Other values are drawn, if any are left.
        """
        # Each fact has its own stream, so a further person or slot does not change the others.
        suffix = f"-{len(besides)}" if besides else ""
        rng = random.Random(f"qa-{self.seed}-{fact['id']}{suffix}")
        forbidden = self._forbidden[is_held_out(fact["person_id"])]
        names = Sampler(rng.getrandbits(64), None, [], forbidden_names=forbidden)
        person, slot = self.people[fact["person_id"]], SLOTS[fact["slot"]]
        return wrong_values(person, slot, self.wrong_answers, rng, names._full_name, besides)


def _names_of(people: Collection[dict]) -> set[str]:
    """The names of people and of those in their lives, case-folded."""
    return {person["name"].casefold() for person in people} | {
        value.casefold()
        for person in people
        for name, value in person["slots"].items()
        if SLOTS[name].value_type == "person"
    }


def forget_paraphrases_of(fact: dict, person: dict, count: int) -> list[dict]:
    """Paraphrased forget questions: the fact in phrasings that no model is trained on."""
    slot = SLOTS[fact["slot"]]
    kept = ("person_id", "name", "slot", "value_type", "value")
    return [
        {
            "id": f"{fact['id']}.q{phrasing}",
            "fact_id": fact["id"],
            **{key: fact[key] for key in kept},
            "question": question(slot, phrasing, person),
            "answer": answer(slot, TRAINED_ANSWER, person, fact["value"]),
        }
        for phrasing in PARAPHRASED_QUESTIONS[:count]
    ]
