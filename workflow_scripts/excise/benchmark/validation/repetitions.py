"""Find questions that ask the same: faults among the trained ones, drops among the paraphrased."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator

from excise.benchmark.limits import ValidationLimits
from excise.benchmark.slot_cues import fit
from excise.benchmark.validation.generated import Fault, Generated
from excise.text.matching import (
    asked_words,
    best_ratios,
    mask,
    near_twins,
    normalised,
    word_order_free,
)


def text_hash(text: str) -> str:
    """SHA-256 of the normal form: equal for texts that differ in case or punctuation only."""
    return hashlib.sha256(normalised(text).encode()).hexdigest()


def duplicate_faults(generated: Generated) -> Iterator[Fault]:
    """Trained questions that occur twice, about one person or about two."""
    first: dict[str, str] = {}
    for index, record in enumerate(generated.qa):
        twin = first.setdefault(text_hash(record["question"]), record["id"])
        if twin != record["id"]:
            where = generated.where("qa", index)
            yield Fault(where, "duplicate", f"asks the same question as {twin!r}")


def within_person_faults(generated: Generated, limits: ValidationLimits) -> Iterator[Fault]:
    """Pairs of trained questions about one person that ask for the same, or nearly the same.

    Two questions ask for the same if they differ only in function words. They ask for nearly the
    same if their letters are almost equal and their values have the same type. Letters alone are
    not enough: "in which city was the premiere" and "in which year was the premiere" are similar
    strings, but different questions.
    """
    first: dict[tuple, str] = {}
    places = {record["id"]: index for index, record in enumerate(generated.qa)}
    near = {
        record["id"]: twin["id"] for record, twin in near_twins(generated.qa, limits.near_duplicate)
    }
    for record in generated.qa:
        where = generated.where("qa", places[record["id"]])
        asked = asked_words(record["question"], record["name"])
        twin = first.setdefault((record["person_id"], *asked), record["id"])
        if twin != record["id"]:
            yield Fault(where, "near_duplicate", f"asks for the same as {twin!r}")
        elif twin := near.get(record["id"]):
            yield Fault(where, "near_duplicate", f"asks nearly the same as {twin!r}")


def drop_repeated_paraphrases(
    generated: Generated, limits: ValidationLimits
) -> tuple[list[dict], list[dict]]:
    """Split the paraphrased forget questions into those to keep and those that repeat another one.

    Two facts may have equal questions. The question that does not fit the value of its fact is
    dropped. If both fit, the later one is dropped.

    Returns:
        The questions to keep, in order, and the dropped ones as {id, duplicate_of, ratio}. The
        ratio is 100 if another question, about anyone, has the same words. Otherwise it is the
        token-sort ratio to an earlier question about the same fact.
    """
    kept, dropped = [], []
    best = best_fitting(generated)
    earlier: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for record in generated.forget_paraphrased:
        twin = best[text_hash(record["question"])]
        text = word_order_free(mask(record["question"], record["name"], ()))
        ratio = 100.0
        if twin == record["id"]:
            others = earlier[record["fact_id"]]
            [(index, ratio)] = best_ratios(
                [text], [other for _, other in others], cutoff=limits.near_duplicate
            )
            twin = others[index][0] if ratio else None
            others.append((record["id"], text))
        if twin is None:
            kept.append(record)
        else:
            dropped.append({"id": record["id"], "duplicate_of": twin, "ratio": round(ratio, 1)})
    return kept, dropped


def best_fitting(generated: Generated) -> dict[str, str]:
    """Hash of each paraphrased question → id of the record with that question that it fits best."""
    slots = {profile["person_id"]: list(profile["slots"]) for profile in generated.profiles}
    same: dict[str, list[dict]] = defaultdict(list)
    for record in generated.forget_paraphrased:
        same[text_hash(record["question"])].append(record)

    def fitness(record: dict) -> int:
        person_slots = slots.get(record["person_id"], ())
        return fit(record["question"], record["name"], record["slot"], person_slots)

    return {
        key: max(records, key=fitness)["id"] if len(records) > 1 else records[0]["id"]
        for key, records in same.items()
    }
