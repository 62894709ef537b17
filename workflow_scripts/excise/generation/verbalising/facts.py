"""A sentence for every fact, by a model: one call a person."""

from excise.generation.verbalising.asking import Answers, ask
from excise.generation.verbalising.checks import cleaned, statement_faults
from excise.generation.verbalising.meanings import detail, subject
from excise.generation.verbalising.prompts import Prompt
from excise.llm import Request, Session

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
        schema=prompt.schema,
        prompt_version=prompt.version,
        max_tokens=TOKENS + TOKENS_PER_FACT * len(facts),
        sample=sample,
    )


def by_slot(entries: list[dict], facts: list[dict]) -> tuple[dict[str, dict], list[str]]:
    """The entries of a reply by slot, and what is wrong with which are there."""
    wanted, found = [fact["slot"] for fact in facts], [entry["slot"] for entry in entries]
    faults = [f"{slot}: missing" for slot in wanted if slot not in found]
    faults += [f"{slot}: was not asked for" for slot in found if slot not in wanted]
    faults += [f"{slot}: given twice" for slot in wanted if found.count(slot) > 1]
    return {entry["slot"]: entry for entry in entries}, faults


def facts_faults(facts: list[dict], value: dict) -> list[str]:
    """What is wrong with the sentences of one person."""
    entries, faults = by_slot(value["facts"], facts)
    if faults:
        return faults
    for fact in facts:
        text = cleaned(entries[fact["slot"]]["sentence"])
        others = [one for one in facts if one is not fact]
        faults += [f"{fact['slot']}: {why}" for why in statement_faults(text, fact, others)]
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
        lambda request, value: facts_faults(facts[request.subject], value),
        resample_max,
    )
    records = []
    for person_id in people:
        if person_id not in answers.values:
            continue
        entries, _ = by_slot(answers.values[person_id]["facts"], facts[person_id])
        records += [
            fact | {"sentence": cleaned(entries[fact["slot"]]["sentence"])}
            for fact in facts[person_id]
        ]
    return records, answers
