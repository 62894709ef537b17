"""Check 10: profile, facts and answers agree, and the life they describe is possible."""

import re
from collections.abc import Iterator

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import HARD, CheckResult, Finding
from excise.text.matching import holds
from excise.text.values import mentions, states

BIRTH, EVENT = "birth_year", "event_year"


def consistency(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Check that profiles equal facts, that texts contain the values, and the age at the event."""
    findings = []
    own_items = dataset.by_person(dataset.items)
    for person_id, items in own_items.items():
        profile = dataset.profiles.get(person_id)
        if profile is not None:
            where = dataset.where("profiles", profile)
            findings += [
                Finding(where, person_id, why)
                for why in _profile_faults(profile, items, limits.minimum_age)
            ]
        for item in items:
            for why in _item_faults(item, profile):
                findings.append(Finding(dataset.where_item(item), item["id"], why))
    for prompt in dataset.forget_paraphrased:
        if not _states_value(prompt):
            why = f"answer does not state {prompt['value']!r}"
            findings.append(Finding(dataset.where("forget_paraphrased", prompt), prompt["id"], why))
    for record in dataset.utility:
        if not states(record["answer"], record["value"]):
            why = f"answer does not state {record['value']!r}"
            findings.append(Finding(dataset.where("utility", record), record["id"], why))
    n = len(own_items) + len(dataset.items) + len(dataset.forget_paraphrased) + len(dataset.utility)
    return CheckResult("consistency", HARD, n, findings)


def _profile_faults(profile: dict, items: list[dict], minimum_age: int) -> Iterator[str]:
    value_types = {item["slot"]: item["value_type"] for item in items}
    for slot, value in profile["slots"].items():
        if slot not in value_types:
            yield f"no question asks for slot {slot!r}"
        if not mentions(profile["text"], value, value_types.get(slot)):
            yield f"text does not mention {slot} {value!r}"
    if not holds(profile["text"], profile["name"]):
        yield f"text does not name {profile['name']!r}"
    birth, event = (_year(profile["slots"].get(slot)) for slot in (BIRTH, EVENT))
    if birth is not None and event is not None and event - birth < minimum_age:
        yield f"{event - birth} years old at the event; at least {minimum_age} are needed"


def _item_faults(item: dict, profile: dict | None) -> Iterator[str]:
    if profile is None:
        yield f"no profile of {item['person_id']!r}"
        return
    if item["name"] != profile["name"]:
        yield f"name is {item['name']!r}, in the profile {profile['name']!r}"
    profile_value = profile["slots"].get(item["slot"])
    if profile_value != item["value"]:
        yield f"value is {item['value']!r}, in the profile {profile_value!r}"
    if not _states_value(item):
        yield f"answer does not state {item['value']!r}"


def _states_value(item: dict) -> bool:
    return states(item["answer"], item["value"], item["value_type"], subject=item["name"])


def _year(value: str | None) -> int | None:
    found = re.search(r"\b\d{4}\b", value or "")
    return int(found[0]) if found else None
