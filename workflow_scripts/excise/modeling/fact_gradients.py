"""Gradients of single facts in the adapter's weights, and short sketches of them.

All gradients of a study do not fit in memory: 4,400 facts × 74 million weights. A count sketch
(Charikar, Chen and Farach-Colton 2002) adds every weight's gradient, with a random sign, to one of
`width` sums. Inner products of sketches are those of the gradients on average; the error of a
cosine has a standard deviation of about 1/√width.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from excise.benchmark.items import Item
from excise.modeling.base import check_sequences
from excise.modeling.chat import Encoded, encode
from excise.modeling.differentiable_logprobs import answer_logprobs, cross_entropy

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

NUMBERS = 1 << 25
"""Numbers that the sketches of all facts may have together: 128 MiB."""


def answer_gradient(
    model: "PeftModel", weights: Sequence[torch.nn.Parameter], encoded: Encoded, pad_id: int
) -> tuple[torch.Tensor, float]:
    """Gradient of an answer's loss, flattened: (number of weights,); and the loss, nats a token."""
    loss = cross_entropy(answer_logprobs(model, [encoded], pad_id))
    parts = torch.autograd.grad(loss, weights)
    return torch.cat([part.flatten() for part in parts]), loss.item()


class Sketch:
    """A count sketch of vectors; it returns them unchanged if they are not longer than it.

    Args:
        size: length of the vectors.
        width: length of a sketch.
        device: of the vectors.
        seed: of the random positions and signs.
    """

    def __init__(self, size: int, width: int, device: torch.device, seed: int = 0) -> None:
        self.width = min(size, width)
        self._where = None
        if width < size:
            generator = torch.Generator().manual_seed(seed)
            where = torch.randint(width, (size,), generator=generator, dtype=torch.int32)
            signs = torch.randint(2, (size,), generator=generator, dtype=torch.int8) * 2 - 1
            self._where, self._signs = where.to(device), signs.to(device)

    def __call__(self, vector: torch.Tensor) -> torch.Tensor:
        """The sketch of a vector (size,): (width,)."""
        if self._where is None:
            return vector
        sums = torch.zeros(self.width, dtype=vector.dtype, device=vector.device)
        return sums.index_add_(0, self._where, vector * self._signs)


def fact_gradients(
    model: "PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    items: Sequence[Item],
    system_prompt: str | None = None,
    numbers: int = NUMBERS,
) -> tuple[torch.Tensor, list[float]]:
    """Sketched gradient of every item's loss, and the losses.

    Args:
        model: model with a trainable adapter; used without dropout.
        tokenizer: its tokenizer.
        items: the facts.
        system_prompt: system message, if any.
        numbers: limit for facts × width.

    Returns:
        (facts, width) in fp32 on the CPU, and the losses in nats per token.
    """
    model.eval()
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    size = sum(weight.numel() for weight in weights)
    sketch = Sketch(size, max(numbers // len(items), 1), weights[0].device)
    rows, losses = torch.empty(len(items), sketch.width), []
    for row, item in zip(rows, items, strict=True):
        encoded = encode(tokenizer, item.question, item.answer, system_prompt)
        check_sequences(model, [encoded.input_ids])
        gradient, loss = answer_gradient(model, weights, encoded, tokenizer.pad_token_id)
        row.copy_(sketch(gradient))
        losses.append(loss)
    return rows, losses
