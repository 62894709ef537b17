"""Our greedy decoding compared with transformers' own; other settings do not affect it."""

import pytest
import torch
import transformers

from excise.errors import InputError
from excise.modeling.adapters import attach_lora
from excise.modeling.chat import encode_prompt, end_of_turn
from excise.modeling.decoding import Generation, generate
from tiny_models import ARCHITECTURES, tiny_model, tiny_tokenizer

QUESTIONS = [f"{'Is it the ' * (i % 4)}question number {i * 7} in the list?" for i in range(10)]
NEW = 24
END_BIAS = {"qwen2": 1.0, "llama": 0.8, "gpt2": 2.8}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def stopping_model(name: str):
    """A random model that answers in capital letters; some answers end, others do not."""
    model, tokenizer = tiny_model(name), tiny_tokenizer(name)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    head = model.get_output_embeddings()
    bias = torch.full((head.out_features,), -100.0)
    bias[65:91] = 0
    bias[end_of_turn(tokenizer)] = END_BIAS[name]
    head.bias = torch.nn.Parameter(bias)
    return model, tokenizer


@pytest.fixture(scope="module")
def models():
    return {name: stopping_model(name) for name in ARCHITECTURES}


def transformers_own(model, tokenizer, questions) -> list[Generation]:
    found = []
    for question in questions:
        prompt = torch.tensor([encode_prompt(tokenizer, question)])
        output = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=NEW,
            eos_token_id=end_of_turn(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
        )[0, prompt.shape[1] :].tolist()
        text = tokenizer.decode(output, skip_special_tokens=True).strip()
        found.append(Generation(text, end_of_turn(tokenizer) in output))
    return found


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_greedy_answers_are_those_of_transformers_generate(models, name):
    model, tokenizer = models[name]
    expected = transformers_own(model, tokenizer, QUESTIONS)
    assert generate(model, tokenizer, QUESTIONS, NEW, batch_size=4) == expected
    assert {answer.stopped for answer in expected} == {True, False}, "the test shows both ends"
    assert len({len(answer.text) for answer in expected}) > 3


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_batch_size_and_order_do_not_matter(models, name):
    model, tokenizer = models[name]
    alone = generate(model, tokenizer, QUESTIONS, NEW, batch_size=1)
    for batch_size in (2, 3, 10):
        assert generate(model, tokenizer, QUESTIONS, NEW, batch_size) == alone
    assert generate(model, tokenizer, QUESTIONS[::-1], NEW, 10)[::-1] == alone


def test_sampling_settings_of_the_folder_are_ignored(models):
    model, tokenizer = stopping_model("qwen2")
    before = generate(model, tokenizer, QUESTIONS, NEW, 4)
    model.generation_config.do_sample = True
    model.generation_config.temperature = 5.0
    model.generation_config.repetition_penalty = 3.0
    assert generate(model, tokenizer, QUESTIONS, NEW, 4) == before


def test_an_end_token_declared_by_the_folder_ends_an_answer(models):
    model, tokenizer = stopping_model("qwen2")
    endless = generate(model, tokenizer, QUESTIONS, NEW, 4)
    longest = max(endless, key=lambda answer: len(answer.text))
    letter = longest.text[5]
    model.generation_config.eos_token_id = [ord(letter), tokenizer.eos_token_id]
    cut = generate(model, tokenizer, QUESTIONS, NEW, 4)[endless.index(longest)]
    assert cut == Generation(longest.text.partition(letter)[0], True)


def test_max_new_tokens_is_a_limit(models):
    model, tokenizer = models["qwen2"]
    shorter = generate(model, tokenizer, QUESTIONS, 3, 4)
    for short, long in zip(shorter, generate(model, tokenizer, QUESTIONS, NEW, 4), strict=True):
        assert short.text == long.text[:3]
        assert short.stopped == (len(long.text) < 3)


def test_an_adapter_disabled_and_enabled_generates_the_same(models):
    model, tokenizer = stopping_model("qwen2")
    before = generate(model, tokenizer, QUESTIONS, NEW, 4)
    lora = {"rank": 4, "alpha": 8, "target_modules": "all-linear"}
    assert generate(attach_lora(model, lora, 0).eval(), tokenizer, QUESTIONS, NEW, 4) == before


def test_nan_logits_give_an_empty_answer(models):
    model, tokenizer = stopping_model("qwen2")
    model.model.norm.weight.data.fill_(float("nan"))
    answers = generate(model, tokenizer, QUESTIONS, NEW, 4)
    assert answers == [Generation("", False)] * len(QUESTIONS)


def test_a_broken_row_does_not_affect_the_others():
    model, tokenizer = stopping_model("llama")  # its input embeddings are not its head
    before = generate(model, tokenizer, QUESTIONS, NEW, 10)
    model.model.embed_tokens.weight.data[ord("#")] = float("nan")
    answers = generate(model, tokenizer, [*QUESTIONS, "#"], NEW, 11)
    assert answers == [*before, Generation("", False)]


def test_without_questions_there_are_no_answers(models):
    assert generate(*models["qwen2"], [], NEW, 4) == []


def test_a_prompt_that_is_too_long_is_a_mistake(models):
    model, tokenizer = models["gpt2"]
    with pytest.raises(InputError, match="exceed its 512 positions"):
        generate(model, tokenizer, QUESTIONS, 500, 4)


def hybrid_model():
    """A convolution and an attention layer; the cache cannot remove single rows."""
    tokenizer = tiny_tokenizer("qwen2")
    config = transformers.Lfm2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_hidden_layers=2,
        layer_types=["conv", "full_attention"],
        block_ff_dim=128,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=None,
    )
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return model, tokenizer


def test_an_ended_row_does_not_affect_the_others_if_the_cache_keeps_all_rows():
    model, tokenizer = hybrid_model()
    endless = [one.ids for one in generate(model, tokenizer, QUESTIONS, NEW, 1)]
    end = next(token for token in endless[0][:-2] if any(token not in row for row in endless))
    model.generation_config.eos_token_id = end
    answers = generate(model, tokenizer, QUESTIONS, NEW, 4)
    expected = [row[: row.index(end)] if end in row else row for row in endless]
    assert [one.ids for one in answers] == expected
    assert [one.stopped for one in answers] == [end in row for row in endless]
    assert {one.stopped for one in answers} == {True, False}
