"""A sentence for every fact, by a model: one call a person."""

from collections.abc import Sequence

from excise.generation.verbalising.asking import Answers, ask
from excise.generation.verbalising.checks import cleaned, faulty, of_example, statement_faults
from excise.generation.verbalising.meanings import detail, subject
from excise.llm import Request, Session
from excise.llm.prompts import Prompt

PLACEHOLDERS = ("data",)
TOKENS, TOKENS_PER_FACT = 150, 60


def facts_request(person: dict, facts: list[dict], prompt: Prompt, sample: int) -> Request:
    """The call that writes a sentence for each fact of a person."""
    details = [detail(fact["slot"], fact["value"], person) for fact in facts]
    for one in details:
        del one["mention_event"]
    return Request(
        part="facts",
        subject=person["person_id"],
        system=prompt.system,
        user=prompt.fill(data=subject(person) | {"facts": details}),
        schema=prompt.reply([fact["slot"] for fact in facts]),
        prompt_version=prompt.version,
        max_tokens=TOKENS + TOKENS_PER_FACT * len(facts),
        sample=sample,
    )


def facts_faults(facts: list[dict], value: dict, example: Sequence[str] = ()) -> list[str]:
    """Find faults in the sentences of one person; `example` as in `checks`."""
    texts = {slot: cleaned(text) for slot, text in value["facts"].items()}
    given = [facts[0]["name"], *(fact["value"] for fact in facts)]
    faults = of_example(texts, example, given)
    for fact in facts:
        text, others = texts[fact["slot"]], [one for one in facts if one is not fact]
        faults += faulty(fact["slot"], text, statement_faults(text, fact, others))
    return faults


def write_sentences(
    session: Session,
    prompt: Prompt,
    people: dict[str, dict],
    facts: dict[str, list[dict]],
    resample_max: int,
) -> tuple[list[dict], Answers]:
    """Fact records with their sentences, without the people whose sentences never fit.

    Args:
        session: where requests go.
        prompt: the prompt file.
        people: profiles by person id.
        facts: fact records by person id.
        resample_max: samples after the first.
    """
    answers = ask(
        session,
        list(people),
        lambda person, sample: facts_request(people[person], facts[person], prompt, sample),
        lambda request, value: facts_faults(facts[request.subject], value, prompt.example),
        resample_max,
    )
    records = []
    for person_id in people:
        if person_id not in answers.values:
            continue
        sentences = answers.values[person_id]["facts"]
        records += [
            fact | {"sentence": cleaned(sentences[fact["slot"]])} for fact in facts[person_id]
        ]
    return records, answers
