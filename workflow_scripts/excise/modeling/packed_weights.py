"""Read the headers of weight files, without loading weights or importing torch.

The headers show whether the weights are plain numbers or packed codes.
"""

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from excise.errors import InputError
from excise.records import read_json

PACKED_DTYPES = re.compile(r"[FI][468](_\w+)?|U8")
"""safetensors' names for numbers of 8 bits or fewer: F8_E4M3, F4, I8, U8, …"""
PACKED_NAMES = re.compile(r"\b(qweight|qzeros|weight_packed)$")
"""Integers of 32 bits that hold several 4-bit numbers each: GPTQ, AWQ, llm-compressor."""
MASKS = {"bias", "masked_bias", "position_ids"}
"""Byte buffers in old checkpoints of GPT-2 and GPT-NeoX; they are not weights."""


def tensor_headers(folder: Path) -> dict[str, dict]:
    """Name → `dtype`, `shape` of all tensors in a model folder.

    Raises:
        InputError: a file is not a safetensors file.
    """
    return {
        name: tensor
        for path in folder.glob("*.safetensors")
        for name, tensor in _header(path).items()
    }


def _header(path: Path) -> dict[str, dict]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            tensors = json.loads(file.read(length))
    except (struct.error, ValueError, MemoryError, OverflowError) as error:
        raise InputError(f"{path}: not a safetensors file") from error
    return {name: tensor for name, tensor in tensors.items() if name != "__metadata__"}


def quantized_already(folder: str | Path) -> str | None:
    """Why a model's weights count as quantized (GPTQ, AWQ, bitsandbytes, fp8 …); None if not.

    Such weights cannot be adapted, measured or quantized here. Rounding would remove a merged
    update, and the norm of packed codes is not the norm of the weights.
    """
    folder = Path(folder)
    needed = "use weights in float32, bfloat16 or float16"
    for found in _dictionaries(read_json(folder / "config.json")):
        for key in ("quantization_config", "compression_config"):
            if settings := found.get(key):
                method = settings.get("quant_method") if isinstance(settings, dict) else settings
                named = f" ({method})" if method else ""
                return f"config.json has {key}{named}: the weights are quantized; {needed}"
    if (folder / "quantize_config.json").is_file():
        return f"quantize_config.json: the weights are quantized (GPTQ); {needed}"
    for path in sorted(folder.glob("*.safetensors")):
        try:
            tensors = _header(path)
        except InputError:
            continue  # another check reports broken files
        for name, tensor in sorted(tensors.items()):
            dtype, last = str(tensor.get("dtype")), name.rpartition(".")[2]
            packed = PACKED_DTYPES.fullmatch(dtype) and last not in MASKS
            if packed or (dtype in ("I16", "I32") and PACKED_NAMES.search(name)):
                return f"{path.name}: {name} is {dtype}: the weights are quantized; {needed}"
    return None


def _dictionaries(settings: object) -> Iterator[dict]:
    """A config and the configs inside it."""
    if isinstance(settings, dict):
        yield settings
        for value in settings.values():
            yield from _dictionaries(value)
