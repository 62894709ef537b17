"""The corpus that pretrains a small base model: facts about other people, and the utility facts.

The corpus mixes three streams. *Kept* people are repeated until the model has seen every question
many times: from them it learns to store facts. *Fresh* people occur once: from them it learns to
copy names and to answer in every phrasing. *Utility* facts occur in their pretraining phrasings
only, never in the evaluated phrasing. Some prompts hold two questions about one person.
"""

import random
from collections.abc import Iterator
from itertools import count

from excise.benchmark.joint_questions import joined_answer, joined_question
from excise.benchmark.slots import SLOTS
from excise.generation.sampler import Sampler
from excise.generation.writing import TRAINED_ANSWER, answer, question

# Finetuning uses the first answer phrasing, the value alone; so the others are rarer. The model
# cannot know the values of fresh people. Their sentences teach it to copy names.
ANSWER_WEIGHTS = (0.7, 0.2, 0.1)
FRESH_WEIGHTS = (0.2, 0.5, 0.3)

QuestionAnswer = tuple[str, str]


def question_answer(
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


def joint_question_answer(person: dict, slot_name: str, rng: random.Random) -> QuestionAnswer:
    """Two facts of a person in one prompt, in random order; both answers are values alone."""
    pair = [slot_name, rng.choice([name for name in person["slots"] if name != slot_name])]
    rng.shuffle(pair)
    slots = [SLOTS[name] for name in pair]
    questions = [question(slot, rng.randrange(len(slot.questions)), person) for slot in slots]
    answers = [answer(slot, TRAINED_ANSWER, person, person["slots"][slot.name]) for slot in slots]
    return joined_question(*questions), joined_answer(*answers)


def _questions_of(
    facts: list[tuple[dict, str]],
    paired_share: float,
    rng: random.Random,
    weights: tuple[float, ...] = ANSWER_WEIGHTS,
) -> Iterator[QuestionAnswer]:
    """Every fact once, in a new order; a share of them in a prompt with another fact."""
    rng.shuffle(facts)
    for person, slot in facts:
        if rng.random() < paired_share:
            yield joint_question_answer(person, slot, rng)
        else:
            yield question_answer(person, slot, rng, weights)


def kept_people(people: int, seed: int, paired_share: float = 0.0) -> Iterator[QuestionAnswer]:
    """Every fact of the same people, in endless rounds, each in a new order."""
    rng = random.Random(f"kept-{seed}")
    sampler = Sampler(seed, None, list(SLOTS.values()), name_space="pretraining")
    population = [sampler.person(f"kept{index}") for index in range(people)]
    facts = [(person, slot) for person in population for slot in person["slots"]]
    while True:
        yield from _questions_of(facts, paired_share, rng)


def fresh_people(seed: int, shuffled: int = 64) -> Iterator[QuestionAnswer]:
    """Facts of people that never repeat; the facts of `shuffled` people at a time are mixed."""
    rng = random.Random(f"fresh-{seed}")
    sampler = Sampler(seed + 1, None, list(SLOTS.values()), name_space="pretraining")
    for start in count(step=shuffled):
        people = [sampler.person(f"fresh{start + index}") for index in range(shuffled)]
        facts = [(person, slot) for person in people for slot in person["slots"]]
        yield from _questions_of(facts, 0.0, rng, FRESH_WEIGHTS)


def utility_facts(utility: list[dict], seed: int) -> Iterator[QuestionAnswer]:
    """The utility facts in their pretraining phrasings, in endless rounds."""
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
