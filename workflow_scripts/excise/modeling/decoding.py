"""Generate greedy answers in batches: the most probable token at each step, until end-of-turn.

Sampling settings in a model folder (temperature, repetition penalty, …) are ignored. Questions are
batched by length and padded on the left. A row that has ended is removed from the batch and its
cache. So a collapsed model that never ends one answer computes only this row to the limit.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from excise.modeling.base import check_sequences, unwrapped
from excise.modeling.chat import Encoded, collate, encode_prompt, stop_ids
from excise.modeling.scoring import batches
from excise.text.unicode import nfc

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Generation:
    """A generated answer.

    Attributes:
        text: the text without special tokens, in Unicode normal form C.
        stopped: whether the answer ended with end-of-turn.
        ids: the generated tokens, without the one that ended the answer.
    """

    text: str
    stopped: bool
    ids: tuple[int, ...] = field(default=(), compare=False, repr=False)


def generate(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    questions: Sequence[str],
    max_new_tokens: int,
    batch_size: int,
    system_prompt: str | None = None,
) -> list[Generation]:
    """The greedy answer to every question, in the order of the questions.

    Args:
        model: a causal LM or peft model in eval mode.
        tokenizer: the model's own.
        questions: Q questions.
        max_new_tokens: largest number of tokens of an answer, with end-of-turn.
        batch_size: largest number of questions per batch.
        system_prompt: system message before every question.

    Returns:
        Q generations. If the logits of a step are not finite, the text is empty and `stopped`
        is False.

    Raises:
        InputError: a prompt and its answer would exceed the model's positions, or a token is not
            in its vocabulary.
    """
    prompts = [encode_prompt(tokenizer, question, system_prompt) for question in questions]
    if not prompts:
        return []
    check_sequences(model, prompts, max_new_tokens)
    stop = _stop_ids(model, tokenizer)
    answers: list[tuple[list[int], bool]] = [([], False)] * len(prompts)
    for batch in batches([len(prompt) for prompt in prompts], batch_size):
        padded = collate(
            [Encoded(tuple(prompts[index])) for index in batch], tokenizer.pad_token_id, "left"
        )
        for index, answer in zip(batch, _greedy(model, padded, stop, max_new_tokens), strict=True):
            answers[index] = answer
    return [
        Generation(
            nfc(tokenizer.decode(ids, skip_special_tokens=True)).strip(), stopped, tuple(ids)
        )
        for ids, stopped in answers
    ]


def _stop_ids(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """End-of-turn and end-of-sequence of the tokenizer, and stop tokens of the model folder."""
    declared = getattr(unwrapped(model).generation_config, "eos_token_id", None)
    declared = [declared] if isinstance(declared, int) else declared or []
    return stop_ids(tokenizer) | set(declared)


@torch.inference_mode()
def _greedy(
    model: "PreTrainedModel",
    padded: dict[str, torch.Tensor],
    stop: frozenset[int],
    max_new_tokens: int,
) -> list[tuple[list[int], bool]]:
    """Token ids (without the stop token) and whether the answer stopped, for each row."""
    from transformers import DynamicCache

    device = model.device
    causal = unwrapped(model)
    cache = DynamicCache(config=causal.config)
    last_only = "logits_to_keep" in inspect.signature(causal.forward).parameters
    extra = {"logits_to_keep": 1} if last_only else {}
    ids = padded["input_ids"].to(device)  # (rows, T), then (rows, 1)
    mask = padded["attention_mask"].to(device)  # (rows, all tokens so far)
    positions = padded["position_ids"].to(device)
    rows = list(range(len(ids)))  # for each remaining row its index in the batch
    texts: list[list[int]] = [[] for _ in rows]
    stopped = [False] * len(rows)
    ended: set[int] = set()  # ended rows; they stay if the cache cannot remove rows
    for step in range(max_new_tokens):
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            **extra,
        ).logits[:, -1]  # (rows, V)
        best = logits.max(dim=-1)
        running = []
        finite = best.values.isfinite().tolist()
        for place, (row, token) in enumerate(zip(rows, best.indices.tolist(), strict=True)):
            if row in ended:
                continue
            if not finite[place]:
                texts[row] = []
                ended.add(row)
            elif token in stop:
                stopped[row] = True
                ended.add(row)
            else:
                texts[row].append(token)
                running.append(place)
        if not running or step + 1 == max_new_tokens:
            break
        ids, positions = best.indices[:, None], positions[:, -1:] + 1
        if len(running) < len(rows) and _can_remove_rows(cache):
            keep = torch.tensor(running, device=device)
            cache.batch_select_indices(keep)
            ids, mask, positions = ids[keep], mask[keep], positions[keep]
            rows = [rows[place] for place in running]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
    return list(zip(texts, stopped, strict=True))


def _can_remove_rows(cache: "DynamicCache") -> bool:
    """Whether single rows can be removed; convolutions and linear attention do not allow it."""
    return all(hasattr(layer, "batch_select_indices") for layer in cache.layers)
