"""Scores of answers in one forward pass over a batch of trees (`trees`), token by token.

Vocabulary logits are computed only where an answer token is predicted. The same logits give the
rank of each token, and mean and variance of the log-probabilities that the model's own distribution
has at its place (`TokenScores`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from excise.modeling.base import backbone, unwrapped
from excise.modeling.batching import batches
from excise.modeling.chat import Encoded
from excise.modeling.trees import Tree, TreeBatch, tree_batch, tree_masks

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel

MAX_LOGITS = 2**26
"""Numbers in one block of fp32 logits: 256 MB."""
MAX_DISTRIBUTIONS = {"cpu": 2**18, "cuda": 2**24}
"""Numbers in one block of distributions: 1 MB stays in the cache of a CPU core; 64 MB on a GPU."""
LOWEST_LOGPROB = -1e4
"""Its probability is 0 in fp32, and its square is finite."""


@dataclass(frozen=True)
class TokenScores:
    """What the model says at each of the n tokens of an answer; arrays of shape (n,).

    p is the model's distribution of the next token at the place of the token. The end-of-turn
    token is the last of an answer.

    Attributes:
        logprob: natural log of p(token), float32, in nats; NaN or infinite if the logits are.
        rank: how many tokens are more likely, int32; 0: the token is the argmax. Size of the
            vocabulary if the logits are NaN.
        mean: μ = Σ p log p, the mean log-probability under p (its negative entropy), float32.
        variance: σ² = Σ p (log p − μ)², float32, in nats². Source of μ and σ²: Zhang et al. (2024),
            Min-K%++.
    """

    logprob: np.ndarray
    rank: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True)
class AnswerScore:
    """How likely an answer is.

    Attributes:
        logprob: natural log of P(answer + end-of-turn | prompt).
        n_tokens: number of tokens it sums over.
        tokens: the same token by token.
    """

    logprob: float
    n_tokens: int
    tokens: TokenScores | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Shortcuts:
    """What gives this model's own results.

    Attributes:
        tree: a question and its answers in one sequence.
        head: logits as `head`(last hidden state), computed where they are needed.
        resume: decoding that goes on from the keys and values of a tree.
    """

    tree: bool
    head: bool
    resume: bool = False


PLAIN = Shortcuts(tree=False, head=False)


class BatchScores(NamedTuple):
    """What one forward pass says about a batch of trees; everything on the CPU.

    Attributes:
        guesses: fp32 (4, G): log-probability, rank, mean and variance of each guess.
        best: most likely token of each prediction, (N,).
        finite: whether its logit is finite, (N,).
        cache: keys and values, if they were asked for.
    """

    guesses: torch.Tensor
    best: torch.Tensor
    finite: torch.Tensor
    cache: "DynamicCache | None"


def score_groups(
    model: "PreTrainedModel",
    groups: Sequence[Sequence[Encoded]],
    batch_size: int,
    shortcuts: Shortcuts,
) -> list[AnswerScore]:
    """Scores of all answers, in the order of `groups`; an answer needs at least one token."""
    if not shortcuts.tree:
        groups = [[option] for options in groups for option in options]
    trees = [tree_of(group) for group in groups]
    found = [
        (batch, forward(model, batch, shortcuts).guesses)
        for batch in tree_batches(trees, batch_size, model.device)
    ]
    return list(chain.from_iterable(answer_scores(trees, found)))


def tree_of(group: Sequence[Encoded]) -> Tree:
    """The tree of the answers to one question."""
    return Tree(group[0].prompt_ids, [option.answer_ids for option in group])


def tree_batches(
    trees: Sequence[Tree], batch_size: int, device: torch.device
) -> Iterator[TreeBatch]:
    """All trees in batches of similar length, as large as the device likes them."""
    for indices in batches([len(tree) for tree in trees], batch_size, device):
        yield tree_batch(trees, indices)


def answer_scores(
    trees: Sequence[Tree], found: Sequence[tuple[TreeBatch, torch.Tensor]]
) -> list[list[AnswerScore]]:
    """Scores of each tree's answers.

    Args:
        trees: all trees.
        found: batches that hold each tree once, each with the scores of its guesses, (4, G).
    """
    first = np.cumsum([0, *(len(tree.guessed) for tree in trees)])
    scores = torch.empty(4, int(first[-1]))
    for batch, guesses in found:
        sizes = [len(trees[index].guessed) for index in batch.trees]
        for index, own in zip(batch.trees, guesses.split(sizes, dim=1), strict=True):
            scores[:, first[index] : first[index + 1]] = own
    answers = [
        (index, [int(first[index]) + guess for guess in guesses])
        for index, tree in enumerate(trees)
        for guesses in tree.answers
    ]
    if not answers:
        return [[] for _ in trees]
    lengths = [len(guesses) for _, guesses in answers]
    flat = scores[:, list(chain.from_iterable(guesses for _, guesses in answers))]
    answer = torch.arange(len(answers)).repeat_interleave(torch.tensor(lengths, dtype=torch.long))
    sums = torch.zeros(len(answers), dtype=torch.float64)
    sums.index_add_(0, answer, flat[0].double())
    logprob, rank, mean, variance = flat.numpy()
    cuts = np.cumsum(lengths)[:-1]
    by_answer = zip(
        *(np.split(one, cuts) for one in (logprob, rank.astype(np.int32), mean, variance)),
        strict=True,
    )
    by_tree: list[list[AnswerScore]] = [[] for _ in trees]
    for (index, guesses), total, tokens in zip(answers, sums.tolist(), by_answer, strict=True):
        total = total if abs(total) != float("inf") else float("nan")
        by_tree[index].append(AnswerScore(total, len(guesses), TokenScores(*tokens)))
    return by_tree


@torch.inference_mode()
def forward(
    model: "PreTrainedModel", batch: TreeBatch, shortcuts: Shortcuts, keep_cache: bool = False
) -> BatchScores:
    """One forward pass over a batch of trees.

    Args:
        model: in eval mode.
        batch: the trees; without the shortcut `tree` each has at most one answer.
        shortcuts: those that give the model's own results.
        keep_cache: return keys and values too.
    """
    states, cache = _states(model, batch, shortcuts, keep_cache)
    device = states.device
    picked = states[batch.rows.to(device), batch.columns.to(device)]  # (N, hidden or vocabulary)
    head = unwrapped(model).get_output_embeddings() if shortcuts.head else None
    vocabulary = model.config.get_text_config().vocab_size
    guess_at, guessed = batch.guess_at.to(device), batch.guessed.to(device)
    guesses, best, finite = [], [], []
    small = max(1, MAX_DISTRIBUTIONS.get(device.type, 2**24) // vocabulary)
    block = max(1, MAX_LOGITS // vocabulary // small) * small
    starts = torch.tensor([*range(0, len(picked), small), len(picked)])
    first_guess = torch.searchsorted(batch.guess_at, starts).tolist()
    for start in range(0, len(picked), block):
        logits = picked[start : start + block]
        logits = head(logits) if head is not None else logits
        for offset in range(0, len(logits), small):
            part = logits[offset : offset + small].float()
            number = (start + offset) // small
            own = slice(first_guess[number], first_guess[number + 1])
            most = part.max(dim=-1)
            best.append(most.indices)
            finite.append(most.values.isfinite())
            guesses.append(_guess_scores(part, guess_at[own] - start - offset, guessed[own]))
    return BatchScores(
        torch.cat(guesses, dim=1).cpu(), torch.cat(best).cpu(), torch.cat(finite).cpu(), cache
    )


def _guess_scores(
    logits: torch.Tensor, guess_at: torch.Tensor, guessed: torch.Tensor
) -> torch.Tensor:
    """Log-probability and rank of each guess, mean and variance of its distribution: (4, g).

    Args:
        logits: fp32 (n, vocabulary).
        guess_at: for each guess the row of its distribution, (g,).
        guessed: token ids, (g,).
    """
    logprobs = torch.log_softmax(logits, dim=-1)
    own = logprobs[guess_at, guessed]
    here = logprobs if len(guess_at) == len(logits) else None
    if here is None or not torch.equal(guess_at, torch.arange(len(logits), device=logits.device)):
        here = logprobs[guess_at]
    rank = (here > own[:, None]).sum(dim=1).masked_fill(own.isnan(), logits.shape[1])
    logprobs = logprobs.clamp_(min=LOWEST_LOGPROB)  # 0 · −∞ would be NaN
    p = logprobs.exp()
    mean = torch.linalg.vecdot(p, logprobs)
    deviation = logprobs.sub_(mean[:, None])
    variance = torch.linalg.vecdot(p.mul_(deviation), deviation)
    return torch.stack([own, rank.float(), mean[guess_at], variance[guess_at]])


def _states(
    model: "PreTrainedModel", batch: TreeBatch, shortcuts: Shortcuts, keep_cache: bool
) -> tuple[torch.Tensor, "DynamicCache | None"]:
    """Last hidden states (B, T, hidden) with the `head` shortcut, else logits (B, T, V)."""
    device = model.device
    inputs = {"input_ids": batch.ids.to(device), "use_cache": keep_cache}
    if keep_cache:
        from transformers import DynamicCache

        inputs["past_key_values"] = DynamicCache()  # without a config: all tokens, no windows
    if shortcuts.tree:
        positions = batch.positions.to(device)
        mask = tree_masks(model, batch.ends.to(device), positions)
        inputs |= {"attention_mask": mask, "position_ids": positions}
    else:
        real = torch.arange(batch.ids.shape[1]) < batch.lengths[:, None]
        inputs["attention_mask"] = real.long().to(device)
    if shortcuts.head:
        return backbone(model)(**inputs).last_hidden_state, inputs.get("past_key_values")
    return model(**inputs).logits, inputs.get("past_key_values")
