"""What a check finds, and its lines in the data report."""

from dataclasses import dataclass, field

HARD, REPORT = "hard", "report"
EXAMPLES = 10


@dataclass(frozen=True)
class Finding:
    """One fault: `where` is file:line, `id` the record's, `why` one phrase."""

    where: str
    id: str
    why: str


@dataclass(frozen=True)
class Measure:
    """One number: what it is, its value, over how many things, and the limit it is held to."""

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
        n: how many things were examined.
        findings: the faults, in file order.
        measures: numbers worth keeping whether or not anything is wrong.
        examples: worst cases of measures that are no faults.
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
        own = [
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
            for measure in own + self.measures
        ]

    def summary(self) -> dict:
        """The check's entry in the report; paths are left out, ids say enough."""
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
