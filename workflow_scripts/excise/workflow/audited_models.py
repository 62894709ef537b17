"""Audited models: where they lie, what they are compared with, and checks before any job.

The checks read names and headers, never weights, so that every call of Snakemake can make them. No
torch here.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from excise.errors import InputError
from excise.evaluation.peers import AUDITED, REFERENCES, peers_in
from excise.modeling.config_file import number_of_blocks
from excise.modeling.foreign_settings import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    check_adapter_kind,
    needs_own_copy,
)
from excise.modeling.packed_weights import tensor_headers
from excise.modeling.settings import Location
from excise.modeling.weight_files import check_weight_file
from excise.records import read_json
from excise.workflow.preflight import check_model_folder, model_files

SECTIONS = {AUDITED: "models", REFERENCES: "references"}
READ_JSON = {
    *("config.json", "generation_config.json", "chat_template.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    "vocab.json",
}
"""JSON files of a model folder that transformers reads."""
MODULE = re.compile(
    r"^base_model\.model\.(.+?)\.(?:base_layer\.)*lora_(?:embedding_)?([AB])(?:\.weight)?$"
)


def entries_of(config: dict) -> dict[str, dict]:
    """Name in result files → entry of section `audit`; references first."""
    found = {f"{REFERENCES}/{one['name']}": one for one in config["audit"]["references"]}
    return found | {f"{AUDITED}/{one['name']}": one for one in config["audit"]["models"]}


def keys_of(config: dict) -> dict[str, str]:
    """Name in result files → the config key of the entry, such as `audit.models[0]`."""
    return {
        f"{first}/{entry['name']}": f"audit.{section}[{index}]"
        for first, section in SECTIONS.items()
        for index, entry in enumerate(config["audit"][section])
    }


def gguf_folder(gguf: Mapping[str, Any]) -> str:
    """Folder of the model that a GGUF file is turned into."""
    return f"data/models/gguf--{Path(gguf['file']).stem}--{gguf['sha256'][:12]}"


def location_of(entry: Mapping[str, Any], study_base: str) -> Location:
    """Where an audited model lies; an adapter belongs to the study's base."""
    if entry["adapter"] is not None:
        return Location(study_base, entry["adapter"])
    return Location(entry["path"] or gguf_folder(entry["gguf"]), None)


def files_read(folder: str | Path) -> list[str]:
    """The files of a model folder that are read; a trainer leaves others beside them."""
    files = map(Path, model_files(folder))
    return [
        str(file)
        for file in files
        if file.suffix != ".json" or file.name in READ_JSON or file.name.endswith(".index.json")
    ]


def files_of(entry: Mapping[str, Any], base_files: list[str]) -> list[str]:
    """The files of an audited model; of a GGUF file the manifest of the folder made from it."""
    if (adapter := entry["adapter"]) is not None:
        return [*base_files, f"{adapter}/{ADAPTER_WEIGHTS}", f"{adapter}/{ADAPTER_CONFIG}"]
    if entry["path"] is not None:
        return files_read(entry["path"])
    return [f"{gguf_folder(entry['gguf'])}/manifest.json"]


# --- checks ---


def check_audited_models(config: dict, study_base: str) -> None:
    """Check that every audited model is one, and fits what it is compared with.

    A model that a job makes first (GGUF, a base model from the hub) is checked once it is there.

    Raises:
        InputError: the first fault, with its config key.
    """
    entries, keys = entries_of(config), keys_of(config)
    for name, entry in entries.items():
        if entry["path"] is not None:
            check_model_folder(entry["path"], f"{keys[name]}.path")
        elif entry["adapter"] is not None:
            check_adapter(entry["adapter"], study_base, config["model"]["dtype"],
                          f"{keys[name]}.adapter")  # fmt: skip
        elif entry["gguf"]["package"] is None and not Path(entry["gguf"]["file"]).is_file():
            raise InputError(f"{keys[name]}.gguf.file: {entry['gguf']['file']}: no such file")
        own = Path(location_of(entry, study_base).base) / "config.json"
        middle = config["representations"]["middle_layer"]
        layers = number_of_blocks(read_json(own)) if own.is_file() else None
        if entry["adapter"] is None and layers and middle > layers:
            raise InputError(
                f"representations.middle_layer: found {middle}; allowed: 0 to {layers}, the layers "
                f"of {keys[name]} ({own.parent})"
            )
    for name, peers in peers_in(config).items():
        compared = [one for one in (peers.finetuned, *peers.oracles) if one not in (None, name)]
        for other in compared:
            other_base = study_base
            if other in entries:
                other_base = location_of(entries[other], study_base).base
            own_base = location_of(entries[name], study_base).base
            _check_same_shape(keys[name], own_base, other, other_base)


def check_adapter(folder: str | Path, base: str | Path, dtype: str, key: str) -> None:
    """Check that a folder has a LoRA adapter, and that its matrices fit the base model.

    Args:
        folder: the adapter.
        base: the base model; without its files the matrices are not checked.
        dtype: `model.dtype`.
        key: the config key, for the message.

    Raises:
        InputError: a file is missing, broken or of another kind; no matrix fits, or one has other
            sizes; the adapter needs a merged copy, and dtype is not float32.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{key}: {folder}: no such folder")
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(f"{key}: {folder}: no {name}; needed is an adapter as peft saves it")
    check_weight_file(folder / ADAPTER_WEIGHTS, key)
    settings = read_json(folder / ADAPTER_CONFIG)
    check_adapter_kind(settings, f"{key}: {folder / ADAPTER_CONFIG}")
    tensors = tensor_headers(folder)
    if not (Path(base) / "config.json").is_file():
        return
    _check_matrices(tensors, Path(base), f"{key}: {folder / ADAPTER_WEIGHTS}")
    reason = needs_own_copy(settings, tensors, read_json(Path(base) / "config.json"))
    if reason and dtype != "float32":
        raise InputError(
            f"{key}: {folder}: {reason}, so it is merged into a copy of the base model; "
            f"model.dtype: found {dtype!r}; allowed: 'float32', which does not round the update"
        )


def _check_matrices(tensors: dict[str, dict], base: Path, key: str) -> None:
    """Check that the matrices of an adapter exist in the base model and have its sizes."""
    weights = {name.removesuffix(".weight"): one for name, one in tensor_headers(base).items()}
    if not weights:
        return
    ends = {name.split(".", 1)[-1]: one for name, one in weights.items()} | weights
    found = 0
    for name, tensor in tensors.items():
        match = MODULE.match(name)
        if match is None:
            _check_whole(name, tensor, ends, base, key)
            continue
        layer, side = match.groups()
        weight = ends.get(layer) or ends.get(layer.split(".", 1)[-1])
        if weight is None or len(weight["shape"]) != 2:  # stacked experts, and tied heads
            found += "lm_head" in layer or "experts" in layer
            continue
        found += 1
        own = tensor["shape"][1] if side == "A" else tensor["shape"][0]
        if len(tensor["shape"]) == 2 and not {own, *tensor["shape"]} & set(weight["shape"]):
            sizes = " × ".join(map(str, weight["shape"]))
            raise InputError(
                f"{key}: {name} has shape {tensor['shape']}, but {layer} of {base} is {sizes}; "
                "the adapter belongs to another base model"
            )
    if not found and any(MODULE.match(name) for name in tensors):
        layer = next(match[1] for name in tensors if (match := MODULE.match(name)))
        raise InputError(
            f"{key}: no layer of it is in {base}, such as {layer}; the adapter belongs to another "
            "base model"
        )


def _check_whole(
    name: str, tensor: dict, weights: Mapping[str, dict], base: Path, key: str
) -> None:
    """Check a tensor that replaces one of the base model, such as an enlarged embedding."""
    layer = name.removeprefix("base_model.model.").removesuffix(".weight")
    layer = layer.replace(".modules_to_save", "").replace(".base_layer", "")
    weight = weights.get(layer) or weights.get(layer.split(".", 1)[-1])
    if weight is not None and name.endswith(".weight") and weight["shape"] != tensor["shape"]:
        raise InputError(
            f"{key}: {name} has shape {tensor['shape']}, but {layer} of {base} has "
            f"{weight['shape']}; allowed: an adapter that keeps the vocabulary of its base model"
        )


def _check_same_shape(key: str, own: str, other: str, other_base: str) -> None:
    """Check that a model and one that it is compared with have the same layers."""
    files = [Path(folder) / "config.json" for folder in (own, other_base)]
    if own == other_base or not all(file.is_file() for file in files):
        return
    sizes = [_sizes(read_json(file)) for file in files]
    if sizes[0] != sizes[1]:
        raise InputError(
            f"{key}.compare: {other} ({other_base}) has {sizes[1]}, but {own} has {sizes[0]}; "
            "allowed: models of the same architecture and sizes"
        )


def _sizes(config: Mapping[str, Any]) -> str:
    width = config.get("hidden_size") or config.get("n_embd")
    return f"{number_of_blocks(config)} layers of width {width} ({config.get('model_type')})"
