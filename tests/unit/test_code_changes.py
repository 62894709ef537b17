"""Codes that unlearning changes, against whole quantized models."""

import pytest
import torch

from excise.attacks import quantization
from excise.attacks.code_changes import code_changes
from excise.attacks.quantization import (
    PRECISIONS,
    dequantized_weight,
    quantize_model,
    quantized_layer,
    weight_codes,
)
from excise.evaluation.tables.quantization import code_rows
from excise.modeling.adapters import (
    adapter_tensors,
    attach_lora,
    load_adapter,
    load_merged,
    merged_matrices,
    save_adapter,
)
from excise.modeling.base import load_base
from excise.modeling.matrices import reachable
from tiny_models import lora, tiny_folder

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["qwen2", "gpt2", "mixtral"])
def folder(request, tmp_path_factory):
    """A base and two adapters; the second one is a small step away from the first."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("codes")
    model = attach_lora(load_base(tiny_folder(folder / "base", request.param, layers=2)), lora(), 0)
    for step, name in enumerate(("finetuned", "unlearned")):
        generator = torch.Generator().manual_seed(step)
        with torch.no_grad():
            for tensor in adapter_tensors(model).values():
                size = 0.03 if step == 0 else 0.003
                tensor += size * torch.randn(tensor.shape, generator=generator)
        save_adapter(model, folder / name)
    return folder


def changes(folder, name: str) -> dict:
    return code_changes(folder / "base", folder / "finetuned", folder / name, PRECISIONS)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_values_that_change_are_those_of_quantized_models(folder, precision, monkeypatch):
    # A layer that computes may repack its codes (AVX512-BF16); the values are read before that.
    monkeypatch.setattr(quantization, "_test_layer", lambda *_: None)
    found = changes(folder, "unlearned")
    weights = []
    for name in ("finetuned", "unlearned"):
        model = load_merged(folder / "base", folder / name)
        quantize_model(model, precision, unpack=False)
        layers = [
            module
            for module in model.modules()
            if type(module).__name__ in ("TokenWiseLinear8bitLt", "Linear4bit")
        ]
        weights.append(torch.cat([dequantized_weight(one).flatten() for one in layers]))
    sums = found["code_changes"][precision].values()
    assert sum(one["values"] for one in sums) == (weights[0] != weights[1]).sum()
    rounded = (weights[1].double() - weights[0].double()).square().sum().item()
    assert sum(one["rounded"] for one in sums) == pytest.approx(rounded)
    assert 0 < sum(one["codes"] for one in sums) < sum(one["values"] for one in sums)
    total = sum(matrix.parameter.numel() for matrix in reachable(load_base(folder / "base")))
    assert sum(one["weights"] for one in found["update"].values()) == total


def test_the_same_adapter_changes_no_code(folder):
    found = changes(folder, "finetuned")
    assert all(one["update"] == 0 for one in found["update"].values())
    for precision in PRECISIONS:
        for one in found["code_changes"][precision].values():
            assert (one["codes"], one["values"], one["rounded"]) == (0, 0, 0)
    rows = list(code_rows(found["update"], found["code_changes"], PRECISIONS))
    by_metric = {row["metric"]: row["value"] for row in rows}
    assert (by_metric["codes_changed"], by_metric["relative_update"]) == (0, 0)
    assert by_metric["update_kept"] is by_metric["update_cosine"] is None


def test_matrices_are_merged_one_at_a_time_and_restored(folder):
    model = load_adapter(load_base(folder / "base"), folder / "finetuned")
    base = load_base(folder / "base").state_dict()
    merged = load_merged(folder / "base", folder / "finetuned").state_dict()
    names = []
    for matrix, before in merged_matrices(model):
        names.append(matrix.name)
        assert torch.equal(matrix.parameter, merged[matrix.name])
        assert torch.equal(before, base[matrix.name])
        others = [one for one in reachable(model) if one.name != matrix.name]
        assert all(torch.equal(one.parameter, base[one.name]) for one in others)
    assert all(torch.equal(one.parameter, base[one.name]) for one in reachable(model))
    assert sorted(names) == sorted(one.name for one in reachable(model))


def test_codes_by_hand():
    """A row of 64 is one block; its largest weight sets the scale."""
    weight = torch.zeros(1, 64)
    weight[0, :5] = torch.tensor([2.0, -2.0, 1.0, 0.001, -0.001])
    int8 = weight_codes(quantized_layer("w", weight, None, "int8", CPU))
    assert int8[0, :5].tolist() == [127, -127, 64, 0, 0]
    nf4 = weight_codes(quantized_layer("w", weight, None, "nf4", CPU))
    assert nf4[0, :5].tolist() == pytest.approx([1, -1, 0.44070983, 0, 0])
    assert (nf4[0, 5:] == 0).all()
    assert torch.allclose(
        dequantized_weight(quantized_layer("w", weight, None, "nf4", CPU)), 2 * nf4
    )


def test_a_layer_with_repacked_codes_is_not_read():
    layer = quantized_layer("w", torch.ones(32, 64), None, "nf4", CPU)
    layer.weight.quant_state.packing_format_for_cpu = True  # as after a pass with AVX512-BF16
    for read in (weight_codes, dequantized_weight):
        with pytest.raises(ValueError, match="repacked"):
            read(layer)


def test_the_two_zeros_of_fp4_are_one_code():
    weight = torch.full((1, 64), 0.001)
    weight[0, 0] = 1
    turned = weight.clone()
    turned[0, 1:] *= -1
    codes = [weight_codes(quantized_layer("w", one, None, "fp4", CPU)) for one in (weight, turned)]
    assert (codes[0][0, 1:] == 0).all()
    assert torch.equal(codes[0], codes[1])


def test_a_larger_scale_changes_values_and_no_codes():
    weight = torch.ones(2, 64)
    layers = [quantized_layer("w", one, None, "nf4", CPU) for one in (weight, 1.5 * weight)]
    assert torch.equal(*(weight_codes(one) for one in layers))
    assert (dequantized_weight(layers[0]) != dequantized_weight(layers[1])).all()


def test_rows_by_hand():
    update = {
        "h.0.a": {"weights": 10, "update": 4.0, "base": 100.0},
        "h.1.a": {"weights": 30, "update": 0.0, "base": 300.0},
    }
    changes = {
        "nf4": {
            "h.0.a": {"codes": 2, "values": 8, "rounded": 16.0, "product": 4.0},
            "h.1.a": {"codes": 0, "values": 0, "rounded": 0.0, "product": 0.0},
        }
    }
    found = {
        (row["precision"], row["metric"], row["layer"]): row["value"]
        for row in code_rows(update, changes, ["nf4", "fp4"])
    }
    assert found["full", "relative_update", None] == 0.1
    assert found["full", "relative_update", 1] == 0.2
    assert found["nf4", "codes_changed", None] == 0.05
    assert found["nf4", "codes_changed", 1] == 0.2
    assert found["nf4", "values_changed", 1] == 0.8
    assert found["nf4", "update_kept", None] == 1.0
    assert found["nf4", "update_cosine", None] == 0.5
    assert found["nf4", "codes_changed", 2] == 0
    assert found["nf4", "update_kept", 2] is None
    assert found["fp4", "codes_changed", None] is None
