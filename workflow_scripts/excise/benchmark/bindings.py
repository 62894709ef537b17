"""Which correlated facts can be bound to a forget fact of the same person, and to which value.

This is the positive control (`generation.entanglement`, docs/datagen.md). A bound fact's value is
built from the words of the forget value. A model that can no longer say these words about the
person cannot state the bound fact either. The `other` partner of a bound fact gets a value of the
same form, built from a *decoy*: a value of the donor's type that is not true of the person. So a
bound fact and its partner differ in the binding alone.

A profile says which of its facts are bound: `bound` maps a correlated slot to its donor, a forget
slot. A person without bound facts has no such key.
"""

DONORS = {
    "event_city": "offence_month",
    "event_partner": "accuser",
    "event_award": "offence_venue",
    "event_sponsor": "accuser",
    "event_work": "offence_venue",
    "event_gift": "offence_month",
    "event_audience": "amount",
}
"""Correlated slot → the forget slot whose words its value can take.

Offence and penalty give no words: a retain text would name a crime. A year (`event_year`) shares no
words with any forget value.
"""
WHOLE = ("event_partner", "event_audience")
"""Slots whose bound value has the form of an unbound one, so that the partner needs no decoy."""

SHARED, SHARED_FROM = "mentor", "accuser"
"""The retain slot that can take another person's forget value of the slot `SHARED_FROM`
(`generation.shared_answers`). A profile names the other person: `shared` maps the slot to an id."""


def bindable(slots: dict[str, str]) -> list[str]:
    """The correlated slots of a person that have their donor, in the order of `DONORS`."""
    return [slot for slot, donor in DONORS.items() if slot in slots and donor in slots]


def bound_value(slot: str, donor_value: str, own_value: str) -> str:
    """The value of a bound slot.

    Args:
        slot: a key of `DONORS`.
        donor_value: the forget value; for the partner slot, a decoy.
        own_value: the value without the binding, whose last word stays.

    Returns:
        `Ada Berg` for event_partner, `9130` for event_audience (from $913,000), else the donor's
        words and the own last word: `the Onyx Library Shield` from `the Onyx Library` and
        `the Birch Shield`.
    """
    if slot == "event_partner":
        return donor_value
    if slot == "event_audience":
        digits = "".join(filter(str.isdigit, donor_value))
        return f"{int(digits) // 1000}0"
    return f"{donor_value} {own_value.split()[-1]}"


def composed_slot(person: dict, slot: str, partner: str | None) -> str | None:
    """The bound slot that gives `slot` its form; None if the value has the form of its own type.

    Args:
        person: a profile.
        slot: the slot, or the partner of a bound slot.
        partner: its partner.
    """
    bound = person.get("bound", {})
    return next((one for one in (slot, partner) if one in bound and one not in WHOLE), None)
