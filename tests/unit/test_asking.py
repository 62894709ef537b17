"""One pass gives what two give: greedy answers and scores, on every architecture."""

import pytest
import torch
from test_decoding import NEW, QUESTIONS, hybrid_model, stopping_model, transformers_own

import excise.modeling.asking as asking
import excise.modeling.shortcuts as shortcuts
from excise.errors import InputError
from excise.modeling.asking import Questionnaire
from excise.modeling.decoding import Generation, generate
from excise.modeling.scoring import score_answers
from tiny_models import ARCHITECTURES, matrix_model, tiny_tokenizer


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def models():
    return {name: stopping_model(name) for name in ARCHITECTURES}


def drafts(made: list[Generation]) -> list[list[str]]:
    """Answers that hold all of what the model says, a part of it, nothing of it; or no answer."""
    kinds = [
        lambda text: [text, "no"],
        lambda text: ["No.", text[: len(text) // 2] + "?", text[:3] + "!"],
        lambda text: ["Never said", "Not said"],
        lambda text: [],
    ]
    return [kinds[number % 4](one.text) for number, one in enumerate(made)]


def asked(model, tokenizer, answers, new=NEW, batch_size=4):
    return Questionnaire(tokenizer, QUESTIONS, answers, new, batch_size).ask(model)


def check(model, tokenizer, batch_size=4):
    expected = generate(model, tokenizer, QUESTIONS, NEW, batch_size)
    answers = drafts(expected)
    scores = score_answers(model, tokenizer, QUESTIONS, answers, batch_size)
    found = asked(model, tokenizer, answers, batch_size=batch_size)
    assert [one.generation for one in found] == expected
    assert [one.generation.ids for one in found] == [one.ids for one in expected]
    for one, own in zip(found, scores, strict=True):
        assert [a.logprob for a in one.scores] == pytest.approx([a.logprob for a in own], abs=1e-4)
        assert [a.n_tokens for a in one.scores] == [a.n_tokens for a in own]
        for mine, theirs in zip(one.scores, own, strict=True):
            assert mine.tokens.rank.tolist() == theirs.tokens.rank.tolist()
    return expected


@pytest.mark.parametrize("batch_size", [1, 4, 64])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_one_pass_gives_the_answers_and_scores_of_two(models, name, batch_size, monkeypatch):
    model, tokenizer = models[name]
    expected = check(model, tokenizer, batch_size)
    assert expected == transformers_own(model, tokenizer, QUESTIONS)
    assert shortcuts._tried[model].shortcuts.resume
    assert {one.stopped for one in expected} == {True, False}


@pytest.mark.parametrize("name", ["mistral", "phi3", "gemma2", "gemma3", "qwen2_window", "mixtral"])
def test_windows_other_heads_and_experts(name):
    model, tokenizer = matrix_model(name), tiny_tokenizer(name)
    tokenizer.pad_token = tokenizer.eos_token
    check(model, tokenizer)
    assert shortcuts._tried[model].shortcuts.resume


def test_what_waits_is_decoded_at_any_size(models, monkeypatch):
    model, tokenizer = models["qwen2"]
    answers = drafts(generate(model, tokenizer, QUESTIONS, NEW, 4))
    expected = asked(model, tokenizer, answers, batch_size=2)
    monkeypatch.setattr(asking, "MAX_KEPT", 0)
    assert asked(model, tokenizer, answers, batch_size=2) == expected


@pytest.mark.parametrize("new", [1, 2, 5])
def test_the_limit_holds_inside_and_outside_of_the_tree(models, new):
    model, tokenizer = models["qwen2"]
    longer = generate(model, tokenizer, QUESTIONS, NEW, 4)
    for one, long in zip(asked(model, tokenizer, drafts(longer), new), longer, strict=True):
        assert one.generation.text == long.text[:new]
        assert one.generation.stopped == (len(long.text) < new)


def test_a_cache_that_cannot_remove_rows_is_not_resumed():
    model, tokenizer = hybrid_model()
    made = generate(model, tokenizer, QUESTIONS, NEW, 4)
    answers = drafts(made)
    scores = score_answers(model, tokenizer, QUESTIONS, answers, 4)
    found = asked(model, tokenizer, answers)
    assert not shortcuts._tried[model].shortcuts.resume
    assert [one.generation for one in found] == made
    assert [one.scores for one in found] == scores


def test_a_model_that_ignores_its_cache_is_not_resumed():
    model, tokenizer = stopping_model("qwen2")
    inner = model.model.forward

    def forgetful(*args, past_key_values=None, attention_mask=None, position_ids=None, **kwargs):
        if past_key_values is not None and past_key_values.get_seq_length():
            for layer in past_key_values.layers:
                layer.values = layer.values * 0
        return inner(
            *args,
            past_key_values=past_key_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            **kwargs,
        )

    model.model.forward = forgetful
    asked(model, tokenizer, [["Yes it is", "No"]] * len(QUESTIONS))
    assert shortcuts._tried[model].shortcuts.tree
    assert not shortcuts._tried[model].shortcuts.resume


def test_a_broken_model_answers_nothing():
    model, tokenizer = stopping_model("qwen2")
    model.model.norm.weight.data.fill_(float("nan"))
    found = asked(model, tokenizer, [["Yes"]] * len(QUESTIONS))
    assert [one.generation for one in found] == [Generation("", False)] * len(QUESTIONS)
    assert all(one.scores[0].logprob != one.scores[0].logprob for one in found)


def test_a_broken_row_does_not_affect_the_others():
    model, tokenizer = stopping_model("llama")
    answers = drafts(generate(model, tokenizer, QUESTIONS, NEW, 4))
    before = asked(model, tokenizer, answers)
    model.model.embed_tokens.weight.data[ord("#")] = float("nan")
    both = Questionnaire(tokenizer, [*QUESTIONS, "#"], [*answers, ["Yes", "No"]], NEW, 16)
    *others, broken = both.ask(model)
    assert [one.generation for one in others] == [one.generation for one in before]
    assert broken.generation == Generation("", False)


def test_a_questionnaire_serves_any_number_of_models(models):
    model, tokenizer = models["qwen2"]
    other, _ = stopping_model("qwen2")
    for parameter in other.model.parameters():
        parameter.data.mul_(1.3)
    sheet = Questionnaire(tokenizer, QUESTIONS, [["Yes"]] * len(QUESTIONS), NEW, 4)
    first, second, again = sheet.ask(model), sheet.ask(other), sheet.ask(model)
    assert first == again != second


def test_questions_without_any_answers(models):
    model, tokenizer = models["gpt2"]
    found = asked(model, tokenizer, [[]] * len(QUESTIONS))
    assert [one.generation for one in found] == generate(model, tokenizer, QUESTIONS, NEW, 4)
    assert Questionnaire(tokenizer, [], [], NEW, 4).ask(model) == []


def test_a_prompt_that_is_too_long_is_a_mistake(models):
    model, tokenizer = models["gpt2"]
    with pytest.raises(InputError, match="exceed its 512 positions"):
        Questionnaire(tokenizer, ["?"], [["x" * 600]], NEW, 4).ask(model)
    with pytest.raises(InputError, match="exceed its 512 positions"):
        Questionnaire(tokenizer, ["?"], [["x"]], 510, 4).ask(model)
