"""The table of updates: their size, and their share in the subspace of the finetuning update."""

from collections.abc import Iterator
from pathlib import Path

from excise.errors import InputError
from excise.evaluation.results import checkpoint_levels, model_columns
from excise.evaluation.tables.settings import UpdateSettings
from excise.evaluation.tables.weights import by_layer, fixed_row, summed
from excise.records import read_json

UPDATE_NOTES = [
    "W = base + adapter, f = finetuned; squared Frobenius norms are summed over the adapted "
    "matrices, of the whole model (layer null) or of one block (counted from 1, as hidden states "
    "are). fixed: computed, not sampled.",
    "relative_delta = ||W - W_base|| / ||W_base||; relative_update = ||W - W_f|| / ||W_base||: "
    "what unlearning changed. Of base, W - W_f is the finetuning update itself: shares are 1.",
    "update_in_columns, update_in_rows, update_in_both = share of ||W - W_f||^2 in the column "
    "space of W_f - W_base, in its row space, in both. Null for finetuned: it has no update.",
    "chance = the share of a random subspace of the same rank. chance_of_adapter = the share if "
    "the same steps of A and B had random directions: A and B alone keep an update in the row or "
    "the column space. Only a share above it says that unlearning undoes finetuning.",
]
SHARES = ("columns", "rows", "both")


def summarize_updates(path: Path, models: list[str], settings: UpdateSettings) -> list[dict]:
    """Rows of every model × layer × metric, from `updates.json`.

    Raises:
        InputError: the file lacks a model.
    """
    found = read_json(path)
    levels = checkpoint_levels(settings.levels)
    rows = []
    for model in models:
        if model not in found:
            raise InputError(f"{path}: lacks model {model!r}; needed: {', '.join(models)}")
        columns = model_columns(model) | {"level": levels.get(model)}
        rows += [columns | row for row in update_rows(found[model])]
    return rows


def update_rows(matrices: dict[str, dict[str, float]]) -> Iterator[dict]:
    """Rows of one model; `matrices` has the squared norms of each matrix."""
    for layer, names in by_layer(matrices):
        sums = summed([matrices[name] for name in names])
        none = {"chance": None, "chance_of_adapter": None}
        for metric, key in (("relative_delta", "adapter"), ("relative_update", "update")):
            size = (max(sums[key], 0.0) / sums["base"]) ** 0.5
            yield fixed_row(metric, size, layer) | none
        for name in SHARES:
            value, chance, of_adapter = (
                _share(sums[key], sums["update"], sums["finetuned"])
                for key in (name, f"{name}_by_chance", f"{name}_of_adapter")
            )
            yield fixed_row(f"update_in_{name}", value, layer) | {
                "chance": chance,
                "chance_of_adapter": of_adapter,
            }


NOTHING = 1e-20
"""Energy of an update, relative to the finetuning update, that is only rounding."""


def _share(part: float, whole: float, finetuned: float) -> float | None:
    return part / whole if whole > NOTHING * finetuned else None
