"""Measure how far hidden states differ between models, layer by layer, at chosen tokens.

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

import copy
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
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
MEASURES = (
    *("drift", "angle_degrees"),
    *("oracle_drift", "oracle_angle_degrees", "erasure", "direction_cosine"),
)
Means = dict[str, torch.Tensor]
"""Position → mean state of each layer, fp64 (L + 1, hidden)."""


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

    def parts(self, most_tokens: int) -> Iterator["Reader"]:
        """This reader in parts, whole batches each, of at most `most_tokens` tokens if possible."""
        runs: list[list[list[int]]] = []
        held = most_tokens
        for batch in self.batches:
            own = sum(len(self._columns[index]) for index in batch)
            if held + own > most_tokens:
                runs.append([])
                held = 0
            runs[-1].append(batch)
            held += own
        for run in runs:
            part = copy.copy(self)
            part.batches = run
            members = {index for batch in run for index in batch}
            part.tokens = [token for token in self.tokens if token.item in members]
            yield part

    def means(self, model: "PreTrainedModel") -> Means:
        """Mean of the model's states at each position over all items; none are held."""
        sums: Means = {}
        counts = dict.fromkeys(self.positions, 0)
        start = 0
        for states in self.read(model):
            for token, own in zip(self.tokens[start:], states.cpu(), strict=False):
                sums[token.position] = sums.get(token.position, 0) + own
                counts[token.position] += 1
            start += len(states)
        return {position: total / counts[position] for position, total in sums.items()}

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
    """States of the models that others are compared with: the reference, and any oracles.

    Holds one fp32 number per model, token, layer and hidden dimension.

    Args:
        reader: the questions.
        model: the reference model (finetuned), in fp32.
        means: `Reader.means` of the reference, if the reader is a part of the questions; without
            them the means of the states read here count.
    """

    def __init__(
        self, reader: Reader, model: "PreTrainedModel", means: Means | None = None
    ) -> None:
        self.reader = reader
        self.states = self._read(model)  # (tokens, L + 1, hidden), fp32 as computed
        self.oracles: dict[str, torch.Tensor] = {}  # name → the same
        self.spread = torch.empty(self.states.shape[:2], dtype=torch.float64)  # (tokens, L + 1)
        for position in reader.positions:
            here = [i for i, token in enumerate(reader.tokens) if token.position == position]
            if here:
                states = self.states[here].double()
                mean = states.mean(dim=0) if means is None else means[position]
                self.spread[here] = (states - mean).norm(dim=-1)

    def _read(self, model: "PreTrainedModel") -> torch.Tensor:
        return torch.cat([states.float().cpu() for states in self.reader.read(model)])

    def add_oracle(self, name: str, model: "PreTrainedModel") -> None:
        """Read an oracle, which all models but itself are then compared with too."""
        self.oracles[name] = self._read(model)

    def compare(self, model: "PreTrainedModel") -> list[dict]:
        """How the model's states differ from those of the reference and of the oracles.

        In a state h of the model, f of the reference and o of an oracle, all at the same token:

        - `drift` ‖h − f‖ / ‖f − μ‖, where μ is the mean of the reference's states at that position
          over all items (for `answer`: over all their tokens). 0: the same state; 1: the distance
          of this question from the average question.
        - `angle_degrees` between h and f, 0 to 180.
        - `oracle_drift` ‖h − o‖ / ‖f − μ‖: the same distance, in the same unit, from an oracle.
        - `oracle_angle_degrees` between h and o.
        - `erasure` 1 − ‖h − o‖ / ‖f − o‖, at most 1: 1 is the oracle's state, 0 as far from it as
          the reference is, negative further away.
        - `direction_cosine` of h − f and o − f, −1 to 1: whether the change points to the oracle.
          Two oracles do not point the same way, so compare with what oracles reach.

        The last four are means over the oracles. Without oracles they are left out. All is in fp64.

        Returns:
            Records `{id, set, person_id, slot, position, …}`, item by item; each measure holds one
            number per layer, 0 … L, to 6 significant digits, and NaN where a state is NaN or a
            denominator 0.
        """
        return self._compare(self.reader.read(model), self.oracles.values())

    def compare_held(self, name: str | None) -> list[dict]:
        """`compare` for the reference (None) or an oracle, from the states held.

        An oracle is compared with the other oracles.
        """
        states = self.states if name is None else self.oracles[name]
        others = [other for key, other in self.oracles.items() if key != name]
        return self._compare((part.double() for part in states.split(1024)), others)

    def _compare(
        self, read: Iterable[torch.Tensor], oracles: Collection[torch.Tensor]
    ) -> list[dict]:
        tokens = self.reader.tokens
        sums: dict[tuple[int, str], torch.Tensor] = {}  # (measures, L + 1)
        counts: dict[tuple[int, str], int] = {}
        start = 0
        for states in read:
            part = slice(start, start + len(states))
            difference = self._differences(states, part, oracles).cpu()
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

    def _differences(
        self, states: torch.Tensor, part: slice, oracles: Collection[torch.Tensor]
    ) -> torch.Tensor:
        """All measures of the tokens of a part: (tokens, measures, L + 1)."""
        reference = self.states[part].to(states.device).double()
        spread = self.spread[part].to(states.device)
        found = [relative_drift(states, reference, spread), angle_degrees(states, reference)]
        if oracles:
            each = []
            for oracle in oracles:
                towards = oracle[part].to(states.device).double()
                each.append(
                    torch.stack(
                        [
                            relative_drift(states, towards, spread),
                            angle_degrees(states, towards),
                            erasure(states, reference, towards),
                            direction_cosine(states, reference, towards),
                        ]
                    )
                )
            found.extend(torch.stack(each).mean(dim=0))
        return torch.stack(found, dim=1)

    @staticmethod
    def _record(item: Item, position: str, measures: torch.Tensor) -> dict:
        record = {"id": item.id, "set": item.set, "person_id": item.person_id, "slot": item.slot}
        numbers = [[float(f"{value:.6g}") for value in row] for row in measures.tolist()]
        names = MEASURES if len(numbers) == len(MEASURES) else MEASURES[: len(numbers)]
        return record | {"position": position} | dict(zip(names, numbers, strict=True))


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


def erasure(states: torch.Tensor, reference: torch.Tensor, oracle: torch.Tensor) -> torch.Tensor:
    """1 − ‖h − o‖ / ‖f − o‖ of vectors (…, hidden); NaN where reference and oracle are equal."""
    whole = (reference - oracle).norm(dim=-1)
    return 1 - (states - oracle).norm(dim=-1) / torch.where(whole == 0, math.nan, whole)


def direction_cosine(
    states: torch.Tensor, reference: torch.Tensor, oracle: torch.Tensor
) -> torch.Tensor:
    """Cosine of h − f and o − f, vectors (…, hidden); NaN where one of them is 0."""
    change, wanted = states - reference, oracle - reference
    product = (change * wanted).sum(dim=-1)
    return (product / (change.norm(dim=-1) * wanted.norm(dim=-1))).clamp(-1, 1)


def angle_degrees(states: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Angle between two vectors (…, hidden) in degrees, accurate also near 0 and 180.

    2·atan2(‖a − b‖, ‖a + b‖) of the unit vectors (Kahan). With arccos of their product, angles
    below 1e-6 would be 0 or noise.
    """
    a = torch.nn.functional.normalize(states, dim=-1)
    b = torch.nn.functional.normalize(reference, dim=-1)
    return torch.rad2deg(2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1)))
