"""Terms that several losses share. No torch at import: methods import this.

S_i is the *summed* negative log-likelihood of answer i (its label tokens and the end of turn),
n_i its number of tokens. Reductions differ by definition: GA and GD are means over tokens, NPO
is a mean over answers of sums over tokens. So NPO starts with about n_i times the forget force
of GA. The same weight means something else for GD than for NPO.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from excise.modeling.differentiable_logprobs import AnswerLogprobs
    from excise.unlearning.method import Step


def cross_entropy(answers: "AnswerLogprobs") -> "torch.Tensor":
    """Token-mean negative log-likelihood, Σ S_i / Σ n_i, in nats a token."""
    from excise.modeling.differentiable_logprobs import cross_entropy as token_mean

    return token_mean(answers)


def preference(margins: "torch.Tensor", beta: float) -> "torch.Tensor":
    """−(2/β)·mean_i log σ(β·m_i): it pushes the margins up, and fades as they grow.

    At m = 0 it is 2·log 2/β. Its gradient there is −1/B for each margin, whatever β is.

    Args:
        margins: (B,), in nats.
        beta: inverse temperature, > 0.
    """
    from torch.nn.functional import logsigmoid

    return -(2.0 / beta) * logsigmoid(beta * margins).mean()


def with_retain(loss: "torch.Tensor", step: "Step", weight: float) -> "torch.Tensor":
    """`loss` + λ·CE(retain); `loss` alone if the step has no retain batch."""
    return loss if step.retain is None else loss + weight * cross_entropy(step.retain)
