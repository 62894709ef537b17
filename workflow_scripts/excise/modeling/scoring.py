"""Log-probabilities of answers without gradients, many answers to a question in one sequence.

`differentiable_logprobs` computes them with gradients, for losses.

The prompt is read once, and all its answers follow it in one sequence: a tree. The attention mask
lets each answer see only the prompt and itself. Its positions continue those of the prompt. So its
log-probability is the same as alone, with about half the tokens. For a layer with a sliding window
the mask is cut to the window. Vocabulary logits are computed only where an answer token is
predicted. Both shortcuts are tested first, on the longest question and one of middle length. If an
architecture gives other results, it is scored plainly, with one padded row per answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F

from excise.modeling.base import check_sequences, unwrapped
from excise.modeling.chat import Encoded, encode

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_BATCH_TOKENS = 16384
MAX_LOGITS = 2**26
"""Numbers in one block of fp32 logits: 256 MB."""


@dataclass(frozen=True)
class AnswerScore:
    """`logprob`: natural log of P(answer + end-of-turn | prompt); `n_tokens` it sums over."""

    logprob: float
    n_tokens: int


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
    """Log-probability of every answer to its question, over answer tokens and end-of-turn.

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
    sums = iter(_score_groups(model, groups, batch_size, shortcuts))
    return [
        [AnswerScore(next(sums), len(option.answer_ids)) for option in options]
        for options in encoded
    ]


def _score_groups(
    model: "PreTrainedModel", groups: list[list[Encoded]], batch_size: int, shortcuts: Shortcuts
) -> list[float]:
    """Summed log-probabilities of all answers, in the order of `groups`."""
    rows = [tree_row(group) for group in groups]
    first = [0]
    for group in groups:
        first.append(first[-1] + len(group))
    sums = torch.zeros(first[-1], dtype=torch.float64)
    for batch in batches([len(row.ids) for row in rows], batch_size):
        logprobs, answer = _token_logprobs(model, [rows[index] for index in batch], shortcuts)
        offset = [first[index] for index in batch]
        answer = torch.tensor([offset[row] + k for row, k in answer])
        sums.index_add_(0, answer, logprobs)
    return [value if abs(value) != float("inf") else float("nan") for value in sums.tolist()]


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
def _token_logprobs(
    model: "PreTrainedModel", rows: list[Row], shortcuts: Shortcuts
) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    """Log-probability of every predicted token of a batch, with its (row, answer)."""
    hidden_or_logits = _forward(model, rows, shortcuts)
    device = hidden_or_logits.device
    where = [(row, *predicted) for row, r in enumerate(rows) for predicted in r.predict]
    row_index = torch.tensor([row for row, *_ in where], device=device)
    column = torch.tensor([at for _, at, _, _ in where], device=device)
    target = torch.tensor([token for _, _, token, _ in where], device=device)
    head = unwrapped(model).get_output_embeddings() if shortcuts.head else None
    picked = hidden_or_logits[row_index, column]  # (N, hidden or vocabulary)
    logprobs = []
    block = max(1, MAX_LOGITS // model.config.get_text_config().vocab_size)
    for states, targets in zip(picked.split(block), target.split(block), strict=True):
        logits = (head(states) if head is not None else states).float()
        logprobs.append(-F.cross_entropy(logits, targets, reduction="none"))
    return torch.cat(logprobs).double().cpu(), [(row, k) for row, _, _, k in where]


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


def backbone(model: "PreTrainedModel") -> torch.nn.Module:
    """The transformer without its output head; adapters inside it stay active."""
    causal = unwrapped(model)
    return getattr(causal, causal.base_model_prefix)


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
    expected = torch.cat([_token_logprobs(model, [tree_row(one)], plain)[0] for one in single])
    if not expected.isfinite().all():
        return plain
    found = plain
    for candidate in (Shortcuts(True, True), Shortcuts(False, True), Shortcuts(True, False)):
        rows = [tree_row(group) for group in (sample if candidate.tree else single)]
        try:
            logprobs = _token_logprobs(model, rows, candidate)[0]
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
