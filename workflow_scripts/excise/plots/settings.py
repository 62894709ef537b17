"""Settings of figures. No torch, no pandas, no matplotlib."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PlotSettings:
    """What a figure writes and its table does not say.

    Attributes:
        confidence: coverage of the intervals in the table, for the title.
        labels: method → its label, such as `GA (gradient ascent)`; a method without one is
            written in capitals.
        metric: the metric of figures that show every checkpoint, unless one is chosen by hand.
    """

    confidence: float
    labels: dict[str, str]
    metric: str
