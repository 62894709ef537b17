"""Log-probabilities of answers without gradients, token by token, many answers in one sequence.

`differentiable_logprobs` computes them with gradients, for losses. `asking` also generates.

All answers to a question are one tree (`trees`): prompt and equal beginnings are read once. Each
shortcut is tested first on the model at hand (`shortcuts`). If an architecture gives other results,
it is scored plainly, with one padded row per answer.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from excise.modeling.base import check_sequences
from excise.modeling.chat import encode_answers, encode_prompt
from excise.modeling.shortcuts import shortcuts_of
from excise.modeling.tree_scoring import AnswerScore, score_groups

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


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
    prompts = [encode_prompt(tokenizer, question, system_prompt) for question in questions]
    encoded = encode_answers(tokenizer, prompts, answers)
    check_sequences(model, [option.input_ids for options in encoded for option in options])
    groups = [options for options in encoded if options]
    if not groups:
        return [[] for _ in encoded]
    shortcuts = shortcuts_of(model, groups)
    scores = iter(score_groups(model, groups, batch_size, shortcuts))
    return [[next(scores) for _ in options] for options in encoded]
