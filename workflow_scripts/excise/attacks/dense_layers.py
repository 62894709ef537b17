"""Quantized layers computed densely on a CPU, if that gives the same numbers as bitsandbytes.

bitsandbytes has no fast kernels for most CPUs. It unpacks the weight, or converts it from int8, in
every forward pass. `dense_layer` does this once. It returns a layer only if its results on a sample
are the same bits as those of the quantized layer; on a CPU with other kernels it returns None.
"""

import torch
from torch.nn.functional import linear

EXACT_PRODUCTS = 2**24 // 127**2
"""Products of two int8 numbers whose sum is exact in fp32."""
DEQUANTIZATION = 6.200124e-05
"""1/127² as bitsandbytes writes it (`int8_mm_dequant`)."""


class DenseInt8(torch.nn.Module):
    """LLM.int8 with outliers selected per token; integers are held in fp32, where they are exact.

    Args:
        codes: int8 weight (outputs, inputs).
        scales: largest absolute weight of each output, fp32 (outputs,).
        bias: (outputs,), if any.
        threshold: inputs of at least this absolute value are not quantized.
    """

    rounds_inputs = True
    """So results of other batch shapes are not equal up to fp32 rounding."""

    def __init__(
        self,
        codes: torch.Tensor,
        scales: torch.Tensor,
        bias: torch.Tensor | None,
        threshold: float,
    ) -> None:
        super().__init__()
        self.out_features, self.in_features = codes.shape
        self.threshold = threshold
        self.register_buffer("codes", codes.float())
        self.register_buffer("scales", scales.float())
        self.bias = bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, inputs) in fp32 to (…, outputs)."""
        rows = x.reshape(-1, x.shape[-1])
        kept = rows.half().float()
        outliers = None
        if kept.abs().max() >= self.threshold:
            outliers = kept.abs() >= self.threshold
            kept = kept.masked_fill(outliers, 0)
        largest = kept.abs().amax(dim=1, keepdim=True)
        codes = kept.mul_(127.0 / largest).round_()
        if not largest.all():
            codes.masked_fill_(largest == 0, 0)  # 0 · ∞
        y = self._product(codes).mul_(largest * self.scales).mul_(DEQUANTIZATION)
        if self.bias is not None:
            y += self.bias
        if outliers is not None:
            columns = outliers.any(dim=0).nonzero().view(-1)
            weight = self.codes[:, columns] * (self.scales[:, None] / 127)
            y = y.addmm((rows * outliers)[:, columns], weight.T)
        return y.reshape(*x.shape[:-1], y.shape[-1])

    def _product(self, codes: torch.Tensor) -> torch.Tensor:
        """codes @ weightᵀ, rounded once: sums of up to `EXACT_PRODUCTS` products are exact."""
        if self.in_features <= EXACT_PRODUCTS:
            return linear(codes, self.codes)
        parts = zip(
            codes.split(EXACT_PRODUCTS, dim=1),
            self.codes.split(EXACT_PRODUCTS, dim=1),
            strict=True,
        )
        return sum(linear(inputs, weight).double() for inputs, weight in parts).float()


def dense_layer(
    quantized: torch.nn.Module, weight: torch.Tensor, dense_int8: DenseInt8 | None = None
) -> torch.nn.Module | None:
    """A layer with the same results that does not unpack its weight again.

    Args:
        quantized: a quantized layer on the CPU, in eval mode. This function runs it.
        weight: its dequantized weight, fp32 (outputs, inputs).
        dense_int8: the candidate, if the layer is LLM.int8; else the dequantized weight is used.

    Returns:
        The layer; None if its results differ in a single bit.
    """
    candidate = dense_int8
    if candidate is None:
        outputs, inputs = weight.shape
        candidate = torch.nn.Linear(inputs, outputs, bias=False, device="meta")
        candidate.weight = torch.nn.Parameter(weight, requires_grad=False)
        candidate.bias = quantized.bias
    sample = _sample(weight.shape[1])
    with torch.inference_mode():
        same = torch.equal(candidate.eval()(sample), quantized(sample))
    return candidate if same else None


def _sample(inputs: int) -> torch.Tensor:
    """Rows of ordinary numbers, of zeros, and with outliers: (4, 8, inputs)."""
    drawn = torch.randn(4, 8, inputs, generator=torch.Generator().manual_seed(0))
    drawn[1, 3] = 0
    drawn[2, :, inputs // 2] = 9
    drawn[3, 5, ::7] *= 20
    return drawn
