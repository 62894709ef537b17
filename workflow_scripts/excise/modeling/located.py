"""Models by name: the study's own, and those of others that lie elsewhere.

One base model is in memory at a time. An adapter of others that changes more than matrices is
merged by peft itself into a copy of the base, in fp32.
"""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from excise.errors import InputError
from excise.modeling.adapters import AdapterHost, load_merged
from excise.modeling.base import load_base, load_tokenizer, one_line, unwrapped
from excise.modeling.foreign_settings import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    check_adapter_kind,
    needs_own_copy,
)
from excise.modeling.settings import Location
from excise.records import read_json

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Shelf:
    """Models by name, each loaded when it is asked for.

    Args:
        base: the study's base model.
        models_dir: folder of the study's adapters.
        located: name → where a model of others lies.
        dtype: dtype of the base weights.
        device: device of the models.
    """

    def __init__(
        self,
        base: str | Path,
        models_dir: Path,
        located: Mapping[str, Location],
        dtype: str | torch.dtype = "float32",
        device: str | torch.device = "cpu",
    ) -> None:
        self.base, self.models_dir = str(Path(base)), models_dir
        self.located = {
            name: Location(str(Path(one.base)), one.adapter) for name, one in located.items()
        }
        self.dtype, self.device = dtype, device
        self._host: AdapterHost | None = None
        self._folder: str | None = None
        self._tokenizers: dict[str, PreTrainedTokenizerBase] = {}

    def location(self, name: str) -> Location:
        """Where a model lies; `base` has no adapter."""
        if name in self.located:
            return self.located[name]
        return Location(self.base, None if name == "base" else str(self.models_dir / name))

    def tokenizer(self, name: str) -> "PreTrainedTokenizerBase":
        """The tokenizer of a model: that of its base."""
        folder = self.location(name).base
        if folder not in self._tokenizers:
            self._tokenizers[folder] = load_tokenizer(folder)
        return self._tokenizers[folder]

    def use(self, name: str) -> "PreTrainedModel | PeftModel":
        """The model in eval mode. The one before it must not be used any more.

        Raises:
            InputError: a folder cannot be used, or an adapter does not fit its base model.
        """
        place = self.location(name)
        if place.adapter is not None and why_own_copy(place):
            self._host = self._folder = None
            if self.dtype not in ("float32", torch.float32):
                raise InputError(
                    f"{place.adapter}: {why_own_copy(place)}, so it is merged into a copy of the "
                    f"base model; model.dtype: found {str(self.dtype)!r}; allowed: 'float32'"
                )
            return merged_by_peft(place).to(self.device)
        if self._host is None or self._folder != place.base:
            self._host = None  # before the next one is loaded
            self._host = AdapterHost(place.base, self.dtype, self.device)
            self._folder = place.base
        return self._host.use(place.adapter)


def why_own_copy(place: Location) -> str | None:
    """Why an adapter needs a copy of the base model for itself; None if it does not.

    Raises:
        InputError: not an adapter folder, or an adapter of a kind that is not audited.
    """
    from safetensors import safe_open

    folder = Path(place.adapter or "")
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: not an adapter folder (no {name})")
    settings = read_json(folder / ADAPTER_CONFIG)
    check_adapter_kind(settings, str(folder / ADAPTER_CONFIG))
    with safe_open(folder / ADAPTER_WEIGHTS, framework="pt") as file:
        tensors = list(file.keys())
    return needs_own_copy(settings, tensors, read_json(Path(place.base) / "config.json"))


def adapted_layers(place: Location) -> set[str]:
    """Names of the layers that an adapter changes, in its file."""
    from safetensors import safe_open

    with safe_open(Path(place.adapter or "") / ADAPTER_WEIGHTS, framework="pt") as file:
        return {name.partition(".lora_")[0] for name in list(file.keys())}


def merged_model(place: Location) -> "PreTrainedModel":
    """The model as plain weights in fp32, on the CPU.

    Raises:
        InputError: a folder cannot be used.
    """
    if place.adapter is not None and why_own_copy(place):
        return merged_by_peft(place)
    return load_merged(place.base, place.adapter)


def merged_by_peft(place: Location) -> "PreTrainedModel":
    """Load an adapter with peft alone and merge it, in fp32.

    It gives what `PeftModel.from_pretrained(base, adapter)` gives. Weights that two layers share
    and one adapter changes are first separated, because merging would change both layers.

    Raises:
        InputError: the adapter does not fit the base model.
    """
    from peft import PeftModel

    base = load_base(place.base, torch.float32).requires_grad_(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft warns of tied weights, which are separated here
            model = PeftModel.from_pretrained(base, place.adapter)
            for layer, parameter in _shared(model):
                layer.get_base_layer().weight = torch.nn.Parameter(
                    parameter.detach().clone(), requires_grad=False
                )
            merged = model.merge_and_unload()
    except (ValueError, RuntimeError, KeyError) as error:
        raise InputError(
            f"{place.adapter}: the adapter does not fit {place.base} ({one_line(error)})"
        ) from error
    return merged.eval()


def _shared(model: "PeftModel") -> Iterator[tuple[torch.nn.Module, torch.nn.Parameter]]:
    """LoRA layers whose base weight another layer of the model has, too."""
    from peft.tuners.lora import LoraLayer

    owners: dict[int, int] = {}
    for _, parameter in unwrapped(model).named_parameters(remove_duplicate=False):
        owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    for layer in list(model.modules()):
        if isinstance(layer, LoraLayer):
            parameter = layer.get_base_layer().weight
            if owners.get(id(parameter), 0) > 1:
                yield layer, parameter
