"""Draw the people of an experiment, for the dataset and for its preview."""

import math
from pathlib import Path

from excise.benchmark.slots import select_slots
from excise.config.presets import PRESETS
from excise.generation.planting import plant
from excise.generation.sampler import Sampler
from excise.generation.settings import PeopleSettings
from excise.text.public_figures import read_public_figures


def draw_people(settings: PeopleSettings, public_figures: str | Path) -> tuple[Sampler, list[dict]]:
    """Draw the people of an experiment; spare people come last.

    Args:
        settings: `reserve` is a share of the people, rounded up.
        public_figures: file of forbidden names, one per line.

    Returns:
        The sampler, which can draw replacements, and the people, without texts.

    Raises:
        InputError: there are too few names or values, or the file cannot be read.
    """
    forbidden = frozenset(map(str.casefold, read_public_figures(public_figures)))
    preset = PRESETS[settings.preset]
    sampler = Sampler(
        seed=settings.seed,
        people=settings.people,
        reserve=math.ceil(settings.reserve * settings.people),
        slots=select_slots(preset.forget, preset.retain),
        max_value_share=settings.max_value_share,
        forbidden_names=forbidden,
    )
    count = settings.people + sampler.reserve
    people = [sampler.person(f"p{index:03d}") for index in range(count)]
    return sampler, plant(people, settings.entanglement, settings.seed, forbidden)
