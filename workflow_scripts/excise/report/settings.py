"""Settings of the report. No pandas here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReportSettings:
    """What the report writes and the tables do not say.

    Attributes:
        confidence: coverage of the intervals.
        labels: method → its label, such as `GA (gradient ascent)`; a method without one is
            written in capitals.
    """

    confidence: float
    labels: dict[str, str]
