"""Write a tiny Llama as a GGUF file and as a wheel, as llama.cpp's converter lays it out."""

import hashlib
import json
import zipfile
from pathlib import Path

import gguf
import numpy as np
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write_gguf(
    path: Path,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    *,
    own_output: bool = True,
    architecture: str = "llama",
) -> str:
    """Write the file in float32; returns its SHA-256.

    Args:
        path: the file.
        model: a Llama.
        tokenizer: its byte-level BPE.
        own_output: whether the file holds the output matrix.
        architecture: what the file says that it is.
    """
    config = model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("Tiny Llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, tokenizer)
    weights = {name: tensor.float().numpy() for name, tensor in model.state_dict().items()}
    for name, tensor in weights.items():
        if name == "model.embed_tokens.weight":
            writer.add_tensor("token_embd.weight", tensor)
        elif name == "model.norm.weight":
            writer.add_tensor("output_norm.weight", tensor)
        elif name == "lm_head.weight":
            if own_output:
                writer.add_tensor("output.weight", tensor)
        else:
            _, _, block, part = name.removesuffix(".weight").split(".", 3)
            heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
            heads = heads.get(part.rpartition(".")[2])
            laid_out = tensor if heads is None else interleaved(tensor, heads)
            writer.add_tensor(f"blk.{block}.{NAMES[part]}.weight", np.ascontiguousarray(laid_out))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head in the order 0, d/2, 1, d/2 + 1, …: GGUF rotates neighbouring rows."""
    size = len(weight) // heads
    by_head = weight.reshape(heads, 2, size // 2, -1)
    return by_head.swapaxes(1, 2).reshape(weight.shape)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerBase) -> None:
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    special = set(tokenizer.all_special_tokens)
    kinds = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([one for one, _ in vocabulary])
    writer.add_token_types([kinds[one in special] for one, _ in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in _merges(tokenizer)])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_chat_template(tokenizer.chat_template)


def _merges(tokenizer: PreTrainedTokenizerBase) -> list[list[str]]:
    return json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]


def write_wheel(folder: Path, name: str, files: dict[str, Path]) -> None:
    """Write a wheel of version 1.0 that holds files; its code raises if anybody imports it."""
    information = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", "raise RuntimeError('imported')\n")
        for inside, path in files.items():
            wheel.write(path, f"{name}/{inside}")
        wheel.writestr(f"{information}/METADATA", metadata)
        tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{information}/WHEEL", tag)
        wheel.writestr(f"{information}/RECORD", "")
