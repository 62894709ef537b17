"""Check 4: each question has one true answer."""

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import HARD, CheckResult, Finding, Measure
from excise.text.matching import holds, normalised


def one_answer(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Check that a slot has one value, that questions name the person, and have one answer.

    The share of questions about the event that name its kind is measured. It is not limited,
    because a person has only one breakthrough and one incident.
    """
    asked = [("sf", record) for record in dataset.sf]
    asked += [("sr", record) for record in dataset.sr]
    asked += [("forget_paraphrased", record) for record in dataset.forget_paraphrased]
    values: dict[tuple, dict] = {}
    answers: dict[str, dict] = {}
    findings = []
    for kind, record in asked:
        slot_twin = values.setdefault((record["person_id"], record["slot"]), record)
        question_twin = answers.setdefault(normalised(record["question"]), record)
        why = None
        if slot_twin["value"] != record["value"]:
            why = f"slot {record['slot']!r} is {record['value']!r}, earlier {slot_twin['value']!r}"
        elif not holds(record["question"], record["name"]):
            why = f"question does not name {record['name']!r}"
        elif question_twin["value"] != record["value"]:
            why = f"is the question of {question_twin['id']!r}, but has another answer"
        if why:
            findings.append(Finding(dataset.where(kind, record), record["id"], why))
    about_event = [record for kind, record in asked if record.get("group") != "other"]
    named = sum(
        holds(record["question"], dataset.profiles[record["person_id"]]["event_kind"])
        for record in about_event
        if record["person_id"] in dataset.profiles
    )
    rate = named / len(about_event) if about_event else None
    measures = [Measure("event_named_rate", rate, len(about_event))]
    return CheckResult("one_answer", HARD, len(asked), findings, measures)
