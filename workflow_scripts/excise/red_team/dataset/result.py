"""The result of a check, and its rows in the data report."""

from dataclasses import dataclass, field

HARD, REPORT = "hard", "report"
EXAMPLES = 10


@dataclass(frozen=True)
class Finding:
    """One fault: `where` is file:line, `id` is that of the record, `why` is one phrase."""

    where: str
    id: str
    why: str


@dataclass(frozen=True)
class Measure:
    """One number: its metric, value, sample size and limit."""

    metric: str
    value: float | None
    n: int
    threshold: float | None = None


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check.

    Attributes:
        check: its name.
        severity: `hard` if a finding stops the dataset, else `report`.
        n: number of examined things.
        findings: the faults, in file order.
        measures: numbers for the report, also without faults.
        examples: worst cases of measures, which are no faults.
    """

    check: str
    severity: str
    n: int
    findings: list[Finding] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    examples: list[dict] = field(default_factory=list)

    def rows(self) -> list[dict]:
        """Tidy rows: the count and rate of findings, then the measures."""
        count = len(self.findings)
        counts = [
            Measure("findings", count, self.n, 0 if self.severity == HARD else None),
            Measure("finding_rate", count / self.n if self.n else None, self.n),
        ]
        return [
            {
                "check": self.check,
                "severity": self.severity,
                "metric": measure.metric,
                "value": measure.value,
                "n": measure.n,
                "threshold": measure.threshold,
            }
            for measure in counts + self.measures
        ]

    def summary(self) -> dict:
        """The entry of the check in the report; it has ids, but no paths."""
        return {
            "check": self.check,
            "severity": self.severity,
            "n": self.n,
            "findings": len(self.findings),
            "passed": not self.findings,
            "examples": [
                {"id": finding.id, "why": finding.why} for finding in self.findings[:EXAMPLES]
            ]
            + self.examples[:EXAMPLES],
        }
