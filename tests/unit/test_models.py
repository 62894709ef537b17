"""Model folders, LoRA adapters and the adapter host, on tiny random models."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from excise.errors import InputError
from excise.modeling.adapters import (
    AdapterHost,
    adapter_norms,
    adapter_tensors,
    attach_lora,
    delta_norms,
    load_adapter,
    load_merged,
    save_adapter,
)
from excise.modeling.base import load_base, load_tokenizer, pick_device, set_determinism
from excise.modeling.settings import LoraSettings
from tiny_models import ARCHITECTURES, linear_layers, lora, tiny_folder, tiny_model

LORA = lora()
IDS = torch.tensor([[65, 66, 67, 68, 69, 70]])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: tiny_folder(root / name, name) for name in ARCHITECTURES}


def logits(model) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS.to(model.device)).logits


def trained_adapter(base: Path, folder: Path, seed: int, settings: LoraSettings = LORA) -> Path:
    """An adapter with a non-zero B."""
    model = attach_lora(load_base(base), settings, seed)
    generator = torch.Generator().manual_seed(seed + 100)
    with torch.no_grad():
        for name, tensor in adapter_tensors(model).items():
            if "lora_B" in name:
                tensor.copy_(0.05 * torch.randn(tensor.shape, generator=generator))
    save_adapter(model, folder)
    return folder


@pytest.fixture(scope="module")
def adapters(folders, tmp_path_factory) -> dict[str, list[Path]]:
    root = tmp_path_factory.mktemp("adapters")
    return {
        name: [trained_adapter(folders[name], root / f"{name}_{seed}", seed) for seed in (0, 1)]
        for name in ARCHITECTURES
    }


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_loaded_base_is_the_saved_model_in_eval_mode(folders, name):
    model = load_base(folders[name])
    assert not model.training
    assert torch.equal(logits(model), logits(tiny_model(name)))


def test_dtype_is_a_name_or_a_torch_dtype(folders):
    assert load_base(folders["qwen2"], "bfloat16").dtype == torch.bfloat16
    with pytest.raises(InputError, match="'int8'; allowed are float32, bfloat16"):
        load_base(folders["qwen2"], "int8")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", "no weights"),
    ],
)
def test_a_model_folder_without_an_essential_file_is_named(folders, tmp_path, missing, message):
    folder = shutil.copytree(folders["qwen2"], tmp_path / "broken")
    (folder / missing).unlink()
    with pytest.raises(InputError, match=f"broken.*{message}"):
        load_base(folder)


def test_truncated_weights_give_one_line(folders, tmp_path):
    folder = shutil.copytree(folders["qwen2"], tmp_path / "broken")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="broken: the weights cannot be loaded"):
        load_base(folder)


def test_incomplete_weights_are_not_replaced_by_random_ones(folders, tmp_path):
    from safetensors.torch import save_file

    folder = shutil.copytree(folders["qwen2"], tmp_path / "broken")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"incomplete: 1 .*model\.layers\.1\.mlp\.up_proj"):
        load_base(folder)


def test_a_model_that_is_no_causal_lm_is_refused(folders, tmp_path):
    folder = shutil.copytree(folders["qwen2"], tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["Qwen2ForSequenceClassification"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="not a causal language model"):
        load_base(folder)


def test_a_missing_folder_is_not_read_as_a_hub_name():
    with pytest.raises(InputError, match=r"Qwen/Qwen2\.5-1\.5B-Instruct: no such model folder"):
        load_base("Qwen/Qwen2.5-1.5B-Instruct")


def test_tokenizer_faults_are_named(folders, tmp_path):
    folder = shutil.copytree(folders["gpt2"], tmp_path / "broken")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        load_tokenizer(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match="no tokenizer"):
        load_tokenizer(folder)


def test_without_a_padding_token_end_of_sequence_pads(folders):
    gpt2, qwen2 = load_tokenizer(folders["gpt2"]), load_tokenizer(folders["qwen2"])
    assert (gpt2.pad_token_id, len(gpt2)) == (gpt2.eos_token_id, 268)
    assert qwen2.pad_token == "<|endoftext|>" != qwen2.eos_token


def test_a_required_gpu_that_is_missing_is_a_mistake():
    if torch.cuda.is_available():
        assert pick_device(gpu=True).type == "cuda"
    else:
        assert pick_device() == torch.device("cpu")
        with pytest.raises(InputError, match="no CUDA device"):
            pick_device(gpu=True)


def test_determinism_sets_seed_and_threads():
    before = torch.are_deterministic_algorithms_enabled()
    set_determinism(7, threads=1)
    first = torch.rand(3)
    set_determinism(7, threads=1)
    assert torch.equal(first, torch.rand(3))
    assert torch.get_num_threads() == 1
    torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_new_adapter_changes_nothing_and_only_it_is_trainable(folders, name):
    base = load_base(folders[name])
    before = logits(base)
    model = attach_lora(base, LORA, seed=0)
    assert torch.equal(logits(model.eval()), before)
    trainable = [key for key, value in model.named_parameters() if value.requires_grad]
    assert trainable and all("lora_" in key for key in trainable)


def test_all_linear_adapts_every_linear_layer_except_the_head(folders):
    model = attach_lora(load_base(folders["llama"]), LORA, seed=0)
    assert model.peft_config["default"].target_modules == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }
    assert len(adapter_tensors(model)) == 2 * 3 * 7
    gpt2 = attach_lora(load_base(folders["gpt2"]), LORA, seed=0)
    assert len(adapter_tensors(gpt2)) == 2 * 3 * 4


def test_initial_weights_depend_only_on_the_seed(folders):
    first = adapter_tensors(attach_lora(load_base(folders["qwen2"]), LORA, seed=3))
    state = torch.get_rng_state()
    torch.manual_seed(99)
    second = adapter_tensors(attach_lora(load_base(folders["qwen2"]), LORA, seed=3))
    other = adapter_tensors(attach_lora(load_base(folders["qwen2"]), LORA, seed=4))
    torch.set_rng_state(state)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_adapter_weights_are_fp32_on_a_bf16_base(folders):
    model = attach_lora(load_base(folders["qwen2"], "bfloat16"), LORA, seed=0)
    assert {tensor.dtype for tensor in adapter_tensors(model).values()} == {torch.float32}


@pytest.mark.parametrize("targets", [["q_proj", "qkv"], "(.*)qkv", ["qkv"], ["lm_head"]])
def test_for_a_target_without_a_match_the_names_are_listed(folders, targets):
    with pytest.raises(InputError, match=r"no linear layer.*down_proj.*q_proj"):
        attach_lora(load_base(folders["qwen2"]), lora(targets=targets), seed=0)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_peft_itself_loads_a_saved_adapter(folders, adapters, name):
    ours = load_adapter(load_base(folders[name]), adapters[name][0])
    base = AutoModelForCausalLM.from_pretrained(folders[name], dtype=torch.float32).eval()
    theirs = PeftModel.from_pretrained(base, adapters[name][0])
    assert torch.equal(logits(ours), logits(theirs))
    assert not torch.equal(logits(ours), logits(load_base(folders[name])))


def test_same_adapter_same_bytes_in_another_process(folders, adapters, tmp_path):
    """Python's string hashes are random per process, so the order of a set differs."""
    program = (
        "import sys, torch; torch.set_num_threads(1); from excise.modeling.adapters import *\n"
        "model = load_adapter(load_base(sys.argv[1]), sys.argv[2])\n"
        "save_adapter(model, sys.argv[3])"
    )
    source = adapters["qwen2"][0]
    subprocess.run(
        [sys.executable, "-c", program, folders["qwen2"], source, tmp_path / "copy"],
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "copy" / name).read_bytes() == (source / name).read_bytes()
    config = json.loads((source / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(config["target_modules"])
    assert config["base_model_name_or_path"] is None


def test_a_saved_adapter_leaves_no_temporary_files(adapters):
    assert sorted(path.name for path in adapters["qwen2"][0].iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_host_computes_each_adapter_and_exactly_the_base_without_one(folders, adapters, name):
    first, second = adapters[name]
    host = AdapterHost(folders[name])
    alone = [logits(load_adapter(load_base(folders[name]), folder)) for folder in (first, second)]
    base = logits(load_base(folders[name]))
    assert torch.equal(logits(host.use(None)), base)
    for folder, expected in [(first, alone[0]), (second, alone[1])] * 2:
        torch.testing.assert_close(logits(host.use(folder)), expected)
        assert torch.equal(logits(host.use(folder)), logits(load_merged(folders[name], folder)))
        assert torch.equal(logits(host.use(None)), base), "restored bit by bit"
    assert not host.model.training
    assert not torch.equal(alone[0], alone[1])


def test_the_host_loads_an_adapter_of_another_rank(folders, adapters, tmp_path):
    own = lora(2, 32, targets=("q_proj", "v_proj"))
    small = trained_adapter(folders["qwen2"], tmp_path / "small", 5, own)
    host = AdapterHost(folders["qwen2"])
    large_logits = logits(host.use(adapters["qwen2"][0]))
    expected = logits(load_adapter(load_base(folders["qwen2"]), small))
    torch.testing.assert_close(logits(host.use(small)), expected)
    assert torch.equal(logits(host.use(adapters["qwen2"][0])), large_logits)


def test_in_16_bits_the_host_keeps_an_adapter_beside_the_weights(folders, adapters):
    """Merged, most of a small update would be rounded away."""
    folder = adapters["qwen2"][0]
    host = AdapterHost(folders["qwen2"], "bfloat16")
    beside = load_adapter(load_base(folders["qwen2"], "bfloat16"), folder)
    assert torch.equal(logits(host.use(folder)), logits(beside))
    assert torch.equal(logits(host.use(None)), logits(load_base(folders["qwen2"], "bfloat16")))


def test_a_loaded_adapter_shares_no_memory_with_the_previous_one(folders, adapters, tmp_path):
    host = AdapterHost(folders["qwen2"])
    host.use(adapters["qwen2"][0])
    save_adapter(host.use(adapters["qwen2"][1]), tmp_path / "again")
    written = (tmp_path / "again" / "adapter_model.safetensors").read_bytes()
    assert written == (adapters["qwen2"][1] / "adapter_model.safetensors").read_bytes()


def test_an_adapter_of_another_model_is_refused(folders, adapters, tmp_path):
    with pytest.raises(InputError, match="does not fit this model"):
        load_adapter(load_base(folders["gpt2"]), adapters["qwen2"][0])
    deeper = tiny_folder(tmp_path / "deeper", "qwen2", layers=4)
    with pytest.raises(InputError, match="does not fit this model"):
        AdapterHost(deeper).use(adapters["qwen2"][0])


def test_a_folder_without_an_adapter_is_named(folders, tmp_path):
    with pytest.raises(InputError, match="not an adapter folder"):
        AdapterHost(folders["qwen2"]).use(tmp_path)


def test_an_adapter_with_nan_weights_loads(folders, adapters, tmp_path):
    model = load_adapter(load_base(folders["qwen2"]), adapters["qwen2"][0])
    for tensor in adapter_tensors(model).values():
        tensor.fill_(float("nan"))
    save_adapter(model, tmp_path / "nan")
    assert logits(AdapterHost(folders["qwen2"]).use(tmp_path / "nan")).isnan().any()


def test_a_trainable_adapter_continues_from_the_saved_one(folders, adapters):
    model = load_adapter(load_base(folders["qwen2"]), adapters["qwen2"][0], trainable=True)
    assert model.training
    model(IDS, labels=IDS).loss.backward()
    gradients = {name: p.grad is not None for name, p in model.named_parameters()}
    assert all(has == ("lora_" in name) for name, has in gradients.items())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_merging_keeps_the_function(folders, adapters, name):
    merged = load_merged(folders[name], adapters[name][0])
    unmerged = load_adapter(load_base(folders[name]), adapters[name][0])
    assert type(merged) is type(load_base(folders[name]))
    torch.testing.assert_close(logits(merged), logits(unmerged), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_delta_norms_are_norms_of_merged_minus_base(folders, adapters, name):
    base, merged = load_base(folders[name]), load_merged(folders[name], adapters[name][0])
    before, after = linear_layers(base), linear_layers(merged)
    delta = sum((after[k].weight - before[k].weight).double().square().sum() for k in before) ** 0.5
    weight = sum(before[key].weight.double().square().sum() for key in before) ** 0.5
    norms = delta_norms(folders[name], adapters[name][0])
    assert norms["delta_norm"] == pytest.approx(delta.item(), rel=1e-4)
    assert norms["weight_norm"] == pytest.approx(weight.item(), rel=1e-9)
    assert norms["relative_delta"] == pytest.approx((delta / weight).item(), rel=1e-4)


def test_no_adapter_and_a_fresh_adapter_have_no_delta(folders):
    assert delta_norms(folders["qwen2"], None)["relative_delta"] == 0.0
    model = attach_lora(load_base(folders["qwen2"]), LORA, seed=0)
    assert adapter_norms(model)["delta_norm"] == 0.0
