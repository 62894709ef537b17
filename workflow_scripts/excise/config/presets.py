"""Sizes of the benchmark: how many people, and how many facts about each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """One size.

    Attributes:
        people: how many people models are taught about.
        holdout: how many they are not.
        forget: slots of the incident.
        retain: correlated slots, and again the `other` ones.
    """

    people: int
    holdout: int
    forget: int
    retain: int


PRESETS = {
    "smoke": Preset(people=4, holdout=2, forget=3, retain=3),
    "small": Preset(people=24, holdout=8, forget=6, retain=8),
    "paper": Preset(people=200, holdout=70, forget=6, retain=8),
    "xl": Preset(people=1000, holdout=340, forget=6, retain=8),
}
