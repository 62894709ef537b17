"""Unlearning losses: pure functions of answer log-probabilities.

Each takes what one forward pass gives (`AnswerLogprobs`) and returns a scalar to minimise. S_i
is the *summed* negative log-likelihood of answer i (its label tokens and the end of turn), n_i
its number of tokens. The reductions differ by definition: gradient ascent and descent are means
over tokens, NPO is a mean over answers of sums over tokens. So NPO starts with about n_i times
the forget force of GA, and equal weights are not comparable between GD and NPO; every training
log names its reduction.

A new method is one function here, entered in `METHODS`, and one entry in `config.schema.yaml`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from excise.modeling.differentiable_logprobs import AnswerLogprobs, cross_entropy


def gradient_ascent(forget: AnswerLogprobs) -> torch.Tensor:
    """GA: the negated token-mean cross-entropy of the forget answers. Unbounded below.

    Source: Jang et al. 2023 (arXiv 2210.01504); TOFU (arXiv 2401.06121).
    """
    return -cross_entropy(forget)


def gradient_difference(
    forget: AnswerLogprobs, retain: AnswerLogprobs, retain_weight: float
) -> torch.Tensor:
    """GD: −CE(forget) + λ·CE(retain), both token means.

    Source: Liu et al. 2022 (arXiv 2203.12817); GradDiff with NLL in open-unlearning.
    """
    return gradient_ascent(forget) + retain_weight * cross_entropy(retain)


def negative_preference(
    forget: AnswerLogprobs, reference_sums: torch.Tensor, beta: float
) -> torch.Tensor:
    """NPO: −(2/β)·mean_i log σ(β(S_i − S_i^ref)), S a sum over tokens.

    At the start, where S = S^ref, it is 2·log 2/β and its gradient is that of sequence-sum
    gradient ascent, −(1/B)·Σ ∇S_i, for every β; it fades as S_i grows past its reference.

    Args:
        forget: log-probabilities under the model being trained.
        reference_sums: those of the same answers under the finetuned model, (B,), constant.
        beta: inverse temperature, > 0; β → 0 is gradient ascent.

    Source: Zhang et al. 2024 (arXiv 2404.05868), eq. 3.
    """
    excess = reference_sums - forget.sums  # S_i − S_i^ref: both are negated log-probabilities
    return -(2.0 / beta) * logsigmoid(beta * excess).mean()


@dataclass(frozen=True)
class ForgetStep:
    """What one unlearning step has seen.

    Attributes:
        forget: the forget batch under the model being trained.
        retain: the retain batch, where the method asks for one.
        reference_sums: the forget batch under the finetuned model, where it asks for that.
    """

    forget: AnswerLogprobs
    retain: AnswerLogprobs | None = None
    reference_sums: torch.Tensor | None = None


def _ga(step: ForgetStep, hp: dict) -> torch.Tensor:
    return gradient_ascent(step.forget)


def _gd(step: ForgetStep, hp: dict) -> torch.Tensor:
    return gradient_difference(step.forget, step.retain, hp["retain_weight"])


def _npo(step: ForgetStep, hp: dict) -> torch.Tensor:
    loss = negative_preference(step.forget, step.reference_sums, hp["beta"])
    if step.retain is not None:
        loss = loss + hp["retain_weight"] * cross_entropy(step.retain)
    return loss


@dataclass(frozen=True)
class Method:
    """An unlearning method: its loss, what it needs, and how its forget term is reduced."""

    loss: Callable[[ForgetStep, dict], torch.Tensor]
    forget_reduction: str
    needs_reference: bool = False


METHODS: dict[str, Method] = {
    "ga": Method(_ga, forget_reduction="token mean"),
    "gd": Method(_gd, forget_reduction="token mean"),
    "npo": Method(_npo, forget_reduction="sequence sum", needs_reference=True),
}


def needs_retain(hp: dict) -> bool:
    """Whether these settings put a weight on the retain set."""
    return (hp.get("retain_weight") or 0.0) > 0.0
