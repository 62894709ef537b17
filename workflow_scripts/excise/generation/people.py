"""Draw the people of an experiment, for the dataset and for its preview."""

import math
from dataclasses import dataclass
from pathlib import Path

from excise.benchmark.people import HOLDOUT, is_held_out
from excise.benchmark.slots import select_slots
from excise.config.presets import PRESETS
from excise.generation.planting import plant, share_answers
from excise.generation.sampler import Sampler
from excise.generation.settings import PeopleSettings
from excise.generation.writing import draw_again
from excise.text.public_figures import read_public_figures


@dataclass(frozen=True)
class Drawn:
    """The people of an experiment, without texts; in each list spare people come last.

    Attributes:
        people: those that models are taught about.
        holdout: those that they are not.
        sampler: drew the people.
        holdout_sampler: drew the held-out ones.
    """

    people: list[dict]
    holdout: list[dict]
    sampler: Sampler
    holdout_sampler: Sampler

    @property
    def everybody(self) -> list[dict]:
        """All of them, the held-out ones last."""
        return self.people + self.holdout

    @property
    def spare(self) -> int:
        """Number of spare people in both lists."""
        return self.sampler.reserve + self.holdout_sampler.reserve

    def draw_again(self, person: dict) -> dict:
        """Draw a replacement with the same id."""
        held_out = is_held_out(person["person_id"])
        return draw_again(self.holdout_sampler if held_out else self.sampler, person)


def draw_people(settings: PeopleSettings, public_figures: str | Path) -> Drawn:
    """Draw the people of an experiment.

    Args:
        settings: `reserve` is a share of the people, rounded up.
        public_figures: file of forbidden names, one per line.

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
    people = plant(people, settings.entanglement, settings.seed, forbidden)
    people = share_answers(people, settings.shared_answers, settings.seed)
    apart = sampler.held_out(settings.holdout, math.ceil(settings.reserve * settings.holdout))
    count = settings.holdout + apart.reserve
    holdout = [apart.person(f"{HOLDOUT}{index:03d}") for index in range(count)]
    return Drawn(people, holdout, sampler, apart)
