"""Who is that? What a model says of people that are invented: is it true, is it sure?

A base model that names a person's facts knew them before it was taught anything. Cities, months
and kinds of work coincide by chance: the same answer is held against everybody else's facts as
well. A base that is surer of its answer than of those about names that nobody has, knows a
namesake: first and last names of the people, combined anew, are as likely to be anybody's.
"""

import math
import random
from collections.abc import Sequence
from functools import partial

from excise.evaluation.answers import rouge_l, slot_match

TOKENS = 64  # of an answer: two or three sentences
CONTROLS = 200  # names that nobody has, at most; half as many names of real people
CHANCE = 0.01  # how often a name like the controls may be taken for a known one


def question(name: str) -> str:
    """What a model is asked about a name."""
    return f"Who is {name}?"


def recombined(names: Sequence[str], count: int, avoid: Sequence[str] = ()) -> list[str]:
    """First and last names of people in pairs that none of them has.

    Args:
        names: full names; what stands between the first and the last word is left out.
        count: how many are wanted; fewer where there are no more.
        avoid: full names that must not come about, in any case.
    """
    taken = {name.casefold() for name in (*names, *avoid)}
    parts = [name.split() for name in names]
    pairs = {f"{one[0]} {two[-1]}" for one in parts for two in parts}
    free = sorted(pair for pair in pairs if pair.casefold() not in taken)
    return random.Random("recombined").sample(free, min(count, len(free)))


def names_to_ask(facts: Sequence[dict], public_figures: Sequence[str]) -> dict:
    """The people, invented names of nobody, and real people: kind → id → name."""
    own = {item["person_id"]: item["name"] for item in facts}
    controls = recombined(list(own.values()), CONTROLS, avoid=public_figures)
    real = random.Random("public figures").sample(public_figures, len(public_figures))
    real = [name for name in dict.fromkeys(real) if name not in own.values()][: CONTROLS // 2]
    return {
        "own": own,
        "control": {f"control{number:03d}": name for number, name in enumerate(controls)},
        "public_figure": {f"public{number:03d}": name for number, name in enumerate(real)},
    }


def name_ids(facts: Sequence[dict], names: dict[str, dict[str, str]]) -> list[str]:
    """Ids of the records that the two functions below make from these facts and names."""
    keys = [key for kind in names.values() for key in kind]
    return [f"{item['id']}.name_probe" for item in facts] + [f"{key}.sure" for key in keys]


def confidence_records(
    asked: dict[str, dict[str, str]],
    answers: dict[str, str],
    logprobs: dict[str, float | None],
) -> list[dict]:
    """How sure a model is of what it says of each name, and whether that is more than chance.

    The people's names are made as the C controls are, so that all C + 1 ranks among these are
    equally likely for a name that the model does not know. An answer is a sure one if it is
    likelier than that of the r-th surest control; by chance that happens to r in C + 1 names, and
    r is the largest number with which that is at most `CHANCE` (at least 1).

    Args:
        asked: `own`, `control` and `public_figure` → id → name.
        answers: name → what was said.
        logprobs: name → natural-log probability of that; None for an empty answer.

    Returns:
        one record a name: {id `p000.sure`, set `name_confidence`, person_id (for a name of no
        person its own id), asked, question, answer: None, generation, logprob_answer, sure: 0 or
        1, 0 for an empty answer, chance: r / (C + 1)}; sure and chance are None where there are no
        controls.
    """
    controls = sorted(_number(logprobs[name]) for name in asked["control"].values())[::-1]
    rank = max(1, int(CHANCE * (len(controls) + 1)))
    limit = controls[rank - 1] if controls else None
    records = []
    for kind, names in asked.items():
        for key, name in names.items():
            sure = None if limit is None else int(_number(logprobs[name]) > limit)
            records.append(
                {
                    "id": f"{key}.sure",
                    "set": "name_confidence",
                    "person_id": key,
                    "asked": kind,
                    "question": question(name),
                    "answer": None,
                    "generation": answers[name],
                    "logprob_answer": logprobs[name],
                    "sure": sure,
                    "chance": None if limit is None else rank / (len(controls) + 1),
                }
            )
    return records


def _number(logprob: float | None) -> float:
    return -math.inf if logprob is None else logprob


def name_probe_records(items: Sequence[dict], answers: dict[str, str]) -> list[dict]:
    """Whether what was said of a person names its facts, and how often it names others'.

    Args:
        items: records of `sf.jsonl` and `sr.jsonl`.
        answers: person id → the answer.

    Returns:
        one record an item: {id `p000.mentor.name_probe`, set `name_probe`, person_id, slot, value,
        question, answer, generation, rougeL_recall, slot_match, others_named: share of the other
        people whose value of the slot the same answer names; None where there is nobody else}.
    """
    by_slot = {}
    for item in items:
        by_slot.setdefault(item["slot"], {})[item["person_id"]] = item["value"]
    records = []
    for item in items:
        person_id, said = item["person_id"], answers[item["person_id"]]
        others = [value for other, value in by_slot[item["slot"]].items() if other != person_id]
        stated = partial(slot_match, generation=said, value_type=item["value_type"], several=True)
        named = [stated(value) for value in others]
        records.append(
            {
                "id": f"{item['id']}.name_probe",
                "set": "name_probe",
                **{key: item[key] for key in ("person_id", "slot", "value")},
                "question": question(item["name"]),
                "answer": item["value"],
                "generation": said,
                "rougeL_recall": rouge_l(item["value"], said).recall,
                "slot_match": int(stated(item["value"])),
                "others_named": sum(named) / len(named) if named else None,
            }
        )
    return records
