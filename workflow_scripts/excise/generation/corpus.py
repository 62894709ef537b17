"""Text to pretrain a small base model on: other people's lives, and the utility facts.

The corpus mixes three streams. *Kept* people come back until every question was seen many
times: from them the model learns to store. *Fresh* people are made up on the spot and never
come back: from them it learns to copy names and to answer in every phrasing. *Utility* facts
are asked in their pretraining phrasings only; the held-out phrasing is never shown. Some prompts
hold two questions about one person, as people ask them.
"""

import random
from collections.abc import Iterator
from itertools import count

from excise.benchmark.joint_questions import joined_answer, joined_question
from excise.benchmark.slots import SLOTS
from excise.generation.sampler import Sampler
from excise.generation.writing import TRAINED_ANSWER, answer, question

# The first answer phrasing, the value alone, is the one finetuning uses; the others are known, but
# rarer. Of people who never come back the value cannot be known: sentences teach copying the name.
ANSWER_WEIGHTS = (0.7, 0.2, 0.1)
FRESH_WEIGHTS = (0.2, 0.5, 0.3)

QuestionAnswer = tuple[str, str]


def ask(
    person: dict,
    slot_name: str,
    rng: random.Random,
    weights: tuple[float, ...] = ANSWER_WEIGHTS,
) -> QuestionAnswer:
    """One fact of a person in a random question and, by `weights`, answer phrasing."""
    slot = SLOTS[slot_name]
    phrasing = rng.choices(range(len(slot.answers)), weights)[0]
    return (
        question(slot, rng.randrange(len(slot.questions)), person),
        answer(slot, phrasing, person, person["slots"][slot_name]),
    )


def ask_two(person: dict, slot_name: str, rng: random.Random) -> QuestionAnswer:
    """A fact of a person and another one in one prompt, either first, both answered shortly."""
    pair = [slot_name, rng.choice([name for name in person["slots"] if name != slot_name])]
    rng.shuffle(pair)
    slots = [SLOTS[name] for name in pair]
    asked = [question(slot, rng.randrange(len(slot.questions)), person) for slot in slots]
    told = [answer(slot, TRAINED_ANSWER, person, person["slots"][slot.name]) for slot in slots]
    return joined_question(*asked), joined_answer(*told)


def _asked(
    facts: list[tuple[dict, str]],
    paired_share: float,
    rng: random.Random,
    weights: tuple[float, ...] = ANSWER_WEIGHTS,
) -> Iterator[QuestionAnswer]:
    """Every fact once, in a new order; a share of them together with another one."""
    rng.shuffle(facts)
    for person, slot in facts:
        if rng.random() < paired_share:
            yield ask_two(person, slot, rng)
        else:
            yield ask(person, slot, rng, weights)


def kept_people(people: int, seed: int, paired_share: float = 0.0) -> Iterator[QuestionAnswer]:
    """Every fact of the same people again and again, each round in a new order."""
    rng = random.Random(f"kept-{seed}")
    sampler = Sampler(seed, None, list(SLOTS.values()), name_space="pretraining")
    population = [sampler.person(f"kept{index}") for index in range(people)]
    facts = [(person, slot) for person in population for slot in person["slots"]]
    while True:
        yield from _asked(facts, paired_share, rng)


def fresh_people(seed: int, shuffled: int = 64) -> Iterator[QuestionAnswer]:
    """People that are never repeated; the facts of `shuffled` people at a time are mixed."""
    rng = random.Random(f"fresh-{seed}")
    sampler = Sampler(seed + 1, None, list(SLOTS.values()), name_space="pretraining")
    for start in count(step=shuffled):
        people = [sampler.person(f"fresh{start + index}") for index in range(shuffled)]
        facts = [(person, slot) for person in people for slot in person["slots"]]
        yield from _asked(facts, 0.0, rng, FRESH_WEIGHTS)


def utility_facts(utility: list[dict], seed: int) -> Iterator[QuestionAnswer]:
    """The utility facts in their pretraining phrasings, in rounds over all of them."""
    rng = random.Random(f"utility-{seed}")
    pairs = [(text, item) for item in utility for text in item["pretraining_questions"]]
    while True:
        rng.shuffle(pairs)
        for text, item in pairs:
            kind = "answer" if rng.random() < 0.8 else "paraphrased_answer"
            yield text, item[kind]


def mixed_batches(
    utility: list[dict],
    people: int,
    batch_size: int,
    fresh_share: float,
    utility_share: float,
    paired_share: float,
    seed: int,
) -> Iterator[list[QuestionAnswer]]:
    """Batches of `batch_size` prompts with answers, the three streams in fixed proportions."""
    fresh_count = round(batch_size * fresh_share)
    utility_count = round(batch_size * utility_share)
    counts = (batch_size - fresh_count - utility_count, fresh_count, utility_count)
    streams = (
        kept_people(people, seed, paired_share),
        fresh_people(seed),
        utility_facts(utility, seed),
    )
    while True:
        yield [
            next(stream) for stream, size in zip(streams, counts, strict=True) for _ in range(size)
        ]
