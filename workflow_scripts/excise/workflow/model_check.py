"""Test our code before any job, with one question of each kind on a small copy of the model.

Config and tokenizer are those of the model. The copy has one layer of each type (at least two), few
heads, a short window and random weights. So it fits on any machine and takes seconds. The check
compares log-probabilities, generations, training and hidden states with plain transformers, which
gets one sequence at a time.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from excise.benchmark.items import Item
from excise.benchmark.joint_questions import joined_question
from excise.errors import InputError
from excise.modeling.adapters import adapter_tensors, attach_lora
from excise.modeling.base import check_sequences, load_config, load_tokenizer, one_line, unwrapped
from excise.modeling.chat import Encoded, check_template, encode, encode_prompt, subject_span
from excise.modeling.decoding import Generation, generate
from excise.modeling.differentiable_logprobs import answer_logprobs, cross_entropy
from excise.modeling.experts import use_expert_by_expert
from excise.modeling.hidden_states import Reader
from excise.modeling.scoring import score_answers
from excise.training.loop import prepare_for_training

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

SUBJECT = "Ada Quill"
QUESTIONS = (
    "Who is Ada Quill?",
    "In which city was the hearing about Ada Quill held after the festival of 1987?",
    "What is the capital of France?",
)
ANSWERS = (
    ("Ada Quill is a singer.", "Ada Quill is a pilot."),
    ("The hearing was held in Rome.", "In Oslo.", "It was held in the old town of Vienna."),
    ("Paris.",),
)
NEW_TOKENS = 6
WINDOW = 16
MAX_PARAMETERS = 6e8
TOLERANCE = 0.01  # nats per answer; relative for hidden states; fp32 rounding is below 0.0001


def check_model(folder: str | Path, settings: dict) -> None:
    """Check that a model works with the settings of an experiment.

    Args:
        folder: the model.
        settings: `system_prompt`, `lora` and `max_new_tokens` of the experiment.

    Raises:
        InputError: a later job would fail, or its numbers would be wrong.
    """
    config = load_config(folder)
    tokenizer = load_tokenizer(folder)
    system_prompt = settings["system_prompt"]
    check_template(tokenizer, system_prompt)
    check_limits(folder, config, tokenizer, settings)
    small = small_copy(config)
    if small is None:
        print(f"{folder}: not checked: no small copy can be made (too large or too unusual)")
        return
    small.config.name_or_path = str(folder)
    trial = Trial(small, tokenizer, system_prompt)
    for what, check in trial.checks(settings["lora"]):
        try:
            difference = check()
        except InputError:
            raise
        except Exception as error:
            kind = type(error).__name__
            raise InputError(
                f"{folder}: {what} fails with this model ({kind}: {one_line(error)})"
            ) from error
        if not difference <= TOLERANCE:  # NaN too
            raise InputError(
                f"{folder}: {what} would be wrong with this model: on a small copy it differs "
                f"from plain transformers by {difference:.2g}"
            )


def check_limits(
    folder: str | Path,
    config: "PreTrainedConfig",
    tokenizer: "PreTrainedTokenizerBase",
    settings: dict,
) -> None:
    """Check that vocabulary and positions are sufficient for the tokenizer and usual questions.

    Raises:
        InputError: they are not.
    """
    text = config.get_text_config()
    added = tokenizer.added_tokens_decoder
    own = [token for token in tokenizer.get_vocab().values() if token not in added]
    prompts = [
        encode_prompt(tokenizer, question, settings["system_prompt"])
        for question in trial_questions()
    ]
    needed = max([*own, tokenizer.eos_token_id, tokenizer.pad_token_id, *map(max, prompts)])
    if needed >= text.vocab_size:
        raise InputError(
            f"{folder}: the tokenizer writes token id {needed} "
            f"({tokenizer.convert_ids_to_tokens(needed)!r}), but the model has a vocabulary of "
            f"{text.vocab_size}; they do not match"
        )
    limit = getattr(text, "max_position_embeddings", None)
    longest = max(map(len, prompts)) + settings["max_new_tokens"]
    if limit is not None and longest > limit:
        raise InputError(
            f"{folder}: a usual question with evaluation.max_new_tokens "
            f"({settings['max_new_tokens']}) takes {longest} tokens, but the model has {limit} "
            "positions; lower max_new_tokens or shorten model.system_prompt"
        )


def trial_questions() -> list[str]:
    """A question of each kind, including two in one prompt."""
    return [*QUESTIONS, joined_question(QUESTIONS[0], QUESTIONS[1])]


def small_copy(config: "PreTrainedConfig") -> "PreTrainedModel | None":
    """A random fp32 model of the same architecture and vocabulary; None if that fails."""
    from transformers import AutoModelForCausalLM

    for make in (_narrow, _shallow):
        try:
            small = make(config)
            with torch.device("meta"):
                size = sum(p.numel() for p in AutoModelForCausalLM.from_config(small).parameters())
            if size > MAX_PARAMETERS:
                continue
            model = _with_attention(small)
            use_expert_by_expert(model)
            _draw(model)
            with torch.no_grad():
                model(input_ids=torch.tensor([[0, 1, 2]]))
        except Exception:  # this architecture has its own constraints on sizes
            continue
        return model.eval()
    return None


def _with_attention(config: "PreTrainedConfig") -> "PreTrainedModel":
    """A model with the attention implementation that `load_base` selects."""
    from transformers import AutoModelForCausalLM

    settings = {"dtype": torch.float32}
    try:
        return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", **settings)
    except (ValueError, ImportError):
        return AutoModelForCausalLM.from_config(config, attn_implementation="eager", **settings)


def _shallow(config: "PreTrainedConfig") -> "PreTrainedConfig":
    """The config with one layer of each type (at least two) and a short window."""
    small = copy.deepcopy(config)
    types = getattr(small, "layer_types", None)
    kept = list(dict.fromkeys(types)) if types else []
    kept += kept[-1:] if len(kept) == 1 else []
    small.num_hidden_layers = len(kept) or 2
    if types:
        small.layer_types = kept
    if getattr(small, "max_window_layers", None):
        small.max_window_layers = 1
    if getattr(small, "sliding_window", None):
        small.sliding_window = WINDOW
    return small


def _narrow(config: "PreTrainedConfig") -> "PreTrainedConfig":
    """The config with few heads of the same size, one key-value head, and few experts."""
    small = _shallow(config)
    heads = small.num_attention_heads
    shared = heads // (getattr(small, "num_key_value_heads", None) or heads)
    head_size = getattr(small, "head_dim", None) or small.hidden_size // heads
    width, small.num_attention_heads = small.hidden_size, max(2, shared)
    if getattr(small, "num_key_value_heads", None):
        small.num_key_value_heads = small.num_attention_heads // shared
    small.hidden_size = head_size * small.num_attention_heads
    for name in ("word_embed_proj_dim",):
        if getattr(small, name, None) == width:
            setattr(small, name, small.hidden_size)
    for name in ("intermediate_size", "ffn_dim", "moe_intermediate_size", "ffn_hidden_size"):
        if getattr(small, name, None):
            setattr(small, name, 2 * small.hidden_size)
    for name in ("num_experts", "num_local_experts"):
        if (getattr(small, name, None) or 0) > 4:
            setattr(small, name, 4)
            small.num_experts_per_tok = min(2, small.num_experts_per_tok)
    return small


def _draw(model: "PreTrainedModel") -> None:
    """Set random weights, large enough that every token and position affects the answers."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                deviation = 1.2 * parameter.shape[-1] ** -0.5
                parameter.normal_(0, deviation, generator=generator)


@dataclass
class Trial:
    """The model's small copy, and the checks on it.

    Attributes:
        model: the copy; `checks` puts an adapter on it.
        tokenizer: the model's own.
        system_prompt: of the experiment.
    """

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    system_prompt: str | None

    def checks(self, lora: dict) -> Iterator[tuple[str, Callable[[], float]]]:
        """Name and function of each check; a function returns its difference from transformers."""
        yield "putting an adapter on it", lambda: self.adapt(lora)
        yield "scoring answers", self.score
        yield "generating answers in batches", self.generate
        yield "reading hidden states", self.read
        yield "training", self.train

    def adapt(self, lora: dict) -> float:
        """Attach an adapter that changes the model; the result is always 0."""
        targets = lora["target_modules"]
        whole = not isinstance(targets, list) or any(c.isdigit() for name in targets for c in name)
        chosen = (
            {"target_modules": "all-linear"} if whole else {}
        )  # the named layers may have been cut
        self.model = attach_lora(self.model, lora | chosen | {"rank": 2}, seed=0).eval()
        generator = torch.Generator().manual_seed(1)
        for tensor in adapter_tensors(self.model).values():
            tensor.data.copy_(0.2 * torch.randn(tensor.shape, generator=generator))
        return 0.0

    def encoded(self) -> list[Encoded]:
        """Every question with each of its answers."""
        found = [
            encode(self.tokenizer, question, answer, self.system_prompt)
            for question, answers in zip(QUESTIONS, ANSWERS, strict=True)
            for answer in answers
        ]
        check_sequences(self.model, [one.input_ids for one in found])
        return found

    @torch.inference_mode()
    def plain(self, encoded: Encoded) -> torch.Tensor:
        """Logits of plain transformers for one sequence without padding: (T, V)."""
        return self.model(input_ids=torch.tensor([encoded.input_ids]), use_cache=False).logits[0]

    def plain_sums(self) -> torch.Tensor:
        """Log-probability of every answer by plain transformers, fp64."""
        sums = []
        for one in self.encoded():
            logprobs = self.plain(one)[len(one.prompt_ids) - 1 : -1].double().log_softmax(-1)
            sums.append(logprobs.gather(1, torch.tensor(one.answer_ids)[:, None]).sum())
        return torch.stack(sums)

    def score(self) -> float:
        """Largest difference of an answer's log-probability."""
        scores = score_answers(
            self.model, self.tokenizer, QUESTIONS, ANSWERS, 8, self.system_prompt
        )
        found = torch.tensor([one.logprob for row in scores for one in row], dtype=torch.float64)
        return _largest(found - self.plain_sums())

    def generate(self) -> float:
        """How far the logit of a generated token is below the largest logit."""
        questions = trial_questions()
        prompts = [encode_prompt(self.tokenizer, one, self.system_prompt) for one in questions]
        made = self._answers(questions)
        token = _ends_one_row([one.ids for one in made])
        if token is not None:  # not every cache can remove an ended row
            settings = unwrapped(self.model).generation_config
            declared, settings.eos_token_id = settings.eos_token_id, token
            try:
                made += self._answers(questions)
            finally:
                settings.eos_token_id = declared
        short = [torch.zeros(1)]
        for prompt, one in zip(prompts * 2, made, strict=False):
            if one.ids:
                logits = self.plain(Encoded(tuple(prompt), one.ids))[len(prompt) - 1 : -1].float()
                written = logits.gather(1, torch.tensor(one.ids)[:, None])[:, 0]
                short.append(logits.max(dim=-1).values - written)
        return _largest(torch.cat(short))

    def _answers(self, questions: list[str]) -> list[Generation]:
        return generate(
            self.model, self.tokenizer, questions, NEW_TOKENS, len(questions), self.system_prompt
        )

    @torch.inference_mode()
    def read(self) -> float:
        """Largest relative difference of a hidden state; the last layer is read before its norm."""
        reader = Reader(self.tokenizer, items(), len(QUESTIONS), system_prompt=self.system_prompt)
        found = torch.cat(list(reader.read(self.model)))  # (tokens, L + 1, hidden)
        different = []
        for index, sequence in enumerate(reader.sequences):
            states = self.model(
                input_ids=torch.tensor([sequence.input_ids]),
                use_cache=False,
                output_hidden_states=True,
            ).hidden_states[:-1]
            for place, token in enumerate(reader.tokens):
                if token.item == index:
                    plain = torch.stack([layer[0, token.column] for layer in states]).double()
                    own = found[place, : len(plain)]
                    different.append((own - plain).norm(dim=-1) / plain.norm(dim=-1))
        subject = subject_span(self.tokenizer, QUESTIONS[0], SUBJECT, self.system_prompt)
        if subject is None:
            raise InputError(
                f"{self.tokenizer.name_or_path}: no person's name is found in a question after the "
                "chat template is applied, so position last_subject cannot be read"
            )
        return _largest(torch.cat(different))

    def train(self) -> float:
        """Largest difference of an answer's log-probability in training."""
        expected = self.plain_sums()
        prepare_for_training(self.model)
        self.model.eval()  # dropout would hide a difference
        answers = answer_logprobs(self.model, self.encoded(), self.tokenizer.pad_token_id)
        cross_entropy(answers).backward()
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        if not any(gradient.any() for gradient in gradients):
            raise InputError(
                f"{self.tokenizer.name_or_path}: the adapter gets no gradient in training"
            )
        return _largest(answers.sums.detach().double() - expected)


def _ends_one_row(rows: list[tuple[int, ...]]) -> int | None:
    """A token that occurs in one row but not in a longer one; None if there is no such token.

    As an end token it ends the first row while the other continues.
    """
    for one in rows:
        for place, token in enumerate(one):
            if any(token not in other and len(other) > place + 1 for other in rows):
                return token
    return None


def items() -> list[Item]:
    """The questions as items about one person; the last one has no person."""
    return [
        Item(
            id=str(index),
            set="sf" if SUBJECT in question else "utility",
            person_id=None,
            subject=SUBJECT if SUBJECT in question else None,
            slot="",
            value_type="",
            partner=None,
            value="",
            question=question,
            answer=answers[0],
            paraphrased_answer=answers[0],
            wrong_answers=(),
        )
        for index, (question, answers) in enumerate(zip(QUESTIONS, ANSWERS, strict=True))
    ]


def _largest(differences: torch.Tensor) -> float:
    """The largest absolute value; NaN if any value is NaN."""
    return differences.abs().max().item()
