"""Sizes of the benchmark: how many people, and how many facts about each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """One size. `retain` counts the correlated slots, and again the `other` ones."""

    people: int
    forget: int
    retain: int


PRESETS = {
    "smoke": Preset(people=4, forget=3, retain=3),
    "small": Preset(people=24, forget=6, retain=8),
    "paper": Preset(people=200, forget=6, retain=8),
    "xl": Preset(people=1000, forget=6, retain=8),
}
