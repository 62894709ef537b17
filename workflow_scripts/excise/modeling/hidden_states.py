"""Measure how far hidden states differ between two models, layer by layer, at chosen tokens.

One teacher-forced forward pass over question and answer gives the states of all layers at all
positions. They are inputs and outputs of the transformer blocks: state 0 is the input of the first
block (the embeddings), state k is the output of block k. So the last state is *before* the final
norm, like all others. (`output_hidden_states` returns it after the norm.)

Positions (token 0 is never used, because its state is large and the same in every prompt):

- `last_subject`: the last token of the person's name in the question; questions without a
  subject have no such record.
- `last_prompt`: the last token before the answer, which predicts its first token.
- `answer`: every token of the true answer, without end-of-turn; drift and angle are computed
  for each token and then averaged.

Both models read the same batches, so the drift of a model from itself is exactly 0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from excise.benchmark.items import Item
from excise.errors import InputError
from excise.modeling.base import backbone, blocks, check_sequences
from excise.modeling.batching import batches
from excise.modeling.chat import Encoded, collate, encode, subject_span

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

POSITIONS = ("last_subject", "last_prompt", "answer")


@dataclass(frozen=True)
class Token:
    """One token whose states are read, with its item and position."""

    item: int
    position: str
    column: int


class Reader:
    """The questions and the tokens whose states are read, tokenised once for all models.

    Args:
        tokenizer: the base model's.
        items: the questions, with their true answers.
        batch_size: largest number of sequences per forward pass.
        positions: some of `POSITIONS`.
        system_prompt: system message before every question.
        device: the models'.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        items: Sequence[Item],
        batch_size: int,
        positions: Sequence[str] = POSITIONS,
        system_prompt: str | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        if unknown := set(positions) - set(POSITIONS):
            raise InputError(
                f"representations.positions: {sorted(unknown)}; allowed are {', '.join(POSITIONS)}"
            )
        self.items = list(items)
        self.positions = list(positions)
        self.pad_id = tokenizer.pad_token_id
        self.sequences = []
        self._columns: list[list[tuple[str, int]]] = []
        for item in self.items:
            encoded = encode(tokenizer, item.question, item.answer, system_prompt)
            encoded = Encoded(encoded.prompt_ids, encoded.answer_ids[:-1])
            subject = (
                subject_span(tokenizer, item.question, item.subject, system_prompt)
                if item.subject
                else None
            )
            self.sequences.append(encoded)
            self._columns.append(_columns(encoded, subject, self.positions))
        lengths = [len(encoded.input_ids) for encoded in self.sequences]
        self.batches = list(batches(lengths, batch_size, torch.device(device)))
        self.tokens = [
            Token(index, position, column)
            for batch in self.batches
            for index in batch
            for position, column in self._columns[index]
        ]

    @torch.inference_mode()
    def read(self, model: "PreTrainedModel") -> Iterator[torch.Tensor]:
        """Read the model's states batch by batch, in the order of `tokens`.

        Yields:
            fp64 (tokens of the batch, L + 1 layers, hidden), on the model's device.

        Raises:
            InputError: a question and its answer are longer than the model's positions, or a
                token is not in its vocabulary.
        """
        check_sequences(model, [encoded.input_ids for encoded in self.sequences])
        model.eval()
        for batch in self.batches:
            padded = collate([self.sequences[index] for index in batch], self.pad_id)
            where = [
                (row, column)
                for row, index in enumerate(batch)
                for _, column in self._columns[index]
            ]
            rows, columns = torch.tensor(where, device=model.device).reshape(-1, 2).unbind(1)
            with _States(model, rows, columns) as states:
                backbone(model)(
                    input_ids=padded["input_ids"].to(model.device),
                    attention_mask=padded["attention_mask"].to(model.device),
                    use_cache=False,
                )
            yield torch.stack(states.layers, dim=1)


def _columns(
    encoded: Encoded, subject: int | None, positions: Sequence[str]
) -> list[tuple[str, int]]:
    """Tokens of a sequence to read, as (position, column), without column 0."""
    prompt = len(encoded.prompt_ids)
    found = {
        "last_subject": [] if subject is None else [subject],
        "last_prompt": [prompt - 1],
        "answer": range(prompt, len(encoded.input_ids)),
    }
    return [(position, column) for position in positions for column in found[position] if column]


class _States:
    """Hooks on the blocks for one forward pass; they keep the states of the chosen tokens."""

    def __init__(self, model: torch.nn.Module, rows: torch.Tensor, columns: torch.Tensor) -> None:
        self.blocks = blocks(model)
        self.rows, self.columns = rows, columns
        self.layers: list[torch.Tensor] = []  # each (tokens, hidden)

    def _keep(self, states: torch.Tensor) -> None:
        self.layers.append(states[self.rows, self.columns].double())

    def __enter__(self) -> "_States":
        def keep_input(_module, args, kwargs):
            self._keep(args[0] if args else kwargs["hidden_states"])

        def keep_output(_module, _args, output):
            self._keep(output[0] if isinstance(output, tuple) else output)

        self.hooks = [self.blocks[0].register_forward_pre_hook(keep_input, with_kwargs=True)]
        self.hooks += [block.register_forward_hook(keep_output) for block in self.blocks]
        return self

    def __exit__(self, *_error) -> None:
        for hook in self.hooks:
            hook.remove()


class Reference:
    """States of the reference model, read once; all other models are compared with them.

    Holds one fp32 number per token, layer and hidden dimension: 4·(L + 1)·hidden bytes per token.

    Args:
        reader: the questions.
        model: the reference model, in fp32.
    """

    def __init__(self, reader: Reader, model: "PreTrainedModel") -> None:
        self.reader = reader
        read = [states.float().cpu() for states in reader.read(model)]
        self.states = torch.cat(read)  # (tokens, L + 1, hidden), fp32 as computed
        self.spread = torch.empty(self.states.shape[:2], dtype=torch.float64)  # (tokens, L + 1)
        for position in reader.positions:
            here = [i for i, token in enumerate(reader.tokens) if token.position == position]
            if here:
                states = self.states[here].double()
                self.spread[here] = (states - states.mean(dim=0)).norm(dim=-1)

    def compare(self, model: "PreTrainedModel") -> list[dict]:
        """Drift and angle between the model's states and those of the reference.

        drift_ℓ = ‖h_model − h_reference‖ / ‖h_reference − μ_ℓ‖, where μ_ℓ is the mean of the
        reference's states at that position over all items (for `answer`: over all their
        tokens). 0: the same state; 1: the distance of this question from the average question.
        angle: between h_model and h_reference, in degrees, 0 to 180. Both are in fp64.

        Returns:
            Records `{id, set, person_id, slot, position, drift, angle_degrees}`, item by item;
            the last two hold one number per layer, 0 … L, to 6 significant digits, and NaN
            where the model's states are NaN.
        """
        tokens = self.reader.tokens
        sums: dict[tuple[int, str], torch.Tensor] = {}  # (2, L + 1): drift and angle
        counts: dict[tuple[int, str], int] = {}
        start = 0
        for states in self.reader.read(model):
            part = slice(start, start + len(states))
            reference = self.states[part].to(states.device).double()
            difference = torch.stack(
                [
                    relative_drift(states, reference, self.spread[part].to(states.device)),
                    angle_degrees(states, reference),
                ],
                dim=1,
            ).cpu()  # (tokens, 2, L + 1)
            for token, numbers in zip(tokens[part], difference, strict=True):
                key = (token.item, token.position)
                sums[key] = sums[key] + numbers if key in sums else numbers
                counts[key] = counts.get(key, 0) + 1
            start += len(states)
        return [
            self._record(item, position, sums[index, position] / counts[index, position])
            for index, item in enumerate(self.reader.items)
            for position in self.reader.positions
            if (index, position) in sums
        ]

    @staticmethod
    def _record(item: Item, position: str, difference: torch.Tensor) -> dict:
        drift, angle = ([float(f"{value:.6g}") for value in row] for row in difference.tolist())
        return {
            "id": item.id,
            "set": item.set,
            "person_id": item.person_id,
            "slot": item.slot,
            "position": position,
            "drift": drift,
            "angle_degrees": angle,
        }


def relative_drift(
    states: torch.Tensor, reference: torch.Tensor, spread: torch.Tensor
) -> torch.Tensor:
    """‖h − h_ref‖ / spread, and exactly 0 where both states are equal, for any spread.

    Args:
        states: (…, hidden).
        reference: (…, hidden).
        spread: (…), distance of the reference from its mean; 0 if all questions share one state,
            for example the embedding of the last prompt token.
    """
    difference = (states - reference).norm(dim=-1)
    return torch.where(difference == 0, difference, difference / spread)


def angle_degrees(states: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Angle between two vectors (…, hidden) in degrees, accurate also near 0 and 180.

    2·atan2(‖a − b‖, ‖a + b‖) of the unit vectors (Kahan). With arccos of their product, angles
    below 1e-6 would be 0 or noise.
    """
    a = torch.nn.functional.normalize(states, dim=-1)
    b = torch.nn.functional.normalize(reference, dim=-1)
    return torch.rad2deg(2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1)))
