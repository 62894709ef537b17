"""One unlearning trajectory: from the finetuned adapter, checkpoints saved along the way."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from excise.errors import InputError
from excise.modeling.adapters import (
    adapted_share,
    adapter_config,
    adapter_tensors,
    save_adapter,
    write_adapter,
)
from excise.modeling.base import blocks, unwrapped
from excise.modeling.chat import Encoded
from excise.modeling.differentiable_logprobs import AnswerLogprobs, product_dtype
from excise.records import write_json
from excise.settings import as_dict
from excise.training.loop import cycling_batches, epoch_batches, train
from excise.unlearning.alternatives import alternative
from excise.unlearning.forget_model import ForgetModel, questions_and_answers
from excise.unlearning.method import Adapter, Needs, Readings, Start, Step
from excise.unlearning.registry import Method
from excise.unlearning.settings import TrajectorySettings


@dataclass(frozen=True)
class Inputs:
    """What a trajectory is made from.

    Attributes:
        base: model folder.
        adapter: the finetuned adapter, where the trajectory starts.
        forget: the forget set.
        retain: the retain set; used if the method needs it.
        reference: item id → log-probability under the finetuned model, for methods that need it.
        alternatives: other answers, for methods that need them.
    """

    base: str | Path
    adapter: str | Path
    forget: Sequence[dict]
    retain: Sequence[dict]
    reference: dict[str, float] | None = None
    alternatives: Sequence[str] = ()


def kept(out: Path, epochs: list[int]) -> str:
    """Move checkpoints to `out/kept`, because Snakemake deletes the outputs of a failed job.

    The user may use them. The trajectory itself starts anew, because the optimizer's state is not
    saved. The next successful run removes the folder.

    Returns:
        Text to append to the error message.
    """
    for epoch in list(epochs):
        place = out / "kept" / f"epoch_{epoch}"
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(exist_ok=True)
        (out / f"epoch_{epoch}").rename(place)
    names = ", ".join(map(str, epochs))
    return f"; the checkpoints of epochs {names} are in {out}/kept" if epochs else ""


def unlearn(inputs: Inputs, method: Method, settings: TrajectorySettings, out: Path) -> None:
    """Run one trajectory and save `epoch_{e}/` for every configured epoch.

    If the loss or its gradient stops being finite the trajectory ends there: the checkpoints
    still to come hold the last finite weights, and the log says so.

    Args:
        inputs: models and data.
        method: the method of the settings.
        settings: of the trajectory; `hyperparameters` are the method's `Settings`.
        out: trajectory folder.

    Raises:
        InputError: an input does not fit the model, or the folder cannot be written.
    """
    saved: list[int] = []
    try:
        _unlearn(inputs, method, settings, out, saved)
    except InputError as error:
        raise InputError(f"{error}{kept(out, saved)}") from error
    except Exception:
        print(f"failed{kept(out, saved)}", flush=True)
        raise
    shutil.rmtree(out / "kept", ignore_errors=True)


@dataclass(frozen=True)
class Batch:
    """Indices into the forget set and the retain set; `retain` is empty if nobody needs it."""

    epoch: int
    forget: list[int]
    retain: list[int]


class StepReader:
    """Turns batches of indices into what the loss of a method is made of."""

    def __init__(
        self, model: ForgetModel, method: Method, hyperparameters: Any, inputs: Inputs, seed: int
    ):
        self.model, self.inputs, self.seed = model, inputs, seed
        self.needs: Needs = method.needs(hyperparameters)
        self.forget = model.encode(*questions_and_answers(inputs.forget))
        self.retain = (
            model.encode(*questions_and_answers(inputs.retain)) if self.needs.retain else []
        )
        self.alternatives: dict[tuple[str, str], Encoded] = {}  # by question and sentence
        self.reference = None
        if self.needs.reference_sums:
            sums = [inputs.reference[record["id"]] for record in inputs.forget]
            self.reference = torch.tensor(sums, device=model.device)
        if method.keeps_finetuned(hyperparameters):
            model.remember_finetuned()
        self.prepared = None
        if method.prepare:
            width = unwrapped(model.model).config.get_text_config().hidden_size
            start = Start(len(blocks(model.model)), width, model.device, seed)
            self.prepared = method.prepare(start, hyperparameters)

    def batches(self, epoch: int, size: int) -> Iterator[Batch]:
        """The batches of an epoch: every forget item once, as many retain items."""
        pairs = cycling_batches(len(self.retain), size, self.seed, epoch)
        for forget in epoch_batches(len(self.forget), size, self.seed, epoch):
            retain = next(pairs) if self.retain else []
            yield Batch(epoch, forget, retain)

    def step(self, batch: Batch) -> Step:
        """What the finetuned model and the model being trained give for a batch."""
        chosen = {"forget": [self.forget[index] for index in batch.forget]}
        if batch.retain:
            chosen["retain"] = [self.retain[index] for index in batch.retain]
        if self.needs.alternatives:
            chosen["alternatives"] = self._alternatives(batch)
        finetuned = Readings()
        if self.needs.finetuned:
            with self.model.as_finetuned():
                finetuned = Readings(**{k: self._read(chosen[k]) for k in self.needs.finetuned})
        return Step(
            **{name: self._read(encoded) for name, encoded in chosen.items()},
            reference_sums=None if self.reference is None else self.reference[batch.forget],
            finetuned=finetuned,
            prepared=self.prepared,
        )

    def _alternatives(self, batch: Batch) -> list[Encoded]:
        encoded = []
        for index in batch.forget:
            item = self.inputs.forget[index]
            text = alternative(self.inputs.alternatives, self.seed, batch.epoch, item["id"])
            key = (item["question"], text)
            if key not in self.alternatives:
                (self.alternatives[key],) = self.model.encode([key[0]], [key[1]])
            encoded.append(self.alternatives[key])
        return encoded

    def _read(self, encoded: list[Encoded]) -> AnswerLogprobs:
        needs = self.needs
        if needs.layers or not needs.logprobs:
            return self.model.states(encoded, needs.layers, needs.logprobs, needs.logits)
        return self.model.logprobs(encoded, needs.logits)


def _unlearn(
    inputs: Inputs, method: Method, settings: TrajectorySettings, out: Path, saved: list[int]
) -> None:
    """As `unlearn`; `saved` collects the epochs with complete checkpoints."""
    hyperparameters, training = settings.hyperparameters, settings.training
    model = ForgetModel(
        inputs.base, inputs.adapter, settings.model, training.autocast, training.seed
    )
    reader = StepReader(model, method, hyperparameters, inputs, training.seed)

    def save(folder: Path) -> None:
        if method.checkpoint is None:
            save_adapter(model.model, folder)
            return
        config = adapter_config(model.model)
        adapter = method.checkpoint(
            Adapter(config, model.finetuned),
            Adapter(config, adapter_tensors(model.model)),
            hyperparameters,
        )
        write_adapter(adapter.config, adapter.tensors, folder)

    def after_epoch(epoch: int) -> None:
        if epoch in settings.epochs:
            save(out / f"epoch_{epoch}")
            saved.append(epoch)

    log = train(
        model.model,
        training,
        hyperparameters.learning_rate,
        max(settings.epochs),
        lambda epoch: reader.batches(epoch, training.batch_size),
        lambda batch: method.loss(reader.step(batch), hyperparameters),
        after_epoch,
    )
    unfinished = [epoch for epoch in settings.epochs if epoch not in saved]
    for epoch in unfinished:
        save(out / f"epoch_{epoch}")
    share = adapted_share(model.model)
    write_json(
        out / "training_log.json",
        {
            "settings": as_dict(settings),
            "adapted_share": share.share,
            "not_adapted": share.left_out,
            "product_dtype": product_dtype(model.device, training.autocast),
            "forget_reduction": method.forget_reduction,
            "unfinished_checkpoints": unfinished,
        }
        | log,
    )
