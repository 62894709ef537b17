"""A question and its answers as one sequence: the prompt, then a tree of answers.

The model reads the prompt once. Equal beginnings of answers stand once too: most wrong answers of
a question are the true paraphrase around another value. A token sees the tokens on its way from
the root, and its position is its depth. So its state is the same as in the answer alone.

The tokens stand in depth-first order. All tokens that follow token k in some answer therefore
stand between k and `ends[k]`, and that interval gives the attention mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch

from excise.modeling.base import unwrapped

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Tree:
    """The prompt of a question and its answers, token by token.

    A *place* is the index of a token in the sequence. A *guess* is a place and a token that an
    answer has there: the model's prediction at the place is scored for this token.

    Args:
        prompt: token ids up to the answer, at least one.
        answers: token ids of each answer, with end-of-turn; there may be none.

    Attributes:
        ids: token ids, (T,).
        positions: depth of each token, (T,).
        ends: place of the last token that sees this token, (T,).
        prompt: number of tokens of the prompt.
        guess_at, guessed: place and token of each guess, (G,); places ascend.
        answers: for each answer its guesses in order.
    """

    def __init__(self, prompt: Sequence[int], answers: Sequence[Sequence[int]]) -> None:
        self.ids = list(prompt)
        self.prompt = len(prompt)
        self.positions = list(range(self.prompt))
        self.ends = [0] * self.prompt
        self._next: dict[tuple[int, int], int] = {}
        guesses = self._grow(_trie(answers))
        self.ends[: self.prompt] = [len(self.ids) - 1] * self.prompt
        ordered = sorted(guesses)  # equal places follow each other
        number = {guess: index for index, guess in enumerate(ordered)}
        self.guess_at = [place for place, _ in ordered]
        self.guessed = [token for _, token in ordered]
        self.answers = [[number[guess] for guess in self._guesses(answer)] for answer in answers]

    def _grow(self, trie: dict) -> list[tuple[int, int]]:
        """Append the tokens that some answer continues, depth first; return all guesses."""
        guesses = []
        open_places = [(self.prompt - 1, iter(trie.items()))]
        while open_places:
            place, branches = open_places[-1]
            token, below = next(branches, (None, None))
            if below is None:
                open_places.pop()
                if place >= self.prompt:
                    self.ends[place] = len(self.ids) - 1
                continue
            guesses.append((place, token))
            if below:  # the last token of an answer is only guessed
                self._next[place, token] = len(self.ids)
                open_places.append((len(self.ids), iter(below.items())))
                self.ids.append(token)
                self.positions.append(self.positions[place] + 1)
                self.ends.append(0)
        return guesses

    def _guesses(self, answer: Sequence[int]) -> list[tuple[int, int]]:
        place, found = self.prompt - 1, []
        for token in answer:
            found.append((place, token))
            place = self._next.get((place, token), place)
        return found

    def next_place(self, place: int, token: int) -> int | None:
        """The place of `token` after a place, if an answer continues there."""
        return self._next.get((place, token))

    def __len__(self) -> int:
        return len(self.ids)


def _trie(answers: Sequence[Sequence[int]]) -> dict:
    """Token → the same of what follows it; empty after the last token of an answer."""
    trie: dict = {}
    for answer in answers:
        here = trie
        for token in answer:
            here = here.setdefault(token, {})
    return trie


@dataclass(frozen=True)
class TreeBatch:
    """B trees, padded on the right to T tokens. N places are guessed at, with G guesses.

    Attributes:
        trees: indices of the trees among all, (B,).
        ids, positions, ends: int64 (B, T); `ends` of padding is its own place.
        lengths: real tokens of each tree, (B,).
        rows, columns: where each of the N predictions is read; tree by tree, in order of places.
        guess_at: for each guess the index of its prediction, ascending, (G,).
        guessed: token ids, (G,).
        predicted: for each tree {place: index of its prediction}.
    """

    trees: list[int]
    ids: torch.Tensor
    positions: torch.Tensor
    ends: torch.Tensor
    lengths: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    guess_at: torch.Tensor
    guessed: torch.Tensor
    predicted: list[dict[int, int]]


def tree_batch(trees: Sequence[Tree], indices: Sequence[int]) -> TreeBatch:
    """A batch of the trees with these indices. The place before the answer is always predicted."""
    chosen = [trees[index] for index in indices]
    longest = max(map(len, chosen))
    ids, positions = np.zeros((2, len(chosen), longest), dtype=np.int64)
    ends = np.tile(np.arange(longest), (len(chosen), 1))
    rows, columns, guess_at, predicted = [], [], [], []
    for row, tree in enumerate(chosen):
        for table, values in ((ids, tree.ids), (positions, tree.positions), (ends, tree.ends)):
            table[row, : len(tree)] = values
        places = sorted({tree.prompt - 1, *tree.guess_at})
        number = {place: len(rows) + index for index, place in enumerate(places)}
        rows += [row] * len(places)
        columns += places
        guess_at += [number[place] for place in tree.guess_at]
        predicted.append(number)
    return TreeBatch(
        trees=list(indices),
        ids=torch.from_numpy(ids),
        positions=torch.from_numpy(positions),
        ends=torch.from_numpy(ends),
        lengths=torch.tensor([len(tree) for tree in chosen]),
        rows=torch.tensor(rows),
        columns=torch.tensor(columns),
        guess_at=torch.tensor(guess_at, dtype=torch.long),
        guessed=torch.tensor(
            list(chain.from_iterable(tree.guessed for tree in chosen)), dtype=torch.long
        ),
        predicted=predicted,
    )


def tree_mask(
    ends: torch.Tensor, positions: torch.Tensor | None = None, window: int | None = None
) -> torch.Tensor:
    """Attention mask: a token sees itself and the tokens on its way from the root.

    Args:
        ends: (B, T), place of the last token that sees each token.
        positions: (B, T), needed with a window.
        window: a token sees only keys at a distance below this number.

    Returns:
        bool (B, 1, T, T), True where row (query) sees column (key). Padding sees only itself,
        so that no row is empty.
    """
    place = torch.arange(ends.shape[1], device=ends.device)
    seen = (place[:, None] >= place) & (place[:, None] <= ends[:, None, :])
    if window is not None:
        seen &= positions[:, :, None] - positions[:, None, :] < window
        seen |= torch.eye(ends.shape[1], dtype=torch.bool, device=ends.device)
    return seen[:, None]


def tree_masks(
    model: "PreTrainedModel", ends: torch.Tensor, positions: torch.Tensor
) -> torch.Tensor | dict[str, torch.Tensor]:
    """The tree mask in the form that the model needs: one, or one per type of layer.

    Args:
        model: the model; its config names the types of its layers and its window.
        ends: (B, T), as in `tree_mask`.
        positions: (B, T).

    Returns:
        (B, 1, T, T): bool, or numbers to add to the scores of attention.

    Raises:
        ValueError: a layer attends in a way that is neither full nor a sliding window.
    """
    config = unwrapped(model).config
    text = config.get_text_config()

    def mask(window: int | None) -> torch.Tensor:
        seen = tree_mask(ends, positions, window)
        if config._attn_implementation != "sdpa":
            smallest = torch.finfo(model.dtype).min
        elif seen.device.type == "cpu" and model.dtype == torch.float32:
            smallest = -torch.inf  # sdpa would turn bool into these numbers again in every layer
        else:
            return seen
        return torch.zeros_like(seen, dtype=model.dtype).masked_fill_(~seen, smallest)

    window = getattr(text, "sliding_window", None)
    kinds = set(getattr(text, "layer_types", None) or [])
    if unknown := kinds - {"full_attention", "sliding_attention"}:
        raise ValueError(f"no tree mask for {sorted(unknown)}")
    if "sliding_attention" in kinds:
        return {"full_attention": mask(None), "sliding_attention": mask(window)}
    return mask(None if kinds else window)
