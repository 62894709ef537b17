"""LoRA adapters: made, kept on disk, put on a base model, merged into it, measured.

An adapter on disk is plain peft (`adapter_model.safetensors`, `adapter_config.json`), in fp32,
and the same bytes for the same weights. A fault in its folder is one `InputError` that names it.
"""

import json
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from excise.errors import InputError
from excise.files import atomic_path
from excise.models import linear_layers, load_base, load_tokenizer, one_line, unwrapped
from excise.records import read_json, write_json

if TYPE_CHECKING:  # peft and transformers take seconds to import: functions do it when called
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"


def attach_lora(model: "PreTrainedModel", lora: dict, seed: int) -> "PeftModel":
    """Put a fresh trainable LoRA adapter on a base model: A random, B zero.

    The start depends on `seed` alone, on every device, and leaves the global generator as it was.

    Args:
        model: from `load_base`; it is wrapped in place.
        lora: `rank`, `alpha`, `dropout` (default 0) and `target_modules`: `"all-linear"` (all
            but the output head), a list of layer names, or a regular expression.
        seed: of the random start.

    Returns:
        The peft model, adapter weights in fp32, base weights frozen.

    Raises:
        InputError: a target matches no linear layer (the message lists the names there are), or
            peft refuses the model.
    """
    from peft import LoraConfig
    from transformers.pytorch_utils import Conv1D

    targets = _target_modules(model, lora.get("target_modules", "all-linear"))
    layers = linear_layers(model)
    config = LoraConfig(
        r=lora["rank"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora.get("dropout", 0.0),
        target_modules=targets,
        fan_in_fan_out=any(isinstance(layer, Conv1D) for layer in layers.values()),
        task_type="CAUSAL_LM",
        bias="none",
    )
    try:
        return _wrap(model, config, seed)
    except ValueError as error:
        raise InputError(
            f"{unwrapped(model).config.name_or_path or 'the model'}: peft refuses to adapt it "
            f"({one_line(error)})"
        ) from error


def _target_modules(model: torch.nn.Module, wanted: str | list[str]) -> str | list[str]:
    """`wanted` checked against the model; `all-linear` spelled out as sorted layer names."""
    layers = list(linear_layers(model))
    available = sorted({_short_name(name) for name in layers})
    if wanted == "all-linear":
        return available
    if isinstance(wanted, str):
        unmatched = [] if any(re.fullmatch(wanted, name) for name in layers) else [wanted]
    else:
        unmatched = [
            target
            for target in wanted
            if not any(name == target or name.endswith(f".{target}") for name in layers)
        ] or ([] if wanted else ["[]"])
    if unmatched:
        raise InputError(
            f"lora.target_modules: {', '.join(unmatched)} matches no linear layer of this model; "
            f"there are: {', '.join(available)} (or all-linear)"
        )
    return wanted if isinstance(wanted, str) else sorted(set(wanted))


def _short_name(layer: str) -> str:
    """The last part of a layer's name that is not a mere number in a list of modules."""
    last = layer.rpartition(".")[2]
    return layer if last.isdigit() else last


def _wrap(model: torch.nn.Module, config: "LoraConfig", seed: int = 0) -> "PeftModel":
    from peft import get_peft_model

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft sets fan_in_fan_out itself, and says so
        torch.default_generator.manual_seed(seed)
        wrapped = get_peft_model(model, config)
    return wrapped.train(not config.inference_mode)


def adapter_tensors(model: "PeftModel") -> dict[str, torch.Tensor]:
    """The adapter's own tensors under their names on disk; they share the model's storage."""
    from peft import get_peft_model_state_dict

    return get_peft_model_state_dict(model, save_embedding_layers=False)


def save_adapter(model: "PeftModel", folder: str | Path) -> None:
    """Write the adapter as `PeftModel.from_pretrained` reads it, the same bytes every time.

    Weights are stored in fp32; sets are sorted; the base model's path is kept only where it is
    relative. Each of the two files is whole or absent.

    Raises:
        InputError: the folder cannot be written.
    """
    from safetensors.torch import save

    folder = Path(folder)
    config = model.peft_config["default"].to_dict()
    config = {
        key: sorted(value) if isinstance(value, set) else value for key, value in config.items()
    }
    config["inference_mode"] = True
    base = config.get("base_model_name_or_path")
    config["base_model_name_or_path"] = None if base and Path(base).is_absolute() else base
    tensors = {
        name: tensor.detach().to("cpu", torch.float32).contiguous()
        for name, tensor in sorted(adapter_tensors(model).items())
    }
    write_json(folder / ADAPTER_CONFIG, json.loads(json.dumps(config, default=str)))
    with atomic_path(folder / ADAPTER_WEIGHTS) as temporary:
        temporary.write_bytes(save(tensors, metadata={"format": "pt"}))


def _read_adapter(folder: str | Path) -> tuple["LoraConfig", dict[str, torch.Tensor]]:
    from peft import LoraConfig
    from safetensors.torch import load_file

    folder = Path(folder)
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: not an adapter folder (no {name})")
    settings = read_json(folder / ADAPTER_CONFIG)
    if settings.get("peft_type") != "LORA":
        raise InputError(
            f"{folder / ADAPTER_CONFIG}: peft_type is {settings.get('peft_type')!r}; "
            "allowed is 'LORA'"
        )
    try:
        config = LoraConfig.from_pretrained(folder)
        tensors = load_file(folder / ADAPTER_WEIGHTS)
    except Exception as error:
        raise InputError(f"{folder}: the adapter cannot be loaded ({one_line(error)})") from error
    return config, tensors


def _shape_of(config: "LoraConfig") -> dict:
    """What two adapters must share for one to take the other's place by copying tensors."""
    ignored = ("base_model_name_or_path", "inference_mode", "peft_version", "revision")
    return {key: value for key, value in config.to_dict().items() if key not in ignored}


def _copy_adapter(model: "PeftModel", tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """Overwrite the adapter's tensors in place and see that they hold what the file holds."""
    own = adapter_tensors(model)
    different = sorted(set(own) ^ set(tensors)) or sorted(
        name for name in own if own[name].shape != tensors[name].shape
    )
    if different:
        raise InputError(
            f"{folder / ADAPTER_WEIGHTS}: does not fit this model: {len(different)} tensors "
            f"missing, superfluous or misshapen, such as {different[0]}"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
    for name, tensor in adapter_tensors(model).items():
        expected = tensors[name].to(tensor.device, tensor.dtype)
        if not torch.allclose(tensor, expected, rtol=0, atol=0, equal_nan=True):
            raise RuntimeError(f"{folder}: {name} was not copied into the model")


def load_adapter(
    model: "PreTrainedModel | PeftModel", folder: str | Path, trainable: bool = False
) -> "PeftModel":
    """Put a saved adapter on a base model, or in the place of a peft model's adapter.

    Args:
        model: a base model, wrapped in place; or a peft model. Where the latter's adapter has
            the same rank, scale and targets its tensors are overwritten, else it is replaced.
        folder: where `save_adapter` or peft wrote it.
        trainable: for further training: adapter weights require gradients, training mode.

    Returns:
        The peft model, adapter weights in fp32, adapter enabled.

    Raises:
        InputError: not an adapter folder, or one that does not fit the model.
    """
    from peft import PeftModel

    folder = Path(folder)
    config, tensors = _read_adapter(folder)
    config.inference_mode = not trainable
    if isinstance(model, PeftModel) and _shape_of(model.peft_config["default"]) != _shape_of(
        config
    ):
        model = model.unload()
    if not isinstance(model, PeftModel):
        try:
            model = _wrap(model, config)
        except ValueError as error:
            raise InputError(
                f"{folder}: the adapter does not fit this model ({one_line(error)})"
            ) from error
    model.base_model.enable_adapter_layers()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trainable and "lora_" in name)
    model.train(trainable)
    _copy_adapter(model, tensors, folder)
    return model


class AdapterHost:
    """One base model in memory that takes on one adapter after the other.

    `host.use(folder)` copies an adapter's tensors into place; `host.use(None)` switches the
    adapter off, which computes exactly what the base model computes. The adapter is never
    merged, so nothing accumulates from one `use` to the next.

    Args:
        base_folder: the base model's folder, with its tokenizer.
        dtype: of the base weights; adapters stay in fp32.
        device: where the model lives.
    """

    def __init__(
        self,
        base_folder: str | Path,
        dtype: str | torch.dtype = "float32",
        device: str | torch.device = "cpu",
    ) -> None:
        self.tokenizer = load_tokenizer(base_folder)
        self.model: PreTrainedModel | PeftModel = load_base(base_folder, dtype).to(device)
        self.model.requires_grad_(False)

    def use(self, adapter_folder: str | Path | None) -> "PreTrainedModel | PeftModel":
        """Become base + this adapter (None: the base itself); return the model, in eval mode.

        Raises:
            InputError: not an adapter folder, or one that does not fit the model.
        """
        if adapter_folder is not None:
            self.model = load_adapter(self.model, adapter_folder)
        elif hasattr(self.model, "peft_config"):
            self.model.base_model.disable_adapter_layers()
        return self.model.eval()


def load_merged(
    base_folder: str | Path, adapter_folder: str | Path | None = None
) -> "PreTrainedModel":
    """Base plus adapter merged into plain fp32 weights, W + scale·B·A, ready to be quantized.

    Merging in bf16 would itself be a quantization, of about the size of an unlearning update.

    Raises:
        InputError: either folder cannot be used.
    """
    model = load_base(base_folder, torch.float32).requires_grad_(False)
    if adapter_folder is None:
        return model
    return load_adapter(model, adapter_folder).merge_and_unload().eval()


def delta_norms(base_folder: str | Path, adapter_folder: str | Path | None) -> dict[str, float]:
    """How large the adapter's update is: ‖ΔW‖, ‖W‖ and ‖ΔW‖/‖W‖.

    ΔW = scale·B·A and W are stacked over all adapted matrices; norms are Frobenius, in fp64.
    Without an adapter ΔW is 0 and W all linear layers but the output head.

    Returns:
        `delta_norm`, `weight_norm`, `relative_delta`.

    Raises:
        InputError: either folder cannot be used.
    """
    base = load_base(base_folder, torch.float32)
    if adapter_folder is None:
        return _norms(0.0, [layer.weight for layer in linear_layers(base).values()])
    return adapter_norms(load_adapter(base, adapter_folder))


def adapter_norms(model: "PeftModel") -> dict[str, float]:
    """`delta_norms` of a peft model that is already loaded."""
    from peft.tuners.lora import LoraLayer

    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    squared = 0.0
    for layer in layers:
        a = layer.lora_A["default"].weight.detach().double()  # (r, in)
        b = layer.lora_B["default"].weight.detach().double()  # (out, r)
        # ‖BA‖² = tr(BᵀB · AAᵀ): r × r matrices instead of out × in
        product = ((b.T @ b) * (a @ a.T)).sum().item()
        squared += layer.scaling["default"] ** 2 * product
    return _norms(squared, [layer.get_base_layer().weight for layer in layers])


def _norms(delta_squared: float, weights: list[torch.Tensor]) -> dict[str, float]:
    weight_norm = sum(w.detach().double().square().sum().item() for w in weights) ** 0.5
    # rounding may leave the trace of a zero product just below zero; NaN must stay NaN
    delta_norm = 0.0 if delta_squared < 0 else delta_squared**0.5
    return {
        "delta_norm": delta_norm,
        "weight_norm": weight_norm,
        "relative_delta": delta_norm / weight_norm,
    }
