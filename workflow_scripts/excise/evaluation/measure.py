"""Everything that is asked of one model: the records that all metrics are computed from.

Two passes: greedy generation of every question, and one scoring pass over the true answer, its
paraphrase and the wrong answers together. Where two questions get one answer, only the generation
is recorded. Nothing is averaged here.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from excise.benchmark.items import JOINT_SETS, Item
from excise.evaluation import answers
from excise.modeling.decoding import Generation, generate
from excise.modeling.scoring import AnswerScore, score_answers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FORGET_SETS = ("sf", "forget_paraphrased")
SCORES = (
    "logprob_answer",
    "n_tokens_answer",
    "logprob_paraphrase",
    "n_tokens_paraphrase",
    "logprob_wrong",
    "n_tokens_wrong",
    "probability",
    "truth_ratio",
    "truth_ratio_tofu",
)


class Evaluation(NamedTuple):
    """Records of one model.

    Attributes:
        items: one record per question, in the order of the questions (`items.jsonl`).
        tokens: one record per scored answer of each question (`tokens.parquet`).
    """

    items: list[dict]
    tokens: list[dict]


def evaluate_items(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    items: list[Item],
    batch_size: int,
    max_new_tokens: int,
    system_prompt: str | None = None,
) -> Evaluation:
    """Ask one model every question and score every answer (fields: docs/architecture.md).

    Args:
        model: in eval mode.
        tokenizer: its tokenizer.
        items: the questions.
        batch_size: questions per batch.
        max_new_tokens: longest generation, in tokens.
        system_prompt: system message, if any.
    """
    questions = list(dict.fromkeys(item.question for item in items))  # a pair's is asked once
    generations = generate(model, tokenizer, questions, max_new_tokens, batch_size, system_prompt)
    said = dict(zip(questions, generations, strict=True))
    scored = [item for item in items if item.set not in JOINT_SETS]
    options = [[item.answer, item.paraphrased_answer, *item.wrong_answers] for item in scored]
    asked = [item.question for item in scored]
    scores = score_answers(model, tokenizer, asked, options, batch_size, system_prompt)
    by_id = {item.id: own for item, own in zip(scored, scores, strict=True)}
    records = [item_record(item, said[item.question], by_id.get(item.id)) for item in items]
    return Evaluation(
        records, [one for key, own in by_id.items() for one in token_records(key, own)]
    )


def item_record(item: Item, made: Generation, scores: list[AnswerScore] | None) -> dict:
    """One line of `items.jsonl`: what was asked, said and measured.

    Args:
        item: the question.
        made: the model's answer.
        scores: of the answer, the paraphrased answer and each wrong answer, in this order; None
            in a joint set, whose scores are null.
    """
    rouge = answers.rouge_l(item.answer, made.text)
    ascii_only = answers.rouge_l_ascii(item.answer, made.text)
    both_asked = item.set in JOINT_SETS
    stated = answers.slot_match(
        item.value, made.text, item.value_type, several=both_asked, subject=item.subject
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
        "generation": made.text,
        "stopped": made.stopped,
        "rougeL_recall": rouge.recall,
        "rougeL_f1": rouge.f1,
        "rougeL_recall_ascii": ascii_only.recall,
        "rougeL_f1_ascii": ascii_only.f1,
        "slot_match": int(stated),
        "slot_match_strict": int(answers.slot_match_strict(item.value, made.text)),
        **(dict.fromkeys(SCORES) if scores is None else score_record(item.set, scores)),
    }


def score_record(name: str, scores: list[AnswerScore]) -> dict:
    """Log-probabilities of one item of the set `name`, and the scores derived from them (`SCORES`).

    Without wrong answers the truth ratios are undefined (NaN, null in the file).
    """
    answer, paraphrase, *wrong = scores
    ratio = answers.truth_ratio(
        paraphrase.logprob,
        paraphrase.n_tokens,
        [score.logprob for score in wrong],
        [score.n_tokens for score in wrong],
    )
    return {
        "logprob_answer": answer.logprob,
        "n_tokens_answer": answer.n_tokens,
        "logprob_paraphrase": paraphrase.logprob,
        "n_tokens_paraphrase": paraphrase.n_tokens,
        "logprob_wrong": [score.logprob for score in wrong],
        "n_tokens_wrong": [score.n_tokens for score in wrong],
        "probability": answers.probability(answer.logprob, answer.n_tokens),
        "truth_ratio": ratio,
        "truth_ratio_tofu": answers.truth_ratio_tofu(ratio, forget=name in FORGET_SETS),
    }


def token_records(key: str, scores: list[AnswerScore]) -> Iterator[dict]:
    """The scores of each token of the answers to one question, one record per answer.

    Args:
        key: id of the question.
        scores: of the answer, the paraphrased answer and each wrong answer, in this order.
    """
    names = [("answer", 0), ("paraphrase", 0), *(("wrong", k) for k in range(len(scores) - 2))]
    for (answer, number), score in zip(names, scores, strict=True):
        yield {"id": key, "answer": answer, "number": number} | vars(score.tokens)
