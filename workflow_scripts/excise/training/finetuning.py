"""Teaching a model facts by LoRA: the finetuned model and the oracles share this."""

from pathlib import Path

from excise.modeling.adapters import adapted_share, attach_lora, save_adapter
from excise.modeling.base import (
    check_sequences,
    load_base,
    load_tokenizer,
    pick_device,
    set_determinism,
)
from excise.modeling.chat import encode
from excise.modeling.differentiable_logprobs import answer_logprobs, cross_entropy, product_dtype
from excise.records import write_json
from excise.settings import as_dict
from excise.training.loop import epoch_batches, train
from excise.training.settings import FinetuningSettings


def finetune(
    base: str | Path, records: list[dict], settings: FinetuningSettings, out: Path
) -> None:
    """Train a fresh LoRA adapter on questions and answers and save it with its log.

    Args:
        base: model folder.
        records: with `question` and `answer`.
        settings: of the model, the adapter and the training.
        out: adapter folder; `training_log.json` is written into it.

    Raises:
        InputError: a question and its answer are longer than the model's positions, or a token
            is not in its vocabulary.
    """
    training = settings.training
    set_determinism(training.seed, settings.model.threads)
    device = pick_device(settings.model.gpu)
    tokenizer = load_tokenizer(base)
    model = attach_lora(
        load_base(base, settings.model.dtype).to(device), as_dict(settings.lora), training.seed
    )
    encoded = [
        encode(tokenizer, record["question"], record["answer"], settings.model.system_prompt)
        for record in records
    ]
    check_sequences(model, [one.input_ids for one in encoded])
    precision = product_dtype(device, training.autocast)
    print(f"{len(encoded)} questions, {settings.epochs} epochs, {device}, {precision}", flush=True)

    def loss(batch: list[int]):
        answers = [encoded[index] for index in batch]
        return cross_entropy(
            answer_logprobs(model, answers, tokenizer.pad_token_id, training.autocast)
        )

    log = train(
        model,
        training,
        settings.learning_rate,
        settings.epochs,
        batches=lambda epoch: epoch_batches(
            len(encoded), training.batch_size, training.seed, epoch
        ),
        loss=loss,
    )
    save_adapter(model, out)
    share = adapted_share(model)
    about = {
        "adapted_share": share.share,
        "not_adapted": share.left_out,
        "product_dtype": precision,
    }
    write_json(
        out / "training_log.json",
        {"settings": as_dict(settings), "questions": len(encoded)} | about | log,
    )
