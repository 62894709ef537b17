"""What a foreign adapter's settings say: which kinds work, and which need a copy of the base.

An adapter that only adds B·A to matrices lies beside the base weights, and the next one takes its
place. Others replace or share parameters of the base; peft merges them into a copy. No torch here.
"""

from collections.abc import Collection, Mapping
from typing import Any

from excise.errors import InputError

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
KEPT_BY_INITIALISATION = (True, False, "gaussian", "eva", None)
"""Initialisations of A and B that keep the base weights; PiSSA and OLoRA change them."""
WORD_LAYERS = ("lm_head", "embed_tokens", "wte", "embed_out", "embed_in", "word_embeddings")
"""Last parts of the names of embeddings and output heads."""
FREE_SETTINGS = {
    *("r", "lora_alpha", "lora_dropout", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora"),
    *("target_modules", "exclude_modules", "target_parameters", "fan_in_fan_out"),
    *("layers_to_transform", "layers_pattern", "modules_to_save"),
    *("base_model_name_or_path", "revision", "inference_mode", "auto_mapping", "peft_version"),
    *("peft_type", "task_type", "init_lora_weights", "eva_config", "runtime_config"),
}
"""Keys of adapter_config.json that may have any value or are checked below."""
OWN_COPY_SETTINGS = {
    *("modules_to_save", "bias", "lora_bias", "trainable_token_indices", "ensure_weight_tying"),
}
"""Keys of adapters that peft merges into a copy of the base model."""
UNUSED_SETTINGS = {"megatron_core", "qalora_group_size"}
"""Keys that have a value, but no meaning without others that are refused."""


def check_adapter_kind(settings: Mapping[str, Any], path: str) -> None:
    """Check that an adapter is LoRA of a causal language model, in a form that is audited.

    Args:
        settings: content of `adapter_config.json`.
        path: the file, for the message.

    Raises:
        InputError: another kind; the message names the first key.
    """
    if settings.get("peft_type") != "LORA":
        found = settings.get("peft_type")
        raise InputError(f"{path}: peft_type is {found!r}; allowed is 'LORA'")
    if settings.get("task_type") not in (None, "CAUSAL_LM"):
        found = settings.get("task_type")
        raise InputError(f"{path}: task_type is {found!r}; allowed is 'CAUSAL_LM'")
    for key in sorted(set(settings) - FREE_SETTINGS - OWN_COPY_SETTINGS - UNUSED_SETTINGS):
        if found := settings[key]:
            raise InputError(f"{path}: {key} is {found!r}; allowed: a LoRA adapter without it")
    start = settings.get("init_lora_weights", True)
    if start not in KEPT_BY_INITIALISATION:
        raise InputError(
            f"{path}: init_lora_weights is {start!r}, which changes the base weights; allowed are "
            "true, false, 'gaussian' and 'eva'; convert it with peft's "
            "path_initial_model_for_weight_conversion, or save the merged model"
        )


def needs_own_copy(
    settings: Mapping[str, Any], tensors: Collection[str], base: Mapping[str, Any]
) -> str | None:
    """Why an adapter needs a copy of the base model for itself; None if it does not.

    Args:
        settings: content of `adapter_config.json`.
        tensors: names in `adapter_model.safetensors`.
        base: content of the base model's config.json.
    """
    if settings.get("modules_to_save"):
        return f"the adapter has modules_to_save {settings['modules_to_save']}"
    if settings.get("bias", "none") != "none" or settings.get("lora_bias"):
        return "the adapter has biases"
    if settings.get("trainable_token_indices"):
        return "the adapter has trainable_token_indices"
    words = sorted({part for name in tensors for part in name.split(".") if part in WORD_LAYERS})
    if words and base.get("tie_word_embeddings", True):
        return f"the adapter is on {', '.join(words)}, which the base model ties"
    if any(name.startswith("base_model.model.") and "lora_" not in name for name in tensors):
        return "the adapter file has weights of whole layers"
    return None
