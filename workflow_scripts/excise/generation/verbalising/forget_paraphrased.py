"""Held-out questions by a model: every forget fact asked again, one call a person."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz import fuzz

from excise.benchmark.asked_for import ASK_WITH
from excise.benchmark.limits import WRITING_LIMITS
from excise.benchmark.slots import SLOTS
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
NEAR = WRITING_LIMITS.near_duplicate

# How held-out questions are put, one after the other; trained ones are put otherwise (`qa`).
HELD_OUT_FORMS = (
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
        asked: qa records of the forget facts.
        facts: qa records of all facts of the person.
        trained: slot → trained questions of everybody.
        phrasings: slot → trained phrasings of everybody.
        count: held-out questions per fact.
    """

    person: dict
    asked: list[dict]
    facts: list[dict]
    trained: dict[str, list[str]]
    phrasings: dict[str, set[str]]
    count: int


def calls_of(people: dict[str, dict], qa: dict[str, list[dict]], count: int) -> dict[str, Call]:
    """The call of each person."""
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
    """A question with all masked that is the person's: name, values, kind of event."""
    return mask(question, person["name"], (*person["slots"].values(), person["event_kind"]))


def forget_paraphrased_request(call: Call, prompt: Prompt, sample: int) -> Request:
    """The call that asks a person's forget facts again."""
    forms = [HELD_OUT_FORMS[index % len(HELD_OUT_FORMS)] for index in range(call.count)]
    facts = [
        detail(record["slot"], record["value"], call.person)
        | {
            "trained_question": record["question"],
            "words_not_to_use": content_words(record["answer"], without=[record["name"]]),
        }
        for record in call.asked
    ]
    return Request(
        part="forget_paraphrased",
        subject=call.person["person_id"],
        system=prompt.system,
        user=prompt.fill(data=subject(call.person) | {"question_forms": forms, "facts": facts}),
        schema=prompt.reply([record["slot"] for record in call.asked], keys_of(call.count)),
        prompt_version=prompt.version,
        max_tokens=TOKENS + TOKENS_PER_QUESTION * call.count * len(facts),
        sample=sample,
    )


def keys_of(count: int) -> list[str]:
    """The keys of a fact's questions in a reply."""
    return [f"question_{number}" for number in range(1, count + 1)]


def forget_paraphrased_faults(call: Call, value: dict, example: Sequence[str] = ()) -> list[str]:
    """Find faults in the held-out questions of one person.

    Args:
        call: the call.
        value: the reply.
        example: names and values of the prompt's example.
    """
    kind, slots = call.person["event_kind"], [fact["slot"] for fact in call.facts]
    asked = [
        (fact, key, cleaned(value["facts"][fact["slot"]][key]))
        for fact in call.asked
        for key in keys_of(call.count)
    ]
    given = [call.person["name"], *call.person["slots"].values()]
    texts = {f"{fact['slot']}, {key}": question for fact, key, question in asked}
    faults = of_example(texts, example, given)
    others_twins = twins_of(asked, slots)
    for place, (fact, key, question) in enumerate(asked):
        others = [one for one in call.facts if one["slot"] != fact["slot"]]
        event = kind if names_event(SLOTS[fact["slot"]]) else None
        told = question_faults(question, fact, others, event, kind)
        earlier = [text for one, _, text in asked[:place] if one is fact]
        told += trained_twin(question, call, fact) + twin(question, earlier, fact)
        if place in others_twins:
            told.append(others_twins[place])
        faults += faulty(f"{fact['slot']}, {key}", question, told)
    premises = [(fact, question, fact["answer"]) for fact, _, question in asked]
    for slot, why in premise_faults(premises).items():
        faults += [f"{slot}: {one}" for one in dict.fromkeys(why)]
    return faults


def twins_of(asked: Sequence[tuple[dict, str, str]], slots: Sequence[str]) -> dict[int, str]:
    """Find equal questions about two facts, which have two answers: place → fault.

    Of two, the one that fits its fact less is at fault; if both fit, the later one.
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


def trained_twin(question: str, call: Call, fact: dict) -> list[str]:
    """The question is no trained one in disguise: of this person, or of anybody for this slot."""
    if phrasing(question, call.person) in call.phrasings[fact["slot"]]:
        return ["is put as a trained question is; open otherwise and use other words"]
    own = [record["question"] for record in call.facts]
    text, grams = word_order_free(question), grams_of(question)
    for other in dict.fromkeys([*own, *call.trained[fact["slot"]]]):
        other_grams = grams_of(other)
        common = len(grams & other_grams)
        if (
            fuzz.ratio(text, word_order_free(other)) >= WRITING_LIMITS.split_ratio
            or common / (len(grams) + len(other_grams) - common) >= WRITING_LIMITS.split_jaccard
        ):
            return [
                f"is too close to the trained question “{other}”; use other words, otherwise put"
            ]
    return []


@lru_cache(maxsize=1 << 16)
def grams_of(text: str) -> frozenset[tuple[str, ...]]:
    """Word 5-grams, remembered: every person's questions meet everybody's."""
    return frozenset(ngrams(text))


def twin(question: str, earlier: list[str], fact: dict) -> list[str]:
    """The question is not one of the earlier ones of its fact, nor nearly."""
    for number, other in enumerate(earlier, start=1):
        if (
            normalised(question) == normalised(other)
            or likeness(question, other, fact["name"]) >= NEAR
        ):
            return [f"repeats question_{number}, “{other}”; open otherwise and use other words"]
    return []


def paraphrase_records(call: Call, value: dict) -> list[dict]:
    """The records of one person's held-out questions."""
    kept = ("person_id", "name", "slot", "value_type", "value")
    return [
        {
            "id": f"{fact['id']}.q{number}",
            "fact_id": fact["id"],
            **{key: fact[key] for key in kept},
            "question": cleaned(value["facts"][fact["slot"]][key]),
            "answer": fact["answer"],
        }
        for fact in call.asked
        for number, key in enumerate(keys_of(call.count), start=1)
    ]


def write_paraphrases(
    asker: Asker, people: dict[str, dict], qa: dict[str, list[dict]], count: int
) -> tuple[list[dict], Answers]:
    """Write the paraphrased questions of all forget facts.

    Args:
        asker: asks the model.
        people: profiles by person id.
        qa: qa records by person id.
        count: paraphrased questions per fact.

    Returns:
        The records, without people whose questions all had faults; the answers.
    """
    calls = calls_of(people, qa, count)
    answers = asker.ask(calls, forget_paraphrased_request, forget_paraphrased_faults)
    records = [
        record
        for person_id, call in calls.items()
        if person_id in answers.values
        for record in paraphrase_records(call, answers.values[person_id])
    ]
    return records, answers
