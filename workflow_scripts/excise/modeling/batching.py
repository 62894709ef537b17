"""Batches of sequences of similar length."""

from collections.abc import Iterator, Sequence

import torch

MAX_BATCH_TOKENS = {"cpu": 2**11, "cuda": 2**14}
"""Padded tokens of a forward pass. On a CPU the states of a layer then stay in the core's cache."""


def batches(lengths: Sequence[int], batch_size: int, device: torch.device) -> Iterator[list[int]]:
    """Indices in batches of similar length, longest first, bounded in rows and padded tokens."""
    most = MAX_BATCH_TOKENS.get(device.type, max(MAX_BATCH_TOKENS.values()))
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    while order:
        rows = max(1, min(batch_size, most // lengths[order[0]]))
        yield order[:rows]
        order = order[rows:]
