"""Log-probabilities of answers without gradients, token by token, many answers in one sequence.

`differentiable_logprobs` computes them with gradients, for losses.

The prompt is read once, and all its answers follow it in one sequence: a tree. The attention mask
lets each answer see only the prompt and itself. Its positions continue those of the prompt. So its
log-probability is the same as alone, with about half the tokens. For a layer with a sliding window
the mask is cut to the window. Vocabulary logits are computed only where an answer token is
predicted. Both shortcuts are tested first, on the longest question and one of middle length. If an
architecture gives other results, it is scored plainly, with one padded row per answer.

The same logits give the rank of each token, and mean and variance of the log-probabilities that
the model's own distribution has at its place (`TokenScores`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch

from excise.modeling.base import backbone, check_sequences, unwrapped
from excise.modeling.chat import Encoded, encode

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_BATCH_TOKENS = 16384
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
    """What holds for a model: `tree` masks work, and its logits are `head`(last hidden state)."""

    tree: bool
    head: bool


@dataclass(frozen=True)
class Row:
    """One sequence of a batch.

    `segments` holds 0 on the prompt and k on the k-th answer; `predict` lists, per answer
    token, `(where its prediction is read, token id, index of the answer)`.
    """

    ids: list[int]
    positions: list[int]
    segments: list[int]
    predict: list[tuple[int, int, int]]


@dataclass(frozen=True)
class Tried:
    """Shortcuts that work, and the length they were tested on; they are not used beyond it."""

    shortcuts: Shortcuts
    longest: int
    attention: str | None


_tried: WeakKeyDictionary = WeakKeyDictionary()


def score_answers(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    questions: Sequence[str],
    answers: Sequence[Sequence[str]],
    batch_size: int,
    system_prompt: str | None = None,
) -> list[list[AnswerScore]]:
    """Score every answer to its question, over answer tokens and end-of-turn.

    Args:
        model: a causal LM or peft model in eval mode.
        tokenizer: the model's own.
        questions: Q questions.
        answers: for each question its answers, any number.
        batch_size: sequences per forward pass at most; a bound on tokens applies too.
        system_prompt: put before every question.

    Returns:
        Per question, per answer an `AnswerScore`: log-softmax in fp32, summed in fp64. NaN
        where the model's logits are not finite.

    Raises:
        InputError: a question with its answer is longer than the model's positions, or a token
            is not in its vocabulary.
    """
    encoded = [
        [encode(tokenizer, question, answer, system_prompt) for answer in options]
        for question, options in zip(questions, answers, strict=True)
    ]
    everything = [option for options in encoded for option in options]
    if not everything:
        return [[] for _ in encoded]
    check_sequences(model, [option.input_ids for option in everything])
    groups = [options for options in encoded if options]
    shortcuts = shortcuts_of(model, groups)
    if not shortcuts.tree:
        groups = [[option] for option in everything]
    scores = iter(_score_groups(model, groups, batch_size, shortcuts))
    return [[next(scores) for _ in options] for options in encoded]


def _score_groups(
    model: "PreTrainedModel", groups: list[list[Encoded]], batch_size: int, shortcuts: Shortcuts
) -> list[AnswerScore]:
    """Scores of all answers, in the order of `groups`."""
    rows = [tree_row(group) for group in groups]
    sizes = [len(row.predict) for row in rows]
    first = np.cumsum([0, *sizes])  # a row's tokens follow each other, answer by answer
    scores = torch.empty(4, int(first[-1]))
    for batch in batches([len(row.ids) for row in rows], batch_size):
        found = _token_scores(model, [rows[index] for index in batch], shortcuts)
        parts = found.split([sizes[index] for index in batch], dim=1)
        for index, part in zip(batch, parts, strict=True):
            scores[:, first[index] : first[index + 1]] = part
    lengths = [len(option.answer_ids) for group in groups for option in group]
    answer = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    sums = torch.zeros(len(lengths), dtype=torch.float64)
    sums.index_add_(0, answer, scores[0].double())
    logprob, rank, mean, variance = scores.numpy()
    cuts = np.cumsum(lengths)[:-1]
    by_answer = zip(
        *(np.split(one, cuts) for one in (logprob, rank.astype(np.int32), mean, variance)),
        strict=True,
    )
    return [
        AnswerScore(total if abs(total) != float("inf") else float("nan"), n, TokenScores(*tokens))
        for total, n, tokens in zip(sums.tolist(), lengths, by_answer, strict=True)
    ]


def batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Indices in batches of similar length, longest first, bounded in rows and padded tokens."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    while order:
        rows = max(1, min(batch_size, MAX_BATCH_TOKENS // lengths[order[0]]))
        yield order[:rows]
        order = order[rows:]


def tree_row(options: Sequence[Encoded]) -> Row:
    """One sequence of a prompt and all its answers; an answer's last token is only predicted."""
    prompt = list(options[0].prompt_ids)
    ids, positions, segments = list(prompt), list(range(len(prompt))), [0] * len(prompt)
    predict = []
    for k, option in enumerate(options):
        start = len(ids)
        for step, token in enumerate(option.answer_ids):
            predict.append((start + step - 1 if step else len(prompt) - 1, token, k))
        read = option.answer_ids[:-1]
        ids += read
        positions += range(len(prompt), len(prompt) + len(read))
        segments += [k + 1] * len(read)
    return Row(ids, positions, segments, predict)


def tree_mask(
    segments: torch.Tensor, positions: torch.Tensor | None = None, window: int | None = None
) -> torch.Tensor:
    """Attention mask: a token sees earlier tokens of the prompt and of its own segment.

    Args:
        segments: (B, T), 0 on the prompt, k on answer k, negative on padding.
        positions: (B, T), needed with a window.
        window: a token sees only keys at a distance below this number.

    Returns:
        bool (B, 1, T, T), True where row (query) sees column (key). Padding sees only itself,
        so that no row is empty.
    """
    query, key = segments[:, :, None], segments[:, None, :]
    length = segments.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    itself = torch.eye(length, dtype=torch.bool, device=segments.device)
    seen = earlier & (key >= 0) & ((key == 0) | (key == query))
    if window is not None:
        seen &= positions[:, :, None] - positions[:, None, :] < window
    return (seen | itself)[:, None]


def tree_masks(
    model: "PreTrainedModel", segments: torch.Tensor, positions: torch.Tensor
) -> torch.Tensor | dict[str, torch.Tensor]:
    """The tree mask in the form that the model needs: one, or one per type of layer.

    Args:
        model: the model; its config names the types of its layers and its window.
        segments: (B, T), as in `tree_mask`.
        positions: (B, T).

    Returns:
        (B, 1, T, T): bool for sdpa, for others numbers to add to the scores.

    Raises:
        ValueError: a layer attends in a way that is neither full nor a sliding window.
    """
    config = unwrapped(model).config
    text = config.get_text_config()

    def mask(window: int | None) -> torch.Tensor:
        seen = tree_mask(segments, positions, window)
        if config._attn_implementation == "sdpa":
            return seen
        smallest = torch.finfo(model.dtype).min
        return torch.zeros_like(seen, dtype=model.dtype).masked_fill(~seen, smallest)

    window = getattr(text, "sliding_window", None)
    kinds = set(getattr(text, "layer_types", None) or [])
    if unknown := kinds - {"full_attention", "sliding_attention"}:
        raise ValueError(f"no tree mask for {sorted(unknown)}")
    if "sliding_attention" in kinds:
        return {"full_attention": mask(None), "sliding_attention": mask(window)}
    return mask(None if kinds else window)


@torch.inference_mode()
def _token_scores(model: "PreTrainedModel", rows: list[Row], shortcuts: Shortcuts) -> torch.Tensor:
    """Scores of all N predicted tokens of a batch, row by row.

    Returns:
        fp32 (4, N): log-probability, rank, mean and variance (`TokenScores`), on the CPU.
    """
    hidden_or_logits = _forward(model, rows, shortcuts)
    device = hidden_or_logits.device
    where = [(row, *predicted) for row, r in enumerate(rows) for predicted in r.predict]
    row_index = torch.tensor([row for row, *_ in where], device=device)
    column = torch.tensor([at for _, at, _, _ in where], device=device)
    target = torch.tensor([token for _, _, token, _ in where], device=device)
    head = unwrapped(model).get_output_embeddings() if shortcuts.head else None
    picked = hidden_or_logits[row_index, column]  # (N, hidden or vocabulary)
    vocabulary = model.config.get_text_config().vocab_size
    block = max(1, MAX_LOGITS // vocabulary)
    small = max(1, MAX_DISTRIBUTIONS.get(device.type, 2**24) // vocabulary)
    scores = []
    for states, targets in zip(picked.split(block), target.split(block), strict=True):
        logits = head(states) if head is not None else states
        parts = zip(logits.split(small), targets.split(small), strict=True)
        scores += [_distribution_scores(part.float(), own) for part, own in parts]
    return torch.cat(scores, dim=1).cpu()


def _distribution_scores(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probability and rank of each target, mean and variance of each distribution: (4, n).

    Args:
        logits: fp32 (n, vocabulary).
        targets: token ids, (n,).
    """
    logprobs = torch.log_softmax(logits, dim=-1)
    own = logprobs.gather(1, targets[:, None])
    rank = (logprobs > own).sum(dim=1).masked_fill(own[:, 0].isnan(), logits.shape[1])
    logprobs = logprobs.clamp_(min=LOWEST_LOGPROB)  # 0 · −∞ would be NaN
    p = logprobs.exp()
    mean = torch.linalg.vecdot(p, logprobs)
    deviation = logprobs.sub_(mean[:, None])
    variance = torch.linalg.vecdot(p.mul_(deviation), deviation)
    return torch.stack([own[:, 0], rank.float(), mean, variance])


def _forward(model: "PreTrainedModel", rows: list[Row], shortcuts: Shortcuts) -> torch.Tensor:
    """Last hidden states (B, T, hidden) with the `head` shortcut, else logits (B, T, V)."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    positions = torch.zeros_like(ids)
    segments = torch.full_like(ids, -1)
    for index, row in enumerate(rows):
        length = len(row.ids)
        ids[index, :length] = torch.tensor(row.ids)
        positions[index, :length] = torch.tensor(row.positions)
        segments[index, :length] = torch.tensor(row.segments)
    device = model.device
    inputs = {"input_ids": ids.to(device), "use_cache": False}
    if shortcuts.tree:
        positions = positions.to(device)
        mask = tree_masks(model, segments.to(device), positions)
        inputs |= {"attention_mask": mask, "position_ids": positions}
    else:
        inputs |= {"attention_mask": (segments >= 0).long().to(device)}
    if shortcuts.head:
        return backbone(model)(**inputs).last_hidden_state
    return model(**inputs).logits


def shortcuts_of(model: "PreTrainedModel", groups: Sequence[Sequence[Encoded]]) -> Shortcuts:
    """Find the shortcuts that give the same results as this model itself.

    They are tested on the longest group and on one of middle length, together in one batch. The
    reference is `model(input_ids).logits`, one unpadded sequence at a time. The result is stored
    for the model, up to that length. A model with non-finite logits is scored plainly and tested
    again next time.

    Args:
        model: the model.
        groups: for each question its answers, at least one, with the same prompt.
    """
    by_length = sorted(groups, key=lambda group: -len(tree_row(group).ids))
    longest = len(tree_row(by_length[0]).ids)
    attention = unwrapped(model).config._attn_implementation
    tried = _tried.get(model)
    if tried and tried.longest >= longest and tried.attention == attention:
        return tried.shortcuts
    plain = Shortcuts(tree=False, head=False)
    sample = [_several(group) for group in (by_length[0], by_length[len(by_length) // 2])]
    single = [[one] for group in sample for one in group]
    expected = torch.cat([_token_scores(model, [tree_row(one)], plain)[0] for one in single])
    if not expected.isfinite().all():
        return plain
    found = plain
    for candidate in (Shortcuts(True, True), Shortcuts(False, True), Shortcuts(True, False)):
        rows = [tree_row(group) for group in (sample if candidate.tree else single)]
        try:
            logprobs = _token_scores(model, rows, candidate)[0]
        except Exception:  # the architecture takes no such mask or has no such parts
            continue
        if _same(logprobs, expected, _tolerance(model)):
            found = candidate
            break
    _tried[model] = Tried(found, longest, attention)
    return found


def _several(group: Sequence[Encoded]) -> list[Encoded]:
    """The group, with a second answer if there is one: a wrong mask shows only with two."""
    first = group[0]
    if len(group) > 1:
        return list(group)
    other = (*first.answer_ids, *first.prompt_ids[:8])[::-1]
    return [
        first,
        Encoded(first.prompt_ids, other[: len(first.answer_ids)]),
    ]  # at most as long as the first


def _tolerance(model: torch.nn.Module) -> tuple[float, float]:
    """Largest mean and largest single difference of a token, relative to its log-probability.

    Measured means: rounding to bf16 .0003, LLM.int8 .004, a mask without its window .09 to .17.
    """
    exact = all(parameter.dtype == torch.float32 for parameter in model.parameters())
    return (1e-4, 1e-3) if exact else (0.02, 0.5)


def _same(found: torch.Tensor, expected: torch.Tensor, tolerance: tuple[float, float]) -> bool:
    """Whether two lists of log-probabilities are equal up to rounding."""
    if found.shape != expected.shape:
        return False
    differences = (found - expected).abs() / expected.abs().clamp(min=1)
    return bool(differences.mean() <= tolerance[0] and differences.max() <= tolerance[1])
