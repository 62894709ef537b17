"""Checks before any job starts: folders are writable, and the base model is complete.

The model folder is checked by file names and headers, without loading it. So a missing tokenizer is
found in a second, not by a job on a GPU node an hour later.
"""

import os
import re
from pathlib import Path

from excise.errors import InputError
from excise.modeling.config_file import number_of_blocks
from excise.modeling.packed_weights import quantized_already, tensor_headers
from excise.modeling.weight_files import check_weight_files
from excise.records import read_json

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
CAUSAL = ("ForCausalLM", "LMHeadModel")
FILE_SUFFIXES = {".json", ".safetensors", ".jinja", ".txt", ".model"}
STACKED_EXPERTS = re.compile(r"\.experts\.(\d+\.|gate_up_proj|up_proj|down_proj)")


def check_writable(folder: str | Path, key: str) -> None:
    """Check that files can be written into a folder that may not exist yet.

    Args:
        folder: the folder.
        key: the config key of the folder, for the message.

    Raises:
        InputError: the folder, or the nearest one above it, is a file or is not writable.
    """
    nearest = Path(folder).absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InputError(f"{key}: {folder}: {nearest} is a file; a folder is needed")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"{key}: {folder}: no write permission in {nearest}")


def model_files(folder: str | Path) -> list[str]:
    """Sorted paths of the files that make a model: weights, configuration, tokenizer, template.

    The manifest is not one of them: it only tells where they come from.
    """
    files = (path for path in Path(folder).glob("[!.]*") if path.is_file())
    return sorted(
        str(path) for path in files if path.suffix in FILE_SUFFIXES and path.name != "manifest.json"
    )


def check_model_folder(folder: str | Path, key: str) -> None:
    """Check that a folder can serve as base model.

    Args:
        folder: the folder.
        key: the config key, for the message.

    Raises:
        InputError: no folder, config.json, tokenizer, chat template or weights; incomplete or
            quantized weights; not a causal language model, or a multimodal one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{key}: {folder}: no such folder")
    if not (folder / "config.json").is_file():
        raise InputError(f"{key}: {folder}: no config.json; a Hugging Face model is needed")
    _check_causal(folder, key)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        names = ", ".join(TOKENIZER_FILES)
        raise InputError(f"{key}: {folder}: no tokenizer; needed is one of {names}")
    if not _has_chat_template(folder):
        raise InputError(
            f"{key}: {folder}: no chat template; needed is chat_template.jinja or "
            "chat_template in tokenizer_config.json"
        )
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{key}: {folder}: no weights; needed is *.safetensors")
    check_weight_files(folder, key)
    if found := quantized_already(folder):
        raise InputError(f"{key}: {folder}: {found}")


def _check_causal(folder: Path, key: str) -> None:
    config = read_json(folder / "config.json")
    written_for = config.get("architectures") or []
    senses = [name for name in ("vision_config", "audio_config") if config.get(name)]
    kind = "a multimodal model" if senses else "not a causal language model"
    if senses or not all(name.endswith(CAUSAL) for name in written_for):
        found = ", ".join([*written_for, *senses])
        raise InputError(
            f"{key}: {folder}: {kind} ({found}); allowed architectures end in {' or '.join(CAUSAL)}"
        )


def check_model_fits(
    folder: str | Path, target_modules: str | list[str], middle_layer: int
) -> None:
    """Check that the experiment's settings fit a model.

    Args:
        folder: a model that passes `check_model_folder`.
        target_modules: `lora.target_modules`.
        middle_layer: `representations.middle_layer`.

    Raises:
        InputError: a LoRA target matches no module, or the model has fewer layers than
            `middle_layer`.
    """
    _check_targets(Path(folder), target_modules)
    _check_middle_layer(Path(folder), middle_layer)


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    file = folder / "tokenizer_config.json"
    return file.is_file() and bool(read_json(file).get("chat_template"))


def _check_targets(folder: Path, targets: str | list[str]) -> None:
    if isinstance(targets, str):
        return
    tensors = tensor_headers(folder)
    modules = {name.rpartition(".")[0] for name in tensors}
    stacked = {
        name.rpartition(".")[0]
        for name, tensor in tensors.items()
        if STACKED_EXPERTS.search(name) or len(tensor.get("shape", [])) == 3
    }
    if stacked:  # after loading, experts are one parameter with these names
        modules -= stacked
        modules |= {"experts.gate_up_proj", "experts.up_proj", "experts.down_proj"}
    vocabulary = read_json(folder / "config.json").get("vocab_size")
    words = {
        name.rpartition(".")[0]
        for name, tensor in tensors.items()
        if len(shape := tensor.get("shape", [])) == 2 and shape[0] == vocabulary
    }
    linear = modules - words
    for target in targets:
        if not any(module == target or module.endswith(f".{target}") for module in linear):
            known = sorted({module.rpartition(".")[2] for module in linear})
            is_word = any(module == target or module.endswith(f".{target}") for module in words)
            fault = (
                f"is an embedding or the output head of {folder}, which adapters do not support"
                if is_word or target == "lm_head"
                else f"matches no module of {folder}"
            )
            raise InputError(
                f"lora.target_modules: {target!r} {fault}; its modules are {', '.join(known)}"
            )


def _check_middle_layer(folder: Path, middle_layer: int) -> None:
    layers = number_of_blocks(read_json(folder / "config.json"))
    if layers and middle_layer > layers:
        raise InputError(
            f"representations.middle_layer: found {middle_layer}; "
            f"allowed: 0 to {layers}, the layers of {folder}"
        )
