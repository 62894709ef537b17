"""Tiny random models with real architectures and tokenizers, created for tests.

Nothing is downloaded. `tiny_folder(folder, "qwen2" | "llama" | "gpt2")` writes a complete model
folder that `AutoTokenizer` and `AutoModelForCausalLM` load; `matrix_folder` one of `MATRIX`.
"""

from pathlib import Path

import torch
import transformers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    Qwen2Tokenizer,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from excise.modeling.matrices import reachable

ARCHITECTURES = ("qwen2", "llama", "gpt2")
WINDOW = 16
"""Window of a layer with sliding attention, shorter than any prompt."""
POSITIONS = 512

_ROPE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": POSITIONS,
}
_SLIDING = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
_GPT2 = {"n_embd": 64, "n_head": 2, "n_positions": POSITIONS}
_GPT2 |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
_BLOOM = {"hidden_size": 64, "n_head": 2, "num_attention_heads": 2}
_EXPERTS = {"num_experts_per_tok": 2}

# Name → config class of transformers and its arguments. Each model has two layers.
MATRIX: dict[str, tuple[str, dict]] = {
    "llama": ("LlamaConfig", _ROPE | {"tie_word_embeddings": False}),
    "llama_tied": ("LlamaConfig", _ROPE | {"tie_word_embeddings": True}),
    "qwen2_window": (
        "Qwen2Config",
        _ROPE | {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    ),
    "gpt2": ("GPT2Config", _GPT2),
    "gpt_neox": ("GPTNeoXConfig", {k: v for k, v in _ROPE.items() if "key_value" not in k}),
    "gemma2": ("Gemma2Config", _ROPE | _SLIDING | {"head_dim": 32, "query_pre_attn_scalar": 32}),
    "gemma3": ("Gemma3TextConfig", _ROPE | _SLIDING | {"head_dim": 32}),
    "phi3": ("Phi3Config", _ROPE | {"sliding_window": WINDOW}),
    "mistral": ("MistralConfig", _ROPE | {"sliding_window": WINDOW, "head_dim": 32}),
    "olmo2": ("Olmo2Config", _ROPE),
    "falcon": ("FalconConfig", _BLOOM | {"alibi": False, "max_position_embeddings": POSITIONS}),
    "bloom": ("BloomConfig", _BLOOM),
    "opt": (
        "OPTConfig",
        {"hidden_size": 64, "ffn_dim": 128, "num_attention_heads": 2, "word_embed_proj_dim": 64}
        | {"max_position_embeddings": POSITIONS, "dropout": 0.0},
    ),
    "mixtral": ("MixtralConfig", _ROPE | _EXPERTS | {"num_local_experts": 4}),
    "qwen3_moe": (
        "Qwen3MoeConfig",
        _ROPE | _EXPERTS | {"num_experts": 4, "moe_intermediate_size": 64, "head_dim": 32},
    ),
    "mamba": ("MambaConfig", {"hidden_size": 64, "state_size": 8}),
}
MIXTURES = ("mixtral", "qwen2_moe", "qwen3_moe")
"""Mixtures of experts; qwen2_moe also has a shared expert with its own gate."""

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

LLAMA3 = (
    "{{ bos_token }}"
    "{% if not date_string is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}"
    "{% endif %}"
    "{{ '<|start_header_id|>system<|end_header_id|>\n\n' }}"
    "{{ 'Today Date: ' + date_string + '<|eot_id|>' }}"
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{{ message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    "{% endif %}"
)

PLAIN = (
    "{% for message in messages %}"
    "{{ message['role'] + ': ' + message['content'] + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)

MERGES = [
    ("i", "s"),
    ("a", "s"),
    ("e", "r"),
    ("i", "n"),
    ("Ġ", "t"),
    ("Ġt", "h"),
    ("Ġth", "e"),
    ("as", "s"),
    ("u", "s"),
    ("us", "er"),
    ("Ċ", "Ċ"),
]


def byte_alphabet() -> list[str]:
    """The 256 printable characters of byte-level BPE, in byte order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    stand_in = {byte: chr(byte) for byte in printable}
    spare = (chr(256 + index) for index in range(256))
    return [stand_in[byte] if byte in stand_in else next(spare) for byte in range(256)]


def byte_level_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary (id = byte value, then the merges) and merges of a byte-level BPE."""
    tokens = byte_alphabet() + ["".join(merge) for merge in MERGES]
    return {token: index for index, token in enumerate(tokens)}, MERGES


def qwen2_tokenizer(template: str = CHATML) -> Qwen2Tokenizer:
    """Qwen2's tokenizer class and pre-tokenizer; `<|endoftext|>` pads, `<|im_end|>` ends."""
    vocab, merges = byte_level_vocabulary()
    tokenizer = Qwen2Tokenizer(
        vocab=vocab,
        merges=merges,
        unk_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = template
    return tokenizer


def llama_tokenizer(template: str = LLAMA3) -> PreTrainedTokenizerFast:
    """A Llama-3-like tokenizer: begin-of-text, end-of-turn, and no padding token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocab, merges = byte_level_vocabulary()
    backend = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        additional_special_tokens=["<|start_header_id|>", "<|end_header_id|>"],
    )
    tokenizer.chat_template = template
    return tokenizer


def gpt2_tokenizer(template: str = PLAIN) -> PreTrainedTokenizerFast:
    """A GPT-2-like tokenizer: one special token, no padding token, template without it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocab, merges = byte_level_vocabulary()
    backend = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>")
    tokenizer.chat_template = template
    return tokenizer


def tiny_tokenizer(architecture: str) -> PreTrainedTokenizerBase:
    """The tokenizer of an architecture; most use that of `llama`."""
    makers = {"qwen2": qwen2_tokenizer, "qwen2_window": qwen2_tokenizer, "gpt2": gpt2_tokenizer}
    makers |= dict.fromkeys(MIXTURES, qwen2_tokenizer)
    return makers.get(architecture, llama_tokenizer)()


def tiny_model(architecture: str, seed: int = 0, layers: int = 3) -> PreTrainedModel:
    """A random fp32 model, hidden size 64, 2 heads, whose layer sizes bitsandbytes accepts.

    The random weights are larger than usual, so that attention and answers differ visibly
    from token to token.
    """
    tokenizer = tiny_tokenizer(architecture)
    torch.manual_seed(seed)
    shared = {
        "vocab_size": len(tokenizer),
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "initializer_range": 0.15,
    }
    rope = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 512,
    }
    if architecture == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**shared, **rope, tie_word_embeddings=True))
    elif architecture == "llama":
        model = LlamaForCausalLM(LlamaConfig(**shared, **rope, tie_word_embeddings=False))
    elif architecture in MIXTURES:
        model = _mixture(architecture, shared | rope)
    else:
        size = {"n_embd": 64, "n_layer": layers, "n_head": 2, "n_positions": 512}
        model = GPT2LMHeadModel(GPT2Config(**shared, **size))
    _make_norms_count(model)
    return model.eval()


def matrix_model(name: str, seed: int = 0, **changes) -> PreTrainedModel:
    """A random fp32 model of `MATRIX`, two layers, hidden size 64; `changes` go to its config."""
    tokenizer = tiny_tokenizer(name)
    class_name, settings = MATRIX[name]
    settings = {
        "vocab_size": len(tokenizer),
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "num_hidden_layers": 2,
        "initializer_range": 0.15,
    } | settings
    config = getattr(transformers, class_name)(**settings | changes)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    _make_norms_count(model)
    return model.eval()


def _make_norms_count(model: PreTrainedModel) -> None:
    """Norms and biases start at 1 and 0."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))


def matrix_folder(folder: Path, name: str) -> Path:
    """Write the complete folder of a model of `MATRIX`; return it."""
    matrix_model(name).save_pretrained(folder)
    tiny_tokenizer(name).save_pretrained(folder)
    return folder


def _mixture(architecture: str, settings: dict) -> PreTrainedModel:
    """Four experts, two per token; each expert has matrices (128, 64) and (64, 64)."""
    if architecture == "mixtral":
        experts = {"intermediate_size": 64, "num_local_experts": 4, "num_experts_per_tok": 2}
        return MixtralForCausalLM(MixtralConfig(**settings | experts))
    experts = {"moe_intermediate_size": 64, "num_experts": 4, "num_experts_per_tok": 2}
    if architecture == "qwen2_moe":
        experts["shared_expert_intermediate_size"] = 128
        return Qwen2MoeForCausalLM(Qwen2MoeConfig(**settings | experts))
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**settings | experts | {"head_dim": 32}))


def linear_layers(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Linear layers (also GPT-2's Conv1D) by name, without head and gates."""
    return {m.layer: m.owner for m in reachable(model) if m.kind == "linear"}


def tiny_folder(folder: Path, architecture: str = "qwen2", seed: int = 0, layers: int = 3) -> Path:
    """Write a complete model folder (config, safetensors, tokenizer, template); return it."""
    tiny_model(architecture, seed, layers).save_pretrained(folder)
    tiny_tokenizer(architecture).save_pretrained(folder)
    return folder
