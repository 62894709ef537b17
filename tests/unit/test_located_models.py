"""Models of others: evaluated exactly as plain peft and transformers compute them."""

import warnings
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from excise.modeling.located import Shelf, merged_model
from excise.modeling.settings import Location
from excise.workflow.audited_models import check_adapter
from tiny_models import tiny_folder

IDS = torch.arange(60).reshape(3, 20) + 40
TARGETS = ["q_proj", "v_proj"]
HOSTED = {
    "plain": {},
    "rank_and_targets": {"r": 3, "target_modules": ["o_proj", "up_proj", "down_proj"]},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "patterns": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 32}},
}
MERGED = {
    "head_saved": {"modules_to_save": ["lm_head"]},
    "embeddings_saved": {"modules_to_save": ["embed_tokens"]},
    "both_saved": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "norm_saved": {"modules_to_save": ["norm"]},
    "bias": {"bias": "all"},
    "tokens": {"trainable_token_indices": [3, 41, 52]},
    "on_head": {"target_modules": ["lm_head", "q_proj"]},
    "on_embeddings": {"target_modules": ["embed_tokens", "q_proj"]},
    "dora_and_head": {"use_dora": True, "modules_to_save": ["lm_head"]},
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[str, Path]:
    """qwen2 has a tied head, llama has not."""
    root = tmp_path_factory.mktemp("models")
    return {name: tiny_folder(root / name, name, layers=2) for name in ("llama", "qwen2")}


def plain(folder: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def peft_script(base: Path, folder: Path, **settings) -> Path:
    """What a script that knows only peft leaves: an adapter whose every weight was trained."""
    settings = {"r": 4, "lora_alpha": 8, "target_modules": TARGETS} | settings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = get_peft_model(plain(base), LoraConfig(task_type="CAUSAL_LM", **settings))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.05 * torch.randn(parameter.shape))
        model.save_pretrained(folder)
    return folder


def logprobs(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits.log_softmax(-1)


def by_peft(base: Path, adapter: Path) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return logprobs(PeftModel.from_pretrained(plain(base), adapter).eval())


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("kind", [*HOSTED, *MERGED])
def test_an_adapter_of_plain_peft_gives_what_peft_gives(bases, tmp_path, kind, architecture):
    base = bases[architecture]
    adapter = peft_script(base, tmp_path / kind, **(HOSTED | MERGED)[kind])
    check_adapter(adapter, base, "float32", "audit.models[0].adapter")
    expected = by_peft(base, adapter)
    assert (expected - logprobs(plain(base))).abs().max() > 0.01
    place = Location(str(base), str(adapter))
    shelf = Shelf(base, tmp_path, {"audit/theirs": place})
    close(logprobs(shelf.use("audit/theirs")), expected)
    close(logprobs(merged_model(place)), expected)
    close(logprobs(shelf.use("base")), logprobs(plain(base)))
