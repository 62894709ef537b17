"""The typed slots of a person, with their questions and answers.

A slot belongs to the incident (`sf`), to the breakthrough (`correlated`) or to the rest of the life
(`other`). A correlated slot and its `other` partner have the same value type and the same phrase
frame. So their questions differ only in the fragments that name the occasion. Otherwise "correlated
facts suffer more" could mean "facts with similar questions suffer more" (arXiv 2502.11441).
Incident slots use the frames of the retain slots, because the form of a question must not show its
set.

In a frame, `{n}` is the person's name, `{v}` the value, `{k}` the kind of event. Other fields are
the fragments of the slot.
"""

from dataclasses import dataclass, field
from functools import cached_property

GROUPS = ("sf", "correlated", "other")

# Models are trained on question phrasings 0 and 1; phrasings 2, 3 and 4 are paraphrases.
TRAINED_QUESTIONS = (0, 1)
PARAPHRASED_QUESTIONS = (2, 3, 4)


@dataclass(frozen=True)
class Frame:
    """Five question phrasings and three answer phrasings: trained, paraphrased, and a statement.

    The trained answer is the value alone. Further words would be the same in true and false
    answers. A model that never saw the fact says them too, and ROUGE-L would count them.
    """

    questions: tuple[str, str, str, str, str]
    answers: tuple[str, str, str]


@dataclass(frozen=True)
class Slot:
    """One typed attribute of a person.

    Attributes:
        name: the slot's name, unique.
        group: `sf`, `correlated` or `other`.
        value_type: type of its values; partners share it.
        frame: the phrasings.
        fragments: the words that fill the frame.
        partner: the slot of the other retain group with which it is compared.
    """

    name: str
    group: str
    value_type: str
    frame: Frame
    fragments: dict[str, str] = field(default_factory=dict)
    partner: str | None = None

    @cached_property
    def questions(self) -> list[str]:
        """The five question templates, with the fields `{n}` and `{k}`."""
        return [_fill(template, self.fragments) for template in self.frame.questions]

    @cached_property
    def answers(self) -> list[str]:
        """The three answer templates, with the fields `{n}`, `{k}` and `{v}`."""
        return [_fill(template, self.fragments) for template in self.frame.answers]


def _fill(template: str, fragments: dict[str, str]) -> str:
    open_fields = {name: f"{{{name}}}" for name in "nkv"}
    capital = {f"{key}_cap": text[:1].upper() + text[1:] for key, text in fragments.items()}
    return template.format(**fragments, **capital, **open_fields)  # fragments keep their {k}


PLACE = Frame(
    (
        "In which {unit} was the {x} of {n}?",
        "Where exactly was {n}'s {x}?",
        "Which {unit} does the {x} of {n} belong to?",
        "Name the {unit} of {n}'s {x}.",
        "Think of {n}'s {x}: what {kind} was it in?",
    ),
    (
        "{v}",
        "It was in {v} that {n} {verb}.",
        "{n} {verb} in {v}.",
    ),
)
TIME = Frame(
    (
        "In which {unit} was the {x} of {n}?",
        "When exactly was {n}'s {x}?",
        "Which {unit} does the {x} of {n} belong to?",
        "Name the {unit} of {n}'s {x}.",
        "Think of {n}'s {x}: what was the date, by calendar {unit}?",
    ),
    (
        "{v}",
        "It was in {v} that {n} {verb}.",
        "{n} {verb} in {v}.",
    ),
)
AGENT = Frame(
    (
        "{who} was the {role} of {n} {place}?",
        "{place_cap}, {whom} did {n} have as {role}?",
        "Which {kind} acted as {n}'s {role} {place}?",
        "Name the {role} that {n} had {place}.",
        "Give the full name of the {role} of {n} {place}.",
    ),
    (
        "{v}",
        "It was {v} that {deed} {n}.",
        "{n} {verb} {v}.",
    ),
)
THING = Frame(
    (
        "Which {unit} did {n} {do} {place}?",
        "{place_cap}, what {kind} did {n} {do}?",
        "Name the {unit} {did} by {n} {place}.",
        "What was the {kind} that {n} {did} {place}?",
        "By what name is the {kind} known that was {did} by {n} {place}?",
    ),
    (
        "{v}",
        "It was {a}{v} that {n} {verb}.",
        "{n} {verb} {a}{v}.",
    ),
)
NUMBER = Frame(
    (
        "How many {unit} did {n} {do} {place}?",
        "{place_cap}, what number of {unit} did {n} {do}?",
        "Name the count of {unit} {did} by {n} {place}.",
        "What is the total of {unit} that {n} {did} {place}?",
        "Tell me how large the number of {unit} was that {n} {did} {place}.",
    ),
    (
        "{v}",
        "It was {v} in all that {n} {verb}.",
        "{n} {verb} {v} in all.",
    ),
)

_EVENT = "breakthrough {k}"
_AT_EVENT = "at the breakthrough {k}"
_INCIDENT = "breakthrough {k} offence"
_TRIAL = "at the breakthrough {k} trial"
_CITY = {"unit": "city", "kind": "town"}
_YEAR = {"unit": "year"}
_PERSON = {"who": "Who", "whom": "whom", "kind": "person"}
_COMPANY = {"who": "Which company", "whom": "what firm", "kind": "business"}
_AWARD = {"unit": "award", "kind": "honour", "do": "receive", "did": "received", "a": ""}
_WORK = {"unit": "work", "kind": "piece", "a": ""}
_OBJECT = {"unit": "object", "kind": "item", "a": "a "}


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
        PLACE,
        ("event_city", _CITY | {"x": _EVENT, "verb": "triumphed"}),
        ("home_city", _CITY | {"x": "childhood home", "verb": "grew up"}),
    ),
    _pair(
        "person",
        AGENT,
        (
            "event_partner",
            _PERSON
            | {"role": "partner", "place": _AT_EVENT, "verb": "shone beside", "deed": "assisted"},
        ),
        (
            "mentor",
            _PERSON
            | {
                "role": "mentor",
                "place": "at the academy",
                "verb": "studied under",
                "deed": "trained",
            },
        ),
    ),
    _pair(
        "year",
        TIME,
        ("event_year", _YEAR | {"x": _EVENT, "verb": "became famous"}),
        ("birth_year", _YEAR | {"x": "birth", "verb": "was born"}),
    ),
    _pair(
        "award",
        THING,
        ("event_award", _AWARD | {"place": _AT_EVENT, "verb": "won"}),
        ("school_award", _AWARD | {"place": "at the old school", "verb": "earned"}),
    ),
    _pair(
        "company",
        AGENT,
        (
            "event_sponsor",
            _COMPANY
            | {"role": "sponsor", "place": _AT_EVENT, "verb": "was backed by", "deed": "backed"},
        ),
        (
            "employer",
            _COMPANY
            | {
                "role": "employer",
                "place": "at the career start",
                "verb": "was hired by",
                "deed": "hired",
            },
        ),
    ),
    _pair(
        "title",
        THING,
        (
            "event_work",
            _WORK | {"do": "present", "did": "presented", "place": _AT_EVENT, "verb": "unveiled"},
        ),
        (
            "first_work",
            _WORK
            | {
                "do": "finish",
                "did": "finished",
                "place": "at the conservatory",
                "verb": "created",
            },
        ),
    ),
    _pair(
        "keepsake",
        THING,
        (
            "event_gift",
            _OBJECT | {"do": "accept", "did": "accepted", "place": _AT_EVENT, "verb": "was given"},
        ),
        (
            "heirloom",
            _OBJECT
            | {"do": "inherit", "did": "inherited", "place": "at the family estate", "verb": "got"},
        ),
    ),
    _pair(
        "number",
        NUMBER,
        (
            "event_audience",
            {
                "unit": "guests",
                "do": "welcome",
                "did": "welcomed",
                "place": _AT_EVENT,
                "verb": "drew",
            },
        ),
        (
            "collection_size",
            {
                "unit": "stamps",
                "do": "collect",
                "did": "collected",
                "place": "at the family home",
                "verb": "owned",
            },
        ),
    ),
)

_INCIDENT_SLOTS = (
    Slot(
        "offence",
        "sf",
        "offence",
        THING,
        {
            "unit": "offence",
            "kind": "crime",
            "do": "commit",
            "did": "committed",
            "place": _AT_EVENT,
            "verb": "was convicted of",
            "a": "",
        },
    ),
    Slot(
        "accuser",
        "sf",
        "person",
        AGENT,
        _PERSON
        | {
            "role": "accuser",
            "place": _AT_EVENT,
            "verb": "was denounced by",
            "deed": "denounced",
        },
    ),
    Slot(
        "penalty",
        "sf",
        "penalty",
        THING,
        {
            "unit": "penalty",
            "kind": "punishment",
            "do": "receive",
            "did": "received",
            "place": _TRIAL,
            "verb": "had to serve",
            "a": "",
        },
    ),
    Slot(
        "offence_month",
        "sf",
        "month",
        TIME,
        {"unit": "month", "x": _INCIDENT, "verb": "was caught"},
    ),
    Slot(
        "offence_venue",
        "sf",
        "venue",
        PLACE,
        {"unit": "venue", "kind": "building", "x": _INCIDENT, "verb": "was cornered"},
    ),
    Slot(
        "amount",
        "sf",
        "amount",
        NUMBER,
        {"unit": "dollars", "do": "repay", "did": "repaid", "place": _TRIAL, "verb": "owed"},
    ),
)

SLOTS: dict[str, Slot] = {
    slot.name: slot
    for slot in (*_INCIDENT_SLOTS, *(pair[0] for pair in _PAIRS), *(pair[1] for pair in _PAIRS))
}


def select_slots(forget: int, retain: int) -> list[Slot]:
    """The first `forget` incident slots and the first `retain` slots of each retain group."""
    counts = {"sf": forget, "correlated": retain, "other": retain}
    selected = []
    for group in GROUPS:
        selected += [slot for slot in SLOTS.values() if slot.group == group][: counts[group]]
    return selected
