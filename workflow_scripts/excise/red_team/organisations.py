"""Check 7, second part: prizes, firms, venues and works that exist.

A value that is also the name of something real is an answer a language model may have read about
before. It is counted and named, and does not stop the dataset: no person is harmed by it.
"""

from functools import cache
from pathlib import Path

from excise.limits import RedTeamLimits
from excise.red_team.dataset import Dataset, read_names
from excise.red_team.result import REPORT, CheckResult, Finding
from excise.text_matching import normalised

NAMED_TYPES = ("award", "company", "venue", "title")


@cache
def real_names() -> frozenset[str]:
    """Normal forms of the real names, none with a leading article."""
    names = read_names(Path(__file__).with_name("organisations.txt"))
    return frozenset(without_article(name) for name in names)


def organisations(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Values that name a prize, a firm, a venue or a work, against real ones."""
    named = [item for item in dataset.items if item["value_type"] in NAMED_TYPES]
    findings = [
        Finding(dataset.where_item(item), item["id"], f"{item['value']!r} exists")
        for item in named
        if without_article(item["value"]) in real_names()
    ]
    return CheckResult("organisations", REPORT, len(named), findings)


def without_article(name: str) -> str:
    """Normal form without a leading `the`."""
    return normalised(name).removeprefix("the ")
