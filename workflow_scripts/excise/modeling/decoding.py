"""Generate greedy answers in batches: the most probable token at each step, until end-of-turn.

Sampling settings in a model folder (temperature, repetition penalty, …) are ignored. Sequences of
different length are padded on the left. A row that has ended is removed from the batch and its
cache. So a collapsed model that never ends one answer computes only this row to the limit.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad

from excise.modeling.base import check_sequences, unwrapped
from excise.modeling.batching import batches
from excise.modeling.chat import Encoded, collate, encode_prompt, stop_ids
from excise.modeling.trees import Tree, TreeBatch
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


@dataclass
class Sequences:
    """R sequences that a model has read, padded on the left to L tokens.

    Attributes:
        cache: keys and values of the L tokens.
        mask: 1 for a token, 0 for padding, int64 (R, L).
    """

    cache: "DynamicCache"
    mask: torch.Tensor

    @classmethod
    def unread(cls, model: "PreTrainedModel", count: int) -> "Sequences":
        """`count` empty sequences."""
        from transformers import DynamicCache

        mask = torch.ones(count, 0, dtype=torch.long, device=model.device)
        return cls(DynamicCache(config=unwrapped(model).config), mask)

    @classmethod
    def of_trees(
        cls,
        cache: "DynamicCache",
        batch: TreeBatch,
        trees: Sequence[Tree],
        rows: Sequence[int],
        paths: Sequence[Sequence[int]],
    ) -> "Sequences":
        """Prompts and the first tokens of answers out of a batch of trees.

        Args:
            cache: of the trees (`scoring.forward`).
            batch: the batch.
            trees: all trees.
            rows: R rows of the batch.
            paths: for each the places of its answer's first tokens.
        """
        places = [
            [*range(trees[batch.trees[row]].prompt), *path]
            for row, path in zip(rows, paths, strict=True)
        ]
        longest = max(map(len, places))
        columns = torch.zeros(len(places), longest, dtype=torch.long)
        mask = torch.zeros_like(columns)
        for row, own in enumerate(places):
            columns[row, longest - len(own) :] = torch.tensor(own)
            mask[row, longest - len(own) :] = 1
        device = cache.layers[0].keys.device
        row = torch.tensor(list(rows), device=device)[:, None]
        columns = columns.to(device)

        def chosen(table: torch.Tensor) -> torch.Tensor:  # (B, heads, T, size)
            return table.transpose(1, 2)[row, columns].transpose(1, 2).contiguous()

        layers = [(chosen(layer.keys), chosen(layer.values)) for layer in cache.layers]
        return cls(_cache_of(layers), mask.to(device))

    @classmethod
    def joined(cls, parts: Sequence["Sequences"]) -> "Sequences":
        """The rows of several batches in one."""
        if len(parts) == 1:
            return parts[0]
        longest = max(part.mask.shape[1] for part in parts)
        short = [longest - part.mask.shape[1] for part in parts]

        def together(tables: Sequence[torch.Tensor]) -> torch.Tensor:
            return torch.cat(
                [pad(one, (0, 0, by, 0)) for one, by in zip(tables, short, strict=True)]
            )

        layers = [
            (together([layer.keys for layer in same]), together([layer.values for layer in same]))
            for same in zip(*(part.cache.layers for part in parts), strict=True)
        ]
        mask = torch.cat([pad(part.mask, (by, 0)) for part, by in zip(parts, short, strict=True)])
        return cls(_cache_of(layers), mask)

    def read(
        self, model: "PreTrainedModel", ids: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Read t more tokens of each sequence.

        Args:
            model: in eval mode.
            ids: (R, t).
            mask: (R, t), if some of the tokens are padding on the left.

        Returns:
            The logits after the last token, (R, V).
        """
        new = torch.ones_like(ids) if mask is None else mask
        self.mask = torch.cat([self.mask, new], dim=1)
        positions = (self.mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        last_only = "logits_to_keep" in inspect.signature(unwrapped(model).forward).parameters
        return model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            **({"logits_to_keep": 1} if last_only else {}),
        ).logits[:, -1]

    def keep(self, rows: Sequence[int]) -> bool:
        """Remove all other rows. False: this cache does not allow it, and nothing has changed."""
        if not can_remove_rows(self.cache):
            return False
        chosen = torch.tensor(rows, device=self.mask.device)
        self.cache.batch_select_indices(chosen)
        self.mask = self.mask[chosen]
        return True


def _cache_of(layers: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> "DynamicCache":
    from transformers import DynamicCache

    cache = DynamicCache()
    for index, (keys, values) in enumerate(layers):
        cache.update(keys, values, index)
    return cache


def can_remove_rows(cache: "DynamicCache") -> bool:
    """Whether single rows can be removed; convolutions and linear attention do not allow it."""
    return all(hasattr(layer, "batch_select_indices") for layer in cache.layers)


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
    stop = all_stop_ids(model, tokenizer)
    answers: list[Generation | None] = [None] * len(prompts)
    for batch in batches([len(prompt) for prompt in prompts], batch_size, model.device):
        padded = collate(
            [Encoded(tuple(prompts[index])) for index in batch], tokenizer.pad_token_id, "left"
        )
        made = decode(
            model,
            Sequences.unread(model, len(batch)),
            padded["input_ids"].to(model.device),
            stop,
            [max_new_tokens] * len(batch),
            padded["attention_mask"].to(model.device),
        )
        for index, one in zip(batch, made, strict=True):
            answers[index] = generation(tokenizer, *(one or ([], False)))
    return answers


def generation(
    tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int], stopped: bool
) -> Generation:
    """The generation of some token ids."""
    text = tokenizer.decode(list(ids), skip_special_tokens=True)
    return Generation(nfc(text).strip(), stopped, tuple(ids))


def all_stop_ids(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """End-of-turn and end-of-sequence of the tokenizer, and stop tokens of the model folder."""
    declared = getattr(unwrapped(model).generation_config, "eos_token_id", None)
    declared = [declared] if isinstance(declared, int) else declared or []
    return stop_ids(tokenizer) | set(declared)


@torch.inference_mode()
def decode(
    model: "PreTrainedModel",
    sequences: Sequences,
    ids: torch.Tensor,
    stop: frozenset[int],
    limits: Sequence[int],
    mask: torch.Tensor | None = None,
) -> list[tuple[list[int], bool] | None]:
    """Greedy tokens after R sequences.

    Args:
        model: in eval mode.
        sequences: what the model has read; changed in place.
        ids: what it reads next, (R, t).
        stop: tokens that end an answer.
        limits: largest number of new tokens of each row, at least 1, with the one that ends it.
        mask: (R, t), as in `Sequences.read`.

    Returns:
        For each row the new tokens without the one that ends it, and whether it ended with one.
        A row whose logits are not finite at some step is None.
    """
    made: list[list[int]] = [[] for _ in limits]
    stopped = [False] * len(made)
    broken = [False] * len(made)
    rows = list(range(len(made)))  # for each remaining row its index
    ended: set[int] = set()  # ended rows; they stay if the cache cannot remove rows
    step = 0
    while True:
        best = sequences.read(model, ids, mask).max(dim=-1)
        mask, step = None, step + 1
        running = []
        finite = best.values.isfinite().tolist()
        for place, (row, token) in enumerate(zip(rows, best.indices.tolist(), strict=True)):
            if row in ended:
                continue
            if not finite[place]:
                broken[row] = True
            elif token in stop:
                stopped[row] = True
            else:
                made[row].append(token)
                if step < limits[row]:
                    running.append(place)
                    continue
            ended.add(row)
        if not running:
            break
        ids = best.indices[:, None]
        if len(running) < len(rows) and sequences.keep(running):
            ids = ids[torch.tensor(running, device=ids.device)]
            rows = [rows[place] for place in running]
    return [
        None if lost else (tokens, end)
        for lost, tokens, end in zip(broken, made, stopped, strict=True)
    ]
