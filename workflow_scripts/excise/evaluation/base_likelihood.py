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
    known: dict[tuple[str, str], dict] | None = None,
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
        known: (question, generation) → scores of earlier models, to which new ones are added.
            Checkpoints of one trajectory often write the same.

    Returns:
        For each record `base_logprob_generation`, in nats, summed over its
        `base_n_tokens_generation` tokens. An empty generation has null and 0.
    """
    known = {} if known is None else known
    keys = [(one["question"], one["generation"]) for one in records]
    asked = [key for key in dict.fromkeys(keys) if key not in known]
    questions = [question for question, _ in asked]
    answers = [[text] if text else [] for _, text in asked]
    found = Questionnaire(tokenizer, questions, answers, 0, batch_size, system_prompt).ask(base)
    for key, one in zip(asked, found, strict=True):
        known[key] = _fields(one.scores[0].tokens.logprob[:-1] if one.scores else [])
    return [known[key] for key in keys]


def _fields(logprobs) -> dict:
    count = len(logprobs)
    return {
        "base_logprob_generation": float(sum(map(float, logprobs))) if count else None,
        "base_n_tokens_generation": count,
    }
