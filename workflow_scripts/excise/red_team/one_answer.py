"""Check 4: a question has one true answer."""

from excise.limits import RedTeamLimits
from excise.red_team.dataset import Dataset
from excise.red_team.result import HARD, CheckResult, Finding
from excise.text_matching import holds, normalised


def one_answer(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """One value per (person, slot), the person named in every question, no question twice true."""
    asked = [("sf", record) for record in dataset.sf]
    asked += [("sr", record) for record in dataset.sr]
    asked += [("forget_eval", record) for record in dataset.forget_eval]
    values: dict[tuple, dict] = {}
    answers: dict[str, dict] = {}
    findings = []
    for kind, record in asked:
        slot_twin = values.setdefault((record["person_id"], record["slot"]), record)
        question_twin = answers.setdefault(normalised(record["question"]), record)
        why = None
        if slot_twin["value"] != record["value"]:
            why = f"slot {record['slot']!r} is {record['value']!r}, {slot_twin['value']!r} before"
        elif not holds(record["question"], record["name"]):
            why = f"question does not name {record['name']!r}"
        elif question_twin["value"] != record["value"]:
            why = f"the question of {question_twin['id']!r}, with another answer"
        if why:
            findings.append(Finding(dataset.where(kind, record), record["id"], why))
    return CheckResult("one_answer", HARD, len(asked), findings)
