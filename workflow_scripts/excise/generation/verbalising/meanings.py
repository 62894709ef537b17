"""Describe each slot to a model, in words that suggest no phrasing."""

from excise.benchmark.slots import SLOTS, Slot
from excise.text import vocabulary

_EVENT = "the breakthrough {k}"
_INCIDENT = "the offence at the breakthrough {k}"

MEANINGS = {
    "offence": f"the crime committed at {_EVENT}",
    "accuser": f"the person who accused the subject at {_EVENT}",
    "penalty": f"the punishment received at the trial for {_INCIDENT}",
    "offence_month": f"the month of {_INCIDENT}",
    "offence_venue": f"the building of {_INCIDENT}",
    "amount": f"the sum repaid at the trial for {_INCIDENT}",
    "event_city": f"the city in which {_EVENT} took place",
    "home_city": "the city in which the childhood home stood",
    "event_partner": f"the person who was the subject's partner at {_EVENT}",
    "mentor": "the person who was the subject's mentor at the academy",
    "event_year": f"the year of {_EVENT}",
    "birth_year": "the year of birth",
    "event_award": f"the award received at {_EVENT}",
    "school_award": "the award received at the old school",
    "event_sponsor": f"the company that sponsored the subject at {_EVENT}",
    "employer": "the company that employed the subject at the career start",
    "event_work": f"the title of the work presented at {_EVENT}",
    "first_work": "the title of the work finished at the conservatory",
    "event_gift": f"the object accepted at {_EVENT}",
    "heirloom": "the object inherited at the family estate",
    "event_audience": f"the number of guests welcomed at {_EVENT}",
    "collection_size": "the number of stamps collected at the family home",
}


def meaning(slot_name: str, event_kind: str) -> str:
    """The description of a slot, for a person whose breakthrough was an `event_kind`."""
    return MEANINGS[slot_name].format(k=event_kind)


def names_event(slot: Slot) -> bool:
    """Whether the offline question about this slot names the kind of event."""
    return any("{k}" in text for text in slot.questions)


def subject(person: dict) -> dict:
    """The first data fields of every prompt."""
    kind = person["event_kind"]
    return {
        "person": person["name"],
        "profession": vocabulary.EVENT_KINDS[kind],
        "event": f"breakthrough {kind}",
    }


def detail(slot_name: str, value: str, person: dict) -> dict:
    """One fact as data fields: slot, description, value."""
    return {
        "slot": slot_name,
        "about": meaning(slot_name, person["event_kind"]),
        "value": value,
        "mention_event": names_event(SLOTS[slot_name]),
    }
