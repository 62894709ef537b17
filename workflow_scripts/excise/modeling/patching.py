"""Hidden states of one model in another: patching, and the logit lens, at the value of an answer.

Both models are the same base with different adapters, in one memory, one after the other. The
*source* is read first: outputs of all blocks at the positions that predict the value's tokens. The
*target* (the finetuned model) then goes on from these states:

- patching: after block ℓ of the target the source's states replace its own at all these positions
  at once; blocks ℓ + 1 … L of the target follow;
- logit lens: the final norm and the head of the target read the states of block ℓ directly.

The result of both is the mean log-probability of the value's tokens. States are outputs of blocks,
as hooks see them. So the last one is *before* the final norm, where `output_hidden_states` gives it
after the norm. Sources: patching at the entity span is that of the Unlearning Depth Score; the
logit lens is that of nostalgebraist (2020).

A patch cannot change what lies before it. So the prompt and the answer up to the value are read
once per batch, and their keys and values are kept. A patch at block ℓ costs blocks ℓ + 1 … L at the
positions of the value alone. If an architecture gives other results that way, which is tried on the
first batch, all blocks read whole sequences.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from excise.benchmark.items import Item
from excise.modeling.base import blocks, check_sequences, one_line, unwrapped
from excise.modeling.batching import batches
from excise.modeling.chat import Encoded, collate, encode, value_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOLERANCE = 1e-3
"""Largest difference of a log-probability between the two ways of reading, also relative."""


@dataclass(frozen=True)
class Span:
    """An answer up to its value.

    Attributes:
        before: token ids before the first position that predicts a token of the value.
        predicting: token ids at the positions that predict the value, one for each of its tokens.
        value: token ids of the value.
    """

    before: tuple[int, ...]
    predicting: tuple[int, ...]
    value: tuple[int, ...]


class Spans:
    """Questions, cut at the value of their answer, tokenised once for all models.

    An answer that does not spell its value counts as the value as a whole. Answers without tokens
    have no span and are left out (`indices`).

    Args:
        tokenizer: the base model's.
        items: the questions.
        batch_size: largest number of sequences per forward pass.
        system_prompt: system message before every question.
        device: the models'.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        items: Sequence[Item],
        batch_size: int,
        system_prompt: str | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.pad_id = tokenizer.pad_token_id
        self.indices: list[int] = []
        self.spans: list[Span] = []
        for index, item in enumerate(items):
            encoded = encode(tokenizer, item.question, item.answer, system_prompt)
            length = len(encoded.answer_ids) - 1  # without end-of-turn
            first, last = value_tokens(tokenizer, item.answer, item.value) or (0, length)
            if last > first:
                ids, start = encoded.input_ids, len(encoded.prompt_ids) + first
                end = len(encoded.prompt_ids) + last
                span = Span(ids[: start - 1], ids[start - 1 : end - 1], ids[start:end])
                self.indices.append(index)
                self.spans.append(span)
        lengths = [len(span.before) + len(span.predicting) for span in self.spans]
        self.batches = list(batches(lengths, batch_size, torch.device(device)))

    def parts(self, most_positions: int) -> Iterator[list[list[int]]]:
        """The batches in runs of at most `most_positions` positions whose states are kept."""
        run, positions = [], 0
        for batch in self.batches:
            own = sum(len(self.spans[index].predicting) for index in batch)
            if run and positions + own > most_positions:
                yield run
                run, positions = [], 0
            run.append(batch)
            positions += own
        if run:
            yield run


class SpanModel:
    """A model that reads spans: as the source of states, or as the target that takes them.

    Args:
        model: a causal LM or peft model, in fp32.
        spans: the questions.
        whole: whether all blocks read whole sequences; None: only if the model needs it.
    """

    def __init__(self, model: "PreTrainedModel", spans: Spans, whole: bool | None = None) -> None:
        check_sequences(model, [(*one.before, *one.predicting) for one in spans.spans])
        self.model, self.spans = unwrapped(model).eval(), spans
        self.blocks = list(blocks(model))
        self._gives = self._given_lengths()
        self.whole = self._needs_whole() if whole is None else whole

    @torch.inference_mode()
    def states(self, batch: Sequence[int]) -> torch.Tensor:
        """Outputs of all blocks at the predicting positions: fp32 (L, positions, hidden), CPU.

        The positions of the batch's spans stand one after the other.
        """
        return torch.stack([one.cpu() for one in self._read(_Batch.of(self, batch))[1]])

    @torch.inference_mode()
    def patched(
        self, batch: Sequence[int], states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean log-probability of the value's tokens, unpatched and patched at each block.

        Args:
            batch: indices of spans.
            states: those of the source, as `states` gives them for the same batch.

        Returns:
            fp64 (spans,) and (spans, L), on the CPU. With the target's own states both are equal
            to the last bit.
        """
        read = _Batch.of(self, batch)
        logits, _ = self._read(read)
        states = states.to(self.model.device)
        patched = [
            self._patched(read, layer, states[layer - 1]) for layer in range(1, len(states) + 1)
        ]
        return read.value_logprob(logits), torch.stack([*map(read.value_logprob, patched)], dim=1)

    @torch.inference_mode()
    def lens(self, batch: Sequence[int], states: torch.Tensor) -> torch.Tensor:
        """Mean log-probability of the value's tokens from each block's states: fp64 (spans, L)."""
        read = _Batch.of(self, batch, cached=False)
        states = states.to(self.model.device)
        found = [self._from(read, len(self.blocks), layer) for layer in states]
        return torch.stack([*map(read.value_logprob, found)], dim=1)

    @torch.inference_mode()
    def _given_lengths(self) -> list[int]:
        """For each block the length of the tuple that it gives; 0 if it gives a tensor."""
        lengths = []

        def note(_block, _inputs, output):
            lengths.append(len(output) if isinstance(output, tuple) else 0)

        with _hooked(self.blocks, note):
            self.model(torch.zeros(1, 1, dtype=torch.long, device=self.model.device))
        return lengths

    def _needs_whole(self) -> bool:
        """Whether going on from kept keys and values gives other results; tried on four spans."""
        if not self.spans.batches:
            return False
        batch = self.spans.batches[0][:4]
        whole, cached = (SpanModel(self.model, self.spans, one) for one in (True, False))
        states = 0.9 * whole.states(batch)
        expected = whole.patched(batch, states)
        try:
            found = cached.patched(batch, states)
        except Exception as error:  # the architecture's cache has another form
            print(f"patched in whole sequences: {one_line(error)}", flush=True)
            return True
        tolerance = {"rtol": TOLERANCE, "atol": TOLERANCE, "equal_nan": True}
        return not all(map(lambda *pair: torch.allclose(*pair, **tolerance), found, expected))

    # --- forward passes; logits and states at the predicting positions, in the order of spans ---

    def _read(self, read: "_Batch") -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits (positions, vocabulary) and states [(positions, hidden)] of the model itself."""
        kept = []

        def keep(_block, _inputs, output):
            kept.append(_hidden(output)[read.rows, read.columns].float())

        with _hooked(self.blocks, keep):
            logits = self.model(**read.inputs()).logits
        return logits[read.rows, read.columns], kept

    def _patched(self, read: "_Batch", layer: int, states: torch.Tensor) -> torch.Tensor:
        """Logits with `states` after block `layer` (from 1)."""
        if not self.whole:
            return self._from(read, layer, states)

        def replace(_block, _inputs, output):
            hidden = _hidden(output).clone()
            hidden[read.rows, read.columns] = states.to(hidden.dtype)
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        with _hooked([self.blocks[layer - 1]], replace):
            logits = self.model(**read.inputs()).logits
        return logits[read.rows, read.columns]

    def _from(self, read: "_Batch", layer: int, states: torch.Tensor) -> torch.Tensor:
        """Logits of the blocks after `layer` and the head, from `states` at all positions."""
        with _skipped(self.blocks[:layer], self._gives, read.scattered(states)):
            logits = self.model(**read.inputs()).logits
        return logits[read.rows, read.columns]


@contextmanager
def _hooked(hooked: Sequence[torch.nn.Module], hook: Callable) -> Iterator[None]:
    """Blocks with a forward hook."""
    handles = [block.register_forward_hook(hook) for block in hooked]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _skipped(
    skipped: Sequence[torch.nn.Module], gives: Sequence[int], states: torch.Tensor
) -> Iterator[None]:
    """Blocks that compute nothing; the first gives `states`, the others hand them on."""
    for block, length in zip(skipped, gives, strict=False):

        def forward(*_args, length=length, **_kwargs):
            return (states, *[None] * (length - 1)) if length else states

        block.forward = forward
    try:
        yield
    finally:
        for block in skipped:
            del block.forward


def _hidden(output: torch.Tensor | tuple) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


class _Batch:
    """The inputs of a batch of spans, and the places of its predicting positions.

    Attributes:
        rows: row of each predicting position, (positions,).
        columns: its column in the tokens that a forward pass reads, (positions,).
    """

    @classmethod
    def of(cls, model: SpanModel, batch: Sequence[int], cached: bool = True) -> "_Batch":
        """The batch of a model; without `cached` the predicting positions alone."""
        spans = [model.spans.spans[index] for index in batch]
        return cls(model.model, spans, model.spans.pad_id, model.whole if cached else None)

    def __init__(
        self, model: "PreTrainedModel", spans: Sequence[Span], pad_id: int, whole: bool | None
    ) -> None:
        device = model.device
        self.sizes = [len(span.predicting) for span in spans]
        self.value = torch.tensor([i for span in spans for i in span.value], device=device)
        starts = [len(span.before) if whole else 0 for span in spans]
        places = [
            (row, start + k)
            for row, (start, size) in enumerate(zip(starts, self.sizes, strict=True))
            for k in range(size)
        ]
        self.rows, self.columns = torch.tensor(places, device=device).unbind(1)
        tokens = [((*one.before,) if whole else ()) + one.predicting for one in spans]
        padded = collate([Encoded(one) for one in tokens], pad_id)
        self._given = {key: padded[key].to(device) for key in ("input_ids", "attention_mask")}
        self._cache = None
        if whole is False:
            self._read_before(model, spans, pad_id)

    def _read_before(self, model: "PreTrainedModel", spans: Sequence[Span], pad_id: int) -> None:
        """Keep the keys and values of what lies before the predicting positions."""
        padded = collate([Encoded(span.before) for span in spans], pad_id, side="left")
        padded = {key: padded[key].to(model.device) for key in padded if key != "labels"}
        self._cache = model(use_cache=True, **padded).past_key_values
        lengths = padded["attention_mask"].sum(dim=1, keepdim=True)
        own = self._given["attention_mask"]
        self._given["attention_mask"] = torch.cat([padded["attention_mask"], own], dim=1)
        self._given["position_ids"] = lengths + torch.arange(own.shape[1], device=own.device)

    def inputs(self) -> dict:
        """Arguments of a forward pass; each gets its own copy of the keys and values."""
        if self._cache is None:
            return self._given | {"use_cache": False}
        return self._given | {"past_key_values": copy.deepcopy(self._cache), "use_cache": True}

    def scattered(self, states: torch.Tensor) -> torch.Tensor:
        """States (positions, hidden) at their rows and columns, 0 elsewhere."""
        shape = (*self._given["input_ids"].shape, states.shape[-1])
        padded = torch.zeros(shape, dtype=states.dtype, device=states.device)
        padded[self.rows, self.columns] = states
        return padded

    def value_logprob(self, logits: torch.Tensor) -> torch.Tensor:
        """Mean log-probability of each value's tokens, from logits (positions, V): fp64, CPU."""
        logprobs = logits.float().log_softmax(dim=-1).gather(1, self.value[:, None])[:, 0]
        return torch.stack([one.mean() for one in logprobs.double().cpu().split(self.sizes)])
