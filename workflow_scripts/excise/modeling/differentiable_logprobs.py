"""Log-probabilities of answers with gradients, for losses, one row per question and answer.

`scoring` computes them without gradients, for evaluation.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from torch.nn.functional import log_softmax

from excise.modeling.base import backbone, unwrapped
from excise.modeling.chat import IGNORE, Encoded, collate

_bare_head: WeakKeyDictionary = WeakKeyDictionary()


@dataclass(frozen=True)
class AnswerLogprobs:
    """Log-probabilities of a batch of answers.

    Attributes:
        sums: natural-log probability of each answer, summed over its tokens, (B,).
        tokens: number of label tokens of each answer, (B,).
        logits: where asked for: fp32 (N, V), those that predict the N label tokens of the batch.
        states: where asked for: layer → hidden states at these N tokens themselves, (N, hidden).
    """

    sums: torch.Tensor | None
    tokens: torch.Tensor
    logits: torch.Tensor | None = None
    states: dict[int, torch.Tensor] = field(default_factory=dict)


def cross_entropy(answers: AnswerLogprobs) -> torch.Tensor:
    """Token-mean negative log-likelihood, Σ S_i / Σ n_i, in nats a token."""
    return -answers.sums.sum() / answers.tokens.sum()


def answer_logprobs(
    model: torch.nn.Module,
    encoded: Sequence[Encoded],
    pad_id: int,
    autocast: str = "none",
    keep_logits: bool = False,
) -> AnswerLogprobs:
    """Summed log-probabilities of the answers in a batch, with gradients.

    Logits are computed only at answer positions, if they are the output head applied to the last
    hidden state and nothing else (`has_bare_head`). Log-softmax is in fp32 (fp64 if the model is).

    Args:
        model: a causal LM, with or without adapter.
        encoded: B questions with their answers.
        pad_id: id of the padding token.
        autocast: `bfloat16` or `none`: precision of the matrix products (`product_dtype`).
        keep_logits: return the logits too.
    """
    device = next(model.parameters()).device
    tensors = {key: value.to(device) for key, value in collate(encoded, pad_id).items()}
    targets = tensors["labels"][:, 1:]
    is_target = targets != IGNORE
    inputs = {"input_ids": tensors["input_ids"], "attention_mask": tensors["attention_mask"]}
    with autocast_context(device, autocast):
        if has_bare_head(model, tensors["input_ids"][:1, :8]):
            hidden = backbone(model)(**inputs, use_cache=False).last_hidden_state[:, :-1]
            logits = unwrapped(model).get_output_embeddings()(hidden[is_target])
        else:
            logits = model(**inputs, use_cache=False).logits[:, :-1][is_target]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logprobs = log_softmax(logits, dim=-1)
    target_logprobs = logprobs.gather(1, targets[is_target][:, None])[:, 0]
    # A masked sum over each row is deterministic on every device.
    per_token = torch.zeros(targets.shape, dtype=logits.dtype, device=device)
    per_token = per_token.masked_scatter(is_target, target_logprobs)
    kept = logits if keep_logits else None
    return AnswerLogprobs(per_token.sum(dim=1), is_target.sum(dim=1), kept)


def has_bare_head(model: torch.nn.Module, ids: torch.Tensor) -> bool:
    """Whether the logits are the output head applied to the last hidden state and nothing else.

    Gemma 2 caps its logits; Granite and Cohere scale them. One forward pass tests this: the head's
    input must equal the backbone's output, and the head's output must equal the logits. The
    result is stored per model.

    Args:
        model: a causal LM, with or without adapter.
        ids: (1, T), any tokens.
    """
    causal = unwrapped(model)
    if causal not in _bare_head:
        passed: dict[str, torch.Tensor] = {}

        def record_hidden(_module, _args, output):
            passed["hidden"] = output.last_hidden_state

        def record_head(_module, args, output):
            passed["head_input"], passed["head_output"] = args[0], output

        head = causal.get_output_embeddings()
        hooks = [
            backbone(model).register_forward_hook(record_hidden),
            head.register_forward_hook(record_head),
        ]
        training = model.training
        model.eval()  # no dropout: it would draw random numbers
        try:
            with torch.no_grad():
                logits = model(input_ids=ids, use_cache=False).logits
        finally:
            model.train(training)
            for hook in hooks:
                hook.remove()
        _bare_head[causal] = (
            passed.keys() == {"hidden", "head_input", "head_output"}
            and _equal(passed["head_input"], passed["hidden"])
            and _equal(passed["head_output"], logits)
        )
    return _bare_head[causal]


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    one, other = one.float(), other.float()
    return one.shape == other.shape and torch.allclose(one, other, 0, 0, equal_nan=True)


def product_dtype(device: torch.device, autocast: str) -> str:
    """Precision of matrix products in training: `bfloat16` or `float32`.

    A CPU without bfloat16 instructions emulates them, ten times slower than float32
    (`perf/train_step.py`). Such a CPU always computes in float32.

    Args:
        device: the model's device.
        autocast: the configured value, `bfloat16` or `none`.
    """
    if autocast == "none" or (device.type == "cpu" and not _cpu_has_bfloat16()):
        return "float32"
    return "bfloat16"


def _cpu_has_bfloat16() -> bool:
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def autocast_context(device: torch.device, autocast: str) -> contextlib.AbstractContextManager:
    """`torch.autocast` in bfloat16, or a context without effect (see `product_dtype`)."""
    if product_dtype(device, autocast) == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
