"""Which shortcuts of scoring and decoding give a model's own results; tested on the model.

The test compares them with `model(input_ids).logits`, one unpadded sequence at a time, on the
longest question and on one of middle length. So an architecture that reads its mask, its positions
or its cache in another way is found, and is scored plainly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch

from excise.modeling.base import unwrapped
from excise.modeling.chat import Encoded
from excise.modeling.decoding import Sequences, can_remove_rows
from excise.modeling.tree_scoring import PLAIN, Shortcuts, forward, score_groups, tree_of
from excise.modeling.trees import tree_batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Tried:
    """Shortcuts that work, and the length they were tested on; they are not used beyond it."""

    shortcuts: Shortcuts
    longest: int
    attention: str | None


_tried: WeakKeyDictionary = WeakKeyDictionary()


def shortcuts_of(model: "PreTrainedModel", groups: Sequence[Sequence[Encoded]]) -> Shortcuts:
    """Find the shortcuts that give the same results as this model itself.

    The result is stored for the model, up to the length of its longest group. A model with
    non-finite logits is scored plainly and tested again next time.

    Args:
        model: the model.
        groups: for each question its answers, at least one, with the same prompt.
    """
    by_length = sorted(groups, key=lambda group: -len(tree_of(group)))
    longest = len(tree_of(by_length[0]))
    attention = unwrapped(model).config._attn_implementation
    tried = _tried.get(model)
    if tried and tried.longest >= longest and tried.attention == attention:
        return tried.shortcuts
    sample = [_several(group) for group in (by_length[0], by_length[len(by_length) // 2])]
    answers = [option for group in sample for option in group]
    expected = [_token_logprobs(model, [[one]], PLAIN) for one in answers]
    if not torch.cat(expected).isfinite().all():
        return PLAIN
    found = PLAIN
    for candidate in (Shortcuts(True, True), Shortcuts(False, True), Shortcuts(True, False)):
        try:
            logprobs = _token_logprobs(model, sample, candidate)
        except Exception:  # the architecture takes no such mask or has no such parts
            continue
        if _same(logprobs, torch.cat(expected), _tolerance(model)):
            found = candidate
            break
    if found.tree:
        found = replace(found, resume=_can_resume(model, sample, expected, found))
    _tried[model] = Tried(found, longest, attention)
    return found


def _token_logprobs(
    model: "PreTrainedModel", groups: Sequence[Sequence[Encoded]], shortcuts: Shortcuts
) -> torch.Tensor:
    """Log-probabilities of all answer tokens, answer by answer, in one batch."""
    scores = score_groups(model, groups, len(groups) * 16, shortcuts)
    return torch.cat([torch.from_numpy(one.tokens.logprob) for one in scores])


def _can_resume(
    model: "PreTrainedModel",
    sample: Sequence[Sequence[Encoded]],
    expected: Sequence[torch.Tensor],
    shortcuts: Shortcuts,
) -> bool:
    """Whether decoding may go on from the keys and values of a tree.

    The last answer of each group is read up to its middle by the tree, and token by token from
    there. It has at least one token, end-of-turn, that is only predicted.
    """
    try:
        trees = [tree_of(group) for group in sample]
        batch = tree_batch(trees, range(len(trees)))
        cache = forward(model, batch, shortcuts, keep_cache=True).cache
        if not can_remove_rows(cache):
            return False
        last = [sum(map(len, sample[: k + 1])) - 1 for k in range(len(sample))]
        starts, paths, rest = [], [], []
        for tree, group in zip(trees, sample, strict=True):
            answer = group[-1].answer_ids
            start = (len(answer) - 1) // 2
            path, place = [], tree.prompt - 1
            for token in answer[:start]:
                place = tree.next_place(place, token)
                path.append(place)
            starts.append(start)
            paths.append(path)
            rest.append(answer[start:])
        sequences = Sequences.of_trees(cache, batch, trees, range(len(trees)), paths)
        found: list[list[float]] = [[] for _ in trees]
        for step in range(max(map(len, rest)) - 1):
            tokens = [answer[min(step, len(answer) - 1)] for answer in rest]
            ids = torch.tensor(tokens, device=model.device)[:, None]
            with torch.inference_mode():
                logprobs = sequences.read(model, ids).float().log_softmax(dim=-1)
            for row, answer in enumerate(rest):
                if step + 1 < len(answer):
                    found[row].append(logprobs[row, answer[step + 1]].item())
        return all(
            _same(torch.tensor(own), expected[index][start + 1 :].cpu(), _tolerance(model))
            for own, index, start in zip(found, last, starts, strict=True)
            if own
        )
    except Exception:  # the architecture's cache has another form
        return False


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
    exact &= not any(getattr(module, "rounds_inputs", False) for module in model.modules())
    return (1e-4, 1e-3) if exact else (0.02, 0.5)


def _same(found: torch.Tensor, expected: torch.Tensor, tolerance: tuple[float, float]) -> bool:
    """Whether two lists of log-probabilities are equal up to rounding."""
    if found.shape != expected.shape:
        return False
    differences = (found - expected).abs() / expected.abs().clamp(min=1)
    return bool(differences.mean() <= tolerance[0] and differences.max() <= tolerance[1])
