"""Select the people of whom all files have all records."""

from collections.abc import Collection

from excise.benchmark.people import is_held_out
from excise.benchmark.validation.generated import Generated
from excise.errors import InputError


def taught_and_held_out(generated: Generated) -> tuple[Generated, Generated]:
    """The records of the people whom models are taught about, and those of the others."""
    ids = {record["person_id"] for kind in generated.paths for record in getattr(generated, kind)}
    held_out = set(filter(is_held_out, ids))
    return _records_of(generated, ids - held_out), _records_of(generated, held_out)


def together(first: Generated, second: Generated) -> Generated:
    """The records of both, which come from the same files."""
    kinds = first.paths
    return Generated(
        **{kind: [*getattr(first, kind), *getattr(second, kind)] for kind in kinds},
        paths=kinds,
        lines={
            kind: [
                one.line(kind, index)
                for one in (first, second)
                for index in range(len(getattr(one, kind)))
            ]
            for kind in kinds
        },
    )


def complete_people(
    generated: Generated, needed: int | None, share_missing: float
) -> tuple[Generated, list[dict], list[str]]:
    """Select the first complete people, as many as the dataset needs.

    A model that writes the files may leave people out. Spare people replace them.

    Args:
        generated: the four files.
        needed: number of people; None: all.
        share_missing: the share of them that may be missing. If no one may be missing and no one
            is spare, all records are returned.

    Returns:
        The records of the selected people; the incomplete people as {person_id, missing}; ids of
        complete people that are not needed.

    Raises:
        InputError: too many people are missing.
    """
    generated_people = [profile["person_id"] for profile in generated.profiles]
    needed = len(generated_people) if needed is None else needed
    if not share_missing and len(generated_people) <= needed:
        return generated, [], []
    incomplete = missing_records(generated)
    complete = [person_id for person_id in generated_people if person_id not in incomplete]
    lacking = needed - len(complete)
    if lacking > share_missing * needed:
        example = ""
        if incomplete:
            first, missing = next(iter(incomplete.items()))
            counts = ", ".join(f"{number} in {kind}" for kind, number in missing.items())
            example = f" ({first}: records missing: {counts})"
        raise InputError(
            f"{generated.paths['profiles']}: {len(incomplete)} of {len(generated_people)} people "
            f"are incomplete{example}, and {lacking} of {needed} would be missing; allowed: "
            f"{share_missing:.0%} (validation.incomplete_people)"
        )
    dropped = [
        {"person_id": person_id, "missing": missing} for person_id, missing in incomplete.items()
    ]
    return _records_of(generated, set(complete[:needed])), dropped, complete[needed:]


def _records_of(generated: Generated, people: Collection[str]) -> Generated:
    """The records of some people, with their lines in the files."""
    numbered = {
        kind: [
            (generated.line(kind, index), record)
            for index, record in enumerate(getattr(generated, kind))
            if record["person_id"] in people
        ]
        for kind in generated.paths
    }
    records = {kind: [record for _, record in pairs] for kind, pairs in numbered.items()}
    lines = {kind: [line for line, _ in pairs] for kind, pairs in numbered.items()}
    return Generated(**records, paths=generated.paths, lines=lines)


def missing_records(generated: Generated) -> dict[str, dict[str, int]]:
    """Incomplete people → file → number of missing records.

    A complete person has a fact for every slot, a question for every fact, and, unless held out, a
    paraphrased question for every forget fact.
    """
    stated = {record["id"] for record in generated.facts}
    asked = {record["id"] for record in generated.qa}
    paraphrased = {record["fact_id"] for record in generated.forget_paraphrased}
    forget_slots = {record["slot"] for record in generated.facts if record["group"] == "sf"}
    incomplete = {}
    for profile in generated.profiles:
        slots = {f"{profile['person_id']}.{slot}": slot for slot in profile["slots"]}
        missing = {
            "facts": len(slots.keys() - stated),
            "qa": len(slots.keys() - asked),
            "forget_paraphrased": sum(
                slot in forget_slots and fact_id not in paraphrased
                for fact_id, slot in slots.items()
                if not is_held_out(profile["person_id"])
            ),
        }
        if any(missing.values()):
            incomplete[profile["person_id"]] = {
                kind: number for kind, number in missing.items() if number
            }
    return incomplete
