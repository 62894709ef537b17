"""Check 11 with a model: does a change of a forget fact affect facts of the same event more?

The gradient of each answer's loss is taken in the adapter's weights, where unlearning starts. To
first order, a step along one fact's gradient changes another fact's loss by the product of the two
gradients. Their cosine measures the shared part of the step. If facts of one event are entangled,
forget facts are closer to the correlated than to the other facts of their person.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from excise.modeling.base import check_sequences
from excise.modeling.chat import encode
from excise.modeling.fact_gradients import answer_gradient

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
        model: model with a trainable adapter; used without dropout.
        tokenizer: its tokenizer.
        items: records of `sf.jsonl` and `sr.jsonl`.
        system_prompt: system message, if any.

    Yields:
        {id, person_id, slot, correlated, other} per forget item, person by person; a cosine is
        NaN if a gradient is zero or not finite, and None without items of that group.
    """
    model.eval()
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for person_id in dict.fromkeys(item["person_id"] for item in items):
        person_items = [item for item in items if item["person_id"] == person_id]
        gradients = {group: [] for group in ("sf", "correlated", "other")}
        for item in person_items:
            encoded = encode(tokenizer, item["question"], item["answer"], system_prompt)
            check_sequences(model, [encoded.input_ids])
            gradient, _ = answer_gradient(model, weights, encoded, tokenizer.pad_token_id)
            gradients[item["group"]].append(gradient)
        forget = [item for item in person_items if item["group"] == "sf"]
        means = {group: cosines(gradients["sf"], gradients[group]) for group in RETAIN}
        for index, item in enumerate(forget):
            keys = {key: item[key] for key in ("id", "person_id", "slot")}
            yield keys | {group: means[group][index] for group in RETAIN}


RETAIN = ("correlated", "other")


def cosines(vectors: list[torch.Tensor], others: list[torch.Tensor]) -> list[float | None]:
    """Mean cosine of each of `vectors` with all of `others`."""
    if not vectors or not others:
        return [None] * len(vectors)
    left, right = (normalize(torch.stack(group), eps=0) for group in (vectors, others))
    return (left @ right.T).mean(dim=1).tolist()
