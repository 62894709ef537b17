"""Check that a model's weight files are complete: index, headers and sizes, without torch.

A safetensors file has three parts: 8 bytes (length of the header), the header (JSON: name → dtype,
shape, data_offsets), and the numbers. After an interrupted download, a file is shorter than its
header says.
"""

import json
import struct
from pathlib import Path

from excise.errors import InputError
from excise.records import read_json

INDEX = "model.safetensors.index.json"


def check_weight_files(folder: str | Path, key: str) -> None:
    """Check that every weight file of a model folder exists and has the length given in its header.

    Args:
        folder: the model.
        key: the config key, for the message.

    Raises:
        InputError: a shard of the index is missing; or a file is truncated, too long, not a
            safetensors file, or lacks a tensor listed in the index.
    """
    folder = Path(folder)
    index = folder / INDEX
    shards: dict[str, set[str]] = {}
    if index.is_file() and not (folder / "model.safetensors").is_file():
        for tensor, name in read_json(index).get("weight_map", {}).items():
            shards.setdefault(name, set()).add(tensor)
        if missing := sorted(name for name in shards if not (folder / name).is_file()):
            raise InputError(
                f"{key}: {folder}: {len(missing)} of the {len(shards)} weight files listed in "
                f"{INDEX} are missing, such as {missing[0]}"
            )
    for path in sorted(folder.glob("*.safetensors")):
        tensors = check_weight_file(path, key)
        if absent := sorted(shards.get(path.name, set()) - tensors):
            raise InputError(
                f"{key}: {path}: {len(absent)} tensors listed in {INDEX} are missing, "
                f"such as {absent[0]}"
            )


def check_weight_file(path: Path, key: str) -> set[str]:
    """Check one safetensors file; returns the names of its tensors.

    Raises:
        InputError: as `check_weight_files`.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size - 8:
                raise ValueError("the header is longer than the file")
            header = json.loads(file.read(length))
        ends = [one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"]
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{key}: {path}: not a safetensors file, or a truncated one") from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise InputError(
            f"{key}: {path}: {size:,} bytes found, but its header says {expected:,}; "
            "download or copy it again"
        )
    return header.keys() - {"__metadata__"}
