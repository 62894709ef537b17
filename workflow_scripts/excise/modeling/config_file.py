"""What a model's config.json says, without loading the model. No torch."""

from collections.abc import Mapping
from typing import Any


def number_of_blocks(config: Mapping[str, Any]) -> int | None:
    """How many transformer blocks a model has; None if its config.json does not say.

    Args:
        config: content of config.json.
    """
    return config.get("num_hidden_layers") or config.get("n_layer")  # n_layer: GPT-2's word
