"""How likely a model finds answers, with gradients: what every loss is made of."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import log_softmax

from excise.chat import IGNORE, Encoded, collate
from excise.models import unwrapped
from excise.scoring import backbone


@dataclass(frozen=True)
class AnswerLogprobs:
    """Log-probabilities of a batch of answers.

    Attributes:
        sums: natural-log probability of each answer, summed over its tokens, (B,).
        tokens: number of label tokens of each answer, (B,).
    """

    sums: torch.Tensor
    tokens: torch.Tensor


def cross_entropy(answers: AnswerLogprobs) -> torch.Tensor:
    """Token-mean negative log-likelihood, Σ S_i / Σ n_i, in nats a token."""
    return -answers.sums.sum() / answers.tokens.sum()


def answer_logprobs(
    model: torch.nn.Module, encoded: Sequence[Encoded], pad_id: int, autocast: str = "none"
) -> AnswerLogprobs:
    """Summed log-probabilities of the answers in a batch, with gradients.

    Logits are made at answer positions alone, log-softmax is in fp32.

    Args:
        model: a causal LM, with or without adapter.
        encoded: B questions with their answers.
        pad_id: padding id.
        autocast: `bfloat16` or `none`: precision of the matrix products.
    """
    device = next(model.parameters()).device
    tensors = {key: value.to(device) for key, value in collate(encoded, pad_id).items()}
    targets = tensors["labels"][:, 1:]
    wanted = targets != IGNORE
    with autocast_context(device, autocast):
        hidden = backbone(model)(
            input_ids=tensors["input_ids"],
            attention_mask=tensors["attention_mask"],
            use_cache=False,
        ).last_hidden_state[:, :-1]
        logits = unwrapped(model).get_output_embeddings()(hidden[wanted])
    logprobs = log_softmax(logits.float(), dim=-1)
    picked = logprobs.gather(1, targets[wanted][:, None])[:, 0]
    # A row's answers are summed by a masked sum, which is deterministic on every device.
    per_token = torch.zeros(targets.shape, device=device).masked_scatter(wanted, picked)
    return AnswerLogprobs(per_token.sum(dim=1), wanted.sum(dim=1))


def autocast_context(device: torch.device, autocast: str) -> contextlib.AbstractContextManager:
    """`torch.autocast` in bfloat16, or nothing."""
    if autocast == "none":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
