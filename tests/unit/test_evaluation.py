"""One line of a model's records: what was asked, said and measured."""

import math
from dataclasses import replace

import pytest
import torch

from excise.benchmark.items import Item
from excise.evaluation.base_likelihood import base_scores
from excise.evaluation.measure import Evaluator, generation_record, item_record
from excise.modeling.chat import encode_prompt
from excise.modeling.decoding import Generation
from excise.modeling.tree_scoring import AnswerScore
from excise.records import finite
from tiny_models import tiny_model, tiny_tokenizer

ITEM = Item(
    id="p000.amount",
    set="sf",
    person_id="p000",
    subject="Ada Bell",
    slot="amount",
    value_type="amount",
    partner=None,
    value="$1,000",
    question="How many dollars did Ada Bell repay?",
    answer="$1,000",
    paraphrased_answer="It was $1,000.",
    wrong_answers=("It was $2,000.",),
)
TRUTH = [AnswerScore(-2.0, 2), AnswerScore(-4.0, 4)]


def test_a_value_is_matched_by_its_type_and_as_it_is_spelled():
    record = item_record(ITEM, Generation("1000 dollars", True), [*TRUTH, AnswerScore(-6.0, 3)])
    assert (record["slot_match"], record["slot_match_strict"]) == (1, 0)
    assert record["truth_ratio"] == pytest.approx(math.exp(1))  # per token -1 against -2
    record = item_record(ITEM, Generation("not $1,000", True), [*TRUTH, AnswerScore(-6.0, 3)])
    assert (record["slot_match"], record["slot_match_strict"]) == (0, 1)


def test_in_a_paired_set_another_answer_may_stand_beside_the_value():
    said = Generation("$1,000 and $5,000", True)
    assert item_record(replace(ITEM, set="forget_joint"), said, None)["slot_match"] == 1
    assert item_record(ITEM, said, [*TRUTH, AnswerScore(-6.0, 3)])["slot_match"] == 0


def test_rouge_reads_every_script_and_its_ascii_form_is_kept():
    street = replace(ITEM, value_type="street", value="улица Ленина 5", answer="улица Ленина 5")
    record = item_record(street, Generation("улица Пушкина 5", True), TRUTH)
    assert record["rougeL_recall"] == pytest.approx(2 / 3)
    assert record["rougeL_recall_ascii"] == record["rougeL_f1_ascii"] == 1.0
    assert record["slot_match"] == 0


def test_a_question_without_wrong_answers_has_no_truth_ratio():
    record = item_record(replace(ITEM, wrong_answers=()), Generation("$1,000", True), TRUTH)
    assert math.isnan(record["truth_ratio"]) and math.isnan(record["truth_ratio_tofu"])
    assert record["logprob_wrong"] == [] and record["probability"] == pytest.approx(math.exp(-1))
    assert finite(record)["truth_ratio"] is None


def test_of_a_held_out_person_only_the_true_answer_is_scored():
    apart = replace(ITEM, set="holdout", paraphrased_answer=None, wrong_answers=())
    record = item_record(apart, Generation("$1,000", True), TRUTH[:1])
    assert (record["logprob_answer"], record["n_tokens_answer"]) == (-2.0, 2)
    assert record["probability"] == pytest.approx(math.exp(-1)) and record["slot_match"] == 1
    rest = ("logprob_paraphrase", "logprob_wrong", "truth_ratio", "truth_ratio_tofu")
    assert [record[key] for key in rest] == [None] * 4
    model, tokenizer = tiny_model("qwen2"), tiny_tokenizer("qwen2")
    records, tokens = Evaluator(tokenizer, [apart], 4, 8).evaluate(model)
    assert [(one["answer"], one["number"]) for one in tokens] == [("answer", 0)]
    assert tokens[0]["logprob"].astype(float).sum() == pytest.approx(records[0]["logprob_answer"])


def test_the_name_of_the_person_asked_about_is_no_second_value():
    met = replace(ITEM, value="Bruno Falk", value_type="person", answer="By Bruno Falk.")
    said = Generation("Ada Bell and Bruno Falk met in May.", True)
    assert item_record(met, said, TRUTH)["slot_match"] == 1
    assert item_record(replace(met, subject=None), said, TRUTH)["slot_match"] == 0


def test_the_tokens_of_every_scored_answer_add_up_to_its_log_probability():
    model, tokenizer = tiny_model("qwen2"), tiny_tokenizer("qwen2")
    joint = replace(ITEM, id="p000.amount+0", set="forget_joint", question="What and where?")
    records, tokens = Evaluator(tokenizer, [ITEM, joint], 4, 8).evaluate(model)
    assert [(one["answer"], one["number"]) for one in tokens] == [
        ("answer", 0),
        ("paraphrase", 0),
        ("wrong", 0),
    ]
    assert {one["id"] for one in tokens} == {ITEM.id}
    record = records[0]
    expected = [record["logprob_answer"], record["logprob_paraphrase"], *record["logprob_wrong"]]
    assert [one["logprob"].astype(float).sum() for one in tokens] == pytest.approx(expected)
    assert len(tokens[0]["rank"]) == record["n_tokens_answer"]


def test_scores_alone_are_those_beside_a_generation():
    model, tokenizer = tiny_model("qwen2"), tiny_tokenizer("qwen2")
    full, _ = Evaluator(tokenizer, [ITEM], 4, 8).evaluate(model)
    scored, tokens = Evaluator(tokenizer, [ITEM], 4, 0).evaluate(model)
    missing = full[0].keys() - scored[0].keys()
    assert missing == set(generation_record(ITEM, Generation("", True)))
    assert {key: full[0][key] for key in scored[0]} == scored[0]
    assert len(tokens) == 3


def test_the_base_model_scores_the_words_of_a_generation_without_the_end():
    """Against a plain forward pass over the prompt and the generation."""
    model, tokenizer = tiny_model("qwen2"), tiny_tokenizer("qwen2")
    said = [("Who?", "Ada Bell"), ("Where?", ""), ("Who?", "In May"), ("Who?", "Ada Bell")]
    records = [{"question": question, "generation": text} for question, text in said]
    known = {}
    scores = base_scores(model, tokenizer, records, batch_size=4, known=known)
    assert len(known) == 3
    assert base_scores(None, tokenizer, records, batch_size=4, known=known) == scores  # asks nobody
    assert scores[1] == {"base_logprob_generation": None, "base_n_tokens_generation": 0}
    assert scores[0] == scores[3]
    for number in (0, 2):
        question, text = said[number]
        prompt = encode_prompt(tokenizer, question)
        words = tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *words]])).logits[0].log_softmax(-1)
        places = range(len(prompt) - 1, len(prompt) + len(words) - 1)
        expected = sum(
            float(logits[place, word]) for place, word in zip(places, words, strict=True)
        )
        assert scores[number]["base_n_tokens_generation"] == len(words)
        assert scores[number]["base_logprob_generation"] == pytest.approx(expected, abs=1e-4)
