"""What the checkpoints of a sweep are asked. No torch, no pandas: Snakemake imports this.

A large grid has many checkpoints, and most of them only place a point on a curve.
`evaluation.sweep` says what these are asked. Checkpoints that stand for a level are asked
everything.
"""

from dataclasses import dataclass

from excise.benchmark.items import GENERATED_SETS, UNGROUPED_SET


@dataclass(frozen=True)
class Sweep:
    """What is asked of checkpoints.

    Attributes:
        sets: of questions; None: all.
        generation: whether answers are generated, beside log-probabilities.
        full: checkpoints that are asked everything, such as `unlearn/ga/lr0.0002/epoch_5`.
    """

    sets: tuple[str, ...] | None
    generation: bool
    full: tuple[str, ...]

    def restricts(self, model: str) -> bool:
        """Whether a model is asked less than everything."""
        return model.startswith("unlearn/") and model not in self.full

    def asks(self, model: str, name: str) -> bool:
        """Whether a model is asked the set `name`; `GENERATED_SETS` have generations alone."""
        if not self.restricts(model):
            return True
        if name == UNGROUPED_SET:  # every list of sets has both groups
            name = "other"
        return (self.sets is None or name in self.sets) and (
            self.generation or name not in GENERATED_SETS
        )

    def generates(self, model: str) -> bool:
        """Whether a model's answers are generated."""
        return self.generation or not self.restricts(model)


EVERYTHING = Sweep(sets=None, generation=True, full=())
"""Every checkpoint is asked everything."""
