"""A model writes the profiles: one call per person. People whom it refuses are replaced."""

import re
from collections.abc import Callable, Sequence

from excise.generation.exchange import occurrences
from excise.generation.verbalising.asking import Answers, Asker
from excise.generation.verbalising.checks import (
    LONGEST_PROFILE,
    cleaned,
    faulty,
    foreign_values,
    inventions,
    names_person,
    of_example,
    too_long,
)
from excise.generation.verbalising.meanings import detail, meaning, subject
from excise.llm import Request
from excise.llm.prompts import Prompt

PLACEHOLDERS = ("data",)
PROFILE_TOKENS = 1200
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def profile_request(person: dict, prompt: Prompt, sample: int) -> Request:
    """The request for a person's profile."""
    details = [detail(slot, value, person) for slot, value in person["slots"].items()]
    for fields in details:
        del fields["mention_event"]
    return Request(
        part="profiles",
        subject=person["person_id"],
        system=prompt.system,
        user=prompt.fill(data=subject(person) | {"details": details}),
        schema=prompt.schema,
        prompt_version=prompt.version,
        max_tokens=PROFILE_TOKENS,
        sample=sample,
    )


def profile_faults(person: dict, value: dict, example: Sequence[str] = ()) -> list[str]:
    """Find faults in a profile text: a value is missing, something is invented, or it is too long.

    Args:
        person: profile record.
        value: the reply.
        example: names and values of the prompt's example.
    """
    text = cleaned(value["text"])
    given = (person["name"], *person["slots"].values())
    faults = names_person(text, person["name"])
    faults += [
        f"must contain “{slot_value}”, exactly as written here: it is "
        f"{meaning(slot, person['event_kind'])}"
        for slot, slot_value in person["slots"].items()
        if not occurrences(text, slot_value)
    ]
    faults += too_long(text, LONGEST_PROFILE)
    lines = [f"the text {why}" for why in faults]
    for sentence in SENTENCE_END.split(text):
        sentence_faults = foreign_values(sentence, given, (), person["event_kind"])
        sentence_faults += inventions(sentence, given)
        lines += faulty("text", sentence, sentence_faults) or of_example(
            {"text": sentence}, example, given
        )
    return lines


def write_profiles(
    asker: Asker,
    people: list[dict],
    draw_again: Callable[[dict], dict],
    refused_later: Sequence[tuple[str, str]] = (),
) -> tuple[list[dict], list[dict], Answers]:
    """Write the profiles of all people.

    Args:
        asker: asks the model.
        people: drawn people.
        draw_again: draws a replacement with the same id for a person whom the model refuses.
        refused_later: (person id, name) of people whose profile the model wrote, but of whom it
            refused a later part, in the order of refusal. They are replaced after all others, one
            at a time. So their replacements stay the same when the list grows.

    Returns:
        Profile records in the order of the people, without people whose profiles all had faults;
        the refused people as {person_id, name, slots}; the answers.
    """
    current = {person["person_id"]: person for person in people}
    refused: list[dict] = []

    def replace(person_id: str) -> None:
        person = current[person_id]
        refused.append({key: person[key] for key in ("person_id", "name", "slots")})
        current[person_id] = draw_again(person)

    def write(person_ids: list[str]) -> Answers:
        return asker.ask(
            current, profile_request, profile_faults, keys=person_ids, on_refusal=replace
        )

    gone = set(refused_later)
    answers = write([key for key, person in current.items() if (key, person["name"]) not in gone])
    for person_id, name in refused_later:
        if current.get(person_id, {}).get("name") != name:
            continue  # the refusal belongs to an earlier draw of the people
        answers.values.pop(person_id, None)
        replace(person_id)
        if (person_id, current[person_id]["name"]) in gone:
            continue
        further = write([person_id])
        answers.values |= further.values
        answers.failed |= further.failed
        answers.resampled += 1 + further.resampled
    profiles = [
        person | {"text": cleaned(answers.values[person_id]["text"])}
        for person_id, person in current.items()
        if person_id in answers.values
    ]
    return profiles, refused, answers
