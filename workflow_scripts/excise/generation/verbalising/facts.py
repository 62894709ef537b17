"""A model writes a sentence for every fact: one call per person."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from excise.generation.settings import WritingLimits
from excise.generation.verbalising.asking import Answers, Asker
from excise.generation.verbalising.checks import cleaned, faulty, of_example, statement_faults
from excise.generation.verbalising.meanings import detail, subject
from excise.llm import Request
from excise.llm.prompts import Prompt

PLACEHOLDERS = ("data",)
TOKENS, TOKENS_PER_FACT = 150, 60


@dataclass(frozen=True)
class Call:
    """One call: all facts of a person.

    Attributes:
        person: profile record.
        facts: fact records.
    """

    person: dict
    facts: list[dict]


def facts_request(call: Call, prompt: Prompt, sample: int) -> Request:
    """The request for a sentence on each fact of a person."""
    details = [detail(fact["slot"], fact["value"], call.person) for fact in call.facts]
    for fields in details:
        del fields["mention_event"]
    return Request(
        part="facts",
        subject=call.person["person_id"],
        system=prompt.system,
        user=prompt.fill(data=subject(call.person) | {"facts": details}),
        schema=prompt.reply([fact["slot"] for fact in call.facts]),
        prompt_version=prompt.version,
        max_tokens=TOKENS + TOKENS_PER_FACT * len(call.facts),
        sample=sample,
    )


def facts_faults(
    call: Call, value: dict, example: Sequence[str] = (), *, limits: WritingLimits
) -> list[str]:
    """Find faults in the sentences of one person.

    Args:
        call: the call.
        value: the reply.
        example: names and values of the prompt's example.
        limits: what the texts are held to.
    """
    texts = {slot: cleaned(text) for slot, text in value["facts"].items()}
    given = [call.facts[0]["name"], *(fact["value"] for fact in call.facts)]
    faults = of_example(texts, example, given)
    for fact in call.facts:
        text, others = texts[fact["slot"]], [other for other in call.facts if other is not fact]
        faults += faulty(fact["slot"], text, statement_faults(text, fact, others, limits))
    return faults


def write_sentences(
    asker: Asker, people: dict[str, dict], facts: dict[str, list[dict]], limits: WritingLimits
) -> tuple[list[dict], Answers]:
    """Write the sentences of all facts.

    Args:
        asker: asks the model.
        people: profiles by person id.
        facts: fact records by person id.
        limits: what the texts are held to.

    Returns:
        The fact records with their sentences, without people whose sentences all had faults; the
        answers.
    """
    calls = {person_id: Call(person, facts[person_id]) for person_id, person in people.items()}
    answers = asker.ask(calls, facts_request, partial(facts_faults, limits=limits))
    records = []
    for person_id in people:
        if person_id not in answers.values:
            continue
        sentences = answers.values[person_id]["facts"]
        records += [
            fact | {"sentence": cleaned(sentences[fact["slot"]])} for fact in facts[person_id]
        ]
    return records, answers
