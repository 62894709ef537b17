"""Check 11: forget and correlated facts share one event; the other facts do not."""

from collections.abc import Iterator

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import HARD, CheckResult, Finding, Measure
from excise.text.matching import mask


def entanglement(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Check event ids, the number of correlated facts, and the partners."""
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
            why = f"{shared} retain facts share the event; needed: at least {limits.min_correlated}"
            findings.append(Finding(where, person_id, why))
        if not any(item["group"] == "sf" for item in items):
            findings.append(Finding(where, person_id, "no forget facts"))
    mean = sum(likeness) / len(likeness) if likeness else None
    measures = [Measure("partner_question_likeness", mean, len(likeness))]
    return CheckResult("entanglement", HARD, len(dataset.items), findings, measures)


def _item_faults(item: dict, event: str | None, slots: dict[str, dict]) -> Iterator[str]:
    """Find faults in one item's event and partner."""
    if item["group"] == "other" and item["event_id"] is not None:
        yield f"is 'other', but belongs to the event {item['event_id']!r}"
    if item["group"] != "other" and item["event_id"] != event:
        yield f"is {item['group']!r}, but its event is {item['event_id']!r}, not {event!r}"
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
            f"value_type is {item['value_type']!r}, but {partner['value_type']!r} for its partner; "
            "partners must have the same"
        )


def _likeness(item: dict, partner: dict) -> float:
    """Jaccard index of the words of two partners' questions, with the names masked."""
    first, second = (
        set(mask(record["question"], record["name"], ()).split()) for record in (item, partner)
    )
    return len(first & second) / len(first | second)
