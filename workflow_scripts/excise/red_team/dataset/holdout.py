"""Check 16: held-out people are like the others, and nobody is in both."""

from excise.benchmark.limits import RedTeamLimits
from excise.benchmark.slots import SLOTS
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import HARD, CheckResult, Finding, Measure
from excise.text.matching import best_ratios, normalised, word_order_free


def holdout(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Find names that both have, equal questions, and facts that only one of them has.

    Names are those of the people and of others in their lives. The slots must be the same, because
    some slots are harder to guess than others. `holdout_style` checks the wording. The pools of
    other values are the same by design; `shared_value_rate` says how many values both have.
    """
    if not dataset.holdout:
        return CheckResult("holdout", HARD, 0)
    real = {normalised(name) for name in dataset.public_figures}
    taught = {name: key for key, one in dataset.profiles.items() for name in names_in(one)}
    asked = [*dataset.items, *dataset.forget_paraphrased]
    questions = {normalised(record["question"]): record["id"] for record in asked}
    findings = []
    for key, person in dataset.holdout_profiles.items():
        where = dataset.where("profiles", person)
        for name in names_in(person):
            if name in real:
                findings.append(Finding(where, key, f"{name!r} is a public figure"))
            elif name in taught:
                why = f"{name!r} is also a name in the life of {taught[name]!r}"
                findings.append(Finding(where, key, why))
    for item in dataset.holdout:
        if twin := questions.get(normalised(item["question"])):
            why = f"is also the question {twin!r}"
            findings.append(Finding(dataset.where("holdout", item), item["id"], why))
    findings += slot_findings(dataset)
    values = {(item["slot"], normalised(item["value"])) for item in dataset.sf}
    shared = sum((item["slot"], normalised(item["value"])) in values for item in dataset.holdout)
    near, n = near_duplicates(dataset, limits.split_ratio), len(dataset.holdout)
    measures = [
        Measure("people", len(dataset.holdout_profiles), n),
        Measure("shared_value_rate", shared / n, n),
        Measure("near_duplicate_rate", near / n, n),
    ]
    return CheckResult("holdout", HARD, n, findings, measures)


def names_in(person: dict) -> list[str]:
    """Normal forms of a person's name, and of the names in the person's life."""
    others = [
        value for slot, value in person["slots"].items() if SLOTS[slot].value_type == "person"
    ]
    return [normalised(name) for name in (person["name"], *others)]


def slot_findings(dataset: Dataset) -> list[Finding]:
    """Held-out people who are asked for other slots than forget facts have."""
    wanted = {item["slot"] for item in dataset.sf}
    slots: dict[str, set[str]] = {key: set() for key in dataset.holdout_profiles}
    for item in dataset.holdout:
        slots.setdefault(item["person_id"], set()).add(item["slot"])
    found = []
    for key, own in slots.items():
        for slot in sorted(wanted ^ own):
            which = "sf.jsonl" if slot in wanted else "holdout.jsonl"
            found.append(Finding(str(dataset.files["holdout"]), key, f"only {which} has {slot!r}"))
    return found


def near_duplicates(dataset: Dataset, threshold: float) -> int:
    """Number of questions that are nearly a trained one about the same slot, names unmasked."""
    found = 0
    for slot in {item["slot"] for item in dataset.holdout}:
        own = [item["question"] for item in dataset.holdout if item["slot"] == slot]
        others = [item["question"] for item in dataset.sf if item["slot"] == slot]
        texts, known = ([word_order_free(one) for one in some] for some in (own, others))
        found += sum(ratio > 0 for _, ratio in best_ratios(texts, known, cutoff=threshold))
    return found
