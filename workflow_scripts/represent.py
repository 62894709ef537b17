"""Compare hidden states of models with those of a reference model and of oracles, layer by layer.

The states of the reference and of the oracles are read once. Then each model's adapter is loaded
into the same base model, in fp32. Where all states together would be large, the questions are read
in parts, and each model once for each part.
"""

import argparse
from pathlib import Path

from excise.benchmark.items import HIDDEN_STATE_SETS, load_items
from excise.errors import run
from excise.evaluation.settings import RepresentationSettings
from excise.modeling.adapters import AdapterHost
from excise.modeling.base import pick_device, set_determinism, unwrapped
from excise.modeling.hidden_states import Reader, Reference
from excise.records import write_jsonl
from excise.settings import json_of

HELD_BYTES = 2**31
"""Memory of the states that are held at once."""


def main(argv: list[str] | None = None) -> None:
    """Write `<out-dir>/<model>/items.jsonl` for each model in `--models`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="base model folder")
    parser.add_argument("--data", type=Path, required=True, help="benchmark folder")
    parser.add_argument("--utility", type=Path, required=True, help="utility_qa.jsonl")
    settings = json_of(RepresentationSettings)
    parser.add_argument("--hp", type=settings, required=True, help="settings, JSON")
    parser.add_argument("--models-dir", type=Path, required=True, help="folder of the adapters")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the records")
    parser.add_argument("--reference", required=True, help="the model to compare with")
    parser.add_argument("--oracles", nargs="*", default=[], help="names of the oracles")
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

    config = unwrapped(host.model).config.get_text_config()
    per_token = 4 * (config.num_hidden_layers + 1) * config.hidden_size * (1 + len(args.oracles))
    parts = list(reader.parts(max(1, HELD_BYTES // per_token)))
    means = reader.means(host.use(folder(args.reference))) if len(parts) > 1 else None
    records: dict[str, list[dict]] = {name: [] for name in args.models}
    for part in parts:
        reference = Reference(part, host.use(folder(args.reference)), means)
        for name in args.oracles:
            reference.add_oracle(name, host.use(folder(name)))
        for name, found in records.items():
            if name in (args.reference, *args.oracles):
                found += reference.compare_held(None if name == args.reference else name)
            else:
                found += reference.compare(host.use(folder(name)))
    order = {item.id: number for number, item in enumerate(reader.items)}
    for name, found in records.items():
        found.sort(key=lambda record: order[record["id"]])
        write_jsonl(args.out_dir / name / "items.jsonl", found)
        print(f"{name}: {len(found)} records, compared with {args.reference}")


if __name__ == "__main__":
    run(main)
