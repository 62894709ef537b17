"""Profile texts by a model: one call a person; who is refused is drawn anew."""

import re
from collections.abc import Callable, Sequence

from excise.generation.exchange import occurrences
from excise.generation.verbalising.asking import Answers, ask
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
from excise.llm import Request, Session
from excise.llm.prompts import Prompt

PLACEHOLDERS = ("data",)
PROFILE_TOKENS = 1200
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def profile_request(person: dict, prompt: Prompt, sample: int) -> Request:
    """The call that writes a person's profile."""
    details = [detail(slot, value, person) for slot, value in person["slots"].items()]
    for one in details:
        del one["mention_event"]
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
    """Find faults in a profile text: it must contain each value, nothing else, and not be too long.

    Args:
        person: profile record.
        value: the reply.
        example: names and values of the prompt's example.
    """
    text = cleaned(value["text"])
    given = (person["name"], *person["slots"].values())
    faults = names_person(text, person["name"])
    faults += [
        f"must contain “{told}”, exactly as written here: it is "
        f"{meaning(slot, person['event_kind'])}"
        for slot, told in person["slots"].items()
        if not occurrences(text, told)
    ]
    faults += too_long(text, LONGEST_PROFILE)
    lines = [f"the text {why}" for why in faults]
    for sentence in SENTENCE_END.split(text):
        told = foreign_values(sentence, given, (), person["event_kind"])
        told += inventions(sentence, given)
        lines += faulty("text", sentence, told) or of_example({"text": sentence}, example, given)
    return lines


def write_profiles(
    session: Session,
    prompt: Prompt,
    people: list[dict],
    draw_again: Callable[[dict], dict],
    resample_max: int,
    refused_later: Sequence[tuple[str, str]] = (),
) -> tuple[list[dict], list[dict], Answers]:
    """Profile records, in the order of the people; without those nobody would write about.

    Args:
        session: where requests go.
        prompt: the prompt file.
        people: drawn people.
        draw_again: another person for the same id, for one the model refuses.
        resample_max: samples after the first.
        refused_later: (person id, name) of people about whom the model wrote a profile and then
            refused something else, as they were noticed. They are drawn again after all the
            others, one after the other: who follows them does not change when the list grows.

    Returns:
        profiles; the refused people as {person_id, name, slots}; the answers.
    """
    current = {person["person_id"]: person for person in people}
    refused: list[dict] = []

    def replace(person_id: str) -> None:
        person = current[person_id]
        refused.append({key: person[key] for key in ("person_id", "name", "slots")})
        current[person_id] = draw_again(person)

    def write(person_ids: list[str]) -> Answers:
        return ask(
            session,
            person_ids,
            lambda person_id, sample: profile_request(current[person_id], prompt, sample),
            lambda request, value: profile_faults(current[request.subject], value, prompt.example),
            resample_max,
            refused=replace,
        )

    gone = set(refused_later)
    answers = write([key for key, person in current.items() if (key, person["name"]) not in gone])
    for person_id, name in refused_later:
        if current.get(person_id, {}).get("name") != name:
            continue  # the people were drawn otherwise then
        answers.values.pop(person_id, None)
        replace(person_id)
        if (person_id, current[person_id]["name"]) in gone:
            continue
        more = write([person_id])
        answers.values |= more.values
        answers.failed |= more.failed
        answers.resampled += 1 + more.resampled
    profiles = [
        person | {"text": cleaned(answers.values[person_id]["text"])}
        for person_id, person in current.items()
        if person_id in answers.values
    ]
    return profiles, refused, answers
