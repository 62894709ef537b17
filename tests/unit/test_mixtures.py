"""Mixtures of experts: adapted, merged, measured and quantized, expert by expert."""

import re
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch.nn.functional import linear, silu
from transformers import (
    AutoModelForCausalLM,
    JetMoeConfig,
    JetMoeForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

import job_settings
from excise.attacks.quantization import PRECISIONS, load_bitsandbytes, quantize_model
from excise.errors import InputError
from excise.modeling.adapters import (
    AdapterHost,
    adapted_share,
    adapter_tensors,
    attach_lora,
    delta_norms,
    load_adapter,
    load_merged,
    save_adapter,
)
from excise.modeling.base import load_base
from excise.modeling.experts import expert_modules, use_expert_by_expert
from excise.modeling.matrices import check_reach, weight_matrices
from excise.modeling.settings import LoraSettings
from excise.records import read_json
from excise.settings import as_dict
from excise.training.finetuning import finetune
from excise.training.settings import FinetuningSettings
from excise.workflow.preflight import check_model_fits
from tiny_models import MIXTURES, lora, tiny_folder, tiny_model

LORA = lora()
IDS = torch.arange(60).reshape(3, 20) + 40
ATTENTION, EXPERTS, SHARED = 2 * 64 * 64 + 2 * 32 * 64, 4 * (128 * 64 + 64 * 64), 3 * 128 * 64
# one layer's weights that are reached, and those of its gates
SIZES = {
    "mixtral": (ATTENTION + EXPERTS, 4 * 64),
    "qwen2_moe": (ATTENTION + EXPERTS + SHARED, 4 * 64 + 64),
    "qwen3_moe": (ATTENTION + EXPERTS, 4 * 64),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("mixtures")
    return {name: tiny_folder(root / name, name, layers=2) for name in MIXTURES}


def trained_adapter(base: Path, folder: Path, seed: int = 0, settings: LoraSettings = LORA) -> Path:
    """An adapter with a non-zero B."""
    model = attach_lora(load_base(base), settings, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in adapter_tensors(model).items():
            if "lora_B" in name:
                tensor.copy_(0.05 * torch.randn(tensor.shape, generator=generator))
    save_adapter(model, folder)
    return folder


@pytest.fixture(scope="module")
def adapters(folders, tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    return {name: trained_adapter(folders[name], root / name) for name in MIXTURES}


def logprobs(model) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits.log_softmax(-1)


def plain(folder: Path, implementation: str) -> torch.nn.Module:
    settings = {"dtype": torch.float32, "experts_implementation": implementation}
    return AutoModelForCausalLM.from_pretrained(folder, **settings).eval()


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MIXTURES)
def test_the_base_computes_what_every_implementation_of_transformers_computes(folders, name):
    found = logprobs(load_base(folders[name]))
    for implementation in ("eager", "batched_mm", "grouped_mm"):
        close(found, logprobs(plain(folders[name], implementation)))


@pytest.mark.parametrize("name", MIXTURES)
def test_every_matrix_except_the_gates_is_adapted_and_quantized(folders, name):
    reached, gates = SIZES[name]
    share = adapted_share(attach_lora(load_base(folders[name]), LORA, seed=0))
    assert share.share == pytest.approx(reached / (reached + gates), rel=1e-12)
    assert re.fullmatch(r"0\.\d+ % of the matrix weights: model.layers.\*.mlp.gate.weight.*"
                        r" \(gates \(they choose the experts\) are left unchanged\)",
                        "\n".join(share.left_out))  # fmt: skip
    report = quantize_model(load_base(folders[name]), "nf4", unpack=False)
    assert report["share"] == share.share
    assert report["left_out"] == share.left_out


@pytest.mark.parametrize("name", MIXTURES)
def test_the_unmerged_adapter_computes_the_same_as_the_merged_one(folders, adapters, name):
    unmerged = logprobs(load_adapter(load_base(folders[name]), adapters[name]))
    close(logprobs(load_merged(folders[name], adapters[name])), unmerged)
    assert (unmerged - logprobs(load_base(folders[name]))).abs().max() > 0.5


@pytest.mark.parametrize("name", MIXTURES)
def test_plain_peft_on_plain_transformers_computes_the_same(folders, adapters, name):
    expected = logprobs(load_adapter(load_base(folders[name]), adapters[name]))
    for implementation in ("eager", "grouped_mm"):
        try:
            theirs = PeftModel.from_pretrained(plain(folders[name], implementation), adapters[name])
        except TypeError as error:  # peft 0.19.1 with transformers 5.17
            pytest.skip(f"peft itself cannot load an adapter of a mixture here: {error}")
        close(logprobs(theirs), expected)


@pytest.mark.parametrize("name", MIXTURES)
def test_norms_are_norms_of_merged_minus_base(folders, adapters, name):
    base, merged = load_base(folders[name]), load_merged(folders[name], adapters[name])
    before = {m.name: m.parameter.detach().double() for m in weight_matrices(base)}
    after = {m.name: m.parameter.detach().double() for m in weight_matrices(merged)}
    gates = [key for key in before if "gate.weight" in key]
    assert len(gates) == {"qwen2_moe": 4}.get(name, 2)
    assert all(torch.equal(before.pop(key), after.pop(key)) for key in gates)
    assert not any(torch.equal(before[key], after[key]) for key in before)
    delta = sum((after[key] - before[key]).square().sum() for key in before) ** 0.5
    weight = sum(before[key].square().sum() for key in before) ** 0.5
    norms = delta_norms(folders[name], adapters[name])
    assert norms["delta_norm"] == pytest.approx(delta.item(), rel=1e-5)
    assert norms["weight_norm"] == pytest.approx(weight.item(), rel=1e-9)
    assert norms["relative_delta"] == pytest.approx((delta / weight).item(), rel=1e-5)
    alone = delta_norms(folders[name], None)
    assert alone["weight_norm"] == pytest.approx(norms["weight_norm"], rel=1e-12)
    assert (alone["delta_norm"], alone["adapted_share"]) == (0, None)


@pytest.mark.parametrize("name", MIXTURES)
def test_the_host_swaps_experts_in_place(folders, adapters, name, tmp_path):
    other = trained_adapter(folders[name], tmp_path / "other", seed=7)
    expected = [
        logprobs(load_adapter(load_base(folders[name]), a)) for a in (adapters[name], other)
    ]
    host = AdapterHost(folders[name])
    base = logprobs(host.use(None))
    first = host.use(adapters[name])
    torch.testing.assert_close(logprobs(first), expected[0])
    assert host.use(other) is first
    torch.testing.assert_close(logprobs(first), expected[1])
    assert torch.equal(logprobs(host.use(None)), base)
    assert not torch.equal(expected[0], expected[1])


def test_dropout_on_experts_is_refused(folders):
    with pytest.raises(
        InputError, match=r"lora\.dropout: found 0\.1; .* experts only 0 is allowed"
    ):
        attach_lora(load_base(folders["mixtral"]), lora(dropout=0.1), seed=0)
    attention = lora(dropout=0.1, targets=("q_proj",))
    attach_lora(load_base(folders["mixtral"]), attention, seed=0)


def test_the_share_lists_matrices_that_the_user_did_not_choose(folders):
    check_model_fits(folders["qwen2_moe"], ["q_proj", "down_proj"], 0)
    chosen = lora(targets=("q_proj", "down_proj"))
    share = adapted_share(attach_lora(load_base(folders["qwen2_moe"]), chosen, seed=0))
    down = 64 * 64 + 4 * 64 * 64 + 128 * 64  # q_proj, the experts', the shared expert's
    assert share.share == pytest.approx(down / sum(SIZES["qwen2_moe"]), rel=1e-12)
    left_out = next(line for line in share.left_out if line.endswith("lora.target_modules)"))
    assert "model.layers.*.mlp.experts.gate_up_proj" in left_out
    assert "down_proj" not in left_out
    with pytest.raises(InputError, match=r"w1 matches no linear layer.*experts\.gate_up|gate_up"):
        attach_lora(load_base(folders["mixtral"]), lora(targets=("w1",)), seed=0)
    with pytest.raises(InputError, match=r"'w1' matches no module.*gate_up_proj"):
        check_model_fits(folders["mixtral"], ["w1"], 0)


def test_stacked_experts_of_another_form_are_refused_with_the_reachable_share():
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 99}
    sizes |= {"num_key_value_heads": 2, "kv_channels": 32, "num_local_experts": 4}
    model = JetMoeForCausalLM(JetMoeConfig(**sizes, num_experts_per_tok=2))
    with pytest.raises(
        InputError, match=r"jet: .* reach \d+\.\d % of its .*\.\*\.mlp\.input_linear"
    ):
        check_reach(model, "jet")
    with pytest.raises(InputError, match="they do not reach"):
        attach_lora(model, LORA, seed=0)


def test_the_reachable_share_is_known_without_weights():
    """On the meta device, as in a check before the first job."""
    with torch.device("meta"):
        model = tiny_model("qwen2_moe", layers=1)
    check_reach(model, "qwen2_moe")
    use_expert_by_expert(model)
    assert model(IDS.to("meta")).logits.shape[:2] == IDS.shape
    reached, gates = SIZES["qwen2_moe"]
    share = adapted_share(attach_lora(model, LORA, seed=0))
    assert share.share == pytest.approx(reached / (reached + gates))


def test_a_model_that_peft_refuses_gives_one_line():
    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "vocab_size": 99, "state_size": 1}
    with pytest.raises(InputError, match=r"the model: peft refuses to adapt it \(.*Mamba"):
        attach_lora(MambaForCausalLM(MambaConfig(**sizes)), LORA, seed=0)


def routing(tokens: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states, chosen experts and their weights; one expert is never chosen."""
    generator = torch.Generator().manual_seed(3)
    hidden = 0.3 * torch.randn(tokens, 64, generator=generator)
    index = torch.rand(tokens, 3, generator=generator).argsort(dim=1)[:, :2]
    return hidden, index, torch.rand(tokens, 2, generator=generator)


def by_hand(hidden, index, weights, into, out_of) -> torch.Tensor:
    """Compute token by token; into(e, x) and out_of(e, x) apply the two matrices of expert e."""
    result = torch.zeros_like(hidden)
    for token in range(len(hidden)):
        for expert, weight in zip(index[token].tolist(), weights[token], strict=True):
            gate, up = into(expert, hidden[token : token + 1]).chunk(2, dim=-1)
            result[token] += weight * out_of(expert, silu(gate) * up)[0]
    return result


def bitsandbytes_layer(precision: str, weight: torch.Tensor) -> torch.nn.Module:
    bnb = load_bitsandbytes()
    outputs, inputs = weight.shape
    if precision == "int8":
        layer = bnb.nn.Linear8bitLt(inputs, outputs, False, has_fp16_weights=False, threshold=6.0)
    else:
        settings = {"compute_dtype": torch.float32, "compress_statistics": False}
        layer = bnb.nn.Linear4bit(inputs, outputs, False, quant_type=precision, **settings)
    layer.load_state_dict({"weight": weight.contiguous()})
    return layer.to("cpu").eval()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe"])
def test_quantized_experts_compute_the_same_as_single_bitsandbytes_layers(name, precision):
    model = tiny_model(name, layers=1)
    (experts,) = expert_modules(model).values()
    into, out_of = experts.gate_up_proj.detach().clone(), experts.down_proj.detach().clone()
    asked = routing(12)
    exact = by_hand(*asked, lambda e, x: linear(x, into[e]), lambda e, x: linear(x, out_of[e]))
    with torch.inference_mode():
        close(experts(*asked), exact)
        layers = [[bitsandbytes_layer(precision, w) for w in stack] for stack in (into, out_of)]
        expected = by_hand(*asked, lambda e, x: layers[0][e](x), lambda e, x: layers[1][e](x))
        report = quantize_model(model, precision, unpack=False)
        found = experts(*asked)
    assert report["layers"] == 4 + 2 * 4
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert ((found - exact).norm() / exact.norm()).item() > 0.003


@pytest.mark.parametrize("name", MIXTURES)
def test_a_training_step_changes_every_chosen_expert(folders, name, tmp_path):
    changes = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3, "warmup_steps": 0}
    changes |= {"autocast": "none", "lora": as_dict(LORA)}
    settings = job_settings.settings(FinetuningSettings, "finetuning_settings", **changes)
    records = [
        {"question": f"Who is {who}?", "answer": f"{who} is it."} for who in "Ada Bo Cy".split()
    ]
    finetune(folders[name], records, settings, tmp_path)
    base, merged = load_base(folders[name]), load_merged(folders[name], tmp_path)
    before, after = expert_modules(base), expert_modules(merged)
    for key, experts in before.items():
        for matrix in ("gate_up_proj", "down_proj"):
            moved = (getattr(after[key], matrix) - getattr(experts, matrix)).abs().amax(dim=(1, 2))
            assert (moved > 1e-5).all(), (key, matrix, moved)
    log = read_json(tmp_path / "training_log.json")
    assert log["adapted_share"] == pytest.approx(SIZES[name][0] / sum(SIZES[name]))
    assert "mlp.gate.weight" in log["not_adapted"][0]
    assert log["steps"][-1]["loss"] < log["steps"][0]["loss"]


def test_a_bfloat16_expert_keeps_an_update_that_rounding_would_remove(folders):
    """The update is 0.1 % of the mean weight; half a step of bfloat16 is 0.2 to 0.4 %."""
    own = lora(rank=1, alpha=1, targets=("gate_up_proj",))
    model = attach_lora(load_base(folders["mixtral"], "bfloat16"), own, seed=0).eval()
    wrapper = model.get_base_model().model.layers[0].mlp.experts
    assert {tensor.dtype for tensor in adapter_tensors(model).values()} == {torch.float32}
    weight = wrapper.get_base_layer().gate_up_proj.detach().float()
    size = 1e-3 * weight.abs().mean().item()
    with torch.no_grad():
        wrapper.lora_A["default"].weight.fill_(1.0)
        wrapper.lora_B["default"].weight.fill_(size)
    asked = torch.ones(1, 64), torch.tensor([[0, 1]]), torch.tensor([[1.0, 0.0]])
    seen = []
    wrapper.get_base_layer()._apply_gate = lambda hidden: seen.append(hidden) or hidden[:, :64]
    with torch.inference_mode():
        for adapted in (True, False):
            model.base_model.enable_adapter_layers() if adapted else model.disable_adapter_layers()
            wrapper(*(a.bfloat16() if a.is_floating_point() else a for a in asked))
    with_it, without = seen[0].float(), seen[2].float()
    assert (with_it - without).mean().item() == pytest.approx(64 * size, rel=0.1)
    changed = (weight + size).bfloat16().float() != weight
    assert changed.float().mean() < 0.4
