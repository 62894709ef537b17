"""Check 11 by a model: does moving a forget fact move the facts of the same event more?

The gradient of each answer's loss is taken in the adapter's weights, where unlearning starts. To
first order, a step along one fact's gradient changes another fact's loss by the product of the
two; their cosine says how much of the step both share. If incident and good facts of one event
are entangled, forget facts lie closer to the correlated than to the other facts of their person.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from excise.modeling.base import check_sequences
from excise.modeling.chat import Encoded, encode
from excise.modeling.differentiable_logprobs import answer_logprobs, cross_entropy

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase


def similarities(
    model: "PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    items: list[dict],
    system_prompt: str | None = None,
) -> Iterator[dict]:
    """Mean cosines of every forget item's gradient with those of its person's retain items.

    Args:
        model: with an adapter open for training; used without dropout.
        tokenizer: its tokenizer.
        items: records of `sf.jsonl` and `sr.jsonl`.
        system_prompt: system message, if any.

    Yields:
        {id, person_id, slot, correlated, other} per forget item, person by person; a cosine is
        NaN where a gradient is zero or not finite, and None without items of that group.
    """
    model.eval()
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for person_id in dict.fromkeys(item["person_id"] for item in items):
        own = [item for item in items if item["person_id"] == person_id]
        gradients = {group: [] for group in ("sf", "correlated", "other")}
        for item in own:
            encoded = encode(tokenizer, item["question"], item["answer"], system_prompt)
            check_sequences(model, [encoded.input_ids])
            gradients[item["group"]].append(_gradient(model, weights, encoded, tokenizer))
        forget = [item for item in own if item["group"] == "sf"]
        means = {group: cosines(gradients["sf"], gradients[group]) for group in RETAIN}
        for index, item in enumerate(forget):
            keys = {key: item[key] for key in ("id", "person_id", "slot")}
            yield keys | {group: means[group][index] for group in RETAIN}


RETAIN = ("correlated", "other")


def cosines(ones: list[torch.Tensor], others: list[torch.Tensor]) -> list[float | None]:
    """For each of `ones`, its mean cosine with all of `others` (vectors of equal length)."""
    if not ones or not others:
        return [None] * len(ones)
    left, right = (normalize(torch.stack(group), eps=0) for group in (ones, others))
    return (left @ right.T).mean(dim=1).tolist()


def _gradient(
    model: "PeftModel",
    weights: list[torch.nn.Parameter],
    encoded: Encoded,
    tokenizer: "PreTrainedTokenizerBase",
) -> torch.Tensor:
    """Gradient of an answer's loss in nats a token, flattened: (number of weights,)."""
    loss = cross_entropy(answer_logprobs(model, [encoded], tokenizer.pad_token_id))
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, weights)])
