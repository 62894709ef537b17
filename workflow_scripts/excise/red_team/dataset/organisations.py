"""Check 7, second part: prizes, firms, venues and works that exist.

A value that is also the name of something real is an answer a language model may have read about
before. The offline generator never draws one of the known names; other names can come from an
edited file. They are counted and named, and do not stop the dataset: no person is harmed.
"""

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import REPORT, CheckResult, Finding
from excise.text.existing_names import exists

NAMED_TYPES = ("award", "company", "venue", "title")


def organisations(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Values that name a prize, a firm, a venue or a work, against real ones."""
    named = [item for item in dataset.items if item["value_type"] in NAMED_TYPES]
    findings = [
        Finding(dataset.where_item(item), item["id"], f"{item['value']!r} exists")
        for item in named
        if exists(item["value"])
    ]
    return CheckResult("organisations", REPORT, len(named), findings)
