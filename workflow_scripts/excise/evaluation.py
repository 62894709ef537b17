"""Everything that is measured on one model: generations, scores, and per-item metrics.

Two passes: greedy generation of every question, and one scoring pass over the true answer, its
paraphrase and the wrong answers together. Nothing is averaged here.
"""

from typing import TYPE_CHECKING

from excise import metrics
from excise.decoding import generate
from excise.items import Item
from excise.scoring import AnswerScore, score_answers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FORGET_SETS = ("sf", "sf_paraphrased")


def evaluate_items(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    items: list[Item],
    batch_size: int,
    max_new_tokens: int,
    system_prompt: str | None = None,
) -> list[dict]:
    """Per-item records of one model (fields: docs/architecture.md), in the order of `items`.

    Args:
        model: in eval mode.
        tokenizer: its tokenizer.
        items: the questions.
        batch_size: questions per batch.
        max_new_tokens: longest generation, in tokens.
        system_prompt: system message, if any.
    """
    questions = [item.question for item in items]
    generations = generate(model, tokenizer, questions, max_new_tokens, batch_size, system_prompt)
    options = [[item.answer, item.paraphrased_answer, *item.wrong_answers] for item in items]
    scores = score_answers(model, tokenizer, questions, options, batch_size, system_prompt)
    return [
        item_record(item, made.text, made.stopped, scored)
        for item, made, scored in zip(items, generations, scores, strict=True)
    ]


def item_record(item: Item, generation: str, stopped: bool, scores: list[AnswerScore]) -> dict:
    """One line of `items.jsonl`: what was asked, said and measured.

    Args:
        item: the question.
        generation: the model's answer.
        stopped: whether it ended by itself.
        scores: of the answer, the paraphrased answer and each wrong answer, in this order.
    """
    answer, paraphrase, *wrong = scores
    rouge = metrics.rouge_l(item.answer, generation)
    ratio = metrics.truth_ratio(
        paraphrase.logprob,
        paraphrase.n_tokens,
        [score.logprob for score in wrong],
        [score.n_tokens for score in wrong],
    )
    return {
        "id": item.id,
        "set": item.set,
        "person_id": item.person_id,
        "slot": item.slot,
        "value_type": item.value_type,
        "partner": item.partner,
        "value": item.value,
        "question": item.question,
        "answer": item.answer,
        "generation": generation,
        "stopped": stopped,
        "rougeL_recall": rouge.recall,
        "rougeL_f1": rouge.f1,
        "slot_match": int(metrics.slot_match(item.value, generation)),
        "logprob_answer": answer.logprob,
        "n_tokens_answer": answer.n_tokens,
        "logprob_paraphrase": paraphrase.logprob,
        "n_tokens_paraphrase": paraphrase.n_tokens,
        "logprob_wrong": [score.logprob for score in wrong],
        "n_tokens_wrong": [score.n_tokens for score in wrong],
        "probability": metrics.probability(answer.logprob, answer.n_tokens),
        "truth_ratio": ratio,
        "truth_ratio_tofu": metrics.truth_ratio_tofu(ratio, forget=item.set in FORGET_SETS),
    }
