"""A model writes paraphrased questions about all forget facts: one call per person."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from rapidfuzz import fuzz

from excise.benchmark.asked_for import ASK_WITH
from excise.benchmark.slots import SLOTS
from excise.generation.settings import WritingLimits
from excise.generation.verbalising.asking import Answers, Asker
from excise.generation.verbalising.checks import (
    cleaned,
    faulty,
    less_fitting,
    of_example,
    premise_faults,
    question_faults,
)
from excise.generation.verbalising.meanings import detail, names_event, subject
from excise.llm import Request
from excise.llm.prompts import Prompt
from excise.text.matching import content_words, likeness, mask, normalised, word_order_free
from excise.text.ngrams import ngrams

PLACEHOLDERS = ("data",)
TOKENS, TOKENS_PER_QUESTION = 150, 55

# The forms of paraphrased questions, in turn; trained questions have other forms (`qa`).
PARAPHRASED_FORMS = (
    "a request that opens with Name",
    "a request that opens with Tell me",
    "a statement that names the occasion, then a colon, then a short question",
    "a direct question that opens with the person's name",
    "a request that opens with State",
    "a question in the passive voice",
    "a request that opens with I would like to know",
)


@dataclass(frozen=True)
class Call:
    """One call: the forget facts of a person.

    Attributes:
        person: profile record.
        forget: qa records of the forget facts.
        facts: qa records of all facts of the person.
        trained: slot → trained questions of all people.
        phrasings: slot → trained phrasings of all people.
        count: paraphrased questions per fact.
    """

    person: dict
    forget: list[dict]
    facts: list[dict]
    trained: dict[str, list[str]]
    phrasings: dict[str, set[str]]
    count: int


def calls_of(people: dict[str, dict], qa: dict[str, list[dict]], count: int) -> dict[str, Call]:
    """Person id → call."""
    trained, phrasings = defaultdict(list), defaultdict(set)
    for person_id, records in qa.items():
        for record in records:
            trained[record["slot"]].append(record["question"])
            phrasings[record["slot"]].add(phrasing(record["question"], people[person_id]))
    return {
        person_id: Call(
            people[person_id],
            [record for record in records if record["group"] == "sf"],
            records,
            trained,
            phrasings,
            count,
        )
        for person_id, records in qa.items()
    }


def phrasing(question: str, person: dict) -> str:
    """A question with the person's name, values and kind of event masked."""
    return mask(question, person["name"], (*person["slots"].values(), person["event_kind"]))


def forget_paraphrased_request(call: Call, prompt: Prompt, sample: int) -> Request:
    """The request for paraphrased questions about the forget facts of a person."""
    forms = [PARAPHRASED_FORMS[index % len(PARAPHRASED_FORMS)] for index in range(call.count)]
    facts = [
        detail(record["slot"], record["value"], call.person)
        | {
            "trained_question": record["question"],
            "words_not_to_use": content_words(record["answer"], without=[record["name"]]),
        }
        for record in call.forget
    ]
    return Request(
        part="forget_paraphrased",
        subject=call.person["person_id"],
        system=prompt.system,
        user=prompt.fill(data=subject(call.person) | {"question_forms": forms, "facts": facts}),
        schema=prompt.reply([record["slot"] for record in call.forget], keys_of(call.count)),
        prompt_version=prompt.version,
        max_tokens=TOKENS + TOKENS_PER_QUESTION * call.count * len(facts),
        sample=sample,
    )


def keys_of(count: int) -> list[str]:
    """The keys of a fact's questions in a reply."""
    return [f"question_{number}" for number in range(1, count + 1)]


def forget_paraphrased_faults(
    call: Call, value: dict, example: Sequence[str] = (), *, limits: WritingLimits
) -> list[str]:
    """Find faults in the paraphrased questions of one person.

    Args:
        call: the call.
        value: the reply.
        example: names and values of the prompt's example.
        limits: what the texts are held to.
    """
    kind, slots = call.person["event_kind"], [fact["slot"] for fact in call.facts]
    asked = [
        (fact, key, cleaned(value["facts"][fact["slot"]][key]))
        for fact in call.forget
        for key in keys_of(call.count)
    ]
    given = [call.person["name"], *call.person["slots"].values()]
    texts = {f"{fact['slot']}, {key}": question for fact, key, question in asked}
    faults = of_example(texts, example, given)
    twin_faults = twins_of(asked, slots)
    for place, (fact, key, question) in enumerate(asked):
        others = [other for other in call.facts if other["slot"] != fact["slot"]]
        event = kind if names_event(SLOTS[fact["slot"]]) else None
        found = question_faults(question, fact, others, event, kind, limits)
        earlier = [text for earlier_fact, _, text in asked[:place] if earlier_fact is fact]
        found += trained_twin_faults(question, call, fact, limits)
        found += repetition_faults(question, earlier, fact, limits.near_duplicate)
        if place in twin_faults:
            found.append(twin_faults[place])
        faults += faulty(f"{fact['slot']}, {key}", question, found)
    premises = [(fact, question, fact["answer"]) for fact, _, question in asked]
    for slot, slot_faults in premise_faults(premises, limits).items():
        faults += [f"{slot}: {fault}" for fault in dict.fromkeys(slot_faults)]
    return faults


def twins_of(asked: Sequence[tuple[dict, str, str]], slots: Sequence[str]) -> dict[int, str]:
    """Find equal questions about two facts, which have two answers: place → fault.

    Of two such questions, the one that fits its fact less is at fault. If both fit, it is the later
    one.
    """
    first: dict[str, int] = {}
    found: dict[int, str] = {}
    for place, (fact, _, question) in enumerate(asked):
        twin = first.setdefault(normalised(question), place)
        other = asked[twin][0]
        if other is fact:
            continue
        wrong, right = place, twin
        if less_fitting((other, asked[twin][2]), (fact, question), slots):
            wrong, right = twin, place
            first[normalised(question)] = place
        found.setdefault(
            wrong,
            f"is a question of {asked[right][0]['slot']}, too, which has another answer; "
            f"ask with {ASK_WITH[asked[wrong][0]['value_type']]}",
        )
    return found


def trained_twin_faults(question: str, call: Call, fact: dict, limits: WritingLimits) -> list[str]:
    """Faults if the question is too close to a trained one: of this person, or about this slot."""
    if phrasing(question, call.person) in call.phrasings[fact["slot"]]:
        return ["is put as a trained question is; open otherwise and use other words"]
    of_person = [record["question"] for record in call.facts]
    text, grams = word_order_free(question), grams_of(question)
    for other in dict.fromkeys([*of_person, *call.trained[fact["slot"]]]):
        other_grams = grams_of(other)
        common = len(grams & other_grams)
        if (
            fuzz.ratio(text, word_order_free(other)) >= limits.split_ratio
            or common / (len(grams) + len(other_grams) - common) >= limits.split_jaccard
        ):
            return [
                f"is too close to the trained question “{other}”; use other words, otherwise put"
            ]
    return []


@lru_cache(maxsize=1 << 16)
def grams_of(text: str) -> frozenset[tuple[str, ...]]:
    """The word 5-grams of a text, cached, because each question is compared with all others."""
    return frozenset(ngrams(text))


def repetition_faults(question: str, earlier: list[str], fact: dict, near: float) -> list[str]:
    """Faults if the question equals an earlier one about its fact, or is alike from `near`."""
    for number, other in enumerate(earlier, start=1):
        if (
            normalised(question) == normalised(other)
            or likeness(question, other, fact["name"]) >= near
        ):
            return [f"repeats question_{number}, “{other}”; open otherwise and use other words"]
    return []


def paraphrase_records(call: Call, value: dict) -> list[dict]:
    """The records of one person's paraphrased questions."""
    kept = ("person_id", "name", "slot", "value_type", "value")
    return [
        {
            "id": f"{fact['id']}.q{number}",
            "fact_id": fact["id"],
            **{key: fact[key] for key in kept},
            "question": cleaned(value["facts"][fact["slot"]][key]),
            "answer": fact["answer"],
        }
        for fact in call.forget
        for number, key in enumerate(keys_of(call.count), start=1)
    ]


def write_paraphrases(
    asker: Asker,
    people: dict[str, dict],
    qa: dict[str, list[dict]],
    count: int,
    limits: WritingLimits,
) -> tuple[list[dict], Answers]:
    """Write the paraphrased questions of all forget facts.

    Args:
        asker: asks the model.
        people: profiles by person id.
        qa: qa records by person id.
        count: paraphrased questions per fact.
        limits: what the texts are held to.

    Returns:
        The records, without people whose questions all had faults; the answers.
    """
    calls = calls_of(people, qa, count)
    find_faults = partial(forget_paraphrased_faults, limits=limits)
    answers = asker.ask(calls, forget_paraphrased_request, find_faults)
    records = [
        record
        for person_id, call in calls.items()
        if person_id in answers.values
        for record in paraphrase_records(call, answers.values[person_id])
    ]
    return records, answers
