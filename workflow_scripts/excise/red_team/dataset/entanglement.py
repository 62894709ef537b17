"""Check 11: the incident and the good facts share one event, the rest of the life does not."""

from collections.abc import Iterator

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import HARD, CheckResult, Finding, Measure
from excise.text.matching import mask


def entanglement(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Event ids by group, least number of shared facts, partners mutual and of one type."""
    findings = []
    own_items = dataset.by_person(dataset.items)
    likeness = []
    for person_id, items in own_items.items():
        profile = dataset.profiles.get(person_id)
        slots = {item["slot"]: item for item in items}
        for item in items:
            event = profile["event_id"] if profile else None
            for why in _item_faults(item, event, slots):
                findings.append(Finding(dataset.where_item(item), item["id"], why))
            if item["group"] == "correlated" and item["partner"] in slots:
                likeness.append(_likeness(item, slots[item["partner"]]))
        if profile is None:
            continue
        where = dataset.where("profiles", profile)
        shared = sum(item["group"] == "correlated" for item in items)
        if shared < limits.min_correlated:
            why = f"{shared} retain facts share the event; at least {limits.min_correlated} must"
            findings.append(Finding(where, person_id, why))
        if not any(item["group"] == "sf" for item in items):
            findings.append(Finding(where, person_id, "nothing to forget"))
    mean = sum(likeness) / len(likeness) if likeness else None
    measures = [Measure("partner_question_likeness", mean, len(likeness))]
    return CheckResult("entanglement", HARD, len(dataset.items), findings, measures)


def _item_faults(item: dict, event: str | None, slots: dict[str, dict]) -> Iterator[str]:
    """What is wrong with one item's event and partner."""
    if item["group"] == "other" and item["event_id"] is not None:
        yield f"is 'other' yet belongs to the event {item['event_id']!r}"
    if item["group"] != "other" and item["event_id"] != event:
        yield f"is {item['group']!r} yet its event is {item['event_id']!r}, not {event!r}"
    if item["group"] == "sf":
        return
    opposite = "other" if item["group"] == "correlated" else "correlated"
    partner = slots.get(item["partner"])
    if partner is None:
        yield f"partner {item['partner']!r} is no slot of this person"
    elif partner["group"] != opposite:
        yield f"partner {item['partner']!r} is {partner['group']!r}, not {opposite!r}"
    elif partner["partner"] != item["slot"]:
        yield f"partner {item['partner']!r} has another partner, {partner['partner']!r}"
    elif partner["value_type"] != item["value_type"]:
        yield (
            f"value_type {item['value_type']!r}, its partner's is {partner['value_type']!r}; "
            "partners share one"
        )


def _likeness(item: dict, partner: dict) -> float:
    """Share of words that two partners' questions have in common (Jaccard), the names masked."""
    one, two = (set(mask(each["question"], each["name"], ()).split()) for each in (item, partner))
    return len(one & two) / len(one | two)
