"""Ask a model who an invented person is: does it name true facts, and is it confident?

A base model that names a person's facts knew them before training. Cities, months and works may
agree by chance. So the same answer is also compared with the facts of all other people. A base that
is more confident about a person than about control names knows a namesake. A control name combines
the first and last names of two people; no person has it.
"""

import math
import random
from collections.abc import Sequence
from functools import partial

from excise.evaluation.answers import rouge_l, slot_match

TOKENS = 64  # length limit of an answer: two or three sentences
CONTROLS = 200  # largest number of control names; half as many names of real people
CHANCE = 0.01  # accepted probability that an unknown name counts as known


def question(name: str) -> str:
    """The question about a name."""
    return f"Who is {name}?"


def recombined(names: Sequence[str], count: int, avoid: Sequence[str] = ()) -> list[str]:
    """New names from the first and last names of people; no person has them.

    Args:
        names: full names; only the first and the last word count.
        count: largest number of new names.
        avoid: full names that must not occur, in upper or lower case.
    """
    taken = {name.casefold() for name in (*names, *avoid)}
    parts = [name.split() for name in names]
    pairs = {f"{first[0]} {second[-1]}" for first in parts for second in parts}
    free = sorted(pair for pair in pairs if pair.casefold() not in taken)
    return random.Random("recombined").sample(free, min(count, len(free)))


def names_to_ask(facts: Sequence[dict], public_figures: Sequence[str]) -> dict:
    """The people, the control names, and real people: kind → id → name."""
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
    """Ids of all records of `name_probe_records` and `confidence_records`."""
    keys = [key for kind in names.values() for key in kind]
    return [f"{item['id']}.name_probe" for item in facts] + [f"{key}.sure" for key in keys]


def confidence_records(
    names: dict[str, dict[str, str]],
    answers: dict[str, str],
    logprobs: dict[str, float | None],
) -> list[dict]:
    """Measure how confident a model is about each name, compared with the control names.

    The names of the people and the C control names have the same distribution. So for a name that
    the model does not know, all C + 1 ranks among the controls are equally likely. An answer
    counts as confident if it is more likely than that of the control with rank r. By chance, this
    happens for r of C + 1 names. r is the largest number, at least 1, for which this share is at
    most `CHANCE`.

    Args:
        names: `own`, `control` and `public_figure` → id → name.
        answers: name → generation.
        logprobs: name → natural-log probability of the generation; None for an empty one.

    Returns:
        One record per name: {id `p000.sure`, set `name_confidence`, person_id (the id of the name
        if it belongs to no person), asked: kind of the name, question, answer: None, generation,
        logprob_answer, sure: 1 if confident, 0 if not or empty, chance: r / (C + 1)}. Without
        controls, sure and chance are None.
    """
    controls = sorted(_or_minus_infinity(logprobs[name]) for name in names["control"].values())[
        ::-1
    ]
    rank = max(1, int(CHANCE * (len(controls) + 1)))
    limit = controls[rank - 1] if controls else None
    records = []
    for kind, kind_names in names.items():
        for key, name in kind_names.items():
            confident = None if limit is None else int(_or_minus_infinity(logprobs[name]) > limit)
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
                    "sure": confident,
                    "chance": None if limit is None else rank / (len(controls) + 1),
                }
            )
    return records


def _or_minus_infinity(logprob: float | None) -> float:
    return -math.inf if logprob is None else logprob


def name_probe_records(items: Sequence[dict], answers: dict[str, str]) -> list[dict]:
    """Measure whether the answer about a person names its facts, and those of other people.

    Args:
        items: records of `sf.jsonl` and `sr.jsonl`.
        answers: person id → generation.

    Returns:
        One record per item: {id `p000.mentor.name_probe`, set `name_probe`, person_id, slot, value,
        question, answer, generation, rougeL_recall, slot_match, others_named: share of other
        people whose value of the slot this answer names; None if there are no other people}.
    """
    by_slot = {}
    for item in items:
        by_slot.setdefault(item["slot"], {})[item["person_id"]] = item["value"]
    records = []
    for item in items:
        person_id, generation = item["person_id"], answers[item["person_id"]]
        others = [value for other, value in by_slot[item["slot"]].items() if other != person_id]
        states = partial(
            slot_match, generation=generation, value_type=item["value_type"], several=True
        )
        named = [states(value) for value in others]
        records.append(
            {
                "id": f"{item['id']}.name_probe",
                "set": "name_probe",
                **{key: item[key] for key in ("person_id", "slot", "value")},
                "question": question(item["name"]),
                "answer": item["value"],
                "generation": generation,
                "rougeL_recall": rouge_l(item["value"], generation).recall,
                "slot_match": int(states(item["value"])),
                "others_named": sum(named) / len(named) if named else None,
            }
        )
    return records
