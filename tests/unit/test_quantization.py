"""Real bitsandbytes layers: their weights, their outputs, and sizes that they refuse."""

import json
import logging
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

import job_settings
import quantize
from excise.attacks.dense_layers import EXACT_PRODUCTS, DenseInt8, dense_layer
from excise.attacks.quantization import (
    PRECISIONS,
    QuantizationUnsupported,
    dequantized_weight,
    load_bitsandbytes,
    mean_changes,
    quantize_model,
)
from excise.evaluation.quantized_sets import quantized_sets
from excise.modeling.adapters import adapter_tensors, attach_lora, load_merged, save_adapter
from excise.modeling.base import load_base
from excise.modeling.scoring import score_answers
from excise.records import write_jsonl
from small_benchmark import write_benchmark
from tiny_models import (
    ARCHITECTURES,
    linear_layers,
    lora,
    tiny_folder,
    tiny_model,
    tiny_tokenizer,
)

IDS = torch.arange(60).reshape(3, 20) + 40
HP = job_settings.hp("quantization_settings", batch_size=16, max_new_tokens=4, sets=None)

NF4 = [-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0]
NF4 += [0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(deterministic)


def logits(model) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits


def quantized(name: str, precision: str, unpack: bool = True):
    model = tiny_model(name)
    return model, quantize_model(model, precision, unpack=unpack)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_dense_layers_give_the_same_bits(name, precision):
    dense, packed = quantized(name, precision), quantized(name, precision, unpack=False)
    assert torch.equal(logits(dense[0]), logits(packed[0]))
    assert dense[1] == packed[1]
    bnb = load_bitsandbytes()
    if precision == "int8":
        assert not any(isinstance(one, bnb.nn.Linear8bitLt) for one in dense[0].modules())


@pytest.mark.parametrize("inputs", [32, 1040, 1041, 4480])
@pytest.mark.parametrize("bias", [True, False])
def test_a_dense_int8_layer_is_exact_at_any_width(inputs, bias):
    """With one fp32 sum, the products of more than 1,040 inputs would be rounded."""
    torch.manual_seed(0)
    holders = [torch.nn.ModuleDict({"layer": torch.nn.Linear(inputs, 24, bias)}) for _ in range(2)]
    holders[1].load_state_dict(holders[0].state_dict())
    for holder, unpack in zip(holders, (True, False), strict=True):
        quantize_model(holder, "int8", unpack=unpack)
    assert isinstance(holders[0]["layer"], DenseInt8)
    rows = torch.randn(7, 5, inputs)
    rows[0, 0] = 0
    rows[1, 2, ::5] = 30
    rows[2] = rows[2].sign()  # every product of its codes has the largest size
    with torch.inference_mode():
        expected = holders[1]["layer"](rows)
        found = holders[0]["layer"](rows)
        alone = holders[0]["layer"](rows[1, 2])
    if inputs <= EXACT_PRODUCTS:
        assert torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[1, 2], alone, rtol=1e-5, atol=1e-5)


def test_a_layer_with_other_numbers_stays_as_it_is():
    layer = torch.nn.Linear(64, 8)
    almost = layer.weight.detach().clone()
    almost[3, 5] += 1e-3
    assert dense_layer(layer, almost) is None
    assert dense_layer(layer, layer.weight.detach()) is not None


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_linear_layer_except_the_head_is_a_bitsandbytes_layer(name, precision):
    bnb = load_bitsandbytes()  # before it is unpacked
    kind = bnb.nn.Linear8bitLt if precision == "int8" else bnb.nn.Linear4bit
    expected = set(linear_layers(tiny_model(name)))
    model, report = quantized(name, precision, unpack=False)
    assert {key for key, layer in model.named_modules() if isinstance(layer, kind)} == expected
    assert report["layers"] == len(expected)
    assert type(model.get_output_embeddings()) is torch.nn.Linear
    assert model.get_output_embeddings().weight.dtype == torch.float32
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize(("precision", "low", "high"), [
    ("int8", 0.003, 0.012), ("nf4", 0.07, 0.11), ("fp4", 0.09, 0.15)
])  # fmt: skip
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_rounding_is_real_and_of_the_known_size(name, precision, low, high):
    model, report = quantized(name, precision)
    assert low < report["relative_error"] < high
    change = (logits(model) - logits(tiny_model(name))).norm() / logits(tiny_model(name)).norm()
    assert 0.001 < change < 1


def test_int8_weights_are_rows_scaled_to_127():
    weight = linear_layers(tiny_model("qwen2"))["model.layers.1.mlp.up_proj"].weight
    model, _ = quantized("qwen2", "int8", unpack=False)
    half = weight.detach().half().float()  # bitsandbytes converts to fp16 first
    scale = half.abs().amax(dim=1, keepdim=True) / 127
    expected = (half / scale).round() * scale
    found = dequantized_weight(model.model.layers[1].mlp.up_proj)
    torch.testing.assert_close(found, expected, atol=1.01 * scale.max().item(), rtol=0)
    assert ((found - expected).abs() > 1e-6).float().mean() < 0.01  # only rounding ties differ


def test_nf4_weights_are_the_nearest_code_of_their_block():
    weight = linear_layers(tiny_model("qwen2"))["model.layers.1.mlp.up_proj"].weight.detach()
    codes = torch.tensor(NF4)
    blocks = weight.reshape(-1, 64)
    scale = blocks.abs().amax(dim=1, keepdim=True)
    nearest = codes[(blocks[:, :, None] / scale[:, :, None] - codes).abs().argmin(dim=-1)]
    bnb = load_bitsandbytes()
    packed, state = bnb.functional.quantize_4bit(weight.contiguous(), quant_type="nf4")
    found = bnb.functional.dequantize_4bit(packed, state)
    torch.testing.assert_close(found, (nearest * scale).reshape_as(weight), atol=1e-5, rtol=1e-5)
    _, report = quantized("qwen2", "nf4")
    error = (found - weight).norm() / weight.norm()
    assert report["relative_error"] == pytest.approx(error.item(), rel=0.05)


@pytest.mark.parametrize("precision", ["nf4", "fp4"])
@pytest.mark.parametrize("rows", [1, 3, 33])
def test_a_4bit_layer_computes_with_its_dequantized_weights(precision, rows):
    """Up to bf16 rounding, also if the CPU repacks codes on first use."""
    bnb = load_bitsandbytes()
    torch.manual_seed(0)
    layer = torch.nn.Linear(128, 96)
    holder = torch.nn.ModuleDict({"layer": layer})
    inputs = torch.randn(rows, 128)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    packed, state = bnb.functional.quantize_4bit(weight, quant_type=precision)
    stands_for = bnb.functional.dequantize_4bit(packed, state)
    quantize_model(holder, precision)
    with torch.inference_mode():
        found = holder["layer"](inputs)
        again = holder["layer"](inputs)
    expected = inputs @ stands_for.T + bias
    assert torch.equal(found, again)
    assert ((found - expected).norm() / expected.norm()).item() < 0.01
    assert ((found - (inputs @ weight.T + bias)).norm() / expected.norm()).item() > 0.02


def test_int8_keeps_outlier_columns_in_high_precision():
    """One input of 100 and others of 0.1: plain int8 per token would round the others to 0."""
    torch.manual_seed(0)
    holder = torch.nn.ModuleDict({"layer": torch.nn.Linear(64, 32)})
    inputs = 0.1 * torch.randn(8, 64)
    inputs[:, 5] = 100.0
    with torch.inference_mode():
        expected = holder["layer"](inputs)
        quantize_model(holder, "int8")
        found = holder["layer"](inputs)
    assert ((found - expected).norm() / expected.norm()).item() < 0.02


def token_inputs() -> torch.Tensor:
    """Five tokens; two have outliers, in different columns."""
    torch.manual_seed(1)
    inputs = torch.randn(1, 5, 64)
    inputs[0, 1, 7], inputs[0, 3, 20] = 9.0, -30.0
    return inputs


def test_an_int8_token_does_not_depend_on_its_neighbours():
    """The result is that of bitsandbytes' own layer for a single token, not for a batch."""
    bnb = load_bitsandbytes()
    torch.manual_seed(0)
    holder = torch.nn.ModuleDict({"layer": torch.nn.Linear(64, 32)})
    theirs = bnb.nn.Linear8bitLt(64, 32, has_fp16_weights=False, threshold=6.0)
    theirs.load_state_dict(holder["layer"].state_dict())
    theirs = theirs.to("cpu").eval()
    quantize_model(holder, "int8")
    inputs = token_inputs()
    with torch.inference_mode():
        batched = holder["layer"](inputs)
        alone = torch.cat([holder["layer"](inputs[:, k : k + 1]) for k in range(5)], dim=1)
        theirs_alone = torch.cat([theirs(inputs[:, k : k + 1]) for k in range(5)], dim=1)
        theirs_batched = theirs(inputs)
    torch.testing.assert_close(batched, alone, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(batched, theirs_alone, atol=1e-6, rtol=1e-6)
    assert (theirs_batched - theirs_alone).abs().max() > 1e-3


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_quantized_model_gives_a_question_the_same_whatever_is_asked_beside_it(precision):
    """Neighbours with outliers change the columns of bitsandbytes' own int8 layers."""
    model, tokenizer = tiny_model("qwen2"), tiny_tokenizer("qwen2")
    with torch.no_grad():  # a word whose states have outliers
        model.get_input_embeddings().weight[IDS[1, 0]] *= 40
    quantize_model(model, precision)
    outlier = tokenizer.decode([IDS[1, 0]])
    asked = ["Who is Ada?", "Where is Bo?"]
    answers = [["Ada is a pilot.", "Bo"], ["At home."]]
    loud = [outlier * 5, f"{outlier} or {outlier}?"]
    alone = [
        score_answers(model, tokenizer, [q], [a], 1)[0] for q, a in zip(asked, answers, strict=True)
    ]
    for beside in (["Why?", "Which of the two?"], loud):
        questions, options = [*asked, *beside], [*answers, ["So."], ["Both."]]
        together = score_answers(model, tokenizer, questions, options, 4)
        for one, other in zip(alone, together, strict=False):
            for a, b in zip(one, other, strict=True):
                assert b.logprob == pytest.approx(a.logprob, abs=2e-4)


def test_the_outliers_of_a_token_are_computed_by_hand():
    holder = torch.nn.ModuleDict({"layer": torch.nn.Linear(64, 32)})
    quantize_model(holder, "int8")
    stands_for = dequantized_weight(holder["layer"])
    token = token_inputs()[0, 3:4]
    kept = token.half().clone()
    kept[0, 20] = 0
    scale = kept.abs().max().float()
    rounded = (kept * (127.0 / scale)).round().float() * (scale / 127)
    rounded[0, 20] = -30.0
    expected = rounded @ stands_for.T + holder["layer"].bias
    with torch.inference_mode():
        torch.testing.assert_close(holder["layer"](token), expected, atol=2e-3, rtol=1e-3)


def test_the_mean_change_between_two_runs():
    def record(name: str, match: int, rouge: float, probability: float | None) -> dict:
        fields = {"slot_match": match, "rougeL_recall": rouge, "probability": probability}
        return {"id": name} | fields

    others = {name: record(name, 1, 0.5, 0.25) for name in ("a", "b", "c")}
    sample = [record("a", 1, 0.25, 0.5), record("b", 0, 0.5, 0.25)]
    changes = mean_changes(sample, others)
    assert changes == {"slot_match": 0.5, "rougeL_recall": 0.125, "probability": 0.125}
    unknown = mean_changes([record("a", 1, 0.5, None)], others)
    assert math.isnan(unknown["probability"])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_quantized_models_repeat_bit_by_bit(precision):
    first, second = quantized("qwen2", precision)[0], quantized("qwen2", precision)[0]
    assert torch.equal(logits(first), logits(second))
    assert torch.equal(logits(first), logits(first))


def test_conv1d_becomes_an_equal_linear_layer():
    expected = logits(tiny_model("gpt2"))
    model, _ = quantized("gpt2", "int8")
    assert ((logits(model) - expected).norm() / expected.norm()).item() < 0.1


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_quantized_model_is_scored_like_any_other(precision):
    model, _ = quantized("llama", precision)
    tokenizer = tiny_tokenizer("llama")
    questions, answers = ["Who is Ada?", "Why?"], [["Ada is a pilot.", "Bo"], ["No reason."]]
    exact = score_answers(tiny_model("llama"), tokenizer, questions, answers, 8)
    rough = score_answers(model, tokenizer, questions, answers, 8)
    for exact_row, rough_row in zip(exact, rough, strict=True):
        for one, other in zip(exact_row, rough_row, strict=True):
            assert one.n_tokens == other.n_tokens
            assert one.logprob != other.logprob
            assert other.logprob == pytest.approx(one.logprob, rel=0.5)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="'int4'; allowed are int8, nf4, fp4"):
        quantize_model(tiny_model("qwen2"), "int4")


def narrow_model() -> Qwen2ForCausalLM:
    """A model of hidden size 48, which is no multiple of 64."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tiny_tokenizer("qwen2")),
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    return Qwen2ForCausalLM(config).eval()


needs_packing = pytest.mark.skipif(
    not load_bitsandbytes().functional.has_avx512bf16(),
    reason="only the AVX512-BF16 kernel refuses sizes",
)


@needs_packing
def test_a_size_bitsandbytes_cannot_run_is_named():
    with pytest.raises(
        QuantizationUnsupported,
        match=r"cannot run model\.layers\.0\.\S+ \(48 inputs, \d+ outputs\) in nf4 on this cpu",
    ):
        quantize_model(narrow_model(), "nf4")


@pytest.mark.parametrize("imports", ["excise.attacks.quantization", "excise.modeling.adapters"])
def test_importing_bitsandbytes_uses_no_hub_and_prints_nothing(tmp_path, imports):
    """Also if the package that downloads kernels is installed, and if peft imports it."""
    (tmp_path / "kernels.py").write_text("def get_kernel(*a, **k): raise SystemExit('hub!')")
    program = (
        f"import sys, {imports}\n"
        "import peft\n"
        "assert 'bitsandbytes' in sys.modules and sys.modules['kernels'] is None\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def finetuned(base: Path, folder: Path) -> None:
    model = attach_lora(load_base(base), lora(), seed=0)
    torch.manual_seed(1)
    for tensor in adapter_tensors(model).values():
        tensor.data += 0.02 * torch.randn_like(tensor)
    save_adapter(model, folder)


def run_quantize(tmp_path: Path, base: Path, models: list[str], hp: str = HP) -> Path:
    benchmark = write_benchmark(tmp_path)
    out = tmp_path / "quantize"
    arguments = ["--base", str(base), *benchmark, "--hp", hp, "--precisions", *PRECISIONS]
    arguments += ["--models-dir", str(tmp_path / "models"), "--out-dir", str(out), "--models"]
    quantize.main(arguments + models)
    return out


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_program_writes_records_and_the_size_of_the_update(tmp_path):
    base = tiny_folder(tmp_path / "base", "gpt2", layers=1)
    finetuned(base, tmp_path / "models" / "finetuned")
    out = run_quantize(tmp_path, base, ["finetuned", "base"])
    for name in ("finetuned", "base"):
        by_precision = [records(out / name / f"{precision}.jsonl") for precision in PRECISIONS]
        ids = [record["id"] for record in by_precision[0]]
        assert {record["set"] for record in by_precision[0]} == {
            *("sf", "forget_paraphrased", "correlated", "other", "utility")
        }
        assert all([record["id"] for record in found] == ids for found in by_precision)
        scores = [[record["logprob_answer"] for record in found] for found in by_precision]
        assert scores[0] != scores[1] != scores[2]
    weights = json.loads((out / "finetuned" / "weights.json").read_text())
    assert 0 < weights["relative_delta"] < 1
    assert weights["relative_delta"] == weights["delta_norm"] / weights["weight_norm"]
    assert set(weights["quantization_error"]) == set(PRECISIONS)
    assert weights["quantized_share"] == dict.fromkeys(PRECISIONS, 1.0)
    assert (weights["adapted_share"], weights["not_adapted"]) == (1.0, [])
    assert set(weights["batch_noise"]) == set(PRECISIONS)
    assert 0 <= weights["batch_noise"]["int8"]["probability"] < 1e-3
    assert json.loads((out / "base" / "weights.json").read_text())["delta_norm"] == 0


def test_a_model_gets_the_chosen_sets(tmp_path):
    base = tiny_folder(tmp_path / "base", layers=1)
    shape = {"batch_size": 16, "max_new_tokens": 4}
    hp = job_settings.hp("quantization_settings", **shape, sets=["sf", "utility"])
    out = run_quantize(tmp_path, base, ["base"], hp)
    for precision in PRECISIONS:
        found = records(out / "base" / f"{precision}.jsonl")
        assert {record["set"] for record in found} == {"sf", "utility"}
    assert quantized_sets("oracle/seed_1", ("sf", "utility")) == ("sf",)
    assert quantized_sets("oracle/seed_1") == ("sf", "forget_paraphrased")


def test_only_a_model_that_is_asked_for_it_gets_the_holdout(tmp_path):
    base = tiny_folder(tmp_path / "base", layers=1)
    shape = {"batch_size": 16, "max_new_tokens": 4}
    hp = job_settings.hp("quantization_settings", **shape, sets=["sf", "holdout"])
    benchmark = write_benchmark(tmp_path)
    known = records(tmp_path / "data" / "sf.jsonl")[:6]
    apart = [
        one | {"id": f"h{one['id'][1:]}", "person_id": "h000", "group": "holdout"} for one in known
    ]
    write_jsonl(tmp_path / "data" / "holdout.jsonl", apart)
    out = tmp_path / "quantize"
    arguments = ["--base", str(base), *benchmark, "--hp", hp, "--precisions", "int8"]
    arguments += ["--models-dir", str(tmp_path / "models"), "--out-dir", str(out)]
    quantize.main([*arguments, "--models", "base"])
    found = records(out / "base" / "int8.jsonl")
    asked = [record for record in found if record["set"] == "holdout"]
    assert [record["id"] for record in asked] == [one["id"] for one in apart]
    assert all(record["logprob_answer"] < 0 for record in asked)
    assert all(record["logprob_wrong"] is None for record in asked)
    assert quantized_sets("oracle/seed_1", ("sf", "other", "holdout")) == ("sf", "holdout")
    assert quantized_sets("finetuned", ("holdout", "sf", "other")) == ("sf", "other", "holdout")
    assert "holdout" not in quantized_sets("finetuned")


def test_the_update_is_quantized_with_the_weights(tmp_path):
    """The codes are those of merged weights; there is no separate adapter."""
    base = tiny_folder(tmp_path / "base", layers=1)
    finetuned(base, tmp_path / "adapter")
    merged, alone = load_merged(base, tmp_path / "adapter"), load_merged(base)
    quantize_model(merged, "int8", unpack=False)
    quantize_model(alone, "int8", unpack=False)
    layers = [model.model.layers[0].mlp.up_proj for model in (merged, alone)]
    codes = [layer.weight.data for layer in layers]
    assert codes[0].dtype == torch.int8
    assert 0.01 < (codes[0] != codes[1]).float().mean().item() < 1
    assert not any("lora" in name for name, _ in merged.named_modules())


@needs_packing
def test_an_unsupported_model_gives_complete_but_empty_outputs(tmp_path, capsys):
    base = tmp_path / "base"
    narrow_model().save_pretrained(base)
    tiny_tokenizer("qwen2").save_pretrained(base)
    out = run_quantize(tmp_path, base, ["base"])
    assert (out / "base" / "nf4.jsonl").read_bytes() == b""
    assert records(out / "base" / "int8.jsonl")
    weights = json.loads((out / "base" / "weights.json").read_text())
    assert set(weights["unsupported"]) == {"nf4", "fp4"}
    assert "48 inputs" in weights["unsupported"]["nf4"]
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if "unsupported" in line and "nf4" in line]


def test_the_library_stays_quiet_about_casts(caplog):
    model, _ = quantized("qwen2", "int8")
    with caplog.at_level(logging.WARNING):
        logits(model)
    assert not caplog.records
