"""Sizes of the benchmark: how many people, facts and wrong answers."""

import math
from dataclasses import dataclass

from excise.errors import InputError


@dataclass(frozen=True)
class Preset:
    """One size. `retain` counts the correlated slots, and again the `other` ones."""

    people: int
    forget: int
    retain: int
    paraphrases: int
    wrong_answers: int


PRESETS = {
    "smoke": Preset(people=4, forget=3, retain=3, paraphrases=1, wrong_answers=3),
    "small": Preset(people=24, forget=6, retain=8, paraphrases=3, wrong_answers=5),
    "paper": Preset(people=200, forget=6, retain=8, paraphrases=3, wrong_answers=5),
    "xl": Preset(people=1000, forget=6, retain=8, paraphrases=3, wrong_answers=5),
}


def resolve(hp: dict) -> Preset:
    """The preset named by `hp["preset"]`, with any of its sizes overridden by `hp`."""
    name = hp.get("preset", "small")
    if name not in PRESETS:
        raise InputError(f"generation.preset: {name!r}; allowed: {', '.join(PRESETS)}")
    preset = PRESETS[name]
    return Preset(
        people=hp.get("people") or preset.people,
        forget=preset.forget,
        retain=preset.retain,
        paraphrases=hp.get("forget_paraphrases") or preset.paraphrases,
        wrong_answers=hp.get("wrong_answers") or preset.wrong_answers,
    )


def perturbed_candidates(hp: dict) -> int:
    """How many wrong answers are drawn per fact; of these, `generation.wrong_answers` are chosen.

    Without the key `perturbed_candidates` as many as the preset asks for, all of them kept.
    """
    return hp.get("perturbed_candidates") or resolve(hp).wrong_answers


def reserve_people(hp: dict) -> int:
    """How many people are drawn beyond those asked for, to take the places of who is left out.

    `hp["reserve"]` is their share, rounded up; none where nobody can be left out.
    """
    return math.ceil(hp.get("reserve", 0) * resolve(hp).people)
