"""Pretraining a small Qwen2 from scratch on generated text.

The result is a model folder like any other: `Qwen2ForCausalLM` weights in bfloat16, a
byte-level BPE tokenizer and a ChatML template. Nothing downstream asks where a base came from.
"""

import hashlib
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from excise.generation.corpus import QuestionAnswer, mixed_batches
from excise.modeling.chat import IGNORE, collate, encode
from excise.modeling.differentiable_logprobs import autocast_context

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TOKENIZER_BATCHES = 400  # batches of text the vocabulary is learned from


def corpus(utility: list[dict], hp: dict) -> Iterator[list[QuestionAnswer]]:
    """The training batches, a pure function of the utility facts and the settings."""
    return mixed_batches(
        utility,
        people=hp["people"],
        batch_size=hp["batch_size"],
        fresh_share=hp["fresh_share"],
        utility_share=hp["utility_share"],
        paired_share=hp["paired_share"],
        seed=hp["seed"],
    )


def corpus_digest(utility: list[dict], hp: dict, batches: int = 50) -> str:
    """SHA-256 over the first batches: tells whether the generator still writes the same text."""
    digest = hashlib.sha256()
    for batch in itertools.islice(corpus(utility, hp), batches):
        for question, answer in batch:
            digest.update(f"{question}\t{answer}\n".encode())
    return digest.hexdigest()


def train_tokenizer(utility: list[dict], hp: dict) -> Qwen2Tokenizer:
    """Learn a vocabulary *through* `Qwen2Tokenizer`, whose pre-tokenizer stays Qwen's own.

    `AutoTokenizer` loads that class for every `qwen2` folder: a vocabulary learned with any
    other pre-tokenizer would be split differently after loading, silently.
    """
    # People that repeat would get their surnames as single tokens, and new people would not.
    one_off = hp | {"fresh_share": 1 - hp["utility_share"]}
    batches = itertools.islice(corpus(utility, one_off), TOKENIZER_BATCHES)
    texts = ([f"user\n{asked}\nassistant\n{said}" for asked, said in batch] for batch in batches)
    tokenizer = Qwen2Tokenizer().train_new_from_iterator(
        texts, hp["vocab_size"], new_special_tokens=SPECIAL_TOKENS, show_progress=False
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


def new_model(tokenizer: Qwen2Tokenizer, hp: dict) -> Qwen2ForCausalLM:
    """An untrained Qwen2 of the configured size, initialised by the seed."""
    torch.manual_seed(hp["seed"])
    end_of_turn = tokenizer.convert_tokens_to_ids("<|im_end|>")
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=hp["hidden_size"],
        intermediate_size=hp["intermediate_size"],
        num_hidden_layers=hp["layers"],
        num_attention_heads=hp["heads"],
        num_key_value_heads=hp["kv_heads"],
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        eos_token_id=end_of_turn,
        pad_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    )
    # On a CPU the fused attention's backward costs more than all matrix products together
    # (sequences of 40 tokens, 2 cores: 0.69 s a step, against 0.37 s with plain attention).
    return Qwen2ForCausalLM._from_config(config, attn_implementation="eager")


def learning_rate(step: int, hp: dict) -> float:
    """Linear warm-up, then a cosine down to a twentieth of the peak."""
    if step < hp["warmup_steps"]:
        return hp["learning_rate"] * (step + 1) / hp["warmup_steps"]
    share = (step - hp["warmup_steps"]) / max(1, hp["steps"] - hp["warmup_steps"])
    cosine = 0.5 * (1 + torch.cos(torch.tensor(share * torch.pi)).item())
    return hp["learning_rate"] * (0.05 + 0.95 * cosine)


def pretrain(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, utility: list[dict], hp: dict):
    """Train on the answer tokens of every batch; returns the log, one row every 100 steps."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=hp["learning_rate"],
        betas=(0.9, 0.95),
        fused=True,
    )
    model.train()
    log, window, started = [], [], time.monotonic()
    for step, batch in enumerate(itertools.islice(corpus(utility, hp), hp["steps"])):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, hp)
        tensors = collate([encode(tokenizer, *pair) for pair in batch], tokenizer.pad_token_id)
        with autocast_context(torch.device("cpu"), "bfloat16"):
            loss = answer_loss(model, tensors)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        window.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == hp["steps"]:
            log.append({"step": step + 1, "loss": round(sum(window) / len(window), 4)})
            window = []
            print(f"{log[-1]}  {time.monotonic() - started:.0f} s", flush=True)
    model.eval()
    return log


def answer_loss(model: Qwen2ForCausalLM, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """Token-mean cross-entropy of the answers; logits are made at answer positions alone."""
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
