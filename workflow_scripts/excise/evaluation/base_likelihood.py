"""How likely the base model finds what another model wrote: fluency, as perplexity measures it."""

from typing import TYPE_CHECKING

from excise.modeling.asking import Questionnaire

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def base_scores(
    base: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    records: list[dict],
    batch_size: int,
    system_prompt: str | None = None,
) -> list[dict]:
    """Score generations with the base model, each after its own question.

    The text of a generation is split into tokens anew. So bytes that are no text count as the
    replacement character that stands for them. The end-of-turn token does not count, because a
    generation that was cut off has none.

    Args:
        base: the model before finetuning, in eval mode.
        tokenizer: its own.
        records: lines of `items.jsonl` with `question` and `generation`.
        batch_size: largest number of sequences of a forward pass.
        system_prompt: system message, if any.

    Returns:
        For each record `base_logprob_generation`, in nats, summed over its
        `base_n_tokens_generation` tokens. An empty generation has null and 0.
    """
    asked = list(dict.fromkeys((one["question"], one["generation"]) for one in records))
    questions = [question for question, _ in asked]
    answers = [[text] if text else [] for _, text in asked]
    found = Questionnaire(tokenizer, questions, answers, 0, batch_size, system_prompt).ask(base)
    scores = {
        key: _fields(one.scores[0].tokens.logprob[:-1] if one.scores else [])
        for key, one in zip(asked, found, strict=True)
    }
    return [scores[one["question"], one["generation"]] for one in records]


def _fields(logprobs) -> dict:
    count = len(logprobs)
    return {
        "base_logprob_generation": float(sum(map(float, logprobs))) if count else None,
        "base_n_tokens_generation": count,
    }
