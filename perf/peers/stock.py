"""What the expert's script and the stand-in share: transformers as its documentation shows it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy, logsigmoid

IGNORE = -100
Row = tuple[list[int], list[int]]
"""Token ids of a prompt, and of an answer with its end of turn."""


def read_work(path: Path) -> dict:
    """Read the work (`work.description`) and set the number of threads."""
    work = json.loads(path.read_text(encoding="utf-8"))
    torch.set_num_threads(work["threads"])
    torch.manual_seed(0)
    return work


def prompt_ids(tokenizer, question: str) -> list[int]:
    """The chat template up to the answer."""
    messages = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def encoded(tokenizer, question: str, answer: str) -> Row:
    """Prompt, and answer with its end of turn."""
    ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
    return prompt_ids(tokenizer, question), [*ids, tokenizer.eos_token_id]


def padded(rows: Sequence[Row], pad: int) -> dict[str, torch.Tensor]:
    """Right-padded `input_ids`, `attention_mask` and `labels`, each (B, T)."""
    length = max(len(prompt) + len(answer) for prompt, answer in rows)
    fills = []
    for prompt, answer in rows:
        rest = length - len(prompt) - len(answer)
        fills.append(
            (
                prompt + answer + [pad] * rest,
                [1] * (length - rest) + [0] * rest,
                [IGNORE] * len(prompt) + answer + [IGNORE] * rest,
            )
        )
    names = ("input_ids", "attention_mask", "labels")
    return dict(zip(names, map(torch.tensor, zip(*fills, strict=True)), strict=True))


def answer_losses(model, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Negative log-likelihood of each answer, summed over its tokens, (B,)."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    labels = batch["labels"][:, 1:].contiguous()
    logits = logits[:, :-1].contiguous()
    losses = cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORE, reduction="none")
    return losses.sum(dim=1)


def npo_loss(
    model,
    forget: dict[str, torch.Tensor],
    reference_losses: torch.Tensor,
    retain: dict[str, torch.Tensor],
    beta: float,
    retain_weight: float,
) -> torch.Tensor:
    """−(2/β)·mean log σ(β(S − S_ref)) + λ·CE(retain); S is an answer's summed loss."""
    excess = answer_losses(model, forget) - reference_losses
    tokens = (retain["labels"] != IGNORE).sum()
    loss = -(2 / beta) * logsigmoid(beta * excess).mean()
    return loss + retain_weight * answer_losses(model, retain).sum() / tokens


def adamw(parameters: list, settings: dict) -> torch.optim.AdamW:
    """The optimizer of a trajectory; `step` sets its rate."""
    decay = settings["training"]["weight_decay"]
    return torch.optim.AdamW(parameters, lr=0.0, weight_decay=decay)


def step(
    optimizer: torch.optim.AdamW, loss: torch.Tensor, number: int, settings: dict, parameters: list
) -> None:
    """One optimizer step, with warm-up and clipping."""
    training = settings["training"]
    rate = settings["hyperparameters"]["learning_rate"]
    for group in optimizer.param_groups:
        group["lr"] = rate * min(1.0, number / max(1, training["warmup_steps"]))
    optimizer.zero_grad()
    loss.backward()
    if training["max_grad_norm"]:
        torch.nn.utils.clip_grad_norm_(parameters, training["max_grad_norm"])
    optimizer.step()


def in_batches(indices: Sequence[int], size: int = 32) -> Iterator[Sequence[int]]:
    """Consecutive parts of a sequence."""
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


def generated(model, tokenizer, prompts: Sequence[list[int]], max_new_tokens: int) -> list[str]:
    """Greedy answers to one left-padded batch of prompts, by `model.generate`."""
    length = max(map(len, prompts))
    pad = tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (length - len(one)) + one for one in prompts])
    mask = torch.tensor([[0] * (length - len(one)) + [1] * len(one) for one in prompts])
    out = model.generate(
        input_ids=ids,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=max_new_tokens,
        pad_token_id=pad,
        eos_token_id=tokenizer.eos_token_id,
    )
    texts = tokenizer.batch_decode(out[:, length:], skip_special_tokens=True)
    return [one.strip() for one in texts]


def write_said(path: Path, work: dict, texts: Sequence[str], logprobs: Sequence) -> None:
    """Write what a model said: item id → text and log-probabilities."""
    said = {
        one["id"]: {"text": text, "logprobs": list(own)}
        for one, text, own in zip(work["questions"], texts, logprobs, strict=True)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(said), encoding="utf-8")
