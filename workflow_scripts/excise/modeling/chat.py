"""Render a question and its answer with the chat template, as token ids and training labels.

A prompt is the tokenizer's own chat template with the generation prompt. Its ids are the same in
training, scoring and generation. The answer and one end-of-turn token follow. Loss and
log-probabilities cover exactly these tokens, and no text that the template writes after them.
Otherwise a model would be trained and scored on the line break after `<|im_end|>` in ChatML, which
no generation contains.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import takewhile
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch

from excise.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORE = -100
"""Label of a position without loss: torch's `ignore_index`."""

# Some templates write today's date (Llama 3) or a block for reasoning (Qwen 3) into the prompt.
FIXED_DATE = date(2024, 7, 26)
FIXED_TEMPLATE_ARGUMENTS = {"date_string": f"{FIXED_DATE:%d %b %Y}", "enable_thinking": False}
TODAY = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")

# Two texts that occur in no template. They have no letter in common and different last characters,
# even if a template strips them or changes their case.
MARKERS = ("QxZ7", "Mwk3")

_end_of_turn: WeakKeyDictionary = WeakKeyDictionary()
_accepted: WeakKeyDictionary = (
    WeakKeyDictionary()
)  # tokenizer → system prompts that its template accepts


@dataclass(frozen=True)
class Encoded:
    """Token ids of a conversation: `prompt_ids` up to the answer, then `answer_ids`."""

    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...] = ()

    @property
    def input_ids(self) -> tuple[int, ...]:
        """Prompt and answer, the input of the model."""
        return self.prompt_ids + self.answer_ids


def render(
    tokenizer: "PreTrainedTokenizerBase",
    question: str,
    answer: str | None = None,
    system_prompt: str | None = None,
) -> str:
    """The chat template's text: up to the start of the answer, or with `answer` filled in.

    Raises:
        InputError: as `check_template`.
    """
    check_template(tokenizer, system_prompt)
    return _rendered(tokenizer, question, answer, system_prompt)


def _with_fixed_date(template: str | dict | None) -> str | None:
    """A template with a fixed date instead of today's; None if it has no date."""
    if not isinstance(template, str) or "strftime_now" not in template:
        return None
    return TODAY.sub(lambda call: repr(FIXED_DATE.strftime(call[2])), template)


def check_template(tokenizer: "PreTrainedTokenizerBase", system_prompt: str | None = None) -> None:
    """Check that the chat template includes the question and the system prompt.

    Raises:
        InputError: the template fails, or its text does not depend on one of them.
    """
    accepted = _accepted.setdefault(tokenizer, set())
    if system_prompt in accepted:
        return
    first, second = MARKERS
    name = tokenizer.name_or_path
    if _rendered(tokenizer, first) == _rendered(tokenizer, second):
        raise InputError(f"{name}: the chat template leaves the question out")
    if system_prompt is not None:
        texts = {_rendered(tokenizer, "?", None, text) for text in (first, second)}
        if len(texts) == 1:
            raise InputError(
                f"{name}: the chat template leaves the system message out, so "
                "model.system_prompt would have no effect; only null is allowed"
            )
        _rendered(tokenizer, "?", None, system_prompt)
    accepted.add(system_prompt)


def _rendered(
    tokenizer: "PreTrainedTokenizerBase",
    question: str,
    answer: str | None = None,
    system_prompt: str | None = None,
) -> str:
    messages = [{"role": "user", "content": question}]
    if system_prompt is not None:
        messages.insert(0, {"role": "system", "content": system_prompt})
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    try:
        return tokenizer.apply_chat_template(
            messages,
            chat_template=_with_fixed_date(tokenizer.chat_template),
            tokenize=False,
            add_generation_prompt=answer is None,
            **FIXED_TEMPLATE_ARGUMENTS,
        )
    except Exception as error:  # jinja errors, and exceptions that a template raises
        system = "" if system_prompt is None else " with a system message (model.system_prompt)"
        reason = " ".join(str(error).split())
        raise InputError(
            f"{tokenizer.name_or_path}: the chat template cannot render a question{system}: "
            f"{reason}"
        ) from error


def token_ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> tuple[int, ...]:
    """Token ids of a text, without special tokens at its start and end."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def end_of_turn(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Id of the one token that ends the assistant's turn.

    It is the first marker (`<|im_end|>`, `<|eot_id|>`, `</s>`) that the template writes after
    every answer. Without a marker it is the tokenizer's end-of-sequence token. The common end of
    two rendered answers is the text that the template writes after every answer.

    Raises:
        InputError: the template cannot render an answer, or leaves it out.
    """
    if tokenizer not in _end_of_turn:
        texts = [render(tokenizer, "?", marker) for marker in MARKERS]
        if texts[0] == texts[1]:
            raise InputError(f"{tokenizer.name_or_path}: the chat template leaves the answer out")
        same = takewhile(lambda pair: pair[0] == pair[1], zip(*map(reversed, texts), strict=False))
        following = "".join(character for character, _ in same)[::-1]
        markers = [
            token for token in token_ids(tokenizer, following) if _is_marker(tokenizer, token)
        ]
        _end_of_turn[tokenizer] = markers[0] if markers else tokenizer.eos_token_id
    return _end_of_turn[tokenizer]


def _is_marker(tokenizer: "PreTrainedTokenizerBase", token: int) -> bool:
    """Whether a token is a marker, not text; some vocabularies have added tokens of spaces."""
    added = tokenizer.added_tokens_decoder.get(token)
    return token in tokenizer.all_special_ids or (
        added is not None and (added.special or not added.content.isspace())
    )


def stop_ids(tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """Ids that end a generated answer: end-of-turn and end-of-sequence."""
    return frozenset({end_of_turn(tokenizer), tokenizer.eos_token_id} - {None})


def encode_prompt(
    tokenizer: "PreTrainedTokenizerBase", question: str, system_prompt: str | None = None
) -> list[int]:
    """Token ids of everything before the answer, the same in training and in generation.

    Raises:
        InputError: the chat template does not accept the question or the system prompt.
    """
    return list(token_ids(tokenizer, render(tokenizer, question, system_prompt=system_prompt)))


def encode(
    tokenizer: "PreTrainedTokenizerBase",
    question: str,
    answer: str,
    system_prompt: str | None = None,
) -> Encoded:
    """Token ids of a question and its answer, with one end-of-turn token after the answer.

    Both parts are tokenised separately, so that the ids of the prompt do not depend on the answer.

    Raises:
        InputError: the chat template does not accept the question or the system prompt.
    """
    prompt_ids = token_ids(tokenizer, render(tokenizer, question, system_prompt=system_prompt))
    return Encoded(prompt_ids, (*token_ids(tokenizer, answer), end_of_turn(tokenizer)))


def encode_answers(
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[str]],
) -> list[list[Encoded]]:
    """What `encode` gives for many answers; each prompt is rendered once, each text read once.

    Args:
        tokenizer: the model's own.
        prompts: Q prompts of `encode_prompt`.
        answers: for each its answers.
    """
    texts = list(dict.fromkeys(text for own in answers for text in own))
    if not texts:
        return [[] for _ in prompts]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    end = end_of_turn(tokenizer)
    known = {text: (*own, end) for text, own in zip(texts, ids, strict=True)}
    return [
        [Encoded(tuple(prompt), known[text]) for text in own]
        for prompt, own in zip(prompts, answers, strict=True)
    ]


def subject_span(
    tokenizer: "PreTrainedTokenizerBase",
    question: str,
    subject: str,
    system_prompt: str | None = None,
) -> int | None:
    """Index of the last token of `subject` in the ids of `encode_prompt`.

    It is the subject's last mention in the question; upper and lower case do not matter.

    Returns:
        The index, or None if the question does not mention the subject.
    """
    text = render(tokenizer, question, system_prompt=system_prompt)
    question = question.strip()
    at_question = text.rfind(question)
    if at_question < 0:  # the template changes upper and lower case
        at_question = text.lower().rfind(question.lower())
    mentions = list(re.finditer(re.escape(subject.strip()), question, re.IGNORECASE))
    if at_question < 0 or not mentions or not subject.strip():
        return None
    end = at_question + mentions[-1].end()
    return (_covering_token if tokenizer.is_fast else _covering_token_by_decoding)(
        tokenizer, text, end - 1
    )


def _covering_token(tokenizer: "PreTrainedTokenizerBase", text: str, character: int) -> int | None:
    """Index of the last token that covers a character of the text."""
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    covering = [
        index
        for index, (start, end) in enumerate(offsets["offset_mapping"])
        if start <= character < end
    ]
    return covering[-1] if covering else None


def _covering_token_by_decoding(
    tokenizer: "PreTrainedTokenizerBase", text: str, character: int
) -> int | None:
    """The same for a tokenizer without offsets: the first token that completes the text."""
    ids = token_ids(tokenizer, text)
    wanted = "".join(text[: character + 1].split())  # decoding may add or drop spaces
    for index in range(len(ids)):
        decoded = tokenizer.decode(ids[: index + 1], clean_up_tokenization_spaces=False)
        if "".join(decoded.split()).startswith(wanted):
            return index
    return None


def value_tokens(
    tokenizer: "PreTrainedTokenizerBase", answer: str, value: str
) -> tuple[int, int] | None:
    """The tokens of an answer that spell its value, as (first, last + 1) of `token_ids`.

    The value's first mention counts. A token that also holds a space before the value counts too.

    Returns:
        The indices, or None if the answer does not spell the value.
    """
    start = answer.find(value)
    if start < 0:
        start = answer.lower().find(value.lower())
    if start < 0 or not value:
        return None
    end = start + len(value)
    if not tokenizer.is_fast:
        places = [_covering_token_by_decoding(tokenizer, answer, at) for at in (start, end - 1)]
        return None if None in places else (places[0], places[1] + 1)
    offsets = tokenizer(answer, add_special_tokens=False, return_offsets_mapping=True)
    spelling = [
        index
        for index, (first, last) in enumerate(offsets["offset_mapping"])
        if first < end and last > start
    ]
    return (spelling[0], spelling[-1] + 1) if spelling else None


def collate(batch: Sequence[Encoded], pad_id: int, side: str = "right") -> dict[str, torch.Tensor]:
    """Pad a batch to its longest sequence.

    The attention mask is made from the lengths, not from the ids: if padding and end-of-turn are
    the same token, a comparison of ids would mask every real end of turn.

    Args:
        batch: B conversations; a prompt without an answer has empty `answer_ids`.
        pad_id: id of the padding; its value has no influence.
        side: side of the padding, `right` or `left`.

    Returns:
        `input_ids`, `attention_mask` (1 = real) and `labels` (`IGNORE` on prompt and padding),
        each int64 (B, T). With `side="left"` also `position_ids`, counted from the start of each
        sequence; otherwise the model would read it at wrong positions.
    """
    if side not in ("right", "left"):
        raise ValueError(f"side is {side!r}; allowed are 'right' and 'left'")
    longest = max(len(encoded.input_ids) for encoded in batch)
    input_ids = torch.full((len(batch), longest), pad_id)
    attention_mask = torch.zeros_like(input_ids)
    labels = torch.full_like(input_ids, IGNORE)
    for row, encoded in enumerate(batch):
        length = len(encoded.input_ids)
        start = 0 if side == "right" else longest - length
        answer = start + len(encoded.prompt_ids)
        input_ids[row, start : start + length] = torch.tensor(encoded.input_ids)
        attention_mask[row, start : start + length] = 1
        labels[row, answer : start + length] = torch.tensor(encoded.answer_ids, dtype=torch.long)
    tensors = {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
    if side == "left":
        tensors["position_ids"] = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
    return tensors
