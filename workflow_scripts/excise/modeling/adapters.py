"""LoRA adapters: create, save, load, merge and measure them.

An adapter on disk has peft's format (`adapter_model.safetensors`, `adapter_config.json`), in fp32.
The same weights give the same bytes. A fault in its folder raises one `InputError` that names it.
"""

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from excise.errors import InputError
from excise.files import atomic_path
from excise.modeling.base import load_base, load_tokenizer, one_line, unwrapped
from excise.modeling.experts import compute_lora_beside_weights, lora_factors, use_expert_by_expert
from excise.modeling.foreign_settings import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    FREE_SETTINGS,
    KEPT_BY_INITIALISATION,
)
from excise.modeling.matrices import (
    Matrix,
    Share,
    check_reach,
    reachable,
    share_of,
    weight_matrices,
)
from excise.modeling.settings import LoraSettings
from excise.modeling.updates import Factors, energy
from excise.records import read_json, write_json

if TYPE_CHECKING:  # peft and transformers take seconds to import: functions do it when called
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel


def attach_lora(model: "PreTrainedModel", lora: LoraSettings, seed: int) -> "PeftModel":
    """Put a new trainable LoRA adapter on a base model: A random, B zero.

    The initial weights depend only on `seed`, on every device. The global generator is unchanged.

    Args:
        model: from `load_base`; it is wrapped in place.
        lora: `target_modules` is `"all-linear"` (all linear layers and stacked experts, without
            output head and gates), their names, or a regular expression.
        seed: seed of the initial weights.

    Returns:
        The peft model with adapter weights in fp32 and frozen base weights.

    Raises:
        InputError: a target matches no linear layer, or the output head or an embedding (the
            message lists the available names); dropout on experts; a model with matrices that
            adapters cannot reach (`matrices.check_reach`).
    """
    from peft import LoraConfig
    from transformers.pytorch_utils import Conv1D

    check_reach(model, unwrapped(model).config.name_or_path or "the model")
    chosen = _chosen(model, lora.target_modules)
    mistaken = _mistaken_by_peft(model, chosen)
    parameters = [m for m in chosen if m.kind == "expert" or m.layer in mistaken]
    modules = [matrix for matrix in chosen if matrix not in parameters]
    if parameters and lora.dropout:
        raise InputError(
            f"lora.dropout: found {lora.dropout:g}; on a mixture of experts only 0 is "
            "allowed: peft has no dropout there"
        )
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=_unambiguous_names(model, modules),
        target_parameters=sorted({_without_layer(matrix.name) for matrix in parameters}) or None,
        fan_in_fan_out=any(isinstance(matrix.owner, Conv1D) for matrix in modules),
        task_type="CAUSAL_LM",
        bias="none",
    )
    try:
        model = _wrap(model, config, seed)
    except ValueError as error:
        raise InputError(
            f"{unwrapped(model).config.name_or_path or 'the model'}: peft refuses to adapt it "
            f"({one_line(error)})"
        ) from error
    adapted = adapted_parameters(model)
    if adapted != {id(matrix.parameter) for matrix in chosen}:
        raise RuntimeError(f"lora: peft adapted {len(adapted)} matrices of {len(chosen)} chosen")
    return model


def _chosen(model: torch.nn.Module, wanted: str | tuple[str, ...]) -> list[Matrix]:
    """The matrices that `lora.target_modules` names."""
    matrices = [matrix for matrix in weight_matrices(model) if _target(matrix) is not None]
    if wanted == "all-linear":
        return reachable(model)
    targets = [wanted] if isinstance(wanted, str) else wanted or ["[]"]

    def named(target: str, name: str) -> bool:
        if isinstance(wanted, str):
            return re.fullmatch(target, name) is not None
        return name == target or name.endswith(f".{target}")

    available = sorted({_short_name(_target(matrix)) for matrix in matrices})
    listed = f"there are: {', '.join(available)} (or all-linear)"
    words = [name for name, m in model.named_modules() if _is_word_layer(model, m)]
    for target in targets:
        unfit = [name for name in words if named(target, name)]
        if unfit:
            raise InputError(
                f"lora.target_modules: {target} matches no linear layer but {', '.join(unfit)}, "
                f"an embedding or the output head; adapters on these are not supported; {listed}"
                if not any(named(target, _target(matrix)) for matrix in matrices)
                else f"lora.target_modules: {target} also matches {', '.join(unfit)}, an embedding "
                f"or the output head; adapters on these are not supported; {listed}"
            )
    unmatched = [t for t in targets if not any(named(t, _target(matrix)) for matrix in matrices)]
    if unmatched:
        raise InputError(
            f"lora.target_modules: {', '.join(unmatched)} matches no linear layer of this model; "
            f"{listed}"
        )
    return [matrix for matrix in matrices if any(named(t, _target(matrix)) for t in targets)]


def _target(matrix: Matrix) -> str | None:
    """The name of a layer or an expert matrix in `lora.target_modules`."""
    if matrix.kind == "expert":
        return matrix.name
    from transformers.pytorch_utils import Conv1D

    return matrix.layer if isinstance(matrix.owner, torch.nn.Linear | Conv1D) else None


def _is_word_layer(model: torch.nn.Module, module: torch.nn.Module) -> bool:
    """Whether a module is an embedding or the output head."""
    return isinstance(module, torch.nn.Embedding) or module is model.get_output_embeddings()


def _mistaken_by_peft(model: torch.nn.Module, chosen: list[Matrix]) -> set[str]:
    """The chosen layers that peft mistakes for experts of an older transformers version.

    For a mixture of experts, peft reads a name such as `gate_proj` in `target_modules` as the
    matrix of all experts. It then omits the layer of that name in a shared expert or a dense
    block. Names in `target_parameters` are taken literally.
    """
    from peft import LoraConfig

    try:
        from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers
    except ImportError:  # this version of peft converts nothing
        return set()

    def mistaken(name: str) -> bool:
        config = LoraConfig(target_modules=[name])
        try:
            convert_peft_config_for_transformers(config, model=model, conversions=None)
        except ValueError:  # it expects the other names of these experts
            return True
        return config.target_modules != {name}

    layers = {matrix.layer for matrix in chosen if matrix.kind != "expert"}
    names = {layer.rpartition(".")[2] for layer in layers}
    wrong = {name for name in names if mistaken(name)}
    return {layer for layer in layers if layer.rpartition(".")[2] in wrong}


def _unambiguous_names(model: torch.nn.Module, chosen: list[Matrix]) -> list[str]:
    """Sorted names for peft that match only the chosen layers."""
    wanted = {matrix.layer for matrix in chosen}
    every = [name for name, _ in model.named_modules()]
    names = set()
    for layer in wanted:
        short = _short_name(layer)
        matched = {name for name in every if name == short or name.endswith(f".{short}")}
        names.add(short if matched <= wanted else layer)
    return sorted(names)


def _short_name(layer: str) -> str:
    """The last part of a layer's name; the whole name if that part is only an index."""
    last = layer.rpartition(".")[2]
    return layer if last.isdigit() else last


def _without_layer(name: str) -> str:
    """A parameter's name inside its block: `mlp.experts.down_proj`."""
    return re.sub(r"^.*\.\d+\.", "", name)


FAN_IN_FAN_OUT = r"fan_in_fan_out is set to"
"""Start of a peft warning that is irrelevant: peft has already corrected the setting."""


def _wrap(model: torch.nn.Module, config: "LoraConfig", seed: int = 0) -> "PeftModel":
    from peft import get_peft_model

    use_expert_by_expert(model)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", FAN_IN_FAN_OUT)
        warnings.simplefilter("ignore", FutureWarning)  # from peft's code
        torch.default_generator.manual_seed(seed)
        wrapped = get_peft_model(model, config)
    compute_lora_beside_weights(wrapped)
    return wrapped.train(not config.inference_mode)


def _lora_layers(model: "PeftModel") -> list[tuple[torch.nn.Module, torch.nn.Parameter]]:
    """peft's LoRA layers, each with the base parameter that it adapts."""
    from peft.tuners.lora import LoraLayer
    from peft.tuners.lora.layer import ParamWrapper

    return [
        (layer, layer.get_param() if isinstance(layer, ParamWrapper) else _base_weight(layer))
        for layer in model.modules()
        if isinstance(layer, LoraLayer)
    ]


def _base_weight(layer: torch.nn.Module) -> torch.nn.Parameter:
    return layer.get_base_layer().weight


def adapted_parameters(model: "PeftModel") -> set[int]:
    """Python ids of the base model's parameters that the adapter changes."""
    return {id(parameter) for _, parameter in _lora_layers(model)}


def merged_matrices(model: "PeftModel") -> Iterator[tuple[Matrix, torch.Tensor]]:
    """Merge the adapter into one matrix after the other: W + scale·B·A.

    Only the matrix that is being looked at is merged; then it is restored, bit by bit.

    Args:
        model: a peft model in fp32.

    Yields:
        The merged matrix, in its place in the model, and a copy of its base weights.
    """
    matrices = {id(matrix.parameter): matrix for matrix in weight_matrices(model)}
    for layer, parameter in _lora_layers(model):
        before = parameter.detach().clone()
        with torch.no_grad():
            layer.merge()
        yield matrices[id(parameter)], before
        with torch.no_grad():
            parameter.copy_(before)
        layer.merged_adapters.clear()


def adapted_share(model: "PeftModel") -> Share:
    """The share of the base model's matrix weights that the adapter changes."""
    adapted = adapted_parameters(model)
    return share_of(
        weight_matrices(model),
        lambda matrix: id(matrix.parameter) in adapted,
        otherwise="not in lora.target_modules",
    )


def adapter_tensors(model: "PeftModel") -> dict[str, torch.Tensor]:
    """The adapter's tensors by their names on disk; they share the model's storage."""
    from peft import get_peft_model_state_dict

    return get_peft_model_state_dict(model, save_embedding_layers=False)


def save_adapter(model: "PeftModel", folder: str | Path) -> None:
    """Write the model's adapter, as `write_adapter` does.

    Raises:
        InputError: the folder cannot be written.
    """
    write_adapter(adapter_config(model), adapter_tensors(model), folder)


def adapter_config(model: "PeftModel") -> dict[str, Any]:
    """What `adapter_config.json` holds of a model's adapter."""
    return model.peft_config["default"].to_dict()


def write_adapter(
    config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], folder: str | Path
) -> None:
    """Write an adapter in peft's format; the same weights give the same bytes.

    Weights are stored in fp32, and sets are sorted. The base model's path is kept only if it is
    relative. Each of the two files is complete or absent.

    Raises:
        InputError: the folder cannot be written.
    """
    from safetensors.torch import save

    folder = Path(folder)
    config = {
        key: sorted(value) if isinstance(value, set) else value for key, value in config.items()
    }
    config["inference_mode"] = True
    base = config.get("base_model_name_or_path")
    config["base_model_name_or_path"] = None if base and Path(base).is_absolute() else base
    tensors = {
        name: tensor.detach().to("cpu", torch.float32).contiguous()
        for name, tensor in sorted(tensors.items())
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
    _check_settings(settings, config, folder / ADAPTER_CONFIG)
    config.init_lora_weights = True  # the file's weights replace the initial ones
    return config, tensors


def _check_settings(settings: dict, config: "LoraConfig", path: Path) -> None:
    """Check that an adapter, maybe made by another program, consists only of A and B on matrices.

    peft can also train biases, whole modules and single tokens. Some of these stay in the model
    when the adapter is disabled; others are not part of ΔW.

    Raises:
        InputError: a setting is not supported; the message names the first one.
    """
    found, plain = settings | config.to_dict(), type(config)().to_dict()
    for key, value in sorted(found.items()):
        if key not in FREE_SETTINGS and value != plain.get(key) and value:
            raise InputError(f"{path}: {key} is {value!r}; allowed is {plain.get(key)!r}")
    if config.modules_to_save:
        raise InputError(f"{path}: modules_to_save is {config.modules_to_save!r}; allowed is none")
    if config.init_lora_weights not in KEPT_BY_INITIALISATION:
        raise InputError(
            f"{path}: init_lora_weights is {config.init_lora_weights!r}, which changes the base "
            "weights; allowed are true, false, 'gaussian' and 'eva'"
        )
    if config.task_type not in (None, "CAUSAL_LM"):
        raise InputError(f"{path}: task_type is {config.task_type!r}; allowed is 'CAUSAL_LM'")


def _check_wrapped(model: "PeftModel", path: Path) -> None:
    """Check that no adapted parameter is shared with another layer; merging would change both.

    Raises:
        InputError: a parameter is shared, for example with a tied output head.
    """
    base = unwrapped(model)
    names: dict[int, list[str]] = {}
    for name, parameter in base.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name.replace(".base_layer", ""))
    for _, parameter in _lora_layers(model):
        shared = sorted(set(names[id(parameter)]))
        if len(shared) > 1:
            raise InputError(
                f"{path}: the adapter is on tied weights ({' = '.join(shared)}); merging would "
                "change both; adapt only layers that share no weights"
            )


def _shape_of(config: "LoraConfig") -> dict:
    """Settings that two adapters must share so that one can replace the other by a copy."""
    ignored = ("base_model_name_or_path", "inference_mode", "peft_version", "revision")
    unordered = set | list  # peft turns lists of names into sets
    return {
        key: sorted(value) if isinstance(value, unordered) else value
        for key, value in config.to_dict().items()
        if key not in ignored
    }


def _copy_adapter(model: "PeftModel", tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """Overwrite the adapter's tensors in place; check that they equal those of the file."""
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
    """Put a saved adapter on a base model, or replace the adapter of a peft model.

    Args:
        model: a base model, which is wrapped in place, or a peft model. If the adapter of a peft
            model has the same rank, scale and targets, its tensors are overwritten.
        folder: folder written by `save_adapter` or peft.
        trainable: for further training: adapter weights require gradients, training mode.

    Returns:
        The peft model with its adapter enabled and adapter weights in fp32.

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
        _check_wrapped(model, folder / ADAPTER_CONFIG)
    model.base_model.enable_adapter_layers()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trainable and "lora_" in name)
    model.train(trainable)
    _copy_adapter(model, tensors, folder)
    return model


class AdapterHost:
    """One base model in memory that loads one adapter after the other.

    `host.use(folder)` copies an adapter's tensors into the model. `host.use(None)` gives the base
    model. In float32 the adapter is merged, W + scale·B·A, which saves its products in every layer.
    Before the next adapter the base weights are copied back, bit by bit, so no rounding errors
    accumulate. In 16 bits it stays beside the weights: merging would round most of an unlearning
    update away.

    Args:
        base_folder: the base model's folder, with its tokenizer.
        dtype: dtype of the base weights; adapters stay in fp32.
        device: device of the model.
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
        self._merged: list[tuple[torch.nn.Module, torch.nn.Parameter, torch.Tensor]] = []

    def use(self, adapter_folder: str | Path | None) -> "PreTrainedModel | PeftModel":
        """Load an adapter (None: only the base model); return the model in eval mode.

        Raises:
            InputError: not an adapter folder, or one that does not fit the model.
        """
        self._restore()
        if adapter_folder is not None:
            self.model = load_adapter(self.model, adapter_folder)
            if unwrapped(self.model).dtype == torch.float32:
                self._merge()
        elif hasattr(self.model, "peft_config"):
            self.model.base_model.disable_adapter_layers()
        return self.model.eval()

    def _merge(self) -> None:
        for layer, parameter in _lora_layers(self.model):
            self._merged.append((layer, parameter, parameter.detach().clone()))
            with torch.no_grad():
                layer.merge()

    def _restore(self) -> None:
        for layer, parameter, before in self._merged:
            with torch.no_grad():
                parameter.copy_(before)
            layer.merged_adapters.clear()
        self._merged = []


def load_merged(
    base_folder: str | Path, adapter_folder: str | Path | None = None
) -> "PreTrainedModel":
    """Merge an adapter into the base weights, W + scale·B·A, in fp32, for quantization.

    Merging in bf16 would itself be a quantization; its error is about as large as an unlearning
    update.

    Raises:
        InputError: either folder cannot be used.
    """
    model = load_base(base_folder, torch.float32).requires_grad_(False)
    if adapter_folder is None:
        return model
    return load_adapter(model, adapter_folder).merge_and_unload().eval()


def delta_norms(base_folder: str | Path, adapter_folder: str | Path | None) -> dict[str, Any]:
    """Norm of the adapter's update, and share of the model that it adapts.

    ΔW is the merged weight minus the base weight. ΔW and W are stacked over all adapted matrices.
    Norms are Frobenius norms in fp64. Without an adapter ΔW is 0, and W contains all linear layers
    and experts, without output head and gates.

    Returns:
        `delta_norm` ‖ΔW‖, `weight_norm` ‖W‖, `relative_delta` ‖ΔW‖/‖W‖, `adapted_share` (null
        without an adapter) and `not_adapted` (the lines of `adapted_share`).

    Raises:
        InputError: either folder cannot be used.
    """
    base = load_base(base_folder, torch.float32)
    check_reach(base, str(base_folder))
    if adapter_folder is None:
        norms = _norms(0.0, [matrix.parameter for matrix in reachable(base)])
        return norms | {"adapted_share": None, "not_adapted": []}
    model = load_adapter(base, adapter_folder)
    share = adapted_share(model)
    return adapter_norms(model) | {"adapted_share": share.share, "not_adapted": share.left_out}


def adapter_norms(model: "PeftModel") -> dict[str, float]:
    """The three norms of `delta_norms`, for a loaded peft model in fp32."""
    layers = _lora_layers(model)
    squared = sum(_delta_squared(layer, parameter) for layer, parameter in layers)
    return _norms(squared, [parameter for _, parameter in layers])


def _delta_squared(layer: torch.nn.Module, parameter: torch.nn.Parameter) -> float:
    """‖ΔW‖² of one adapted parameter."""
    factors = _factors(layer)
    if factors is None:
        before = parameter.detach().clone()  # DoRA, embeddings: measure the change by merging
        layer.merge()
        squared = (parameter.detach().double() - before.double()).square().sum().item()
        with torch.no_grad():
            parameter.copy_(before)
        layer.merged_adapters.clear()
        return squared
    # r × r matrices instead of out × in
    return energy(factors.up, factors.down).sum().item()


def _factors(layer: torch.nn.Module) -> Factors | None:
    """A and B of a LoRA layer; None if its update is not their product (DoRA, embeddings)."""
    from peft.tuners.lora.layer import ParamWrapper

    if getattr(layer, "lora_variant", None) or "default" not in layer.lora_A:
        return None
    if isinstance(layer, ParamWrapper):
        a, b, scaling = lora_factors(layer, "default")
    else:
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        scaling = layer.scaling["default"]
    return Factors(scaling * b.detach().double(), a.detach().double())


def update_factors(model: "PeftModel", folder: str | Path) -> dict[str, Factors]:
    """The factors of every adapted matrix of a loaded peft model, by the matrix's name.

    Args:
        model: the model.
        folder: the adapter's folder, for the message.

    Raises:
        InputError: the update of a matrix is not the product of two factors (DoRA).
    """
    names = {id(matrix.parameter): matrix.name for matrix in weight_matrices(model)}
    found = {}
    for layer, parameter in _lora_layers(model):
        factors = _factors(layer)
        if factors is None:
            raise InputError(
                f"{Path(folder) / ADAPTER_CONFIG}: the update of {names[id(parameter)]} is no "
                "product of two factors; allowed are plain LoRA adapters"
            )
        found[names[id(parameter)]] = factors
    return found


def _norms(delta_squared: float, weights: list[torch.Tensor]) -> dict[str, float]:
    weight_norm = sum(w.detach().double().square().sum().item() for w in weights) ** 0.5
    # Rounding may make the trace of a zero product slightly negative; NaN must stay NaN.
    delta_norm = 0.0 if delta_squared < 0 else delta_squared**0.5
    return {
        "delta_norm": delta_norm,
        "weight_norm": weight_norm,
        "relative_delta": delta_norm / weight_norm,
    }
