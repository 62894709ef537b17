"""Deterministic attacks on the dataset before a model is trained; one module per check.

A check is `check(dataset, limits) -> CheckResult`. It searches for texts that let a model answer
without knowledge, or that make a comparison unfair. Findings of severity `hard` stop the workflow.
"""

from excise.red_team.dataset.consistency import consistency
from excise.red_team.dataset.diversity import diversity
from excise.red_team.dataset.duplicates import duplicates
from excise.red_team.dataset.entanglement import entanglement
from excise.red_team.dataset.holdout import holdout
from excise.red_team.dataset.holdout_style import holdout_style
from excise.red_team.dataset.incident_leak import incident_leak
from excise.red_team.dataset.length import length_confound
from excise.red_team.dataset.loading import Dataset, read_dataset
from excise.red_team.dataset.names import names
from excise.red_team.dataset.one_answer import one_answer
from excise.red_team.dataset.organisations import organisations
from excise.red_team.dataset.pairs import pairs
from excise.red_team.dataset.premise_leak import premise_leak
from excise.red_team.dataset.result import HARD, REPORT, CheckResult, Finding, Measure
from excise.red_team.dataset.sensitive import sensitive
from excise.red_team.dataset.split_leak import split_leak
from excise.red_team.dataset.style import style
from excise.red_team.dataset.wrong_answers import wrong_answers

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
    holdout,
    holdout_style,
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
