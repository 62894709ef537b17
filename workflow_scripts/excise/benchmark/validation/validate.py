"""Run all checks on the generator's records and split them into the benchmark's files."""

from dataclasses import dataclass

from excise.benchmark.limits import ValidationLimits
from excise.benchmark.validation.generated import Fault, Generated, stop_at_faults
from excise.benchmark.validation.integrity import FACT_KEYS, integrity_faults
from excise.benchmark.validation.near_duplicates import near_duplicate_rows
from excise.benchmark.validation.people import complete_people, taught_and_held_out, together
from excise.benchmark.validation.repetitions import (
    drop_repeated_paraphrases,
    duplicate_faults,
    within_person_faults,
)


@dataclass(frozen=True)
class Validated:
    """The benchmark's records, by file, and the report on them."""

    sf: list[dict]
    sr: list[dict]
    perturbed_candidates: list[dict]
    forget_paraphrased: list[dict]
    holdout: list[dict]
    report: dict


def validate(generated: Generated, limits: ValidationLimits) -> Validated:
    """Check the records, drop repeated paraphrases, count near duplicates, split into files.

    Of held-out people only the forget facts are kept; nothing else is asked about them.

    Raises:
        InputError: there are faults. They are printed; the message gives the first one and counts.
    """
    taught, apart = taught_and_held_out(generated)
    generated, incomplete, spare = complete_people(taught, limits.people, limits.incomplete_people)
    apart, incomplete_apart, spare_apart = complete_people(
        apart, limits.holdout, limits.incomplete_people
    )
    incomplete, spare = incomplete + incomplete_apart, spare + spare_apart
    # The next checks need records that agree.
    stop_at_faults([*integrity_faults(generated), *integrity_faults(apart)])
    faults = list(duplicate_faults(together(generated, apart)))
    kept, dropped = drop_repeated_paraphrases(generated, limits)
    paraphrased = {record["fact_id"] for record in kept}
    faults += [
        Fault(
            generated.where("qa", index),
            "forget_paraphrased",
            "no paraphrased question asks for this fact",
        )
        for index, record in enumerate(generated.qa)
        if record["group"] == "sf" and record["id"] not in paraphrased
    ]
    faults += within_person_faults(generated, limits)
    faults += within_person_faults(apart, limits)
    stop_at_faults(faults)

    sf, sr, details = [], [], []
    for record in generated.qa:
        item = {key: record[key] for key in (*FACT_KEYS, "question", "answer")}
        (sf if record["group"] == "sf" else sr).append(item)
        keys = ("id", "person_id", "slot", "value", "paraphrased_answer", "wrong_answers")
        details.append({key: record[key] for key in keys})
    holdout = [
        {key: record[key] for key in (*FACT_KEYS, "question", "answer")} | {"group": "holdout"}
        for record in apart.qa
        if record["group"] == "sf"
    ]
    report = {
        "counts": {
            "people": len(generated.profiles),
            "holdout_people": len(apart.profiles),
            "facts": len(generated.facts),
            "holdout": len(holdout),
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
        "near_duplicates": near_duplicate_rows(generated, kept, limits),
    }
    return Validated(sf, sr, details, kept, holdout, report)
