"""What quantization leaves of an unlearning update: codes that change, and the update itself.

W_f is a merged weight of the finetuned model and W_u the same weight of the unlearned one. An
update W_u − W_f that changes no code would be erased. The codes are those of the layers that the
quantized models use (`quantization`).
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from excise.attacks.quantization import (
    QuantizationUnsupported,
    dequantized_weight,
    linear_maps,
    quantized_layer,
    weight_codes,
)
from excise.modeling.adapters import load_adapter, merged_matrices
from excise.modeling.base import load_base
from excise.modeling.matrices import Matrix


def code_changes(
    base_folder: str | Path,
    finetuned_folder: str | Path,
    adapter_folder: str | Path,
    precisions: Sequence[str],
    device: str | torch.device = "cpu",
) -> dict[str, dict]:
    """Compare an adapter's merged and quantized weights with those of the finetuned adapter.

    It holds two copies of the weights in fp32, and quantizes one matrix at a time.

    Args:
        base_folder: the base model.
        finetuned_folder: the adapter that unlearning began with.
        adapter_folder: the adapter that is compared with it; of the same base model.
        precisions: some of `quantization.PRECISIONS`; one that cannot run is left out.
        device: where the codes are computed.

    Returns:
        `update`: {matrix: `weights`, their number; `update`, ‖W_u − W_f‖²; `base`, ‖W‖² of the
        base model}. `code_changes`: {precision: {matrix: `codes` and `values`, the numbers of
        weights whose code and whose dequantized value differ; `rounded`, ‖Q(W_u) − Q(W_f)‖²;
        `product`, ⟨Q(W_u) − Q(W_f), W_u − W_f⟩}}. Only matrices that both adapters change; the
        experts of a stacked matrix are summed.

    Raises:
        InputError: a folder cannot be used.
    """
    model = load_adapter(load_base(base_folder, torch.float32), finetuned_folder)
    before, base = {}, {}
    for matrix, original in merged_matrices(model):
        base[matrix.name] = _squared(original)
        before |= {name: weight.clone() for name, weight in _weights(matrix)}
    model = load_adapter(model, adapter_folder)
    update: dict[str, dict] = {}
    changes: dict[str, dict] = {precision: {} for precision in precisions}
    for matrix, _ in merged_matrices(model):
        if matrix.name not in base:
            continue
        sums = update.setdefault(matrix.name, {"weights": 0, "update": 0.0})
        for name, weight in _weights(matrix):
            old, new = before.pop(name), weight.clone()
            sums["weights"] += new.numel()
            sums["update"] += _squared(new.double() - old.double())
            for precision in tuple(changes):
                try:
                    found = _compare(name, old, new, precision, torch.device(device))
                except QuantizationUnsupported:
                    del changes[precision]
                    continue
                of_matrix = changes[precision].setdefault(matrix.name, dict.fromkeys(found, 0))
                for key, value in found.items():
                    of_matrix[key] += value
        sums["base"] = base[matrix.name]
    return {"update": update, "code_changes": changes}


def _weights(matrix: Matrix) -> list[tuple[str, torch.Tensor]]:
    """Name and weight (outputs, inputs) of a layer, or of each expert."""
    return [(name, weight.cpu()) for name, weight, _ in linear_maps(matrix)]


def _compare(
    name: str, old: torch.Tensor, new: torch.Tensor, precision: str, device: torch.device
) -> dict[str, float]:
    """What `code_changes` counts, for one weight (outputs, inputs)."""
    codes, values = [], []
    for weight in (old, new):
        layer = quantized_layer(name, weight, None, precision, device)
        codes.append(weight_codes(layer).cpu())
        values.append(dequantized_weight(layer).cpu())
    rounded = values[1].double() - values[0].double()
    return {
        "codes": int((codes[0] != codes[1]).sum()),
        "values": int((values[0] != values[1]).sum()),
        "rounded": _squared(rounded),
        "product": (rounded * (new.double() - old.double())).sum().item(),
    }


def _squared(tensor: torch.Tensor) -> float:
    return tensor.detach().double().square().sum().item()
