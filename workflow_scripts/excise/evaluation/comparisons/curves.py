"""What a trajectory keeps at a given degree of forgetting; plain numbers, no files.

A trajectory is a curve through its checkpoints, and the finetuned model is its first point. All
functions work along the last axis and broadcast over the others, so that one call evaluates the
study itself and every resample of it.
"""

import numpy as np

LEVELS = (0.75, 0.5, 0.25)
"""Forget accuracies at which retention is read off."""

BEYOND = 3.0
"""How many times its last step a trajectory is continued at most, in resamples alone."""

ROUNDING = 1e-12
"""Accuracies that differ by no more are equal."""

AREA_LEVELS = 100
"""Degrees of forgetting at which a frontier is evaluated."""


class Crossing:
    """Where a trajectory first reaches a forget accuracy.

    The place lies on the straight line between the first point with an accuracy of at most
    `level` and the point before it. A level above the first point or below the lowest point is
    not reached.

    Args:
        forget: forget accuracy of the points in the order of training, (…, points).
        level: forget accuracies, (…, levels), with the leading axes of `forget`.

    Attributes:
        reached: whether the trajectory reaches the level, (…, levels).
        earlier: the point before the crossing, (…, levels).
        share: how far the crossing lies on the way to the next point, 0 to 1. Where a started
            trajectory falls short, its last step is continued to at most `BEYOND`. NaN where the
            first point already lies below the level.
    """

    def __init__(self, forget: np.ndarray, level: np.ndarray):
        below = forget[..., None, :] <= level[..., :, None] + ROUNDING
        begun = forget[..., :1] >= level - ROUNDING
        arrived = below.any(axis=-1)
        last = forget.shape[-1] - 1
        later = np.where(arrived, np.clip(below.argmax(axis=-1), 1, last), last)
        self.reached, self.earlier = arrived & begun, later - 1
        above, under = self._around(forget)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(above > under, (above - level) / (above - under), np.inf)
        share = np.clip(share, np.where(arrived, 0, 1), np.where(arrived, 1, BEYOND))
        share = np.where(above <= level + ROUNDING, 0.0, share)
        self.share = np.where(begun, share, np.nan)

    def read(self, values: np.ndarray) -> np.ndarray:
        """Another quantity of the points at the crossing; NaN where the level is not reached.

        Args:
            values: (…, points), as `forget`.

        Returns:
            (…, levels).
        """
        return np.where(self.reached, self.continued(values), np.nan)

    def continued(self, values: np.ndarray) -> np.ndarray:
        """As `read`, but trajectories that fall short are continued along their last step.

        This is for resamples alone. Without those that fall short, an interval is too narrow.
        """
        before, after = self._around(values)
        mixed = before + self.share * (after - before)
        # A point without weight need not be defined.
        return np.where(self.share == 0, before, np.where(self.share == 1, after, mixed))

    def _around(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The values before and after the crossing, each (…, levels)."""
        before = np.take_along_axis(values, self.earlier, axis=-1)
        return before, np.take_along_axis(values, self.earlier + 1, axis=-1)


def area_levels(finetuned: np.ndarray, oracle: np.ndarray) -> np.ndarray:
    """The forget accuracies over which a frontier is averaged: (…, `AREA_LEVELS`).

    They are the midpoints of equal steps from the finetuned model's accuracy to the oracles'.

    Args:
        finetuned: forget accuracy of the finetuned model, (…,).
        oracle: mean forget accuracy of the oracles, (…,).
    """
    share = (np.arange(AREA_LEVELS) + 0.5) / AREA_LEVELS
    return finetuned[..., None] + share * (oracle - finetuned)[..., None]


def envelope(best: np.ndarray | None, curve: np.ndarray) -> np.ndarray:
    """The better retention of two curves at each level; NaN where neither reaches it.

    Args:
        best: the envelope so far, (…, levels); None before the first curve.
        curve: retention of one trajectory at the levels, (…, levels), NaN where not reached.
    """
    return curve if best is None else np.fmax(best, curve)


def frontier_area(frontier: np.ndarray) -> np.ndarray:
    """Mean retention over the levels; a level that was not reached counts as 0.

    Range 0 to 1, higher is better: 1 = forgets as much as the oracles and damages nothing. It is
    the area that the frontier dominates, with the finetuned forget accuracy and retention 0 as
    reference point. Source: the hypervolume indicator of Zitzler and Thiele (1999).

    Args:
        frontier: (…, levels), NaN where not reached.
    """
    return np.nan_to_num(frontier, nan=0.0).mean(axis=-1)


def forgetting(accuracy: np.ndarray, finetuned: np.ndarray, oracle: np.ndarray) -> np.ndarray:
    """1 − (accuracy − oracle)/(finetuned − oracle), cut at 0 and 1.

    0 = knows the forget facts as the finetuned model does, 1 = no better than the oracles. NaN
    where the oracles know as much as the finetuned model.
    """
    span = finetuned - oracle
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(span > 0, np.clip((finetuned - accuracy) / span, 0, 1), np.nan)


def harmonic_score(forgotten: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """2fk/(f + k) of forgetting and retention: 0 to 1, higher is better, 0 if either is 0."""
    total = forgotten + kept
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total == 0, 0.0, 2 * forgotten * kept / total)


def relative_retention(kept: np.ndarray, finetuned: np.ndarray) -> np.ndarray:
    """Retained accuracy over that of the finetuned model, cut at 1; NaN if the latter is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(finetuned > 0, np.clip(kept / finetuned, 0, 1), np.nan)
