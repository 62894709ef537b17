"""Which questions a quantized model is asked. No torch, no pandas."""

from collections.abc import Container

from excise.benchmark.items import FORGET_SETS, HOLDOUT_SET, RETAIN_SETS

QUANTIZED_SETS = (*FORGET_SETS, *RETAIN_SETS, "utility", HOLDOUT_SET)


def quantized_sets(model: str, chosen: Container[str] | None = None) -> tuple[str, ...]:
    """The sets that a model is asked: an oracle only those whose answers it never saw.

    What quantization changes of an oracle is what it changes of a model that never knew them.

    Args:
        model: its name, such as `oracle/seed_1`.
        chosen: `quantization.sets`; None: all but `holdout`.
    """
    own = (*FORGET_SETS, HOLDOUT_SET) if model.startswith("oracle/") else QUANTIZED_SETS
    if chosen is None:
        return tuple(name for name in own if name != HOLDOUT_SET)
    return tuple(name for name in own if name in chosen)


def asks_holdout(chosen: Container[str] | None) -> bool:
    """Whether quantized models are asked about held-out people; `chosen` as above."""
    return chosen is not None and HOLDOUT_SET in chosen
