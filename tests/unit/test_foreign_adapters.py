"""Adapters that another program made with peft: computed right, or refused in one line."""

import warnings
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from excise.errors import InputError
from excise.modeling.adapters import (
    AdapterHost,
    attach_lora,
    delta_norms,
    load_adapter,
    load_merged,
)
from excise.modeling.base import load_base
from tiny_models import MIXTURES, tiny_folder, tiny_model

IDS = torch.arange(60).reshape(3, 20) + 40
LORA = {"rank": 4, "alpha": 8, "target_modules": "all-linear"}
ATTENTION = ["q_proj", "v_proj"]

RIGHT = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "patterns": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 32}},
    "dora": {"use_dora": True},
    "one_layer": {"layers_to_transform": [1]},
    "regex": {"target_modules": r".*\.(q_proj|up_proj)"},
    "dropout": {"lora_dropout": 0.3},
    "parameters": {"target_parameters": ["mlp.down_proj.weight"]},
    "gaussian": {"init_lora_weights": "gaussian"},
    "embedding": {"target_modules": ["embed_tokens", "q_proj"]},
    "head": {"target_modules": ["lm_head", "q_proj"]},
}
WRONG = {
    "bias_all": ({"bias": "all"}, "bias is 'all'; allowed is 'none'"),
    "bias_lora_only": ({"bias": "lora_only"}, "bias is 'lora_only'; allowed is 'none'"),
    "lora_bias": ({"lora_bias": True}, "lora_bias is True; allowed is False"),
    "modules": ({"modules_to_save": ["lm_head"]}, r"modules_to_save is \['lm_head'\]"),
    "tokens": ({"trainable_token_indices": [3]}, r"trainable_token_indices is \[3\]"),
    "pissa": ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which changes"),
    "olora": ({"init_lora_weights": "olora"}, "init_lora_weights is 'olora', which changes"),
}
TIED = r"tied weights \(lm_head.weight = model.embed_tokens.weight\); merging would change both"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    names = ("llama", "qwen2", "gpt2")  # qwen2 and gpt2 have tied heads
    return {name: tiny_folder(root / name, name, layers=2) for name in names}


def plain(folder: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def foreign(base: Path, folder: Path, **settings) -> Path:
    """An adapter made by peft, with all trainable tensors changed."""
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ATTENTION} | settings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = get_peft_model(plain(base), LoraConfig(task_type="CAUSAL_LM", **settings))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.05 * torch.randn(parameter.shape))
        model.save_pretrained(folder, save_embedding_layers=False)
    return folder


def logprobs(model) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits.log_softmax(-1)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", RIGHT)
def test_an_adapter_only_on_matrices_is_run_merged_and_measured_right(folders, tmp_path, kind):
    base = folders["llama"]
    adapter = foreign(base, tmp_path / kind, **RIGHT[kind])
    own = load_adapter(load_base(base), adapter)
    close(logprobs(own), logprobs(PeftModel.from_pretrained(plain(base), adapter).eval()))
    merged = load_merged(base, adapter)
    close(logprobs(merged), logprobs(own))
    assert (logprobs(own) - logprobs(plain(base))).abs().max() > 0.01

    before = dict(plain(base).named_parameters())
    moved = {name: after for name, after in merged.named_parameters()
             if not torch.equal(after, before[name])}  # fmt: skip
    delta = sum((w - before[name]).double().square().sum().item() for name, w in moved.items())
    weight = sum(before[name].double().square().sum().item() for name in moved)
    norms = delta_norms(base, adapter)
    assert norms["delta_norm"] == pytest.approx(delta**0.5, rel=1e-4)
    assert norms["weight_norm"] == pytest.approx(weight**0.5, rel=1e-9)
    close(
        logprobs(own), logprobs(load_adapter(load_base(base), adapter))
    )  # measuring does not change it

    host = AdapterHost(base)
    host.use(adapter)
    assert torch.equal(logprobs(host.use(None)), logprobs(load_base(base)))


def test_peft_itself_corrects_fan_in_fan_out(folders, tmp_path):
    adapter = foreign(folders["gpt2"], tmp_path, target_modules=["c_attn"], fan_in_fan_out=True)
    own = load_adapter(load_base(folders["gpt2"]), adapter)
    close(logprobs(own), logprobs(load_merged(folders["gpt2"], adapter)))


@pytest.mark.parametrize("kind", WRONG)
def test_an_adapter_on_other_parameters_is_refused_in_one_line(folders, tmp_path, kind):
    settings, message = WRONG[kind]
    adapter = foreign(folders["llama"], tmp_path / kind, **settings)
    with pytest.raises(InputError, match=f"adapter_config.json: {message}"):
        AdapterHost(folders["llama"]).use(adapter)


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_an_adapter_on_tied_weights_is_refused_in_one_line(folders, tmp_path, target):
    adapter = foreign(folders["qwen2"], tmp_path / target, target_modules=[target, "q_proj"])
    with pytest.raises(InputError, match=TIED), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_adapter(load_base(folders["qwen2"]), adapter)
    if target == "embed_tokens":
        assert any("tie_word_embeddings" in str(warning.message) for warning in caught)


@pytest.mark.parametrize("name", ["qwen2", "llama", "gpt2"])
@pytest.mark.parametrize(
    "targets", [".*", r".*(q_proj|c_attn|lm_head)", ["lm_head"], ["wte", "embed_tokens"]]
)
def test_the_head_and_embeddings_are_refused_as_targets(folders, name, targets):
    lora = LORA | {"target_modules": targets}
    with pytest.raises(InputError, match=r"lora\.target_modules: .*(head|embedding|no linear)"):
        attach_lora(load_base(folders[name]), lora, seed=0)


@pytest.mark.parametrize("name", ["qwen2", "llama", "gpt2", *MIXTURES])
def test_our_own_adapters_cause_no_warning_of_peft(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attach_lora(tiny_model(name, layers=1), LORA, seed=0)
