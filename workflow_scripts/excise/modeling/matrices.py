"""A model's weight matrices, and what share of them is adapted or quantized.

All parameters of two or more dimensions count, except embeddings and the output head. Adapters and
quantization can change linear layers and stacked experts. They do not change two other kinds, which
every result lists. Gates choose the experts of a token; rounding them would change this choice.
Other matrices, for example convolutions, are not linear layers.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from excise.errors import InputError
from excise.modeling.base import unwrapped
from excise.modeling.experts import expert_modules, matrix_names

OUT_OF_REACH_LIMIT = 0.01
"""Largest share of the matrix weights that may be of the unknown kind `other`."""

REASONS = {
    "gate": "gates (they choose the experts) are left unchanged",
    "convolution": "convolutions are left unchanged",
    "state": "decay rates of state-space layers are left unchanged",
    "other": "no linear layer",
}


@dataclass(frozen=True)
class Matrix:
    """One parameter of two or more dimensions.

    Attributes:
        name: the parameter's name in the base model.
        kind: linear, expert (the stacked matrices of all experts), gate, convolution, state or
            other.
        owner: the module that contains it; for a peft model, the module of the base model.
        parameter: the parameter itself.
    """

    name: str
    kind: str
    owner: torch.nn.Module
    parameter: torch.nn.Parameter

    @property
    def layer(self) -> str:
        """The name of the owner."""
        return self.name.rpartition(".")[0]


def weight_matrices(model: torch.nn.Module) -> list[Matrix]:
    """All matrices of a model except embeddings and output head; each tied matrix once.

    For a peft model: the matrices of its base model, with their names there.
    """
    from transformers.pytorch_utils import Conv1D

    model = unwrapped(model)
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    embeddings = [m for m in model.modules() if isinstance(m, torch.nn.Embedding)]
    seen = {id(m.weight) for m in [*embeddings, head] if hasattr(m, "weight")}
    gates, found = _gates(model), []
    for full_name, owner in model.named_modules():
        name = full_name.replace(".base_layer", "")
        if re.search(r"(^|\.)lora_", name):
            continue
        for own_name, parameter in owner.named_parameters(recurse=False):
            if parameter.ndim < 2 or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            if id(parameter) in gates:
                kind = "gate"
            elif isinstance(owner, torch.nn.Linear | Conv1D):
                kind = "linear"
            elif _is_experts(owner) and own_name in matrix_names(owner):
                kind = "expert"
            elif _is_experts(owner) and own_name.endswith("_bias"):
                continue  # one vector per expert
            else:
                is_convolution = isinstance(owner, torch.nn.modules.conv._ConvNd)
                known = {"A_log": "state"}
                kind = "convolution" if is_convolution else known.get(own_name, "other")
            found.append(Matrix(f"{name}.{own_name}".lstrip("."), kind, owner, parameter))
    return found


def reachable(model: torch.nn.Module) -> list[Matrix]:
    """Matrices that adapters and quantization can change: linear layers, stacked experts."""
    return [matrix for matrix in weight_matrices(model) if matrix.kind in ("linear", "expert")]


def _is_experts(module: torch.nn.Module) -> bool:
    return hasattr(module, "is_transposed") and hasattr(module, "_apply_gate")


def _gates(model: torch.nn.Module) -> set[int]:
    """Python ids of the gate weights, which select experts and weight their outputs.

    Their names contain gate or router. They have one output per expert, or one for a shared expert.
    """
    found = set()
    for name, experts in expert_modules(model).items():
        block = model.get_submodule(name.replace(".base_layer", "").rpartition(".")[0])
        for own_name, parameter in block.named_parameters():
            own_name = own_name.replace(".base_layer", "")
            has_gate_name = re.search(r"(^|[._])(gate|router)(\.|$)", own_name)
            if has_gate_name and parameter.ndim == 2 and len(parameter) in (1, experts.num_experts):
                found.add(id(parameter))
    return found


def check_reach(model: torch.nn.Module, name: str) -> None:
    """Check that adapters and quantization can change a model's matrices.

    Args:
        model: any causal LM, also on the meta device.
        name: name of the model, for the message.

    Raises:
        InputError: more than `OUT_OF_REACH_LIMIT` of the weights are in parameters of an
            unknown form; the message gives the reachable share.
    """
    matrices = weight_matrices(model)
    total = sum(matrix.parameter.numel() for matrix in matrices)
    unknown = [matrix for matrix in matrices if matrix.kind == "other"]
    out_of_reach = sum(matrix.parameter.numel() for matrix in unknown)
    if out_of_reach > OUT_OF_REACH_LIMIT * total:
        reached = sum(matrix.parameter.numel() for matrix in reachable(model)) / total
        raise InputError(
            f"{name}: adapters and quantization reach {100 * reached:.1f} % of its matrix weights; "
            f"they do not reach {', '.join(_patterns(unknown))}"
        )


@dataclass(frozen=True)
class Share:
    """A share of the matrix weights; `left_out` has a line for each reason why it is below 1."""

    share: float
    left_out: list[str]


def share_of(
    matrices: Iterable[Matrix], has: Callable[[Matrix], bool], otherwise: str = "left out"
) -> Share:
    """The share of the weights in matrices for which `has` is true.

    Args:
        matrices: a model's matrices, from `weight_matrices`.
        has: whether a matrix is adapted, or quantized.
        otherwise: the reason given for a linear layer or an expert without it.
    """
    matrices = list(matrices)
    total = sum(matrix.parameter.numel() for matrix in matrices)
    missing: dict[str, list[Matrix]] = {}
    for matrix in matrices:
        if not has(matrix):
            missing.setdefault(REASONS.get(matrix.kind, otherwise), []).append(matrix)
    sizes = {why: sum(m.parameter.numel() for m in group) for why, group in missing.items()}
    left_out = [
        f"{100 * sizes[why] / total:.3g} % of the matrix weights: {', '.join(_patterns(group))} "
        f"({why})"
        for why, group in sorted(missing.items())
    ]
    return Share((total - sum(sizes.values())) / total if total else 1.0, left_out)


def _patterns(matrices: list[Matrix]) -> list[str]:
    """Distinct names, with * instead of layer numbers."""
    return sorted({re.sub(r"\b\d+\b", "*", matrix.name) for matrix in matrices})
