"""Check 5: a wrong answer is false and differs from the true one in its value only."""

from excise.benchmark.limits import RedTeamLimits
from excise.benchmark.perturbed_answers import edit_faults, falsehood_faults
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import HARD, CheckResult, Finding
from excise.text.matching import normalised


def wrong_answers(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Compare each wrong value with all true values of its type and with the other wrong values."""
    findings, examined = [], 0
    person_items = dataset.by_person(dataset.items)
    for item in dataset.items:
        detail = dataset.details[item["id"]]
        examined += len(detail["wrong_answers"])
        for why in falsehood_faults(item, detail, person_items[item["person_id"]]):
            findings.append(Finding(dataset.where("perturbed_candidates", detail), item["id"], why))
    for record in dataset.utility:
        examined += len(record["wrong_answers"])
        for why in edit_faults(record, {normalised(record["value"]): "value"}, edits=False):
            findings.append(Finding(dataset.where("utility", record), record["id"], why))
    return CheckResult("wrong_answers", HARD, examined, findings)
