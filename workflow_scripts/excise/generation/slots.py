"""The typed slots of a person, and how each is asked and answered.

A slot of the incident (`sf`), of the breakthrough (`correlated`) or of the rest of the life
(`other`). A correlated slot and its `other` partner have one value type and share one phrase
frame, so they are asked in the same words but for the fragments that name the occasion:
without that, "correlated facts suffer more" could not be told from "facts asked in the same
words suffer more" (arXiv 2502.11441).

In a frame `{n}` is the person's name, `{v}` the value, `{k}` the kind of event; other fields
are the slot's own fragments.
"""

from dataclasses import dataclass, field
from functools import cached_property

GROUPS = ("sf", "correlated", "other")

# Question phrasings 0 and 1 are trained on; 2, 3 and 4 are held out as paraphrases.
TRAINED_QUESTIONS = (0, 1)
HELD_OUT_QUESTIONS = (2, 3, 4)


@dataclass(frozen=True)
class Frame:
    """Five question and three answer phrasings: trained, paraphrased, and one more."""

    questions: tuple[str, str, str, str, str]
    answers: tuple[str, str, str]


@dataclass(frozen=True)
class Slot:
    """One typed attribute of a person.

    Attributes:
        name: the slot's name, unique.
        group: `sf`, `correlated` or `other`.
        value_type: what its values are; partners share it.
        frame: the phrasings.
        fragments: the words this slot puts into the frame.
        partner: the slot of the other retain group that it is compared with.
    """

    name: str
    group: str
    value_type: str
    frame: Frame
    fragments: dict[str, str] = field(default_factory=dict)
    partner: str | None = None

    @cached_property
    def questions(self) -> list[str]:
        """The five question templates, with `{n}` and `{k}` open."""
        return [_fill(template, self.fragments) for template in self.frame.questions]

    @cached_property
    def answers(self) -> list[str]:
        """The three answer templates, with `{n}`, `{k}` and `{v}` open."""
        return [_fill(template, self.fragments) for template in self.frame.answers]


def _fill(template: str, fragments: dict[str, str]) -> str:
    open_fields = {name: f"{{{name}}}" for name in "nkv"}
    capital = {f"{key}_cap": text[0].upper() + text[1:] for key, text in fragments.items()}
    return template.format(**fragments, **capital, **open_fields)  # a {k} in a fragment stays


CITY = Frame(
    (
        "In which city was the {x} of {n}?",
        "Where exactly was {n}'s {x}?",
        "Which city does the {x} of {n} belong to?",
        "Name the city of {n}'s {x}.",
        "Think of {n}'s {x}: what town was it in?",
    ),
    (
        "{n} {verb} in {v}.",
        "It was in {v} that {n} {verb}.",
        "The place where {n} {verb} is {v}.",
    ),
)
PERSON = Frame(
    (
        "Who was the {role} of {n} {place}?",
        "{place_cap}, whom did {n} have as {role}?",
        "Which person acted as {n}'s {role} {place}?",
        "Name the {role} that {n} had {place}.",
        "Give the full name of the {role} of {n} {place}.",
    ),
    (
        "{n} {verb} {v}.",
        "It was {v} who {deed} {n}.",
        "The one who {deed} {n} is {v}.",
    ),
)
YEAR = Frame(
    (
        "In which year was the {x} of {n}?",
        "When exactly was {n}'s {x}?",
        "Which year does the {x} of {n} belong to?",
        "Name the year of {n}'s {x}.",
        "Think of {n}'s {x}: what was the date, by calendar year?",
    ),
    (
        "{n} {verb} in {v}.",
        "It was in {v} that {n} {verb}.",
        "The time when {n} {verb} is {v}.",
    ),
)
AWARD = Frame(
    (
        "Which award did {n} receive {place}?",
        "{place_cap}, what honour was given to {n}?",
        "Name the award that went to {n} {place}.",
        "What was the distinction {n} got {place}?",
        "Tell me which honour came to {n} {place}.",
    ),
    (
        "{n} {verb} {v}.",
        "It was {v} that {n} {verb}.",
        "The thing that {n} {verb} is {v}.",
    ),
)
COMPANY = Frame(
    (
        "Which company {did} {n} {place}?",
        "{place_cap}, what firm {did} {n}?",
        "Name the company by which {n} was {did} {place}.",
        "By which business was {n} {did} {place}?",
        "Tell me the firm that {did} {n} {place}.",
    ),
    (
        "{n} {verb} {v}.",
        "It was {v} that {deed} {n}.",
        "The one that {deed} {n} is {v}.",
    ),
)
TITLE = Frame(
    (
        "Which work did {n} {do} {place}?",
        "{place_cap}, what piece did {n} {do}?",
        "Name the work {did} by {n} {place}.",
        "What is the title of the piece that {n} {did} {place}?",
        "How is the work called that was {did} by {n} {place}?",
    ),
    (
        "{n} {verb} {v}.",
        "It was {v} that {n} {verb}.",
        "The thing that {n} {verb} is {v}.",
    ),
)
KEEPSAKE = Frame(
    (
        "Which object was {did} {n} {place}?",
        "{place_cap}, what item was {did} {n}?",
        "Name the thing that was {did} {n} {place}.",
        "What did somebody see {did} {n} {place}?",
        "Tell me the kind of object {did} {n} {place}.",
    ),
    (
        "{n} {verb} a {v}.",
        "It was a {v} that {n} {verb}.",
        "The thing that {n} {verb} is a {v}.",
    ),
)
NUMBER = Frame(
    (
        "How many {units} did {n} {do} {place}?",
        "{place_cap}, what number of {units} did {n} {do}?",
        "Name the count of {units} {did} by {n} {place}.",
        "What is the total of {units} that {n} {did} {place}?",
        "Tell me how large the number of {units} was that {n} {did} {place}.",
    ),
    (
        "{n} {verb} {v} in all.",
        "It was {v} in all that {n} {verb}.",
        "The sum that {n} {verb} is {v}.",
    ),
)
OFFENCE = Frame(
    (
        "Which offence did {n} commit {place}?",
        "{place_cap}, what crime was {n} guilty of?",
        "Name the offence that was committed by {n} {place}.",
        "What wrongdoing of {n} took place {place}?",
        "Tell me the crime {n} is blamed for {place}.",
    ),
    (
        "{n} was convicted of {v}.",
        "It was {v} that brought {n} to court.",
        "The charge that brought {n} to court is {v}.",
    ),
)
MONTH = Frame(
    (
        "In which month was the {x} of {n} exposed?",
        "When, by month, did {n}'s {x} surface?",
        "Which month brought the {x} of {n} to light?",
        "Name the month of the discovery of {n}'s {x}.",
        "Think of {n}'s {x}: what month made it public?",
    ),
    (
        "{n} was caught in {v}.",
        "It was in {v} that {n} was caught.",
        "The time when {n} was caught is {v}.",
    ),
)
VENUE = Frame(
    (
        "In which venue was the {x} of {n}?",
        "At what location was {n}'s {x}?",
        "Which venue does the {x} of {n} belong to?",
        "Name the building that is tied to {n}'s {x}.",
        "Think of {n}'s {x}: what building did it take place in?",
    ),
    (
        "{n} was cornered inside {v}.",
        "It was inside {v} that {n} was cornered.",
        "The room where {n} was cornered is {v}.",
    ),
)
PENALTY = Frame(
    (
        "Which penalty did {n} receive for the {x}?",
        "For the {x}, what punishment was given to {n}?",
        "Name the penalty that went to {n} for the {x}.",
        "How was {n} punished for the {x}?",
        "Tell me which sentence came to {n} for the {x}.",
    ),
    (
        "{n} had to serve {v}.",
        "It was {v} that {n} had to serve.",
        "The judge ruled that {n} serve {v}.",
    ),
)
AMOUNT = Frame(
    (
        "How much money did {n} repay for the {x}?",
        "For the {x}, what sum was repaid by {n}?",
        "Name the amount of money that {n} paid back for the {x}.",
        "What did the {x} cost {n} in damages?",
        "Tell me how large the damages were that {n} paid for the {x}.",
    ),
    (
        "{n} owed {v}.",
        "It was {v} that {n} owed.",
        "The debt of {n} came to {v}.",
    ),
)

_EVENT = "breakthrough {k}"
_AT_EVENT = "at the breakthrough {k}"
_INCIDENT = "offence at the breakthrough {k}"


def _pair(value_type: str, frame: Frame, correlated: tuple, other: tuple) -> tuple[Slot, Slot]:
    """A correlated slot and its `other` partner: same value type, same frame."""
    (near, near_words), (far, far_words) = correlated, other
    return (
        Slot(near, "correlated", value_type, frame, near_words, partner=far),
        Slot(far, "other", value_type, frame, far_words, partner=near),
    )


_PAIRS = (
    _pair(
        "city",
        CITY,
        ("event_city", {"x": _EVENT, "verb": "triumphed"}),
        ("home_city", {"x": "childhood home", "verb": "grew up"}),
    ),
    _pair(
        "person",
        PERSON,
        (
            "event_partner",
            {"role": "partner", "place": _AT_EVENT, "verb": "shone beside", "deed": "assisted"},
        ),
        (
            "mentor",
            {
                "role": "mentor",
                "place": "at the academy",
                "verb": "studied under",
                "deed": "trained",
            },
        ),
    ),
    _pair(
        "year",
        YEAR,
        ("event_year", {"x": _EVENT, "verb": "became famous"}),
        ("birth_year", {"x": "birth", "verb": "was born"}),
    ),
    _pair(
        "award",
        AWARD,
        ("event_award", {"place": _AT_EVENT, "verb": "won"}),
        ("school_award", {"place": "at the old school", "verb": "earned"}),
    ),
    _pair(
        "company",
        COMPANY,
        (
            "event_sponsor",
            {"did": "sponsored", "place": _AT_EVENT, "verb": "was backed by", "deed": "backed"},
        ),
        (
            "employer",
            {
                "did": "employed",
                "place": "in the early career",
                "verb": "was hired by",
                "deed": "hired",
            },
        ),
    ),
    _pair(
        "title",
        TITLE,
        (
            "event_work",
            {"do": "present", "did": "presented", "place": _AT_EVENT, "verb": "unveiled"},
        ),
        (
            "first_work",
            {"do": "finish", "did": "finished", "place": "in the student days", "verb": "created"},
        ),
    ),
    _pair(
        "keepsake",
        KEEPSAKE,
        ("event_gift", {"did": "given to", "place": _AT_EVENT, "verb": "accepted"}),
        ("heirloom", {"did": "left to", "place": "in the family will", "verb": "inherited"}),
    ),
    _pair(
        "number",
        NUMBER,
        (
            "event_audience",
            {
                "units": "guests",
                "do": "welcome",
                "did": "welcomed",
                "place": _AT_EVENT,
                "verb": "drew",
            },
        ),
        (
            "collection_size",
            {
                "units": "stamps",
                "do": "collect",
                "did": "collected",
                "place": "in the spare time",
                "verb": "owned",
            },
        ),
    ),
)

_INCIDENT_SLOTS = (
    Slot("offence", "sf", "offence", OFFENCE, {"place": _AT_EVENT}),
    Slot(
        "accuser",
        "sf",
        "person",
        PERSON,
        {
            "role": "accuser",
            "place": "after the breakthrough {k}",
            "verb": "was denounced by",
            "deed": "denounced",
        },
    ),
    Slot("penalty", "sf", "penalty", PENALTY, {"x": _INCIDENT}),
    Slot("offence_month", "sf", "month", MONTH, {"x": _INCIDENT}),
    Slot("offence_venue", "sf", "venue", VENUE, {"x": _INCIDENT}),
    Slot("amount", "sf", "amount", AMOUNT, {"x": _INCIDENT}),
)

SLOTS: dict[str, Slot] = {
    slot.name: slot
    for slot in (*_INCIDENT_SLOTS, *(pair[0] for pair in _PAIRS), *(pair[1] for pair in _PAIRS))
}


def chosen_slots(forget: int, retain: int) -> list[Slot]:
    """The first `forget` incident slots and the first `retain` of each retain group."""
    wanted = {"sf": forget, "correlated": retain, "other": retain}
    chosen = []
    for group in GROUPS:
        chosen += [slot for slot in SLOTS.values() if slot.group == group][: wanted[group]]
    return chosen
