"""Check 8: no question occurs twice; repetitions by design are counted (see `validation`)."""

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import HARD, CheckResult, Finding, Measure
from excise.text.matching import asked_words, near_twins, normalised


def duplicates(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Find equal trained questions, and those of one person that ask for the same or nearly so.

    Validation checks this first, but the files may have been edited since. The threshold is that of
    validation, and the rates of near duplicates are copied from its report.
    """
    findings = []
    rows = dataset.validation["near_duplicates"]
    near = {
        item["id"]: twin["id"]
        for row in rows
        if (row["text"], row["scope"]) == ("question", "within_person")
        for item, twin in near_twins(dataset.items, row["threshold"])
    }
    first: dict[object, str] = {}
    for item in dataset.items:
        keys = (
            normalised(item["question"]),
            (item["person_id"], *asked_words(item["question"], item["name"])),
        )
        for key in keys:
            twin = first.setdefault(key, item["id"])
            if twin != item["id"]:
                why = f"asks for the same as {twin!r}"
                findings.append(Finding(dataset.where_item(item), item["id"], why))
                break
        else:
            if twin := near.get(item["id"]):
                why = f"asks nearly the same as {twin!r}"
                findings.append(Finding(dataset.where_item(item), item["id"], why))
    measures = [
        Measure(
            f"near_duplicate_rate_{row['text']}_{row['scope']}",
            row["rate"],
            row["n"],
        )
        for row in rows
    ]
    dropped = dataset.validation["counts"].get("forget_paraphrased_dropped", 0)
    measures.append(Measure("held_out_dropped", dropped, len(dataset.forget_paraphrased) + dropped))
    return CheckResult("duplicates", HARD, len(dataset.items), findings, measures)
