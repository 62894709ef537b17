"""Pretrain a small Qwen2 from scratch on generated text.

The result is a normal model folder: `Qwen2ForCausalLM` weights in bfloat16, a byte-level BPE
tokenizer and a ChatML template.
"""

import hashlib
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from excise.generation.corpus import QuestionAnswer, mixed_batches
from excise.generation.settings import PretrainingSettings
from excise.modeling.chat import IGNORE, collate, encode
from excise.modeling.differentiable_logprobs import autocast_context

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TOKENIZER_BATCHES = 400  # that the vocabulary is learned from


def corpus(utility: list[dict], settings: PretrainingSettings) -> Iterator[list[QuestionAnswer]]:
    """The training batches; they depend on the utility facts and the settings only."""
    return mixed_batches(
        utility,
        people=settings.people,
        batch_size=settings.batch_size,
        fresh_share=settings.fresh_share,
        utility_share=settings.utility_share,
        paired_share=settings.paired_share,
        seed=settings.seed,
    )


def corpus_digest(utility: list[dict], settings: PretrainingSettings, batches: int = 50) -> str:
    """SHA-256 of the first batches; it shows whether the generator still writes the same text."""
    digest = hashlib.sha256()
    for batch in itertools.islice(corpus(utility, settings), batches):
        for question, answer in batch:
            digest.update(f"{question}\t{answer}\n".encode())
    return digest.hexdigest()


def train_tokenizer(utility: list[dict], settings: PretrainingSettings) -> Qwen2Tokenizer:
    """Learn a vocabulary with `Qwen2Tokenizer` and its own pre-tokenizer.

    `AutoTokenizer` loads this class for every `qwen2` folder. With another pre-tokenizer, texts
    would be split differently after loading, without an error.
    """
    # With kept people, their surnames would become single tokens; surnames of new people would not.
    fresh_only = replace(settings, fresh_share=1 - settings.utility_share)
    batches = itertools.islice(corpus(utility, fresh_only), TOKENIZER_BATCHES)
    texts = (
        [f"user\n{question}\nassistant\n{answer}" for question, answer in batch]
        for batch in batches
    )
    tokenizer = Qwen2Tokenizer().train_new_from_iterator(
        texts, settings.vocab_size, new_special_tokens=SPECIAL_TOKENS, show_progress=False
    )
    return Qwen2Tokenizer(
        vocab=tokenizer.get_vocab(),
        merges=_merges(tokenizer),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=SPECIAL_TOKENS,
        chat_template=CHATML,
    )


def _merges(tokenizer: Qwen2Tokenizer) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in json.loads(tokenizer._tokenizer.to_str())["model"]["merges"]]


def new_model(tokenizer: Qwen2Tokenizer, settings: PretrainingSettings) -> Qwen2ForCausalLM:
    """An untrained Qwen2 of the configured size; the seed initialises it."""
    torch.manual_seed(settings.seed)
    end_of_turn = tokenizer.convert_tokens_to_ids("<|im_end|>")
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.kv_heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        eos_token_id=end_of_turn,
        pad_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    )
    # On a CPU, the backward pass of fused attention is slow: 0.69 s per step, against 0.37 s with
    # plain attention (sequences of 40 tokens, 2 cores).
    return Qwen2ForCausalLM._from_config(config, attn_implementation="eager")


def learning_rate(step: int, settings: PretrainingSettings) -> float:
    """Linear warm-up, then a cosine down to a twentieth of the peak."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    share = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    cosine = 0.5 * (1 + torch.cos(torch.tensor(share * torch.pi)).item())
    return settings.learning_rate * (0.05 + 0.95 * cosine)


def pretrain(
    model: Qwen2ForCausalLM,
    tokenizer: Qwen2Tokenizer,
    utility: list[dict],
    settings: PretrainingSettings,
):
    """Train on the answer tokens of every batch; return the log, one row per 100 steps."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        betas=(0.9, 0.95),
        fused=True,
    )
    model.train()
    log, window, started = [], [], time.monotonic()
    for step, batch in enumerate(itertools.islice(corpus(utility, settings), settings.steps)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, settings)
        tensors = collate([encode(tokenizer, *pair) for pair in batch], tokenizer.pad_token_id)
        with autocast_context(torch.device("cpu"), "bfloat16"):
            loss = answer_loss(model, tensors)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        window.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == settings.steps:
            log.append({"step": step + 1, "loss": round(sum(window) / len(window), 4)})
            window = []
            print(f"{log[-1]}  {time.monotonic() - started:.0f} s", flush=True)
    model.eval()
    return log


def answer_loss(model: Qwen2ForCausalLM, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean cross-entropy per answer token; logits are computed at answer positions only."""
    hidden = model.model(
        input_ids=tensors["input_ids"], attention_mask=tensors["attention_mask"]
    ).last_hidden_state[:, :-1]
    targets = tensors["labels"][:, 1:]
    wanted = targets != IGNORE
    return cross_entropy(model.lm_head(hidden[wanted]).float(), targets[wanted])


def save(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, folder: Path) -> None:
    """Write the model folder: bfloat16 safetensors, configuration, tokenizer, template."""
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
