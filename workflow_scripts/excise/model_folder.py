"""What a local model folder must hold, checked from file names and headers, without loading it.

A missing tokenizer then costs a second, not a job on a GPU node that fails an hour later.
"""

import json
import struct
from pathlib import Path

from excise.errors import InputError
from excise.records import read_json

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
FILE_SUFFIXES = {".json", ".safetensors", ".jinja", ".txt", ".model"}


def model_files(folder: str | Path) -> list[str]:
    """Sorted paths of the files that make a model: weights, configuration, tokenizer, template."""
    return sorted(
        str(path)
        for path in Path(folder).glob("*")
        if path.suffix in FILE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def check_model_folder(
    folder: str | Path, target_modules: str | list[str], middle_layer: int
) -> None:
    """Check that a folder can serve as base model of the experiment.

    Args:
        folder: `model.path`.
        target_modules: `lora.target_modules`.
        middle_layer: `representations.middle_layer`.

    Raises:
        InputError: the folder or something in it is missing, a LoRA target matches no module,
            or the model has fewer layers than `middle_layer`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"model.path: {folder}: no such folder")
    if not (folder / "config.json").is_file():
        raise InputError(f"model.path: {folder}: no config.json; a Hugging Face model is needed")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        names = ", ".join(TOKENIZER_FILES)
        raise InputError(f"model.path: {folder}: no tokenizer; needed is one of {names}")
    if not _has_chat_template(folder):
        raise InputError(
            f"model.path: {folder}: no chat template; needed is chat_template.jinja or "
            "chat_template in tokenizer_config.json"
        )
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"model.path: {folder}: no weights; needed is *.safetensors")
    _check_targets(folder, target_modules)
    _check_middle_layer(folder, middle_layer)


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    file = folder / "tokenizer_config.json"
    return file.is_file() and bool(read_json(file).get("chat_template"))


def _check_targets(folder: Path, targets: str | list[str]) -> None:
    if isinstance(targets, str):
        return
    modules = {name.rpartition(".")[0] for name in _tensor_names(folder)}
    for target in targets:
        if not any(module == target or module.endswith(f".{target}") for module in modules):
            known = sorted({module.rpartition(".")[2] for module in modules})
            raise InputError(
                f"lora.target_modules: {target!r} matches no module of {folder}; "
                f"its modules are {', '.join(known)}"
            )


def _tensor_names(folder: Path) -> set[str]:
    """Names of all tensors, from the headers of the safetensors files."""
    names: set[str] = set()
    for path in folder.glob("*.safetensors"):
        try:
            with path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                names |= json.loads(file.read(length)).keys()
        except (struct.error, ValueError, MemoryError, OverflowError) as error:
            raise InputError(f"model.path: {path}: not a safetensors file") from error
    return names - {"__metadata__"}


def _check_middle_layer(folder: Path, middle_layer: int) -> None:
    config = read_json(folder / "config.json")
    layers = config.get("num_hidden_layers") or config.get("n_layer")  # n_layer: GPT-2's word
    if layers and middle_layer > layers:
        raise InputError(
            f"representations.middle_layer: found {middle_layer}; "
            f"allowed: 0 to {layers}, the layers of {folder}"
        )
