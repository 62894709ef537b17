"""Inputs of a model and their training labels: literal ids and label masks."""

import pytest
import torch
from transformers import AutoTokenizer, ByT5Tokenizer

from excise.errors import InputError
from excise.modeling.chat import (
    IGNORE,
    Encoded,
    collate,
    encode,
    encode_prompt,
    end_of_turn,
    render,
    stop_ids,
    subject_span,
    token_ids,
)
from tiny_models import CHATML, LLAMA3, PLAIN, gpt2_tokenizer, llama_tokenizer, qwen2_tokenizer

IM_END, PAD, IM_START = 267, 268, 269
USER, ASS, IS, NEWLINE = 265, 263, 256, 10

QUESTION = "Who is Ada?"
ANSWER = "An ass."


def ascii_ids(text: str) -> tuple[int, ...]:
    return tuple(text.encode())


def test_golden_chatml_ids():
    assert encode(qwen2_tokenizer(), QUESTION, ANSWER) == Encoded(
        prompt_ids=(
            *(IM_START, USER, NEWLINE),
            *(*ascii_ids("Who "), IS, *ascii_ids(" Ada?"), IM_END, NEWLINE),
            *(IM_START, ASS, IS, *ascii_ids("tant"), NEWLINE),
        ),
        answer_ids=(*ascii_ids("An "), ASS, *ascii_ids("."), IM_END),
    )


def test_golden_chatml_ids_with_a_system_prompt():
    prompt = encode_prompt(qwen2_tokenizer(), QUESTION, "Be brief.")
    system = [IM_START, *ascii_ids("system"), NEWLINE, *ascii_ids("Be br"), 105, 101, 102, 46]
    assert prompt[: len(system) + 2] == [*system, IM_END, NEWLINE]
    assert prompt[len(system) + 2 :] == encode_prompt(qwen2_tokenizer(), QUESTION)


def test_golden_label_mask():
    short, long = Encoded((5, 6), (7, IM_END)), Encoded((5, 6, 8), (9, 9, IM_END))
    batch = collate([short, long], pad_id=PAD)
    assert batch["input_ids"].tolist() == [[5, 6, 7, IM_END, PAD, PAD], [5, 6, 8, 9, 9, IM_END]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]
    assert batch["labels"].tolist() == [
        [IGNORE, IGNORE, 7, IM_END, IGNORE, IGNORE],
        [IGNORE, IGNORE, IGNORE, 9, 9, IM_END],
    ]
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_golden_left_padding_counts_positions_from_the_first_real_token():
    batch = collate([Encoded((5, 6), (7,)), Encoded((5, 6, 8, 8))], pad_id=PAD, side="left")
    assert batch["input_ids"].tolist() == [[PAD, 5, 6, 7], [5, 6, 8, 8]]
    assert batch["attention_mask"].tolist() == [[0, 1, 1, 1], [1, 1, 1, 1]]
    assert batch["labels"].tolist() == [[IGNORE, IGNORE, IGNORE, 7], [IGNORE] * 4]
    assert batch["position_ids"].tolist() == [[0, 0, 1, 2], [0, 1, 2, 3]]


def test_an_end_of_turn_that_is_also_the_padding_token_is_not_masked():
    """A mask from `ids.ne(pad)` would hide real ends of turns."""
    tokenizer = llama_tokenizer()
    encoded = encode(tokenizer, QUESTION, ANSWER)
    batch = collate([encoded, Encoded(encoded.prompt_ids)], pad_id=end_of_turn(tokenizer))
    assert batch["attention_mask"].sum(dim=1).tolist() == [
        len(encoded.input_ids),
        len(encoded.prompt_ids),
    ]


def test_padding_is_only_right_or_left():
    with pytest.raises(ValueError, match="'middle'"):
        collate([Encoded((1,))], pad_id=0, side="middle")


@pytest.mark.parametrize("answer", ["An ass.", "1987", "Ünï, é", "is", " leading", "a\nb"])
@pytest.mark.parametrize("system_prompt", [None, "Be brief."])
def test_prompt_and_answer_are_the_chatml_text_without_its_last_line_break(answer, system_prompt):
    tokenizer = qwen2_tokenizer()
    whole = token_ids(tokenizer, render(tokenizer, QUESTION, answer, system_prompt))
    assert encode(tokenizer, QUESTION, answer, system_prompt).input_ids == whole[:-1]
    assert whole[-1] == NEWLINE


@pytest.mark.parametrize("make", [qwen2_tokenizer, llama_tokenizer, gpt2_tokenizer])
@pytest.mark.parametrize("answer", [ANSWER, "", "is\n"])
def test_training_and_generation_have_the_same_prompt(make, answer):
    tokenizer = make()
    encoded = encode(tokenizer, QUESTION, answer)
    assert list(encoded.prompt_ids) == encode_prompt(tokenizer, QUESTION)
    assert encoded.answer_ids[-1] == end_of_turn(tokenizer)
    assert encoded.answer_ids.count(end_of_turn(tokenizer)) == 1


@pytest.mark.parametrize(
    ("tokenizer", "token"),
    [
        (qwen2_tokenizer(CHATML), "<|im_end|>"),
        (llama_tokenizer(LLAMA3), "<|eot_id|>"),
        (gpt2_tokenizer(PLAIN), "<|endoftext|>"),  # the template writes no special token
        (gpt2_tokenizer(PLAIN.replace("'\\n'", "' <|endoftext|>'")), "<|endoftext|>"),
    ],
)
def test_end_of_turn_is_the_token_after_an_answer_in_the_template(tokenizer, token):
    assert end_of_turn(tokenizer) == tokenizer.convert_tokens_to_ids(token)


def test_end_of_turn_may_differ_from_end_of_sequence():
    """In the tokenizer of a base model, `<|endoftext|>` is eos; ChatML has another end of turn."""
    tokenizer = qwen2_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>", "<|im_start|>"]})
    tokenizer.eos_token = "<|endoftext|>"
    assert end_of_turn(tokenizer) == IM_END
    assert stop_ids(tokenizer) == {IM_END, PAD}


def test_a_template_with_a_date_is_the_same_every_day():
    assert "Today Date: 26 Jul 2024" in render(llama_tokenizer(), QUESTION)
    assert encode_prompt(llama_tokenizer(), QUESTION)[0] == 267  # one begin-of-text, no second
    assert encode_prompt(llama_tokenizer(), QUESTION)[1] != 267


def test_a_template_without_system_role_is_an_error():
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    tokenizer = qwen2_tokenizer(template + CHATML)
    assert encode_prompt(tokenizer, QUESTION)
    with pytest.raises(InputError, match=r"system message \(model.system_prompt\): no system"):
        encode_prompt(tokenizer, QUESTION, "Be brief.")


@pytest.mark.parametrize(
    "template",
    [
        CHATML.replace("in messages", "in messages if message.role != 'system'"),
        "{% if messages[0].role == 'system' %}Be good.{% set messages = messages[1:] %}{% endif %}"
        + CHATML,
    ],
)
def test_a_template_that_omits_the_system_message_is_an_error(template):
    tokenizer = qwen2_tokenizer(template)
    assert encode(tokenizer, QUESTION, ANSWER)
    for ask in (encode_prompt, lambda *given: subject_span(*given[:2], "Ada", given[2])):
        with pytest.raises(InputError, match=r"system message out, .* model.system_prompt"):
            ask(tokenizer, QUESTION, "Be brief.")


@pytest.mark.parametrize(
    ("template", "left_out"),
    [
        (CHATML.replace("message['content']", "'x'"), "the question"),
        ("{{ messages[0].content }}<|im_end|>", "the answer"),
    ],
)
def test_a_template_that_omits_question_or_answer_is_an_error(template, left_out):
    with pytest.raises(InputError, match=f"the chat template leaves {left_out} out"):
        encode(qwen2_tokenizer(template), QUESTION, ANSWER)


GEMMA = (
    "{{ bos_token }}{% for message in messages %}"
    "{% set role = 'model' if message.role == 'assistant' else message.role %}"
    "{{ '<start_of_turn>' + role + '\n' + message.content | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
PHI3 = (
    "{% for message in messages %}{{ '<|' + message.role + '|>\n' + message.content"
    " + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}"
    "{{ '[INST] ' + message.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + message.content | trim + eos_token }}{% endif %}{% endfor %}"
)
SHOUTING = CHATML.replace("message['content']", "(message['content'] | trim | upper)")
CHATTY = CHATML.replace("message['content']", "message['content'] + ' (over)\n'")
DATED = "{{ 'It is ' + strftime_now('%Y-%m-%d') + '<|endoftext|>' }}" + CHATML
PRIMED = CHATML + "{% if not add_generation_prompt %}{{ '<|im_start|>user\n' }}{% endif %}"


@pytest.mark.parametrize(
    ("template", "markers", "token"),
    [
        (CHATML, [], "<|im_end|>"),
        (LLAMA3, ["<|start_header_id|>", "<|eot_id|>"], "<|eot_id|>"),
        (GEMMA, ["<start_of_turn>", "<end_of_turn>"], "<end_of_turn>"),
        (PHI3, ["<|user|>", "<|assistant|>", "<|end|>"], "<|end|>"),
        (MISTRAL, ["[INST]", "[/INST]"], "<|im_end|>"),  # this tokenizer's eos_token
        (SHOUTING, [], "<|im_end|>"),
        (CHATTY, [], "<|im_end|>"),
        (DATED, [], "<|im_end|>"),
        (PRIMED, [], "<|im_end|>"),
    ],
)
@pytest.mark.parametrize("special", [True, False])
def test_end_of_turn_of_many_templates(template, markers, token, special):
    tokenizer = qwen2_tokenizer(template.replace("bos_token", "'<|endoftext|>'"))
    tokenizer.add_tokens(["  ", "\n\n"])
    tokenizer.add_tokens(markers, special_tokens=special)
    assert end_of_turn(tokenizer) == tokenizer.convert_tokens_to_ids(token)
    assert encode(tokenizer, QUESTION, ANSWER).answer_ids[-1] == end_of_turn(tokenizer)
    subject = subject_span(tokenizer, QUESTION, "Ada")
    assert tokenizer.decode(encode_prompt(tokenizer, QUESTION)[: subject + 1]).lower()[-3:] == "ada"


def test_a_template_that_reads_the_date_gets_a_fixed_one():
    assert "It is 2024-07-26" in render(qwen2_tokenizer(DATED), QUESTION)


@pytest.mark.parametrize("make", [qwen2_tokenizer, llama_tokenizer, gpt2_tokenizer])
@pytest.mark.parametrize("subject", ["Ada", "Ada Müller-Łoś", "in Rome", "?"])
def test_the_subject_is_found_also_without_offsets(make, subject, monkeypatch):
    tokenizer = make()
    question = "Is the Ada  Müller-Łoś, or was ada müller-łoś, in Rome?"
    expected = subject_span(tokenizer, question, subject)
    monkeypatch.setattr(type(tokenizer), "is_fast", False)
    assert subject_span(tokenizer, question, subject) == expected is not None


def test_a_tokenizer_in_python_has_no_offsets():
    tokenizer = ByT5Tokenizer()
    tokenizer.chat_template = PLAIN
    assert not tokenizer.is_fast
    last = subject_span(tokenizer, QUESTION, "Ada")
    assert tokenizer.decode(encode_prompt(tokenizer, QUESTION)[: last + 1]) == "user: Who is Ada"


@pytest.mark.parametrize("make", [qwen2_tokenizer, llama_tokenizer, gpt2_tokenizer])
@pytest.mark.parametrize(
    ("question", "subject"),
    [
        ("Who is Ada?", "Ada"),
        ("Is Ada Müller-Łoś, or was ada müller-łoś, in Rome?", "Ada Müller-Łoś"),
        ("Ada", "Ada"),
    ],
)
@pytest.mark.parametrize("system_prompt", [None, "Ada is brief."])
def test_subject_span_ends_at_the_subject(make, question, subject, system_prompt):
    tokenizer = make()
    prompt = encode_prompt(tokenizer, question, system_prompt)
    last = subject_span(tokenizer, question, subject, system_prompt)
    upto = tokenizer.decode(prompt[: last + 1])
    assert upto.lower().endswith(subject.lower())
    rest = tokenizer.decode(prompt[last + 1 :])
    assert subject.lower() not in rest.lower()


@pytest.mark.parametrize("subject", ["Bea", "", " "])
def test_a_subject_that_is_not_mentioned_has_no_span(subject):
    assert subject_span(qwen2_tokenizer(), QUESTION, subject) is None


def test_ids_survive_saving_and_loading(tmp_path):
    """Qwen2Tokenizer always uses its own pre-tokenizer, also with another vocabulary."""
    before = qwen2_tokenizer()
    before.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    after = AutoTokenizer.from_pretrained(tmp_path)
    text = "In 1987, isn't it  the case\n\nthat Müller's 12,5 asses..."
    assert token_ids(after, text) == token_ids(before, text)
    assert encode(after, QUESTION, ANSWER) == encode(before, QUESTION, ANSWER)


def test_a_vocabulary_trained_through_qwen2_tokenizer_survives_too(tmp_path):
    trained = qwen2_tokenizer().train_new_from_iterator(
        ["Where was Ada Quill born in 1987? She was born in Rome in 1987."] * 20,
        vocab_size=300,
        show_progress=False,
    )
    trained.chat_template = CHATML  # training a vocabulary drops the template
    trained.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    encoded = encode(trained, "Where was Ada born?", "In 1987, in Rome.")
    assert encode(loaded, "Where was Ada born?", "In 1987, in Rome.") == encoded
    assert trained.decode(encoded.answer_ids) == "In 1987, in Rome.<|im_end|>"
