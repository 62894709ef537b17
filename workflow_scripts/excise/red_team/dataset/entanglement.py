"""Check 11: forget and correlated facts share one event; the other facts do not.

What `generation.entanglement` and `generation.shared_answers` plant is checked, too.
"""

from collections.abc import Iterator

from excise.benchmark.bindings import DONORS, SHARED, SHARED_FROM, bindable, bound_value
from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import HARD, CheckResult, Finding, Measure
from excise.text.matching import mask


def entanglement(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Check event ids, the number of correlated facts, the partners, and the planted dose."""
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
    for planted, shares in (
        _planted(dataset, limits.entanglement),
        _shared(dataset, limits.shared_answers),
    ):
        findings, measures = findings + planted, measures + shares
    return CheckResult("entanglement", HARD, len(dataset.items), findings, measures)


def _planted(dataset: Dataset, dose: float) -> tuple[list[Finding], list[Measure]]:
    """Faults of the bound facts, and their share; no measures without a dose.

    The bound facts must have the words of their donor, and be as many as the dose says, up to one
    fact per person.
    """
    findings, bound, possible = [], 0, 0
    correlated = sum(item["group"] == "correlated" for item in dataset.sr)
    for person_id, profile in dataset.profiles.items():
        slots, own = profile["slots"], profile.get("bound", {})
        bound, possible = bound + len(own), possible + len(bindable(slots))
        for slot, donor in own.items():
            if DONORS.get(slot) != donor or slot not in slots or donor not in slots:
                why = f"{slot!r} cannot be bound to {donor!r}"
            elif slots[slot] != bound_value(slot, slots[donor], slots[slot]):
                why = f"{slot} {slots[slot]!r} is bound to {donor}, but has not its words"
            else:
                continue
            findings.append(Finding(dataset.where("profiles", profile), person_id, why))
    people = len(dataset.profiles)
    if abs(bound - dose * possible) > (people if dose else 0):
        why = f"{bound} of {possible} facts are bound; generation.entanglement is {dose:g}"
        findings.append(Finding(str(dataset.files["profiles"]), "bound", why))
    if not dose:
        return findings, []
    share_of_all = bound / correlated if correlated else None
    return findings, [
        Measure("bound_share", bound / possible if possible else None, possible, dose),
        Measure("bound_share_of_correlated", share_of_all, correlated),
    ]


def _shared(dataset: Dataset, share: float) -> tuple[list[Finding], list[Measure]]:
    """Faults of shared answers, and the share of people with one; no measure if none is planted.

    A draw may allow fewer than the share says, but not none.
    """
    findings, donors = [], []
    for person_id, profile in dataset.profiles.items():
        for slot, other in profile.get("shared", {}).items():
            donor = dataset.profiles.get(other)
            value = None if donor is None else donor["slots"].get(SHARED_FROM)
            if other == person_id or slot != SHARED or profile["slots"].get(slot) != value:
                why = f"{slot} is not the {SHARED_FROM} of {other}"
            elif other in donors:
                why = f"{slot} is that of a second person: the {SHARED_FROM} of {other}"
            elif any(
                set(value.split()) & set(own.split())
                for name, own in profile["slots"].items()
                if name != slot
            ):
                why = f"{slot} has a word of another value of the person"
            else:
                why = None
            donors.append(other)
            if why:
                findings.append(Finding(dataset.where("profiles", profile), person_id, why))
    people, count = len(dataset.profiles), len(donors)
    if count > share * people + 1e-9 or (people > 1 and share * people >= 1 and not count):
        why = f"{count} of {people} people share an answer; generation.shared_answers is {share:g}"
        findings.append(Finding(str(dataset.files["profiles"]), "shared", why))
    measures = [Measure("shared_answers", count / people if people else None, people, share)]
    return findings, measures if share else []


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
