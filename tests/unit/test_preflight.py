"""Checks before any job starts."""

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from excise.errors import InputError
from excise.modeling.base import load_base
from excise.workflow.preflight import (
    check_model_fits,
    check_model_folder,
    check_writable,
    model_files,
)

LIBRARY = Path(__file__).parents[2] / "workflow_scripts"


@pytest.fixture
def model(tmp_path) -> Path:
    """A folder with all files of a model, with valid names and headers."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"num_hidden_layers": 6}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    write_weights(folder / "model.safetensors", "model.layers.0.self_attn.q_proj.weight")
    return folder


def write_weights(path: Path, *names: str) -> None:
    """A safetensors file with tensors of four bytes each."""
    tensors = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * index, 4 * index + 4]}
        for index, name in enumerate(names)
    }
    header = json.dumps(tensors | {"__metadata__": {"format": "pt"}}).encode()
    numbers = bytes(4 * len(names))
    path.write_bytes(struct.pack("<Q", len(header)) + header + numbers)


def header(model: Path, tensors: dict) -> None:
    """Write the header of the model's weight file."""
    empty = {name: tensor | {"data_offsets": [0, 0]} for name, tensor in tensors.items()}
    encoded = json.dumps(empty).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(encoded)) + encoded)


def test_a_complete_model_passes(model):
    check_model_folder(model, "model.path")
    check_model_fits(model, "all-linear", 6)
    check_model_fits(model, ["q_proj"], 0)


@pytest.mark.parametrize(
    "missing, reason",
    [
        ("config.json", "no config.json"),
        ("tokenizer.json", "no tokenizer; needed is one of tokenizer.json"),
        ("tokenizer_config.json", "no chat template; needed is chat_template.jinja"),
        ("model.safetensors", r"no weights; needed is \*.safetensors"),
    ],
)
def test_a_missing_file_is_named_with_its_key(model, missing, reason):
    (model / missing).unlink()
    with pytest.raises(InputError, match=f"^model.path: {model}: {reason}"):
        check_model_folder(model, "model.path")


def test_a_template_in_a_separate_file_passes(model):
    (model / "tokenizer_config.json").write_text("{}")
    (model / "chat_template.jinja").write_text("{{ messages }}")
    check_model_folder(model, "model.path")


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        check_model_folder(tmp_path / "nowhere", "model.path")


def test_for_lora_targets_without_a_match_the_modules_are_listed(model):
    with pytest.raises(InputError, match=r"lora.target_modules: 'query' .* modules are q_proj"):
        check_model_fits(model, ["q_proj", "query"], 0)


def test_weights_in_another_format_are_refused(model):
    (model / "model.safetensors").write_bytes(b"version https://git-lfs")
    with pytest.raises(InputError, match="not a safetensors file"):
        check_model_fits(model, ["q_proj"], 0)


def test_incomplete_weights_are_refused(model):
    path = model / "model.safetensors"
    whole = path.read_bytes()
    for content, reason in (
        (whole[:-1], rf"{len(whole) - 1:,} bytes found, but its header says {len(whole):,};"),
        (whole + b"x", f"but its header says {len(whole):,}; download or copy it again"),
        (whole[:20], "not a safetensors file, or a truncated one"),
        (b"version https://git-lfs", "not a safetensors file"),
        (b"", "not a safetensors file"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"^model.path: {path}: {reason}|{reason}"):
            check_model_folder(model, "model.path")


def test_every_weight_file_of_the_index_exists_and_has_its_tensors(model):
    (model / "model.safetensors").unlink()
    shards = {"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    write_weights(model / "one.safetensors", "a")
    with pytest.raises(InputError, match=r"1 of the 2 weight files .* missing, such as two.safe"):
        check_model_folder(model, "model.path")
    write_weights(model / "two.safetensors", "b")
    with pytest.raises(InputError, match=r"two.safetensors: 1 tensors .* are missing, such as c"):
        check_model_folder(model, "model.path")
    write_weights(model / "two.safetensors", "b", "c")
    check_model_folder(model, "model.path")


@pytest.mark.parametrize(
    "settings, reason",
    [
        ({"architectures": ["BertModel"]}, r"not a causal language model \(BertModel\)"),
        ({"architectures": ["Gemma3ForConditionalGeneration"]}, "not a causal language model"),
        (
            {"architectures": ["Phi4ForCausalLM"], "vision_config": {"hidden_size": 8}},
            r"a multimodal model \(Phi4ForCausalLM, vision_config\)",
        ),
    ],
)
def test_other_architectures_are_refused(model, settings, reason):
    (model / "config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match=f"^model.path: {model}: {reason}"):
        check_model_folder(model, "model.path")


def test_lora_targets_on_the_head_or_an_embedding_are_refused(model):
    tensors = {
        "model.embed_tokens.weight": {"dtype": "F32", "shape": [99, 64]},
        "model.layers.0.self_attn.q_proj.weight": {"dtype": "F32", "shape": [64, 64]},
    }
    header(model, tensors)
    (model / "config.json").write_text(json.dumps({"vocab_size": 99}))
    for target in ("embed_tokens", "lm_head"):
        with pytest.raises(InputError, match=f"'{target}' is an embedding or the output head of .*"
                                             "; its modules are q_proj$"):  # fmt: skip
            check_model_fits(model, ["q_proj", target], 0)
    check_model_fits(model, ["q_proj"], 0)


QUANTIZED = {
    "gptq": {"quantization_config": {"quant_method": "gptq", "bits": 4}},
    "awq": {"quantization_config": {"quant_method": "awq"}},
    "bitsandbytes": {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
    "fp8": {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
    "mxfp4": {"text_config": {"quantization_config": {"quant_method": "mxfp4"}}},
    "compressed-tensors": {"compression_config": {"quant_method": "compressed-tensors"}},
}


@pytest.mark.parametrize("method", QUANTIZED)
def test_a_base_with_a_quantization_config_is_refused(model, method):
    (model / "config.json").write_text(json.dumps({"num_hidden_layers": 6} | QUANTIZED[method]))
    line = rf"^model.path: {model}: config.json has \w+ \({method}\): the weights are quantized; "
    with pytest.raises(InputError, match=line + "use weights in float32, bfloat16 or"):
        check_model_folder(model, "model.path")
    with pytest.raises(InputError, match="the weights are quantized"):
        load_base(model)  # a program run by hand


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("model.layers.0.mlp.up_proj.weight", "F8_E4M3"),
        ("model.layers.0.mlp.up_proj.weight", "U8"),
        ("model.layers.0.mlp.up_proj.weight", "I8"),
        ("model.layers.0.mlp.up_proj.qweight", "I32"),
        ("model.layers.0.mlp.up_proj.weight_packed", "I32"),
        ("model.layers.0.mlp.experts.gate_up_proj_blocks", "U8"),
    ],
)
def test_packed_weights_are_found_in_the_headers(model, name, dtype):
    header(model, {name: {"dtype": dtype, "shape": [64, 64]}})
    with pytest.raises(InputError, match=f"model.safetensors: {name} is {dtype}: the weights are"):
        check_model_folder(model, "model.path")
    with pytest.raises(InputError, match=f"{name} is {dtype}"):
        load_base(model)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("transformer.h.0.attn.bias", "U8"),
        ("gpt_neox.layers.0.attention.bias", "BOOL"),
        ("model.embeddings.position_ids", "I64"),
        ("model.layers.0.mlp.up_proj.weight", "F64"),
        ("model.layers.0.mlp.up_proj.weight", "BF16"),
        ("model.layers.0.mlp.tokens_per_expert", "I32"),
    ],
)
def test_masks_and_plain_numbers_do_not_count_as_packed_weights(model, name, dtype):
    header(model, {name: {"dtype": dtype, "shape": [64, 64]}})
    (model / "config.json").write_text(json.dumps({"quantization_config": None}))
    check_model_folder(model, "model.path")


def test_for_a_middle_layer_beyond_the_last_the_allowed_ones_are_given(model):
    with pytest.raises(InputError, match=r"middle_layer: found 7; allowed: 0 to 6"):
        check_model_fits(model, "all-linear", 7)


def test_only_model_files_count_as_files_of_a_model(model):
    for name in (".gitattributes", ".hidden.json", "README.md", "training.bin", "manifest.json"):
        (model / name).touch()
    shutil.copytree(model, model / "onnx")
    names = [Path(path).name for path in model_files(model)]
    assert names == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_a_folder_that_does_not_exist_yet_can_be_written(tmp_path):
    check_writable(tmp_path / "a" / "b", "pathvars.results")
    assert not (tmp_path / "a").exists()


def test_a_file_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "results").touch()
    with pytest.raises(InputError, match=r"pathvars.results: .* is a file; a folder is needed"):
        check_writable(tmp_path / "results" / "models", "pathvars.results")


def test_no_write_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(InputError, match="no write permission"):
        check_writable(tmp_path / "results", "pathvars.results")


def test_imports_of_the_rules_load_no_torch():
    modules = "excise.config.check, excise.workflow.imports, excise.workflow.preflight"
    code = f"import {modules}, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=LIBRARY, check=True)
