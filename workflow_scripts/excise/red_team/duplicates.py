"""Check 8: nothing is asked twice; what repeats by design is counted (see `validation`)."""

from excise.limits import RedTeamLimits
from excise.red_team.dataset import Dataset
from excise.red_team.result import HARD, CheckResult, Finding, Measure
from excise.text_matching import asked_words, normalised


def duplicates(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Trained questions that are the same, or one person's that ask for the same.

    The final files are looked at again, since they may have been edited after validation; the
    rates of near duplicates are those that validation measured.
    """
    findings = []
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
    measures = [
        Measure(
            f"near_duplicate_rate_{row['text']}_{row['scope']}",
            row["rate"],
            row["n"],
        )
        for row in dataset.validation["near_duplicates"]
    ]
    dropped = dataset.validation["counts"].get("forget_eval_dropped", 0)
    measures.append(Measure("held_out_dropped", dropped, len(dataset.forget_eval) + dropped))
    return CheckResult("duplicates", HARD, len(dataset.items), findings, measures)
