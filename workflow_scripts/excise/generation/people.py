"""Draw the people of an experiment, for the dataset and for its preview."""

from pathlib import Path

from excise.benchmark.slots import select_slots
from excise.config.presets import reserve_people, resolve
from excise.generation.sampler import Sampler
from excise.text.public_figures import read_public_figures


def draw_people(hp: dict, public_figures: str | Path) -> tuple[Sampler, list[dict]]:
    """Draw the people of an experiment; spare people come last.

    Args:
        hp: `preset`, `people`, `seed`, `max_value_share`, `reserve`.
        public_figures: file of forbidden names, one per line.

    Returns:
        The sampler, which can draw replacements, and the people, without texts.

    Raises:
        InputError: there are too few names or values, or the file cannot be read.
    """
    preset = resolve(hp)
    sampler = Sampler(
        seed=hp["seed"],
        people=preset.people,
        reserve=reserve_people(hp),
        slots=select_slots(preset.forget, preset.retain),
        max_value_share=hp["max_value_share"],
        forbidden_names=frozenset(map(str.casefold, read_public_figures(public_figures))),
    )
    count = preset.people + sampler.reserve
    return sampler, [sampler.person(f"p{index:03d}") for index in range(count)]
