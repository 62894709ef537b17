"""Put another person's name into a question: a control for guesses from the wording."""

from pathlib import Path

from excise.errors import InputError


def swapped(items: list[dict], path: str | Path = "sf.jsonl") -> list[dict]:
    """Each item with the next person's name in its question and answer; its value stays.

    People are in the order of their ids; the first person follows the last one.

    Args:
        items: records of `sf.jsonl`.
        path: the file, for the error message.

    Returns:
        One record per item: {id, set: `sf`, person_id, slot, value_type, value, other_person_id,
        question, answer}.

    Raises:
        InputError: there is only one person.
    """
    names = {item["person_id"]: item["name"] for item in items}
    people = sorted(names)
    if len(people) < 2:
        raise InputError(f"{path}: one person; at least two are needed to swap their names")
    next_person = dict(zip(people, people[1:] + people[:1], strict=True))
    records = []
    for item in items:
        other = next_person[item["person_id"]]
        kept = {key: item[key] for key in ("id", "person_id", "slot", "value_type", "value")}
        texts = {
            key: item[key].replace(item["name"], names[other]) for key in ("question", "answer")
        }
        records.append(kept | {"set": "sf", "other_person_id": other} | texts)
    return records
