"""The verdict on a claim, from its effect and the interval of the effect.

Each effect is defined so that the claim predicts a value above 0. The smallest effect that matters
is part of the claim and does not depend on the data. Three answers are possible:

| verdict | the interval lies |
|---|---|
| confirmed | above 0 |
| refuted | below the smallest effect that matters |
| undecided | neither; `detectable` says what could have been seen |

An interval between 0 and the smallest effect fits both: there is an effect, but it is too small to
matter. The verdict is then *refuted*. Source: tests of equivalence, Schuirmann (1987); Lakens
(2017).
"""

from collections.abc import Sequence

from scipy.special import ndtri

CONFIRMED, REFUTED, UNDECIDED = "confirmed", "refuted", "undecided"
POWER = 0.8


def verdict(low: float | None, high: float | None, smallest: float) -> str:
    """The verdict on an effect.

    Args:
        low: lower limit of its interval; None if unknown.
        high: upper limit.
        smallest: the smallest effect that matters, above 0.

    Raises:
        ValueError: `smallest` is not above 0, or the limits are in the wrong order.
    """
    if smallest <= 0:
        raise ValueError(f"smallest effect {smallest}; it must be above 0")
    if low is None or high is None:
        return UNDECIDED
    if low > high:
        raise ValueError(f"interval [{low}, {high}]: its lower limit is the larger one")
    if high < smallest:
        return REFUTED
    return CONFIRMED if low > 0 else UNDECIDED


def detectable(low: float | None, high: float | None, confidence: float) -> float | None:
    """The effect that a study of this precision would find with a chance of 80 %.

    (z_{(1+confidence)/2} + z_{.8}) · standard error, the error read off the interval's width,
    width / (2 z). Normal approximation. None without an interval.

    Args:
        low: lower limit of the interval.
        high: upper limit.
        confidence: its coverage, in (0, 1).
    """
    if low is None or high is None:
        return None
    z = float(ndtri((1 + confidence) / 2))
    return (high - low) / (2 * z) * (z + float(ndtri(POWER)))


def together(verdicts: Sequence[str]) -> str:
    """The verdict on a claim about several cases: theirs if all agree, otherwise undecided."""
    return verdicts[0] if verdicts and len(set(verdicts)) == 1 else UNDECIDED
