"""Sums of LoRA adapters, exact, as adapters of a larger rank."""

import math
from collections.abc import Mapping, Sequence

import torch

from excise.errors import InputError
from excise.unlearning.method import Adapter

_A, _B = ".lora_A.weight", ".lora_B.weight"


def combined(terms: Sequence[tuple[float, Adapter]]) -> Adapter:
    """Σ_k w_k·ΔW_k as one adapter, by concatenating low-rank factors.

    Args:
        terms: weights, and adapters of one shape: equal configurations.

    Returns:
        An adapter whose rank is the sum of the ranks; scale s = α/r stays what it was.

    Raises:
        InputError: DoRA, whose update is not a product of factors.
    """
    config = dict(terms[0][1].config)
    if config.get("use_dora"):
        raise InputError("task vector: the adapter uses DoRA; allowed: LoRA without use_dora")
    count = len(terms)
    # s = α/r, and α/√r for rank-stabilised LoRA
    grown = math.sqrt(count) if config.get("use_rslora") else count
    combination = config | {"r": config["r"] * count, "lora_alpha": config["lora_alpha"] * grown}
    for key, factor in (("rank_pattern", count), ("alpha_pattern", grown)):
        pattern = config.get(key) or {}
        combination[key] = {name: value * factor for name, value in pattern.items()}
    tensors = {}
    for name in terms[0][1].tensors:
        parts = [adapter.tensors[name] for _, adapter in terms]
        if name.endswith(_A):
            tensors[name] = _stacked_a(parts, _rank(name, config))
        elif name.endswith(_B):
            weighted = [w * part for (w, _), part in zip(terms, parts, strict=True)]
            tensors[name] = _stacked_b(weighted, _rank(name, config))
        else:
            raise InputError(f"task vector: {name} is no factor of a LoRA")
    return Adapter(combination, tensors)


def _rank(name: str, config: Mapping) -> int:
    """Rank of the layer of a tensor: its own in `rank_pattern`, or that of all."""
    from peft.utils.other import get_pattern_key

    layer = name.removeprefix("base_model.model.").rpartition(".lora_")[0]
    pattern = config.get("rank_pattern") or {}
    return pattern.get(get_pattern_key(pattern.keys(), layer), config["r"])


def _stacked_a(parts: list[torch.Tensor], rank: int) -> torch.Tensor:
    """(E·r, in) each → (E·Σr, in), expert by expert; E is 1 without stacked experts."""
    experts = parts[0].shape[0] // rank
    each = [part.reshape(experts, rank, -1) for part in parts]
    return torch.cat(each, dim=1).flatten(0, 1).contiguous()


def _stacked_b(parts: list[torch.Tensor], rank: int) -> torch.Tensor:
    """(out, r·E) each → (out, Σr·E), rank by rank."""
    each = [part.reshape(part.shape[0], rank, -1) for part in parts]
    return torch.cat(each, dim=1).flatten(1, 2).contiguous()
