"""Quantize models with bitsandbytes and evaluate them on all questions.

Each model is merged in fp32, quantized once per precision and evaluated. If bitsandbytes does not
support a precision for this model, its file is empty, and weights.json gives the reason.
"""

import argparse
import json
from pathlib import Path

import torch

from excise.attacks.quantization import QuantizationUnsupported, mean_changes, quantize_model
from excise.benchmark.items import Item, load_items
from excise.errors import run
from excise.evaluation.measure import evaluate_items
from excise.modeling.adapters import delta_norms, load_merged
from excise.modeling.base import load_tokenizer, pick_device, set_determinism
from excise.records import write_json, write_jsonl

SETS = ("sf", "forget_paraphrased", "correlated", "other", "utility")
BATCH_NOISE_SAMPLE = 32
"""Number of forget questions that are evaluated again, each in its own batch."""


def main(argv: list[str] | None = None) -> None:
    """Write `<out-dir>/<model>/<precision>.jsonl` and `weights.json` for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="base model folder")
    parser.add_argument("--data", type=Path, required=True, help="benchmark folder")
    parser.add_argument("--utility", type=Path, required=True, help="utility_qa.jsonl")
    parser.add_argument("--hp", type=json.loads, required=True, help="settings, JSON")
    parser.add_argument("--models-dir", type=Path, required=True)
    parser.add_argument("--out-dir", type=Path, required=True)
    parser.add_argument("--models", nargs="+", required=True, help="names below --models-dir")
    parser.add_argument(
        "--precisions", nargs="+", help="target precisions (default: those in --hp)"
    )
    args = parser.parse_args(argv)

    set_determinism(threads=args.hp.get("threads"))
    device = pick_device(args.hp.get("gpu", False))
    items = load_items(args.data, args.utility, SETS)
    tokenizer = load_tokenizer(args.base)
    for name in args.models:
        adapter = None if name == "base" else args.models_dir / name
        out = args.out_dir / name
        weights = delta_norms(args.base, adapter)
        weights |= {"quantization_error": {}, "batch_noise": {}}
        weights |= {"quantized_share": {}, "not_quantized": []}
        for precision in args.precisions or args.hp["precisions"]:
            try:
                model = load_merged(args.base, adapter)
                report = quantize_model(model, precision, device)
                error = report["relative_error"]
                records = evaluate(model, tokenizer, items, args.hp)
                weights["batch_noise"][precision] = batch_noise(
                    model, tokenizer, items, records, args.hp
                )
                print(f"{name} {precision}: {len(records)} questions, |Q(W)-W|/|W| {error:.4f}")
                weights["quantization_error"][precision] = error
                weights["quantized_share"][precision] = report["share"]
                weights["not_quantized"] = report["left_out"]
            except QuantizationUnsupported as reason:
                records = []
                print(f"{name} {precision}: unsupported, its file is empty: {reason}")
                weights.setdefault("unsupported", {})[precision] = str(reason)
            write_jsonl(out / f"{precision}.jsonl", records)
        write_json(out / "weights.json", weights)


def batch_noise(
    model: torch.nn.Module, tokenizer, items: list[Item], records: list[dict], hp: dict
) -> dict[str, float]:
    """Measure how much a question's result depends on the other questions in its batch.

    A sample of the forget questions is evaluated again, each in its own batch.

    Returns:
        {field of a record: mean absolute change over the sample}, in the unit of the field.
    """
    forget = [item for item in items if item.set == "sf"]
    sample = forget[:: max(1, len(forget) // BATCH_NOISE_SAMPLE)][:BATCH_NOISE_SAMPLE]
    alone = evaluate(model, tokenizer, sample, hp | {"batch_size": 1})
    return mean_changes(alone, {record["id"]: record for record in records})


def evaluate(model: torch.nn.Module, tokenizer, items: list[Item], hp: dict) -> list[dict]:
    """The quantized model's records, one per item."""
    return evaluate_items(
        model,
        tokenizer,
        items,
        batch_size=hp["batch_size"],
        max_new_tokens=hp["max_new_tokens"],
        system_prompt=hp.get("system_prompt"),
    )


if __name__ == "__main__":
    run(main)
