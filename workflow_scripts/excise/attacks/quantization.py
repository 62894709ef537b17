"""Post-training quantization with real bitsandbytes layers: LLM.int8, NF4 and FP4.

The input is a *merged* fp32 model. A separate adapter would stay in full precision, and so would
the changes by unlearning. A quantized layer replaces each linear layer, except the output head, and
each matrix of each expert. Embeddings, norms, biases and gates stay in fp32.

bitsandbytes 0.50 computes as follows in eval mode:

- int8 (Dettmers et al. 2022, arXiv:2208.07339): weights are int8 per output row; inputs are cast to
  fp16 and then int8 per token. Columns in which any token of the *batch* reaches 6.0 are not in
  int8. So a result depends on the other sequences of its batch; on small models this effect is
  larger than the effect of int8. `_token_wise` selects outliers per token instead, as
  bitsandbytes does for a single token. In training mode the CPU silently uses another computation.
- nf4, fp4 (Dettmers et al. 2023, arXiv:2305.14314): weights are 4-bit codes in blocks of 64 with
  one fp32 scale each (no double quantization). They are dequantized and multiplied in fp32. CPUs
  with AVX512-BF16 use a kernel that rounds scales and inputs to bf16. It supports only layers whose
  inputs are a multiple of 64 and whose outputs are a multiple of 32. CPU and CUDA agree up to that
  rounding, not bitwise.

On a CPU a layer is computed densely where that gives the same bits (`dense_layers`).
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from excise.attacks.dense_layers import DenseInt8, dense_layer
from excise.modeling.experts import expert_weight, use_expert_by_expert
from excise.modeling.matrices import Matrix, reachable, share_of, weight_matrices

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PRECISIONS = ("int8", "nf4", "fp4")
COMPARED_FIELDS = ("slot_match", "rougeL_recall", "probability")
"""Fields of a record whose means are compared across precisions."""
INT8_THRESHOLD = 6.0
BLOCK_SIZE = 64


class QuantizationUnsupported(Exception):  # noqa: N818 - a finding about a model, not a fault
    """bitsandbytes cannot run this model's layers on this device; the message says which."""


def load_bitsandbytes() -> ModuleType:
    """Import bitsandbytes, which takes seconds, when it is needed."""
    import bitsandbytes

    return bitsandbytes


def quantize_model(
    model: "PreTrainedModel",
    precision: str,
    device: str | torch.device = "cpu",
    unpack: bool = True,
) -> dict[str, Any]:
    """Replace a merged fp32 model's linear layers and experts by quantized ones, in place.

    Args:
        model: from `adapters.load_merged`; GPT-2's Conv1D layers become linear ones.
        precision: one of `PRECISIONS`.
        device: device for the model.
        unpack: on a CPU, compute a layer densely where that gives the same bits.

    Returns:
        `layers`, the number of new layers; `relative_error`, ‖Q(W) − W‖/‖W‖ (Frobenius over all
        layers), the rounding error, which can be compared with the norm of an update; `share`, the
        quantized share of the matrix weights; `left_out`, a line for each kind of matrix that is
        not quantized.

    Raises:
        QuantizationUnsupported: bitsandbytes does not support a layer's size on this device.
        RuntimeError: quantization changed no weight of a layer.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; allowed are {', '.join(PRECISIONS)}")
    device = torch.device(device)
    squared_error = squared_weight = 0.0
    model.to(device).eval()  # now: a layer that is moved after its first use may lose its scales
    use_expert_by_expert(model)
    matrices, replaced = weight_matrices(model), reachable(model)
    names = {matrix.name for matrix in replaced}
    share = share_of(matrices, lambda matrix: matrix.name in names)
    tested_shapes: set[tuple[int, int]] = set()
    layers = 0
    for matrix in replaced:
        new_layers = []
        for name, weight, bias in linear_maps(matrix):
            weight = weight.cpu()  # bitsandbytes quantizes weights when it moves them to the device
            quantized = quantized_layer(name, weight, bias, precision, device)
            dequantized = dequantized_weight(quantized).cpu()
            if torch.equal(dequantized, weight) and weight.any():
                raise RuntimeError(f"{name}: quantization to {precision} changed nothing")
            squared_error += (dequantized - weight).double().square().sum().item()
            squared_weight += weight.double().square().sum().item()
            if tuple(weight.shape) not in tested_shapes:
                _test_layer(name, quantized, precision, device)
                tested_shapes.add(tuple(weight.shape))
            if unpack and device.type == "cpu":
                quantized = _dense(quantized, dequantized) or quantized
            new_layers.append(quantized)
        _replace_matrix(model, matrix, new_layers)
        layers += len(new_layers)
    assert not any(module.training for module in model.modules())
    return {
        "layers": layers,
        "relative_error": (squared_error / squared_weight) ** 0.5,
        "share": share.share,
        "left_out": share.left_out,
    }


def _dense(quantized: torch.nn.Module, weight: torch.Tensor) -> torch.nn.Module | None:
    """The same layer without unpacking, if it gives the same bits (`dense_layer`)."""
    int8 = None
    if isinstance(quantized, load_bitsandbytes().nn.Linear8bitLt):
        codes, scales = _int8_weight(quantized)
        int8 = DenseInt8(codes, scales, quantized.bias, INT8_THRESHOLD)
    return dense_layer(quantized, weight, int8)


def linear_maps(matrix: Matrix) -> Iterator[tuple[str, torch.Tensor, torch.Tensor | None]]:
    """Name, weight (outputs, inputs) and bias (outputs) of a layer, or of each expert."""
    if matrix.kind == "linear":
        yield matrix.layer, _weight(matrix.owner), matrix.owner.bias
        return
    attribute = matrix.name.rpartition(".")[2]
    for expert in range(len(matrix.parameter)):
        weight, bias = expert_weight(matrix.owner, attribute, expert)
        yield f"{matrix.name}.{expert}", weight.detach().contiguous(), bias


def _replace_matrix(model: torch.nn.Module, matrix: Matrix, layers: list[torch.nn.Module]) -> None:
    """Replace a layer, or a stacked parameter, by its quantized layers."""
    if matrix.kind == "linear":
        parent, _, child = matrix.layer.rpartition(".")
        setattr(model.get_submodule(parent), child, layers[0])
        return
    attribute = matrix.name.rpartition(".")[2]
    delattr(matrix.owner, attribute)
    setattr(matrix.owner, attribute, torch.nn.ModuleList(layers).eval())


@cache
def _token_wise(bnb: ModuleType) -> type[torch.nn.Module]:
    """The LLM.int8 layer that selects outliers per token, independent of the batch."""

    class TokenWiseLinear8bitLt(bnb.nn.Linear8bitLt):
        """`Linear8bitLt` for inference that computes each row as bitsandbytes does without a batch.

        y = scale_x · scale_w · (int8(x without its outliers) @ int8(W)ᵀ) + outliers(x) @ Ŵᵀ + b,
        with outliers(x) the values with |x| ≥ 6.0, and Ŵ the dequantized weight.
        """

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.weight.CB is not None:
                self.init_8bit_state()
            codes, scales = self.state.CB, self.state.SCB
            rows = x.reshape(-1, x.shape[-1])
            outliers = rows.to(torch.float16).abs() >= self.state.threshold
            kept = rows.to(torch.float16).masked_fill(outliers, 0)
            row_codes, row_scales, _ = bnb.functional.int8_vectorwise_quant(kept)
            y = torch.ops.bitsandbytes.int8_scaled_mm.default(
                row_codes, codes, row_scales, scales, bias=self.bias, dtype=x.dtype
            )
            columns = outliers.any(dim=0).nonzero().view(-1)
            if len(columns):
                left_out = (rows * outliers)[:, columns]
                weight = codes[:, columns].to(x.dtype) * (scales.to(x.dtype)[:, None] / 127)
                y = y.addmm(left_out, weight.T)
            return y.reshape(*x.shape[:-1], y.shape[-1])

    return TokenWiseLinear8bitLt


def _weight(layer: torch.nn.Module) -> torch.Tensor:
    """A layer's weight as (outputs, inputs); Conv1D stores the transpose."""
    from transformers.pytorch_utils import Conv1D

    weight = layer.weight.detach()
    return weight.T.contiguous() if isinstance(layer, Conv1D) else weight


def quantized_layer(
    name: str,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    precision: str,
    device: torch.device,
) -> torch.nn.Module:
    """The bitsandbytes layer for a `weight` (outputs, inputs) and a `bias` (outputs)."""
    bnb = load_bitsandbytes()
    outputs, inputs = weight.shape
    shape = {"bias": bias is not None, "device": "meta"}
    if precision == "int8":
        layer = _token_wise(bnb)(
            inputs, outputs, has_fp16_weights=False, threshold=INT8_THRESHOLD, **shape
        )
        layer.weight = bnb.nn.Int8Params(
            weight.clone(), requires_grad=False, has_fp16_weights=False
        )
    else:
        layer = bnb.nn.Linear4bit(
            inputs,
            outputs,
            compute_dtype=torch.float32,
            compress_statistics=False,
            quant_type=precision,
            **shape,
        )
        layer.weight = bnb.nn.Params4bit(
            weight.clone(),
            requires_grad=False,
            blocksize=BLOCK_SIZE,
            compress_statistics=False,
            quant_type=precision,
            module=layer,
        )
    if bias is not None:
        layer.bias = torch.nn.Parameter(bias.detach().clone(), requires_grad=False)
    try:
        return layer.to(device).eval()
    except (AssertionError, RuntimeError, ValueError, NotImplementedError) as error:
        raise QuantizationUnsupported(_reason(name, weight.shape, precision, device)) from error


def _test_layer(name: str, layer: torch.nn.Module, precision: str, device: torch.device) -> None:
    """Run a layer once: bitsandbytes checks sizes only when it computes."""
    sample = torch.zeros(2, 3, layer.in_features, device=device)
    shape = (layer.out_features, layer.in_features)
    try:
        with torch.no_grad():
            layer(sample)
    except (AssertionError, RuntimeError, ValueError, NotImplementedError) as error:
        raise QuantizationUnsupported(
            f"{_reason(name, shape, precision, device)}: {' '.join(str(error).split())}"
        ) from error


def _reason(name: str, shape: tuple[int, int], precision: str, device: torch.device) -> str:
    outputs, inputs = shape
    return (
        f"bitsandbytes cannot run {name} ({inputs} inputs, {outputs} outputs) "
        f"in {precision} on this {device.type}"
    )


def dequantized_weight(layer: torch.nn.Module) -> torch.Tensor:
    """The fp32 weight (outputs, inputs) that a quantized layer represents.

    Raises:
        ValueError: the layer has computed, and its kernel has repacked its 4-bit codes and rounded
            their scales to bf16 (CPUs with AVX512-BF16).
    """
    if type(layer) is torch.nn.Linear:  # unpacked
        return layer.weight
    if isinstance(layer, DenseInt8):
        return layer.codes * (layer.scales[:, None] / 127)
    bnb = load_bitsandbytes()
    if isinstance(layer, bnb.nn.Linear8bitLt):
        codes, scales = _int8_weight(layer)
        return codes.float() * (scales.float()[:, None] / 127)
    codes, state = _codes_as_quantized(layer)
    return bnb.functional.dequantize_4bit(codes, state).float()


def weight_codes(layer: torch.nn.Module) -> torch.Tensor:
    """The codes of a quantized layer that has not computed yet, as numbers: (outputs, inputs).

    int8: the codes themselves. nf4 and fp4: the value from −1 to 1 that a code stands for before
    its block's scale. So the two zeros of fp4, +0 and −0, are one code.

    Raises:
        ValueError: as for `dequantized_weight`.
    """
    bnb = load_bitsandbytes()
    if isinstance(layer, bnb.nn.Linear8bitLt):
        return _int8_weight(layer)[0]
    packed, state = _codes_as_quantized(layer)
    packed = packed.flatten()
    indices = torch.stack([packed >> 4, packed & 15], dim=1).flatten()
    return state.code.to(packed.device)[indices.long()].reshape(state.shape)


def _codes_as_quantized(layer: torch.nn.Module) -> tuple[torch.Tensor, Any]:
    """Packed codes of a 4-bit layer and their state, in the order in which they were quantized."""
    state = layer.weight.quant_state
    if getattr(state, "packing_format_for_cpu", False):
        raise ValueError("the layer has computed: its codes are repacked, its scales rounded")
    return layer.weight.data, state


def _int8_weight(layer: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes (outputs, inputs) and scales (outputs) of an LLM.int8 layer."""
    if layer.weight.CB is None:  # the first forward pass has moved them
        return layer.state.CB, layer.state.SCB
    return layer.weight.CB, layer.weight.SCB


def mean_changes(records: Iterable[dict], others: Mapping[str, dict]) -> dict[str, float]:
    """Mean absolute difference of each field between two runs of the same questions.

    Args:
        records: records of one run, for a sample of the questions.
        others: records of the other run, by id.

    Returns:
        {field: mean of |record − other|}; NaN if a run has no value.
    """
    pairs = [(record, others[record["id"]]) for record in records]
    return {
        field: sum(abs(_number(one[field]) - _number(other[field])) for one, other in pairs)
        / len(pairs)
        for field in COMPARED_FIELDS
    }


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
