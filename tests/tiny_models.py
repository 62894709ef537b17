"""Tiny random models with real architectures and tokenizers, made on the spot for tests.

Nothing is downloaded. `tiny_folder(folder, "qwen2" | "llama" | "gpt2")` writes a complete model
folder that `AutoTokenizer` and `AutoModelForCausalLM` load.
"""

from pathlib import Path

import torch
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

from excise.matrices import reachable

ARCHITECTURES = ("qwen2", "llama", "gpt2")
MIXTURES = ("mixtral", "qwen2_moe", "qwen3_moe")
"""Mixtures of experts; qwen2_moe also has a shared expert with a gate of its own."""

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
    """The 256 printable stand-ins of byte-level BPE, in byte order."""
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
    """A GPT-2-like tokenizer: one special token, no padding token, a template without any."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocab, merges = byte_level_vocabulary()
    backend = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>")
    tokenizer.chat_template = template
    return tokenizer


def tiny_tokenizer(architecture: str) -> PreTrainedTokenizerBase:
    """The tokenizer that goes with an architecture."""
    makers = {"qwen2": qwen2_tokenizer, "llama": llama_tokenizer, "gpt2": gpt2_tokenizer}
    makers |= dict.fromkeys(MIXTURES, qwen2_tokenizer)
    return makers[architecture]()


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
    with torch.no_grad():  # norms and biases start at 1 and 0: make them count
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def _mixture(architecture: str, settings: dict) -> PreTrainedModel:
    """Four experts, two a token; each expert's matrices are (128, 64) and (64, 64)."""
    if architecture == "mixtral":
        experts = {"intermediate_size": 64, "num_local_experts": 4, "num_experts_per_tok": 2}
        return MixtralForCausalLM(MixtralConfig(**settings | experts))
    experts = {"moe_intermediate_size": 64, "num_experts": 4, "num_experts_per_tok": 2}
    if architecture == "qwen2_moe":
        experts["shared_expert_intermediate_size"] = 128
        return Qwen2MoeForCausalLM(Qwen2MoeConfig(**settings | experts))
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**settings | experts | {"head_dim": 32}))


def linear_layers(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """The linear layers (also GPT-2's Conv1D) by name, without head and gates."""
    return {m.layer: m.owner for m in reachable(model) if m.kind == "linear"}


def tiny_folder(folder: Path, architecture: str = "qwen2", seed: int = 0, layers: int = 3) -> Path:
    """Write a complete model folder (config, safetensors, tokenizer, template); return it."""
    tiny_model(architecture, seed, layers).save_pretrained(folder)
    tiny_tokenizer(architecture).save_pretrained(folder)
    return folder
