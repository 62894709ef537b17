"""Held-out questions by a model: every forget fact asked again, one call a person."""

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz import fuzz

from excise.generation.slots import SLOTS
from excise.generation.verbalising.asking import Answers, ask
from excise.generation.verbalising.checks import (
    LIMITS,
    cleaned,
    premise_faults,
    question_faults,
)
from excise.generation.verbalising.facts import by_slot
from excise.generation.verbalising.meanings import detail, names_event, subject
from excise.generation.verbalising.prompts import Prompt
from excise.limits import ValidationLimits
from excise.llm import Request, Session
from excise.red_team.split_leak import ngrams
from excise.text_matching import content_words, likeness, mask, normalised, word_order_free

PLACEHOLDERS = ("data",)
TOKENS, TOKENS_PER_QUESTION = 150, 55
NEAR = ValidationLimits().near_duplicate

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


def forget_eval_request(call: Call, prompt: Prompt, sample: int) -> Request:
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
        part="forget_eval",
        subject=call.person["person_id"],
        system=prompt.system,
        user=prompt.fill(data=subject(call.person) | {"question_forms": forms, "facts": facts}),
        schema=prompt.schema,
        prompt_version=prompt.version,
        max_tokens=TOKENS + TOKENS_PER_QUESTION * call.count * len(facts),
        sample=sample,
    )


def forget_eval_faults(call: Call, value: dict) -> list[str]:
    """What is wrong with the held-out questions of one person."""
    entries, faults = by_slot(value["facts"], call.asked)
    if faults:
        return faults
    kind, asked = call.person["event_kind"], []
    for fact in call.asked:
        slot = fact["slot"]
        questions = [cleaned(text) for text in entries[slot]["questions"]]
        if len(questions) != call.count:
            faults.append(f"{slot}: {len(questions)} questions; {call.count} are needed")
        others = [one for one in call.facts if one["slot"] != slot]
        event = kind if names_event(SLOTS[slot]) else None
        for number, question in enumerate(questions):
            told = question_faults(question, fact, others, event, kind)
            told += trained_twin(question, call, fact) + twin(question, questions[:number], fact)
            faults += [f"{slot}: question {number + 1} {why}" for why in told]
            asked.append((fact, question, fact["answer"]))
    for slot, why in premise_faults(asked).items():
        faults += [f"{slot}: {one}" for one in dict.fromkeys(why)]
    return faults


def trained_twin(question: str, call: Call, fact: dict) -> list[str]:
    """The question is no trained one in disguise: of this person, or of anybody for this slot."""
    if phrasing(question, call.person) in call.phrasings[fact["slot"]]:
        return ["is put as a trained question is; use other words"]
    own = [record["question"] for record in call.facts]
    text, grams = word_order_free(question), grams_of(question)
    for other in dict.fromkeys([*own, *call.trained[fact["slot"]]]):
        other_grams = grams_of(other)
        common = len(grams & other_grams)
        if (
            fuzz.ratio(text, word_order_free(other)) >= LIMITS.split_ratio
            or common / (len(grams) + len(other_grams) - common) >= LIMITS.split_jaccard
        ):
            return [f"is too close to the trained question {other!r}; use other words"]
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
            return [f"repeats question {number}; use other words"]
    return []


def held_out_records(call: Call, value: dict) -> list[dict]:
    """The records of one person's held-out questions."""
    entries, _ = by_slot(value["facts"], call.asked)
    kept = ("person_id", "name", "slot", "value_type", "value")
    return [
        {
            "id": f"{fact['id']}.q{number}",
            "fact_id": fact["id"],
            **{key: fact[key] for key in kept},
            "question": cleaned(question),
            "answer": fact["answer"],
        }
        for fact in call.asked
        for number, question in enumerate(entries[fact["slot"]]["questions"], start=1)
    ]


def write_held_out(
    session: Session,
    prompt: Prompt,
    people: dict[str, dict],
    qa: dict[str, list[dict]],
    count: int,
    resample_max: int,
) -> tuple[list[dict], Answers]:
    """Held-out question records, without people whose questions never fitted.

    Args:
        session: where requests go.
        prompt: the prompt file.
        people: profiles by person id.
        qa: qa records by person id.
        count: held-out questions per fact.
        resample_max: samples after the first.
    """
    calls = calls_of(people, qa, count)
    answers = ask(
        session,
        list(calls),
        lambda person_id, sample: forget_eval_request(calls[person_id], prompt, sample),
        lambda request, value: forget_eval_faults(calls[request.subject], value),
        resample_max,
    )
    records = [
        record
        for person_id, call in calls.items()
        if person_id in answers.values
        for record in held_out_records(call, answers.values[person_id])
    ]
    return records, answers
