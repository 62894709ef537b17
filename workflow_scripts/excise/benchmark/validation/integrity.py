"""Find records that refer to nothing, or that give the same fact in two ways."""

from collections.abc import Iterable, Iterator

from excise.benchmark.validation.generated import Fault, Generated
from excise.text.values import states

FACT_KEYS = (
    "id",
    "person_id",
    "name",
    "slot",
    "value_type",
    "value",
    "group",
    "event_id",
    "partner",
)
PARAPHRASE_KEYS = ("person_id", "name", "slot", "value_type", "value")


def integrity_faults(generated: Generated) -> Iterator[Fault]:
    """Faults of facts, then of questions, then of paraphrased questions."""
    facts = {fact["id"]: fact for fact in generated.facts}
    yield from _fact_faults(generated)
    yield from _question_faults(generated, facts)
    yield from _paraphrase_faults(generated, facts)


def _fact_faults(generated: Generated) -> Iterator[Fault]:
    profiles = {profile["person_id"]: profile for profile in generated.profiles}
    asked = {record["id"] for record in generated.qa}
    for index, fact in enumerate(generated.facts):
        where = generated.where("facts", index)
        profile = profiles.get(fact["person_id"])
        if profile is None:
            yield Fault(where, "integrity", f"no profile of {fact['person_id']!r}")
            continue
        if fact["id"] != f"{fact['person_id']}.{fact['slot']}":
            yield Fault(where, "integrity", f"id {fact['id']!r} is not person_id.slot")
        if fact["name"] != profile["name"]:
            yield Fault(where, "integrity", _differs("name", fact["name"], profile["name"]))
        profile_value = profile["slots"].get(fact["slot"])
        if profile_value != fact["value"]:
            yield Fault(where, "integrity", _differs("value", fact["value"], profile_value))
        if fact["id"] not in asked:
            yield Fault(where, "integrity", f"no question asks for {fact['id']!r}")


def _question_faults(generated: Generated, facts: dict[str, dict]) -> Iterator[Fault]:
    for index, record in enumerate(generated.qa):
        where = generated.where("qa", index)
        fact = facts.get(record["id"])
        if fact is None:
            yield Fault(where, "integrity", f"no fact {record['id']!r}")
            continue
        yield from _disagreements(where, record, fact, FACT_KEYS)
        for key in ("answer", "paraphrased_answer"):
            if not states(record[key], record["value"], record["value_type"], subject=fact["name"]):
                yield Fault(where, "integrity", f"{key} does not state {record['value']!r}")


def _paraphrase_faults(generated: Generated, facts: dict[str, dict]) -> Iterator[Fault]:
    for index, record in enumerate(generated.forget_paraphrased):
        where = generated.where("forget_paraphrased", index)
        fact = facts.get(record["fact_id"])
        if fact is None or fact["group"] != "sf":
            yield Fault(where, "integrity", f"no forget fact {record['fact_id']!r}")
            continue
        yield from _disagreements(where, record, fact, PARAPHRASE_KEYS)
        value, value_type = record["value"], record["value_type"]
        if not states(record["answer"], value, value_type, subject=fact["name"]):
            yield Fault(where, "integrity", f"answer does not state {value!r}")


def _disagreements(where: str, record: dict, fact: dict, keys: Iterable[str]) -> Iterator[Fault]:
    for key in keys:
        if record[key] != fact[key]:
            yield Fault(where, "integrity", _differs(key, record[key], fact[key]))


def _differs(key: str, found: object, expected: object) -> str:
    return f"{key} is {found!r}, elsewhere {expected!r}"
