"""Mixture-of-experts layers whose experts are one stacked parameter (transformers 5).

Mixtral, Qwen2-MoE, Qwen3-MoE and others store the matrices of all experts in 3-D parameters.
Adapters and bitsandbytes find no `nn.Linear` there. This module computes experts in a way that
supports both:

- base weights: expert by expert, `inputs @ W[expert].T`, as in transformers' own loop;
- a LoRA (peft's `target_parameters`): add `inputs @ A[expert].T @ B[expert].T`. peft itself adds
  B·A to the weight before the product. In bfloat16 this loses all changes smaller than half a
  rounding step of the weight, which is most of an unlearning update;
- quantization: the parameter is a list of bitsandbytes layers, one per expert.
"""

import contextlib
from collections.abc import Iterator
from types import MethodType
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import linear

if TYPE_CHECKING:
    from peft.tuners.lora.layer import ParamWrapper

IMPLEMENTATION = "expert_by_expert"
"""Name of `expert_by_expert` in the registry of transformers."""


def expert_modules(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Modules of stacked experts whose computation can be replaced in transformers."""
    return {
        name: module
        for name, module in model.named_modules()
        if hasattr(module, "is_transposed") and hasattr(module, "_apply_gate")
    }


def matrix_names(experts: torch.nn.Module) -> tuple[str, str]:
    """Names of the attributes with the experts' input and output matrices."""
    return ("gate_up_proj" if getattr(experts, "has_gate", True) else "up_proj"), "down_proj"


def use_expert_by_expert(model: torch.nn.Module) -> None:
    """Make every module of stacked experts compute with `expert_by_expert`."""
    experts = expert_modules(model)
    if not experts:
        return
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, expert_by_expert)
    for module in experts.values():
        module.config._experts_implementation = IMPLEMENTATION


def expert_by_expert(
    self: torch.nn.Module,
    hidden_states: torch.Tensor,
    top_k_index: torch.Tensor,
    top_k_weights: torch.Tensor,
) -> torch.Tensor:
    """Compute the output of a module of stacked experts.

    Args:
        self: the module.
        hidden_states: (tokens, hidden).
        top_k_index: (tokens, k), the experts of each token.
        top_k_weights: (tokens, k), their weights.

    Returns:
        (tokens, hidden), the weighted sum of each token's experts.
    """
    if hidden_states.is_meta:  # no values, so no routing
        return torch.empty_like(hidden_states)
    tokens, chosen = top_k_index.shape
    expert_of = top_k_index.reshape(-1)
    order = torch.sort(expert_of, stable=True).indices
    counts = torch.bincount(expert_of, minlength=self.num_experts).tolist()
    made = [
        _one_expert(self, expert, hidden_states[rows // chosen])
        for expert, rows in enumerate(order.split(counts))
        if len(rows)
    ]
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order), device=order.device)
    weighted = torch.cat(made)[back] * top_k_weights.reshape(-1, 1)
    return weighted.view(tokens, chosen, -1).sum(dim=1).to(hidden_states.dtype)


def _one_expert(experts: torch.nn.Module, expert: int, inputs: torch.Tensor) -> torch.Tensor:
    into, out_of = matrix_names(experts)
    hidden = _project(experts, into, expert, inputs)
    gated = getattr(experts, "has_gate", True)
    hidden = experts._apply_gate(hidden) if gated else experts.act_fn(hidden)
    outputs = _project(experts, out_of, expert, hidden)
    normed = getattr(experts, "has_post_expert_norm", False)
    return experts.post_expert_norm(outputs) if normed else outputs


def _project(
    experts: torch.nn.Module, name: str, expert: int, inputs: torch.Tensor
) -> torch.Tensor:
    """One matrix of one expert applied to `inputs` (rows, in)."""
    stacked = getattr(experts, name)
    if isinstance(stacked, torch.nn.ModuleList):  # quantized
        return stacked[expert](inputs)
    weight, bias = expert_weight(experts, name, expert)
    result = linear(inputs, weight, bias)
    for a, b, scaling in vars(experts).get("lora_factors", {}).get(name, ()):
        update = linear(linear(inputs.to(a.dtype), a[expert]), b[expert])
        result = (result + scaling * update).to(result.dtype)
    return result


def expert_weight(
    experts: torch.nn.Module, name: str, expert: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """One expert's matrix (out, in) and its bias (out), views into the stacked parameters."""
    weight = getattr(experts, name)[expert]
    bias = getattr(experts, f"{name}_bias", None)
    weight = weight.T if getattr(experts, "is_transposed", False) else weight
    return weight, None if bias is None else bias[expert]


def lora_factors(wrapper: "ParamWrapper", adapter: str) -> tuple[torch.Tensor, torch.Tensor, float]:
    """A (experts, rank, in), B (experts, out, rank) and scale of a LoRA on a parameter.

    peft stores A expert by expert and B rank by rank. Some versions of peft do not swap the two
    sides of a stacked parameter; they write the factors of the transposed update.
    """
    a, b = wrapper.lora_A[adapter].weight, wrapper.lora_B[adapter].weight
    a = a.reshape(wrapper.num_experts, -1, a.shape[-1])
    b = b.reshape(b.shape[0], -1, wrapper.num_experts).permute(2, 0, 1)
    stacked = wrapper.get_param().ndim == 3
    transposed = getattr(wrapper.get_base_layer(), "is_transposed", False)
    if stacked and not transposed and not getattr(wrapper, "_did_swap_in_out_features", False):
        a, b = b.transpose(1, 2), a.transpose(1, 2)
    return a, b, wrapper.scaling[adapter]


def compute_lora_beside_weights(model: torch.nn.Module) -> None:
    """Make LoRAs on parameters add their output instead of changing the weights.

    `expert_by_expert` applies LoRAs on stacked experts. A LoRA on the weight of a linear layer
    works as on any linear layer. Other parameters keep the method of peft.
    """
    from peft.tuners.lora.layer import ParamWrapper

    for module in model.modules():
        if not isinstance(module, ParamWrapper):
            continue
        base = module.get_base_layer()
        if hasattr(base, "_apply_gate") and hasattr(base, "is_transposed"):
            module._activate_lora = MethodType(_beside_experts, module)
        elif isinstance(base, torch.nn.Linear) and module.parameter_name == "weight":
            module.forward = MethodType(_beside_linear, module)


@contextlib.contextmanager
def _beside_experts(wrapper: "ParamWrapper", active_adapters: list[str]) -> Iterator[None]:
    """Replace peft's `_activate_lora`, which would add B·A to the weights."""
    experts = wrapper.get_base_layer()
    active = vars(experts).setdefault("lora_factors", {})
    active[wrapper.parameter_name] = [
        lora_factors(wrapper, adapter) for adapter in active_adapters if adapter in wrapper.lora_A
    ]
    try:
        yield
    finally:
        del active[wrapper.parameter_name]


def _beside_linear(wrapper: "ParamWrapper", inputs: torch.Tensor) -> torch.Tensor:
    result = wrapper.base_layer(inputs)
    if wrapper.disable_adapters or wrapper.merged:
        return result
    for adapter in wrapper.active_adapters:
        a, b = wrapper.lora_A[adapter], wrapper.lora_B[adapter]
        update = b(a(inputs.to(a.weight.dtype))) * wrapper.scaling[adapter]
        result = (result + update).to(result.dtype)
    return result
