"""The training loop of every adapter: finetuned, oracle and unlearned.

The learning rate is constant after warm-up and the order of the data depends on (seed, epoch)
alone. So a trajectory's checkpoint at epoch e *is* the run of e epochs, and no epoch costs a
training run of its own. This module reads and writes no files.
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from excise.modeling.base import unwrapped
from excise.training.settings import TrainingSettings


def epoch_order(size: int, seed: int, epoch: int, stream: str = "") -> list[int]:
    """A permutation of `range(size)` that depends on its arguments alone."""
    order = list(range(size))
    random.Random(f"{stream}-{seed}-{epoch}").shuffle(order)
    return order


def epoch_batches(size: int, batch_size: int, seed: int, epoch: int) -> Iterator[list[int]]:
    """Indices of one epoch's batches; every item once, the last batch may be smaller."""
    order = epoch_order(size, seed, epoch)
    for start in range(0, size, batch_size):
        yield order[start : start + batch_size]


def cycling_batches(size: int, batch_size: int, seed: int, epoch: int) -> Iterator[list[int]]:
    """Endless batches over a second set, restarted every epoch from (seed, epoch)."""
    rounds = 0
    pending: list[int] = []
    while True:
        while len(pending) < batch_size:
            pending += epoch_order(size, seed, epoch, stream=f"retain-{rounds}")
            rounds += 1
        yield pending[:batch_size]
        pending = pending[batch_size:]


def prepare_for_training(model: torch.nn.Module) -> None:
    """Train mode, and on a CPU plain attention.

    On a CPU, the backward pass of the fused kernel costs as much as the rest of a step (32 short
    questions, one thread, bfloat16: 230 ms a step against 118; `perf/train_step.py`).
    """
    model.train()
    if next(model.parameters()).device.type == "cpu":
        unwrapped(model).set_attn_implementation("eager")


class DivergedError(Exception):
    """The loss or its gradient stopped being finite."""


def train(
    model: torch.nn.Module,
    settings: TrainingSettings,
    learning_rate: float,
    epochs: int,
    batches: Callable[[int], Iterable[Any]],
    loss: Callable[[Any], torch.Tensor],
    after_epoch: Callable[[int], None] = lambda epoch: None,
) -> dict:
    """Run AdamW over the trainable parameters.

    Args:
        model: with the parameters to train marked `requires_grad`.
        settings: of the loop; `batch_size` and `autocast` are for `batches` and `loss`.
        learning_rate: of AdamW, constant after warm-up.
        epochs: how many; epoch numbers start at 1.
        batches: the batches of an epoch.
        loss: scalar loss of a batch, with graph.
        after_epoch: called with the number of each finished epoch.

    Returns:
        The log: `steps` (one row a step: epoch, step, loss, gradient norm before clipping,
        learning rate) and `diverged` (None, or where and why training stopped). The step with
        a loss or gradient that is not finite is not taken. The weights stay as before it.
    """
    prepare_for_training(model)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=settings.weight_decay)
    log: dict[str, Any] = {"steps": [], "diverged": None}
    step = 0
    for epoch in range(1, epochs + 1):
        for batch in batches(epoch):
            step += 1
            row = {"epoch": epoch, "step": step}
            rate = learning_rate * min(1.0, step / max(1, settings.warmup_steps))
            # Dropout, if any, draws from (seed, step): it does not depend on what ran before.
            torch.manual_seed(settings.seed * 1_000_003 + step)
            try:
                row |= _step(optimizer, parameters, loss(batch), rate, settings.max_grad_norm)
            except DivergedError as reason:
                log["diverged"] = row | {"reason": str(reason)}
                print(f"diverged: {log['diverged']}", flush=True)
                return log
            log["steps"].append(row)
        last = log["steps"][-1]
        print(f"epoch {epoch}/{epochs}  loss {last['loss']:.4f}", flush=True)
        after_epoch(epoch)
    return log


def _step(
    optimizer: torch.optim.Optimizer,
    parameters: list[torch.nn.Parameter],
    loss: torch.Tensor,
    rate: float,
    max_grad_norm: float | None,
) -> dict[str, float]:
    value = loss.item()
    if not math.isfinite(value):
        raise DivergedError(f"loss is {value}")
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss.backward()
    limit = max_grad_norm or math.inf
    norm = torch.nn.utils.clip_grad_norm_(parameters, limit).item()
    if not math.isfinite(norm):
        raise DivergedError(f"gradient norm is {norm}")
    optimizer.step()
    return {"loss": value, "gradient_norm": norm, "learning_rate": rate}
