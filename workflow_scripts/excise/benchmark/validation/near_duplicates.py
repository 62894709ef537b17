"""Count texts that are nearly the same as another one; such texts are no faults."""

from collections import Counter, defaultdict

from rapidfuzz import fuzz, process

from excise.benchmark.limits import ValidationLimits
from excise.benchmark.validation.generated import Generated
from excise.text.matching import best_ratios, mask, word_order_free

EXAMPLES = 10  # worst cases kept in the report


def near_duplicate_rows(
    generated: Generated, forget_paraphrased: list[dict], limits: ValidationLimits
) -> list[dict]:
    """Count texts that have a near duplicate: within a person, across people, and masked.

    Within a person, texts about different slots are compared. Across people, texts about the same
    slot are compared, first unchanged, then with names and values masked. The measure is the
    token-sort ratio. The masked rate is high by design if people share phrasings;
    `distinct_masked` is the number of phrasings.

    Args:
        generated: the records.
        forget_paraphrased: the paraphrased questions that are kept.
        limits: the thresholds.

    Returns:
        One row per text kind and scope: {text, scope, threshold, n, count, rate, examples}. Rows
        of masked texts also have distinct_masked.
    """
    values = {profile["person_id"]: profile["slots"].values() for profile in generated.profiles}
    kinds = {
        "question": (generated.qa, "question"),
        "answer": (generated.qa, "answer"),
        "held_out_question": (forget_paraphrased, "question"),
    }
    rows = []
    for text_kind, (records, key) in kinds.items():
        slots = defaultdict(list)
        for record in records:
            slots[record["slot"]].append(record)
        rows.append(_within_row(text_kind, key, records, limits.near_duplicate))
        rows.append(_plain_row(text_kind, key, slots, limits.near_duplicate))
        rows.append(_masked_row(text_kind, key, slots, values, limits.masked_near_duplicate))
    return rows


def _within_row(text_kind: str, key: str, records: list[dict], threshold: float) -> dict:
    """Near duplicates among one person's texts about different slots; the name is masked."""
    people = defaultdict(list)
    for record in records:
        people[record["person_id"]].append(record)
    found = []
    for person_records in people.values():
        texts = [
            " ".join(sorted(mask(record[key], record["name"], ()).split()))
            for record in person_records
        ]
        ratios = process.cdist(texts, texts, scorer=fuzz.ratio, score_cutoff=threshold)
        for row, record in enumerate(person_records):
            for column, other in enumerate(person_records[:row]):
                if ratios[row, column] and other["slot"] != record["slot"]:
                    found.append((float(ratios[row, column]), record, other))
    involved = {record["id"] for _, *pair in found for record in pair}
    return _row(text_kind, "within_person", threshold, len(involved), len(records)) | {
        "examples": _examples(found, key)
    }


def _plain_row(text_kind: str, key: str, slots: dict, threshold: float) -> dict:
    """Near duplicates across people; the texts are compared unchanged."""
    found, total = [], 0
    for records in slots.values():
        total += len(records)
        texts = [word_order_free(record[key]) for record in records]
        for index, (twin, ratio) in enumerate(
            best_ratios(texts, texts, cutoff=threshold, same=True)
        ):
            if ratio and records[twin]["person_id"] != records[index]["person_id"]:
                found.append((ratio, records[index], records[twin]))
    return _row(text_kind, "across_people", threshold, len(found), total) | {
        "examples": _examples(found, key)
    }


def _masked_row(text_kind: str, key: str, slots: dict, values: dict, threshold: float) -> dict:
    """Near duplicates across people, with names and values masked, and the number of phrasings."""
    count, total, phrasings = 0, 0, Counter()
    for slot, records in slots.items():
        total += len(records)
        people = defaultdict(set)
        for record in records:
            text = mask(record[key], record["name"], values[record["person_id"]])
            people[text].add(record["person_id"])
            phrasings[slot, text] += 1
        texts = list(people)
        sorted_words = [" ".join(sorted(text.split())) for text in texts]
        best = best_ratios(sorted_words, sorted_words, cutoff=threshold, same=True)
        for text, (_, ratio) in zip(texts, best, strict=True):
            if ratio or len(people[text]) > 1:
                count += phrasings[slot, text]
    examples = [
        {"slot": slot, "text": text, "n": number}
        for (slot, text), number in sorted(phrasings.items(), key=lambda item: (-item[1], item[0]))
    ]
    return _row(text_kind, "across_people_masked", threshold, count, total) | {
        "distinct_masked": len(phrasings),
        "examples": examples[:EXAMPLES],
    }


def _examples(found: list[tuple[float, dict, dict]], key: str) -> list[dict]:
    found.sort(key=lambda pair: (-pair[0], pair[1]["id"]))
    return [
        {"id": record["id"], "near": twin["id"], "ratio": round(ratio, 1), "text": record[key]}
        for ratio, record, twin in found[:EXAMPLES]
    ]


def _row(text_kind: str, scope: str, threshold: float, count: int, n: int) -> dict:
    return {
        "text": text_kind,
        "scope": scope,
        "threshold": threshold,
        "n": n,
        "count": count,
        "rate": count / n if n else None,
    }
