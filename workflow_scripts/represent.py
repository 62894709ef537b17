"""Compare hidden states of models with those of a reference model, layer by layer.

The states of the reference are read once. Then each model's adapter is loaded into the same base
model, in fp32.
"""

import argparse
from pathlib import Path

from excise.benchmark.items import HIDDEN_STATE_SETS, load_items
from excise.errors import run
from excise.evaluation.settings import RepresentationSettings
from excise.modeling.adapters import AdapterHost
from excise.modeling.base import pick_device, set_determinism
from excise.modeling.hidden_states import Reader, Reference
from excise.records import write_jsonl
from excise.settings import json_of


def main(argv: list[str] | None = None) -> None:
    """Write `<out-dir>/<model>/items.jsonl` for each model in `--models`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="base model folder")
    parser.add_argument("--data", type=Path, required=True, help="benchmark folder")
    parser.add_argument("--utility", type=Path, required=True, help="utility_qa.jsonl")
    settings = json_of(RepresentationSettings)
    parser.add_argument("--hp", type=settings, required=True, help="settings, JSON")
    parser.add_argument("--models-dir", type=Path, required=True)
    parser.add_argument("--out-dir", type=Path, required=True)
    parser.add_argument("--reference", required=True, help="the model to compare with")
    parser.add_argument("--models", nargs="+", required=True, help="names below --models-dir")
    args = parser.parse_args(argv)

    set_determinism(threads=args.hp.threads)
    device = pick_device(args.hp.gpu)
    host = AdapterHost(args.base, "float32", device)
    reader = Reader(
        host.tokenizer,
        load_items(args.data, args.utility, HIDDEN_STATE_SETS, answers=None),
        args.hp.batch_size,
        args.hp.positions,
        args.hp.system_prompt,
        device,
    )

    def folder(name: str) -> Path | None:
        return None if name == "base" else args.models_dir / name

    reference = Reference(reader, host.use(folder(args.reference)))
    for name in args.models:
        records = reference.compare(host.use(folder(name)))
        write_jsonl(args.out_dir / name / "items.jsonl", records)
        print(f"{name}: {len(records)} records, compared with {args.reference}")


if __name__ == "__main__":
    run(main)
