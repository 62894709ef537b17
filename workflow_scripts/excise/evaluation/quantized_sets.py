"""Which questions a quantized model is asked. No torch, no pandas."""

from collections.abc import Container

FORGET_SETS = ("sf", "forget_paraphrased")
QUANTIZED_SETS = (*FORGET_SETS, "correlated", "other", "retain", "utility")


def quantized_sets(model: str, chosen: Container[str] | None = None) -> tuple[str, ...]:
    """The sets that a model is asked: an oracle only those whose answers were to be forgotten.

    What quantization changes of an oracle is what it changes of a model that never knew them.

    Args:
        model: its name, such as `oracle/seed_1`.
        chosen: `quantization.sets`; None: all.
    """
    own = FORGET_SETS if model.startswith("oracle/") else QUANTIZED_SETS
    return tuple(name for name in own if chosen is None or name in chosen)
