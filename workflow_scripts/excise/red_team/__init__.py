"""Deterministic attacks on the dataset itself, one module a check, before a model is trained.

A check is `check(dataset, limits) -> CheckResult`. It looks for what would let a model answer
without knowing, or make a comparison unfair. Findings of severity `hard` stop the workflow.
"""

from excise.red_team.consistency import consistency
from excise.red_team.dataset import Dataset, read_dataset
from excise.red_team.diversity import diversity
from excise.red_team.duplicates import duplicates
from excise.red_team.entanglement import entanglement
from excise.red_team.incident_leak import incident_leak
from excise.red_team.length import length_confound
from excise.red_team.names import names
from excise.red_team.one_answer import one_answer
from excise.red_team.organisations import organisations
from excise.red_team.pairs import pairs
from excise.red_team.premise_leak import premise_leak
from excise.red_team.result import HARD, REPORT, CheckResult, Finding, Measure
from excise.red_team.sensitive import sensitive
from excise.red_team.split_leak import split_leak
from excise.red_team.style import style
from excise.red_team.wrong_answers import wrong_answers

CHECKS = (
    incident_leak,
    premise_leak,
    one_answer,
    wrong_answers,
    length_confound,
    names,
    organisations,
    duplicates,
    sensitive,
    consistency,
    entanglement,
    split_leak,
    style,
    pairs,
    diversity,
)

__all__ = [
    "CHECKS",
    "HARD",
    "REPORT",
    "CheckResult",
    "Dataset",
    "Finding",
    "Measure",
    "read_dataset",
]
