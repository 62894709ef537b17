"""Quantize models with bitsandbytes and evaluate them on all questions.

Each model is merged in fp32, quantized once per precision and evaluated. If bitsandbytes does not
support a precision for this model, the files of that precision are empty, and weights.json gives
the reason. weights.json also compares the quantized weights with those of the finetuned model. An
oracle gets only the forget questions. The table compares the change of other models with the
oracle's change.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from excise.attacks.code_changes import code_changes
from excise.attacks.quantization import QuantizationUnsupported, mean_changes, quantize_model
from excise.benchmark.items import Item, load_items
from excise.errors import run
from excise.evaluation.measure import Evaluator
from excise.evaluation.quantized_sets import quantized_sets
from excise.evaluation.settings import QuantizationSettings
from excise.evaluation.tokens import write_tokens
from excise.modeling.adapters import delta_norms
from excise.modeling.base import pick_device, set_determinism
from excise.modeling.located import Shelf, adapted_layers, merged_model, why_own_copy
from excise.modeling.settings import Location, locations
from excise.records import write_json, write_jsonl
from excise.settings import json_of

BATCH_NOISE_SAMPLE = 32
"""Number of forget questions that are evaluated again, each in its own batch."""


def main(argv: list[str] | None = None) -> None:
    """Write the records of each precision and `weights.json` for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="base model folder")
    parser.add_argument("--data", type=Path, required=True, help="benchmark folder")
    parser.add_argument("--utility", type=Path, required=True, help="utility_qa.jsonl")
    settings = json_of(QuantizationSettings)
    parser.add_argument("--hp", type=settings, required=True, help="settings, JSON")
    parser.add_argument("--models-dir", type=Path, required=True, help="folder of the adapters")
    parser.add_argument(
        "--located",
        type=locations,
        default={},
        help="places of models that are not below --models-dir, JSON",
    )
    parser.add_argument("--finetuned", default="finetuned", help="the model before unlearning")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the records")
    parser.add_argument("--models", nargs="+", required=True, help="names below --models-dir")
    parser.add_argument("--precisions", nargs="+", required=True, help="target precisions")
    args = parser.parse_args(argv)

    set_determinism(threads=args.hp.threads)
    device = pick_device(args.hp.gpu)
    shelf = Shelf(args.base, args.models_dir, args.located)
    for name in args.models:
        items = load_items(args.data, args.utility, quantized_sets(name, args.hp.sets))
        place, tokenizer = shelf.location(name), shelf.tokenizer(name)
        evaluator = evaluator_of(tokenizer, items, args.hp)
        out = args.out_dir / name
        weights = update_of(place, args.base)
        before = shelf.location(args.finetuned)
        if name not in ("base", args.finetuned) and compares_codes(place, before):
            folders = place.base, before.adapter, place.adapter
            weights |= code_changes(*folders, args.precisions, device)
        weights |= {"quantization_error": {}, "batch_noise": {}}
        weights |= {"quantized_share": {}, "not_quantized": []}
        for precision in args.precisions:
            try:
                model = merged_model(place)
                report = quantize_model(model, precision, device)
                error = report["relative_error"]
                records, tokens = evaluator.evaluate(model)
                weights["batch_noise"][precision] = batch_noise(
                    model, tokenizer, items, records, args.hp
                )
                print(f"{name} {precision}: {len(records)} questions, |Q(W)-W|/|W| {error:.4f}")
                weights["quantization_error"][precision] = error
                weights["quantized_share"][precision] = report["share"]
                weights["not_quantized"] = report["left_out"]
            except QuantizationUnsupported as reason:
                records, tokens = [], []
                print(f"{name} {precision}: unsupported, its files are empty: {reason}")
                weights.setdefault("unsupported", {})[precision] = str(reason)
            write_jsonl(out / f"{precision}.jsonl", records)
            write_tokens(out / f"{precision}.parquet", tokens)
        write_json(out / "weights.json", weights)


def update_of(place: Location, base: Path) -> dict:
    """`delta_norms` of a model; nulls and a reason where it is no plain adapter of this base."""
    of_base = Path(place.base) == base
    reason = why_own_copy(place) if of_base and place.adapter is not None else None
    if of_base and reason is None:
        return delta_norms(place.base, place.adapter)
    reason = reason or "the model has weights of its own, so no adapter to measure"
    unknown = dict.fromkeys(("delta_norm", "weight_norm", "relative_delta", "adapted_share"))
    return unknown | {"not_adapted": [reason]}


def compares_codes(place: Location, before: Location) -> bool:
    """Whether both are plain adapters of one base on the same layers.

    A layer that only one of them changes would have an update that is not counted.
    """
    both = (place, before)
    if place.base != before.base or any(one.adapter is None for one in both):
        return False
    if any(why_own_copy(one) for one in both):
        return False
    return adapted_layers(place) == adapted_layers(before)


def batch_noise(
    model: torch.nn.Module,
    tokenizer,
    items: list[Item],
    records: list[dict],
    hp: QuantizationSettings,
) -> dict[str, float]:
    """Measure how much a question's result depends on the other questions in its batch.

    A sample of the forget questions is evaluated again, each in its own batch.

    Returns:
        {field of a record: mean absolute change over the sample}, in the unit of the field.
    """
    forget = [item for item in items if item.set == "sf"]
    sample = forget[:: max(1, len(forget) // BATCH_NOISE_SAMPLE)][:BATCH_NOISE_SAMPLE]
    alone = evaluator_of(tokenizer, sample, replace(hp, batch_size=1)).evaluate(model).items
    return mean_changes(alone, {record["id"]: record for record in records})


def evaluator_of(tokenizer, items: list[Item], hp: QuantizationSettings) -> Evaluator:
    """What asks the quantized models."""
    return Evaluator(tokenizer, items, hp.batch_size, hp.max_new_tokens, hp.system_prompt)


if __name__ == "__main__":
    run(main)
