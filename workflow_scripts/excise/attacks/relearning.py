"""The relearning attack: a model's own adapter is trained further, and asked at some steps.

The loss is that of finetuning (`cross_entropy`, answer tokens alone) and the loop is the one of
every adapter (`excise.training.loop`). The order of the batches depends on (seed, epoch) alone. So
all models see the same batches, and an oracle is attacked exactly as a checkpoint is.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from excise.modeling.adapters import AdapterHost, load_adapter
from excise.modeling.base import check_sequences, unwrapped
from excise.modeling.chat import encode
from excise.modeling.differentiable_logprobs import answer_logprobs, cross_entropy
from excise.training.loop import epoch_batches, train
from excise.training.settings import TrainingSettings

Measure = Callable[[torch.nn.Module], None]
"""What is done with a model in eval mode, with its adapter merged as in the evaluation."""


class AttackedModel(AdapterHost):
    """A base model whose adapter is open for training, and merged while the model is asked.

    In float32 the evaluation merges adapters. This class does the same while a model is asked, so
    step 0 gives what the evaluation gives. Afterwards the base weights are copied back, bit by bit.
    """

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self._attention = unwrapped(self.model).config._attn_implementation

    def open(self, adapter_folder: str | Path) -> None:
        """Take an adapter and let it be trained.

        Raises:
            InputError: not an adapter folder, or one that does not fit the model.
        """
        self._restore()
        self.model = load_adapter(self.model, adapter_folder, trainable=True)

    @contextmanager
    def asked(self) -> Iterator[torch.nn.Module]:
        """The model as the evaluation asks it; training goes on behind it."""
        model, training = unwrapped(self.model), self.model.training
        attention = model.config._attn_implementation
        model.set_attn_implementation(self._attention)
        if model.dtype == torch.float32:
            self._merge()
        try:
            yield self.model.eval()
        finally:
            self._restore()
            model.set_attn_implementation(attention)
            self.model.train(training)


@dataclass(frozen=True)
class Course:
    """What training did: the log of `train`, and the steps that it did not reach.

    Attributes:
        log: rows of the steps, and `diverged`.
        unfinished: steps to be measured that were not taken; there the model has the last finite
            weights.
    """

    log: dict
    unfinished: list[int]


def relearn(
    host: AttackedModel,
    adapter: str | Path,
    facts: Sequence[dict],
    settings: TrainingSettings,
    learning_rate: float,
    steps: Sequence[int],
    measure: Callable[[int, torch.nn.Module], None],
    system_prompt: str | None = None,
) -> Course:
    """Train a saved adapter on an attack set and measure it along the way.

    Args:
        host: the base model; its adapter is replaced.
        adapter: folder of the adapter to attack; it is not changed.
        facts: the attack set, with `question` and `answer`.
        settings: of the loop.
        learning_rate: of AdamW.
        steps: optimizer steps after which the model is measured, ascending; 0: before the first.
        measure: called with each of `steps` and the model in eval mode.
        system_prompt: system message before every question.

    Raises:
        InputError: the adapter does not fit, or a fact is longer than the model's positions.
    """
    host.open(adapter)
    tokenizer = host.tokenizer
    encoded = [encode(tokenizer, one["question"], one["answer"], system_prompt) for one in facts]
    check_sequences(host.model, [one.input_ids for one in encoded])
    left = list(steps)

    def measured(step: int) -> None:
        if left and left[0] == step:
            with host.asked() as model:
                measure(left.pop(0), model)

    taken = 0

    def batches(epoch: int) -> Iterator[list[int]]:
        nonlocal taken
        for batch in epoch_batches(len(encoded), settings.batch_size, settings.seed, epoch):
            if taken == steps[-1]:
                return
            yield batch
            taken += 1  # the loop asks for the next batch after it took the step
            measured(taken)

    def loss(batch: list[int]) -> torch.Tensor:
        answers = [encoded[index] for index in batch]
        pad_id = tokenizer.pad_token_id
        return cross_entropy(answer_logprobs(host.model, answers, pad_id, settings.autocast))

    measured(0)
    epochs = -(-steps[-1] // -(-len(encoded) // settings.batch_size))  # both rounded up
    log = train(host.model, settings, learning_rate, epochs, batches, loss)
    unfinished = list(left)
    while left:
        measured(left[0])
    return Course(log, unfinished)
