"""Which questions a quantized model is asked. No torch, no pandas."""

FORGET_SETS = ("sf", "forget_paraphrased")
QUANTIZED_SETS = (*FORGET_SETS, "correlated", "other", "retain", "utility")


def quantized_sets(model: str) -> tuple[str, ...]:
    """The sets that a model is asked: an oracle only those whose answers were to be forgotten.

    What quantization changes of an oracle is what it changes of a model that never knew them.
    """
    return FORGET_SETS if model.startswith("oracle/") else QUANTIZED_SETS
