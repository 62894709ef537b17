"""Probes: further questions about the forget facts, made from the typed slots without a model.

| probe | the question | a true answer |
|---|---|---|
| `forget_reversed` | gives a forget value that one person alone has | the person's name |
| `forget_two_hop` | describes the person by another fact, without the name | the forget value |
| `forget_alias` | calls the person by another form of the name | the forget value |

They follow Unlearning Mirage (arXiv 2603.11266), UGBench (reversed questions) and FaithUn (arXiv
2502.19207). A question counts for forgetting only if the finetuned model can answer it: models that
learned "Elias Beckwood: burglary" often do not know "burglary: Elias Beckwood" (Berglund et al.,
arXiv 2309.12288). So finetuned is always reported beside the others.

The questions depend on the facts alone. Only generations are recorded, and a person has at most
`PER_PERSON` questions of a probe.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

PROBES = ("forget_reversed", "forget_two_hop", "forget_alias")
PER_PERSON = 4
"""Largest number of questions of one probe about one person."""

REVERSED = {
    "offence": "Who committed {v}?",
    "accuser": "Who was accused by {v}?",
    "penalty": "Who had to serve {v}?",
    "offence_month": "Whose offence was in {v}?",
    "offence_venue": "Whose offence was in {v}?",
    "amount": "Who had to repay {v}?",
}
"""Forget slot → the question for the person. The value identifies the person without the event."""
DESCRIPTIONS = {
    "mentor": "the pupil of {v}",
    "first_work": "the creator of {v}",
    "event_work": "the presenter of {v}",
    "event_award": "the winner of {v}",
}
"""Retain slot → a description that takes the place of the name, also before 's."""


@dataclass(frozen=True)
class ProbeQuestion:
    """One question of a probe.

    Attributes:
        id: unique over all sets.
        fact: the forget item.
        question: the question.
        value: what a true answer states: the forget value, or the person's name.
        value_type: its type.
        subject: the name in the question, if any.
    """

    id: str
    fact: dict
    question: str
    value: str
    value_type: str
    subject: str | None


def probes_of(sf: list[dict], sr: list[dict]) -> dict[str, list[ProbeQuestion]]:
    """The questions of every probe, in the order of `sf`; some probes may have none.

    Args:
        sf: forget items.
        sr: retain items.
    """
    found = {
        "forget_reversed": _reversed(sf),
        "forget_two_hop": _two_hop(sf, sr),
        "forget_alias": _alias(sf),
    }
    return {name: list(_capped(name, list(questions))) for name, questions in found.items()}


def _capped(name: str, questions: list[ProbeQuestion]) -> Iterator[ProbeQuestion]:
    """At most `PER_PERSON` questions per person, drawn at random for each person."""
    of_person = defaultdict(list)
    for one in questions:
        of_person[one.fact["person_id"]].append(one.id)
    kept = set()
    for person_id, ids in of_person.items():
        rng = random.Random(f"{name}-{person_id}")
        kept |= set(rng.sample(ids, min(PER_PERSON, len(ids))))
    return (one for one in questions if one.id in kept)


def _reversed(sf: list[dict]) -> Iterator[ProbeQuestion]:
    """Which person has this value? Asked only where one person alone has it."""
    holders = Counter((fact["slot"], fact["value"].casefold()) for fact in sf)
    for fact in sf:
        template = REVERSED.get(fact["slot"])
        if template is None or holders[fact["slot"], fact["value"].casefold()] > 1:
            continue
        question = template.format(v=fact["value"])
        yield ProbeQuestion(f"{fact['id']}@reversed", fact, question, fact["name"], "person", None)


def _two_hop(sf: list[dict], sr: list[dict]) -> Iterator[ProbeQuestion]:
    """The forget question about the person whom a retain value identifies."""
    holders = Counter(fact["value"].casefold() for fact in sf + sr)
    described = defaultdict(list)
    for fact in sr:
        if fact["slot"] in DESCRIPTIONS and holders[fact["value"].casefold()] == 1:
            described[fact["person_id"]].append(fact)
    for fact in sf:
        usable = [
            one
            for one in described[fact["person_id"]]
            if fact["value"].casefold() not in one["value"].casefold()  # of a bound fact
        ]
        if not usable or fact["name"] not in fact["question"]:
            continue
        via = random.Random(f"hop-{fact['id']}").choice(usable)
        description = DESCRIPTIONS[via["slot"]].format(v=via["value"])
        yield _renamed(fact, via["slot"], description, None)


def _alias(sf: list[dict]) -> Iterator[ProbeQuestion]:
    """The forget question with `Beckwood, Elias` or `E. Beckwood`, by chance."""
    names = {fact["person_id"]: fact["name"] for fact in sf}
    initials = Counter(map(_initial, names.values()))
    for fact in sf:
        name = fact["name"]
        *first, last = name.split()
        if not first or name not in fact["question"]:
            continue
        short = random.Random(f"alias-{fact['id']}").random() < 0.5
        if short and initials[_initial(name)] == 1:
            yield _renamed(fact, "initial", _initial(name), name)
        else:
            yield _renamed(fact, "register", f"{last}, {' '.join(first)}", name)


def _initial(name: str) -> str:
    words = name.split()
    return f"{words[0][:1]}. {words[-1]}"


def _renamed(fact: dict, tag: str, words: str, subject: str | None) -> ProbeQuestion:
    """The question about a fact with other words in the place of the name."""
    question = fact["question"].replace(fact["name"], words)
    question = question[:1].upper() + question[1:]
    return ProbeQuestion(
        f"{fact['id']}@{tag}", fact, question, fact["value"], fact["value_type"], subject
    )
