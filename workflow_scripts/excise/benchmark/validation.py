"""Generated records → benchmark files: do they agree with each other, is anything there twice?

A *fault* stops the dataset. Held-out questions that say the same thing twice are dropped.
Everything else that repeats is counted: people share phrasings on purpose, so that what a
question asks, not how, is what tells sets apart.
"""

import hashlib
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rapidfuzz import fuzz, process

from excise.benchmark.limits import ValidationLimits
from excise.benchmark.slot_cues import fit
from excise.errors import InputError
from excise.records import read_jsonl
from excise.text.matching import (
    asked_words,
    best_ratios,
    mask,
    near_twins,
    normalised,
    word_order_free,
)
from excise.text.values import states

FACT_KEYS = (
    "id",
    "person_id",
    "name",
    "slot",
    "value_type",
    "value",
    "group",
    "event_id",
    "partner",
)
EXAMPLES = 10  # worst cases kept in the report
SHOWN = 20  # faults printed


@dataclass(frozen=True)
class Fault:
    """One thing that stops the dataset: `file:line`, the check's name, and why."""

    where: str
    check: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.check}: {self.why}"


@dataclass(frozen=True)
class Generated:
    """The generator's four files; `where(kind, index)` names a record's line.

    `lines` holds, by kind, the line of each record, where that is not simply the next one.
    """

    profiles: list[dict]
    facts: list[dict]
    qa: list[dict]
    forget_paraphrased: list[dict]
    paths: dict[str, Path]
    lines: dict[str, list[int]] = field(default_factory=dict)

    def where(self, kind: str, index: int) -> str:
        """`file:line` of the record at `index` of one of the four lists."""
        line = self.lines[kind][index] if kind in self.lines else index + 1
        return f"{self.paths[kind]}:{line}"


@dataclass(frozen=True)
class Validated:
    """The benchmark's records, by file, and the report on them."""

    sf: list[dict]
    sr: list[dict]
    perturbed_candidates: list[dict]
    forget_paraphrased: list[dict]
    report: dict


def read_generated(profiles: str, facts: str, qa: str, forget_paraphrased: str) -> Generated:
    """Read the generator's files; the first line that breaks its schema is an `InputError`."""
    return Generated(
        profiles=read_jsonl(profiles, "profile"),
        facts=read_jsonl(facts, "fact"),
        qa=read_jsonl(qa, "qa"),
        forget_paraphrased=read_jsonl(forget_paraphrased, "forget_paraphrased"),
        paths={
            "profiles": Path(profiles),
            "facts": Path(facts),
            "qa": Path(qa),
            "forget_paraphrased": Path(forget_paraphrased),
        },
    )


def validate(generated: Generated, limits: ValidationLimits) -> Validated:
    """Check, drop repeated held-out questions, measure near duplicates, split into files.

    Raises:
        InputError: there are faults; they are printed, the message names the first and counts.
    """
    generated, incomplete, spare = complete_people(generated, limits)
    faults = list(integrity_faults(generated))
    stop_at(faults)  # the checks below rely on records that agree
    faults = list(duplicate_faults(generated))
    kept, dropped = without_repeats(generated, limits)
    still_asked = {prompt["fact_id"] for prompt in kept}
    faults += [
        Fault(generated.where("qa", index), "held_out", "no held-out question asks for this fact")
        for index, record in enumerate(generated.qa)
        if record["group"] == "sf" and record["id"] not in still_asked
    ]
    faults += within_person_faults(generated, limits)
    stop_at(faults)

    sf, sr, details = [], [], []
    for record in generated.qa:
        item = {key: record[key] for key in (*FACT_KEYS, "question", "answer")}
        (sf if record["group"] == "sf" else sr).append(item)
        keys = ("id", "person_id", "slot", "value", "paraphrased_answer", "wrong_answers")
        details.append({key: record[key] for key in keys})
    report = {
        "counts": {
            "people": len(generated.profiles),
            "facts": len(generated.facts),
            "sf": len(sf),
            "sr": len(sr),
            "perturbed_candidates": sum(len(record["wrong_answers"]) for record in details),
            "forget_paraphrased": len(kept),
            "forget_paraphrased_dropped": len(dropped),
            "incomplete_people": len(incomplete),
            "spare_people": len(spare),
            "faults": 0,
        },
        "dropped": dropped,
        "incomplete_people": incomplete,
        "spare_people": spare,
        "near_duplicates": near_duplicates(generated, kept, limits),
    }
    return Validated(sf, sr, details, kept, report)


def complete_people(
    generated: Generated, limits: ValidationLimits
) -> tuple[Generated, list[dict], list[str]]:
    """The records of the people whom every file knows in full, as many as there are to be.

    A model that writes the files may leave people out; spare people take their places.

    Args:
        generated: the four files.
        limits: `people`, how many there are to be, and `incomplete_people`, which share of them
            may be missing; where nobody may and nobody is spare, nobody is dropped.

    Returns:
        the records of the first complete people; the incomplete ones as {person_id, missing}; ids
        of the complete ones who were not needed.

    Raises:
        InputError: too many are missing.
    """
    there = [profile["person_id"] for profile in generated.profiles]
    wanted = len(there) if limits.people is None else limits.people
    if not limits.incomplete_people and len(there) <= wanted:
        return generated, [], []
    incomplete = missing_records(generated)
    complete = [person_id for person_id in there if person_id not in incomplete]
    lacking = wanted - len(complete)
    if lacking > limits.incomplete_people * wanted:
        told = ""
        if incomplete:
            first, missing = next(iter(incomplete.items()))
            lacks = ", ".join(f"{number} in {kind}" for kind, number in missing.items())
            told = f" ({first}: records missing: {lacks})"
        raise InputError(
            f"{generated.paths['profiles']}: {len(incomplete)} of {len(there)} people are "
            f"incomplete{told}, and {lacking} of {wanted} would be missing; allowed: "
            f"{limits.incomplete_people:.0%} (validation.incomplete_people)"
        )
    kept = set(complete[:wanted])
    kinds = {
        kind: [
            (line, record)
            for line, record in enumerate(getattr(generated, kind), start=1)
            if record["person_id"] in kept
        ]
        for kind in generated.paths
    }
    records = {kind: [record for _, record in own] for kind, own in kinds.items()}
    lines = {kind: [line for line, _ in own] for kind, own in kinds.items()}
    dropped = [{"person_id": one, "missing": missing} for one, missing in incomplete.items()]
    return Generated(**records, paths=generated.paths, lines=lines), dropped, complete[wanted:]


def missing_records(generated: Generated) -> dict[str, dict[str, int]]:
    """Incomplete people → file → how many of their records it lacks.

    A person is complete with a fact for every slot, a question for every fact and a held-out
    question for every forget fact.
    """
    told = {record["id"] for record in generated.facts}
    asked = {record["id"] for record in generated.qa}
    asked_again = {record["fact_id"] for record in generated.forget_paraphrased}
    forget = {record["slot"] for record in generated.facts if record["group"] == "sf"}
    incomplete = {}
    for profile in generated.profiles:
        own = {f"{profile['person_id']}.{slot}": slot for slot in profile["slots"]}
        missing = {
            "facts": [slot for key, slot in own.items() if key not in told],
            "qa": [slot for key, slot in own.items() if key not in asked],
            "forget_paraphrased": [
                s for key, s in own.items() if s in forget and key not in asked_again
            ],
        }
        if any(missing.values()):
            incomplete[profile["person_id"]] = {
                kind: len(slots) for kind, slots in missing.items() if slots
            }
    return incomplete


def stop_at(faults: list[Fault]) -> None:
    """Print the first faults and raise an `InputError` that names the very first; none: return."""
    if not faults:
        return
    for fault in faults[:SHOWN]:
        print(fault, file=sys.stderr)
    if len(faults) > SHOWN:
        print(f"… and {len(faults) - SHOWN} more", file=sys.stderr)
    count = Counter(fault.check for fault in faults)
    tally = ", ".join(f"{check} {number}" for check, number in sorted(count.items()))
    raise InputError(f"{faults[0]} (faults: {tally})")


def integrity_faults(generated: Generated) -> Iterator[Fault]:
    """Records that name what does not exist, or tell the same fact in two ways."""
    profiles = {profile["person_id"]: profile for profile in generated.profiles}
    facts = {fact["id"]: fact for fact in generated.facts}
    asked = {record["id"]: record for record in generated.qa}
    for index, fact in enumerate(generated.facts):
        where = generated.where("facts", index)
        profile = profiles.get(fact["person_id"])
        if profile is None:
            yield Fault(where, "integrity", f"no profile of {fact['person_id']!r}")
            continue
        if fact["id"] != f"{fact['person_id']}.{fact['slot']}":
            yield Fault(where, "integrity", f"id {fact['id']!r} is not person_id.slot")
        if fact["name"] != profile["name"]:
            yield Fault(where, "integrity", _differs("name", fact["name"], profile["name"]))
        told = profile["slots"].get(fact["slot"])
        if told != fact["value"]:
            yield Fault(where, "integrity", _differs("value", fact["value"], told))
        if fact["id"] not in asked:
            yield Fault(where, "integrity", f"no question asks for {fact['id']!r}")
    for index, record in enumerate(generated.qa):
        where = generated.where("qa", index)
        fact = facts.get(record["id"])
        if fact is None:
            yield Fault(where, "integrity", f"no fact {record['id']!r}")
            continue
        yield from _disagreements(where, record, fact, FACT_KEYS)
        for key in ("answer", "paraphrased_answer"):
            if not states(record[key], record["value"], record["value_type"], subject=fact["name"]):
                yield Fault(where, "integrity", f"{key} does not state {record['value']!r}")
    for index, prompt in enumerate(generated.forget_paraphrased):
        where = generated.where("forget_paraphrased", index)
        fact = facts.get(prompt["fact_id"])
        if fact is None or fact["group"] != "sf":
            yield Fault(where, "integrity", f"no forget fact {prompt['fact_id']!r}")
            continue
        yield from _disagreements(
            where, prompt, fact, ("person_id", "name", "slot", "value_type", "value")
        )
        if not states(
            prompt["answer"], prompt["value"], prompt["value_type"], subject=fact["name"]
        ):
            yield Fault(where, "integrity", f"answer does not state {prompt['value']!r}")


def _disagreements(where: str, record: dict, fact: dict, keys: Iterable[str]) -> Iterator[Fault]:
    for key in keys:
        if record[key] != fact[key]:
            yield Fault(where, "integrity", _differs(key, record[key], fact[key]))


def _differs(key: str, found: object, expected: object) -> str:
    return f"{key} is {found!r}, elsewhere {expected!r}"


def text_hash(text: str) -> str:
    """SHA-256 of the normal form: equal for texts that differ in case or punctuation only."""
    return hashlib.sha256(normalised(text).encode()).hexdigest()


def duplicate_faults(generated: Generated) -> Iterator[Fault]:
    """Trained questions that are asked twice, of the same person or of two."""
    first: dict[str, str] = {}
    for index, record in enumerate(generated.qa):
        twin = first.setdefault(text_hash(record["question"]), record["id"])
        if twin != record["id"]:
            where = generated.where("qa", index)
            yield Fault(where, "duplicate", f"asks the same question as {twin!r}")


def within_person_faults(generated: Generated, limits: ValidationLimits) -> Iterator[Fault]:
    """Two trained questions of one person that ask for the same, or nearly.

    The same: they differ in function words at most. Nearly: almost the same letters, and the same
    kind of value. Letters alone are no guide: "in which city was the premiere" and "in which year
    was the premiere" are nearly the same string and not at all the same question.
    """
    first: dict[tuple, str] = {}
    places = {record["id"]: index for index, record in enumerate(generated.qa)}
    near = {one["id"]: two["id"] for one, two in near_twins(generated.qa, limits.near_duplicate)}
    for record in generated.qa:
        where = generated.where("qa", places[record["id"]])
        asked = asked_words(record["question"], record["name"])
        twin = first.setdefault((record["person_id"], *asked), record["id"])
        if twin != record["id"]:
            yield Fault(where, "near_duplicate", f"asks for the same as {twin!r}")
        elif twin := near.get(record["id"]):
            yield Fault(where, "near_duplicate", f"asks nearly the same as {twin!r}")


def without_repeats(
    generated: Generated, limits: ValidationLimits
) -> tuple[list[dict], list[dict]]:
    """Held-out questions without those that repeat an earlier one.

    Two facts may have equal questions. The question that does not fit its fact's value is dropped;
    if both fit, the later one.

    Returns:
        the questions kept, in order, and what was dropped as {id, duplicate_of, ratio}: ratio
        100 for the same words (of anyone), else the token-sort ratio to an earlier question
        about the same fact.
    """
    kept, dropped = [], []
    first = best_fitting(generated)
    earlier: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for prompt in generated.forget_paraphrased:
        twin = first[text_hash(prompt["question"])]
        text = word_order_free(mask(prompt["question"], prompt["name"], ()))
        ratio = 100.0
        if twin == prompt["id"]:
            others = earlier[prompt["fact_id"]]
            [(index, ratio)] = best_ratios(
                [text], [other for _, other in others], cutoff=limits.near_duplicate
            )
            twin = others[index][0] if ratio else None
            others.append((prompt["id"], text))
        if twin is None:
            kept.append(prompt)
        else:
            dropped.append({"id": prompt["id"], "duplicate_of": twin, "ratio": round(ratio, 1)})
    return kept, dropped


def best_fitting(generated: Generated) -> dict[str, str]:
    """Hash of each held-out question → of all records with it, the one that it fits best."""
    slots = {profile["person_id"]: list(profile["slots"]) for profile in generated.profiles}
    same: dict[str, list[dict]] = defaultdict(list)
    for record in generated.forget_paraphrased:
        same[text_hash(record["question"])].append(record)

    def fitness(record: dict) -> int:
        own = slots.get(record["person_id"], ())
        return fit(record["question"], record["name"], record["slot"], own)

    return {
        key: max(records, key=fitness)["id"] if len(records) > 1 else records[0]["id"]
        for key, records in same.items()
    }


def near_duplicates(
    generated: Generated, forget_paraphrased: list[dict], limits: ValidationLimits
) -> list[dict]:
    """How many texts have a near duplicate: within a person, across people, and masked.

    Within a person, texts of different slots are compared; across people those of the same
    slot, as they stand and with names and values masked (token-sort ratio throughout). The
    masked rate is high by design where people share phrasings; `distinct_masked` counts those.

    Returns:
        one row per text kind × scope: {text, scope, threshold, n, count, rate, examples} and,
        masked, distinct_masked.
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
    """Near duplicates among one person's texts about different slots, the name masked."""
    people = defaultdict(list)
    for record in records:
        people[record["person_id"]].append(record)
    found = []
    for own in people.values():
        texts = [" ".join(sorted(mask(one[key], one["name"], ()).split())) for one in own]
        ratios = process.cdist(texts, texts, scorer=fuzz.ratio, score_cutoff=threshold)
        for row, one in enumerate(own):
            for column in range(row):
                if ratios[row, column] and own[column]["slot"] != one["slot"]:
                    found.append((float(ratios[row, column]), one, own[column]))
    involved = {record["id"] for _, one, two in found for record in (one, two)}
    return _row(text_kind, "within_person", threshold, len(involved), len(records)) | {
        "examples": _examples(found, key)
    }


def _plain_row(text_kind: str, key: str, slots: dict, threshold: float) -> dict:
    """Near duplicates across people of the texts as they stand."""
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
    """The same once names and values are masked: counts how many people share a phrasing."""
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
        {"id": one["id"], "near": two["id"], "ratio": round(ratio, 1), "text": one[key]}
        for ratio, one, two in found[:EXAMPLES]
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
