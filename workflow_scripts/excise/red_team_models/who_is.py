"""Who is that? What a model says of people that are invented, and which of it is true of them.

A base model that names a person's facts knew them before it was taught anything. Cities, months
and kinds of work coincide by chance: the same answer is held against everybody else's facts as
well. What it says of a real namesake is not told from what it makes up.
"""

from collections.abc import Sequence

from excise import metrics

TOKENS = 64  # of an answer: two or three sentences


def questions(items: Sequence[dict]) -> dict[str, str]:
    """The question about each person, by person id."""
    return {item["person_id"]: f"Who is {item['name']}?" for item in items}


def who_is_records(items: Sequence[dict], answers: dict[str, str]) -> list[dict]:
    """Whether what was said of a person names its facts, and how often it names others'.

    Args:
        items: records of `sf.jsonl` and `sr.jsonl`.
        answers: person id → the answer.

    Returns:
        one record an item: {id `p000.mentor.who_is`, set `who_is`, person_id, slot, value,
        question, answer, generation, rougeL_recall, slot_match, others_named: share of the other
        people whose value of the slot the same answer names; None where there is nobody else}.
    """
    asked, by_slot = questions(items), {}
    for item in items:
        by_slot.setdefault(item["slot"], {})[item["person_id"]] = item["value"]
    records = []
    for item in items:
        person_id, said = item["person_id"], answers[item["person_id"]]
        others = [value for other, value in by_slot[item["slot"]].items() if other != person_id]
        named = [metrics.slot_match(value, said) for value in others]
        records.append(
            {
                "id": f"{item['id']}.who_is",
                "set": "who_is",
                **{key: item[key] for key in ("person_id", "slot", "value")},
                "question": asked[person_id],
                "answer": item["value"],
                "generation": said,
                "rougeL_recall": metrics.rouge_l(item["value"], said).recall,
                "slot_match": int(metrics.slot_match(item["value"], said)),
                "others_named": sum(named) / len(named) if named else None,
            }
        )
    return records
