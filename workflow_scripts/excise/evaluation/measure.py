"""Everything that is asked of one model: the records that all metrics are computed from.

One pass scores the true answer, its paraphrase and the wrong answers, and gives the greedy
generation, if it is wanted. Of held-out people only the true answer is scored. Where two questions
get one answer, and of probes, only the generation is recorded. Nothing is averaged here.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from excise.benchmark.items import FORGET_SETS, GENERATED_SETS, HOLDOUT_SET, JOINT_SETS, Item
from excise.evaluation import answers
from excise.modeling.asking import Questionnaire
from excise.modeling.decoding import Generation
from excise.modeling.tree_scoring import AnswerScore

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

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


class Evaluator:
    """Items that any number of models are asked, tokenised once.

    Args:
        tokenizer: the models'.
        items: the questions.
        batch_size: largest number of sequences of a forward pass.
        max_new_tokens: longest generation, in tokens; 0: nothing is generated, and records have no
            fields about a generation.
        system_prompt: system message, if any.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        items: list[Item],
        batch_size: int,
        max_new_tokens: int,
        system_prompt: str | None = None,
    ) -> None:
        self.items = items
        options: dict[str, dict[str, None]] = {}  # a question of two items is asked once
        for item in items:
            options.setdefault(item.question, {}).update(dict.fromkeys(_scored(item)))
        self.place = {
            question: (number, {text: index for index, text in enumerate(own)})
            for number, (question, own) in enumerate(options.items())
        }
        self.questionnaire = Questionnaire(
            tokenizer,
            list(options),
            [list(own) for own in options.values()],
            max_new_tokens,
            batch_size,
            system_prompt,
        )

    def evaluate(self, model: "PreTrainedModel") -> Evaluation:
        """Ask one model every question and score every answer (fields: docs/architecture.md).

        Args:
            model: in eval mode.
        """
        asked = self.questionnaire.ask(model)
        items, tokens = [], []
        for item in self.items:
            number, index = self.place[item.question]
            generation, found = asked[number]
            scores = [found[index[text]] for text in _scored(item)]
            items.append(item_record(item, generation, scores or None))
            tokens += token_records(item.id, scores) if scores else []
        return Evaluation(items, tokens)


def _scored(item: Item) -> list[str]:
    """The answers whose probability is measured: the true one, its paraphrase, the wrong ones.

    Of held-out people only the true one, and where own files give no paraphrase of it.
    """
    if item.set in GENERATED_SETS:
        return []
    if item.set == HOLDOUT_SET:
        return [item.answer]
    if item.paraphrased_answer is None:  # own files may give none
        return [item.answer]
    return [item.answer, item.paraphrased_answer, *item.wrong_answers]


def item_record(item: Item, made: Generation | None, scores: list[AnswerScore] | None) -> dict:
    """One line of `items.jsonl`: what was asked, said and measured.

    Args:
        item: the question.
        made: the model's answer; None if none was generated.
        scores: of the answer, the paraphrased answer and each wrong answer, in this order; None
            in `GENERATED_SETS`, whose scores are null; only the first one of held-out people.
    """
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
        **({} if made is None else generation_record(item, made)),
        **(dict.fromkeys(SCORES) if scores is None else score_record(item.set, scores)),
    }


def generation_record(item: Item, made: Generation) -> dict:
    """What a model said to an item, and how it agrees with the true answer.

    Without a value (own files) it is unknown whether the value is stated: null.
    """
    rouge = answers.rouge_l(item.answer, made.text)
    ascii_only = answers.rouge_l_ascii(item.answer, made.text)
    both_asked = item.set in JOINT_SETS
    record = {
        "generation": made.text,
        "stopped": made.stopped,
        "rougeL_recall": rouge.recall,
        "rougeL_f1": rouge.f1,
        "rougeL_recall_ascii": ascii_only.recall,
        "rougeL_f1_ascii": ascii_only.f1,
        **dict.fromkeys(("slot_match", "slot_match_strict")),
    }
    if item.value is None:
        return record
    stated = answers.slot_match(
        item.value, made.text, item.value_type, several=both_asked, subject=item.subject
    )
    strict = answers.slot_match_strict(item.value, made.text)
    return record | {"slot_match": int(stated), "slot_match_strict": int(strict)}


def score_record(name: str, scores: list[AnswerScore]) -> dict:
    """Log-probabilities of one item of the set `name`, and the scores derived from them (`SCORES`).

    Without wrong answers the truth ratios are undefined (NaN, null in the file). If only the answer
    is scored, what the others would give is null.
    """
    if len(scores) == 1:
        (answer,) = scores
        return dict.fromkeys(SCORES) | {
            "logprob_answer": answer.logprob,
            "n_tokens_answer": answer.n_tokens,
            "probability": answers.probability(answer.logprob, answer.n_tokens),
        }
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
        scores: of the answer, the paraphrased answer and each wrong answer, in this order; maybe
            only of the answer.
    """
    names = [("answer", 0), ("paraphrase", 0), *(("wrong", k) for k in range(len(scores) - 2))]
    for (answer, number), score in zip(names[: len(scores)], scores, strict=True):
        yield {"id": key, "answer": answer, "number": number} | vars(score.tokens)
