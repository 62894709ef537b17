"""One unlearning trajectory: from the finetuned adapter, checkpoints saved along the way."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from excise.errors import InputError
from excise.modeling.adapters import adapted_share, load_adapter, save_adapter
from excise.modeling.base import (
    check_sequences,
    load_base,
    load_tokenizer,
    pick_device,
    set_determinism,
)
from excise.modeling.chat import Encoded, encode
from excise.modeling.differentiable_logprobs import answer_logprobs, product_dtype
from excise.modeling.settings import ModelSettings
from excise.records import write_json
from excise.settings import as_dict
from excise.training.loop import cycling_batches, epoch_batches, prepare_for_training, train
from excise.unlearning.losses import METHODS, ForgetStep, needs_retain
from excise.unlearning.settings import ReferenceSettings, TrajectorySettings


class ForgetModel:
    """The finetuned model with its adapter open for training, and how it reads answers."""

    def __init__(
        self,
        base: str | Path,
        adapter: str | Path,
        settings: ModelSettings,
        autocast: str,
        seed: int,
    ):
        set_determinism(seed, settings.threads)
        self.device = pick_device(settings.gpu)
        self.tokenizer = load_tokenizer(base)
        self.model = load_adapter(
            load_base(base, settings.dtype).to(self.device), adapter, trainable=True
        )
        self.system_prompt = settings.system_prompt
        self.autocast = autocast

    def encode(self, records: list[dict]) -> list[Encoded]:
        """Questions and answers as token ids."""
        encoded = [
            encode(self.tokenizer, record["question"], record["answer"], self.system_prompt)
            for record in records
        ]
        check_sequences(self.model, [one.input_ids for one in encoded])
        return encoded

    def logprobs(self, encoded: list[Encoded], batch: list[int]):
        """Answer log-probabilities of the batch's items, with gradients."""
        chosen = [encoded[index] for index in batch]
        pad_id = self.tokenizer.pad_token_id
        return answer_logprobs(self.model, chosen, pad_id, self.autocast)


def reference_sums(
    base: str | Path, adapter: str | Path, records: list[dict], settings: ReferenceSettings
) -> dict[str, float]:
    """NPO's reference: one summed log-probability per forget item under the finetuned model.

    Computed once for all trajectories, in the precision that training uses, instead of by a
    second copy of the model in every step.

    Args:
        base: model folder.
        adapter: the finetuned adapter.
        records: the forget set.
        settings: of the model and of the training.

    Returns:
        Item id → natural-log probability of its answer.
    """
    finetuned = ForgetModel(base, adapter, settings.model, settings.autocast, settings.seed)
    prepare_for_training(finetuned.model)
    finetuned.model.eval()  # the reference has no dropout
    encoded = finetuned.encode(records)
    sums: list[float] = []
    with torch.inference_mode():
        size = settings.batch_size
        for start in range(0, len(encoded), size):
            batch = list(range(start, min(start + size, len(encoded))))
            sums += finetuned.logprobs(encoded, batch).sums.tolist()
    return dict(zip((record["id"] for record in records), sums, strict=True))


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


def unlearn(
    base: str | Path,
    adapter: str | Path,
    forget: list[dict],
    retain: list[dict],
    reference: dict[str, float] | None,
    settings: TrajectorySettings,
    out: Path,
) -> None:
    """Run one trajectory and save `epoch_{e}/` for every configured epoch.

    If the loss or its gradient stops being finite the trajectory ends there: the checkpoints
    still to come hold the last finite weights, and the log says so.

    Args:
        base: model folder.
        adapter: the finetuned adapter, where the trajectory starts.
        forget: the forget set.
        retain: the retain set; used if the settings give it a weight.
        reference: item id → log-probability under the finetuned model, for methods that ask.
        settings: of the trajectory.
        out: trajectory folder.
    """
    saved: list[int] = []
    try:
        _unlearn(base, adapter, forget, retain, reference, settings, out, saved)
    except InputError as error:
        raise InputError(f"{error}{kept(out, saved)}") from error
    except Exception:
        print(f"failed{kept(out, saved)}", flush=True)
        raise
    shutil.rmtree(out / "kept", ignore_errors=True)


def _unlearn(
    base: str | Path,
    adapter: str | Path,
    forget: list[dict],
    retain: list[dict],
    reference: dict[str, float] | None,
    settings: TrajectorySettings,
    out: Path,
    saved: list[int],
) -> None:
    """The same; `saved` collects the epochs with complete checkpoints."""
    method, hp, training = METHODS[settings.method], settings.hyperparameters, settings.training
    start = ForgetModel(base, adapter, settings.model, training.autocast, training.seed)
    forget_encoded = start.encode(forget)
    retain_encoded = start.encode(retain) if needs_retain(hp) else []
    constants = None
    if method.needs_reference:
        constants = torch.tensor([reference[r["id"]] for r in forget], device=start.device)

    def batches(epoch: int) -> Iterator[tuple[list[int], list[int]]]:
        pairs = cycling_batches(len(retain_encoded), training.batch_size, training.seed, epoch)
        for batch in epoch_batches(len(forget), training.batch_size, training.seed, epoch):
            yield batch, next(pairs) if retain_encoded else []

    def loss(batch: tuple[list[int], list[int]]) -> torch.Tensor:
        forget_batch, retain_batch = batch
        step = ForgetStep(
            forget=start.logprobs(forget_encoded, forget_batch),
            retain=start.logprobs(retain_encoded, retain_batch) if retain_batch else None,
            reference_sums=None if constants is None else constants[forget_batch],
        )
        return method.loss(step, hp)

    def after_epoch(epoch: int) -> None:
        if epoch in settings.epochs:
            save_adapter(start.model, out / f"epoch_{epoch}")
            saved.append(epoch)

    log = train(
        start.model,
        training,
        hp["learning_rate"],
        max(settings.epochs),
        batches,
        loss,
        after_epoch,
    )
    unfinished = [epoch for epoch in settings.epochs if epoch not in saved]
    for epoch in unfinished:
        save_adapter(start.model, out / f"epoch_{epoch}")
    share = adapted_share(start.model)
    write_json(
        out / "training_log.json",
        {
            "settings": as_dict(settings),
            "adapted_share": share.share,
            "not_adapted": share.left_out,
            "product_dtype": product_dtype(start.device, training.autocast),
            "forget_reduction": method.forget_reduction,
            "unfinished_checkpoints": unfinished,
        }
        | log,
    )
