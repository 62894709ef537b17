"""Check 7, second part: prizes, firms, venues and works that exist.

A language model may know a value that is the name of something real. The offline generator never
draws a known name, but an edited file may contain one. Such names are reported. They do not stop
the dataset, because they harm no person.
"""

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import REPORT, CheckResult, Finding
from excise.text.existing_names import exists

NAMED_TYPES = ("award", "company", "venue", "title")


def organisations(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Find values that are names of real prizes, firms, venues or works."""
    named = [item for item in dataset.items if item["value_type"] in NAMED_TYPES]
    findings = [
        Finding(dataset.where_item(item), item["id"], f"{item['value']!r} exists")
        for item in named
        if exists(item["value"])
    ]
    return CheckResult("organisations", REPORT, len(named), findings)
