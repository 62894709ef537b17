"""Compare hidden states of models with those of a reference model and of oracles, layer by layer.

The states of the reference and of the oracles are read once. Then each model's adapter is loaded
into the same base model, in fp32. Where all states together would be large, the questions are read
in parts, and each model once for each part.
"""

import argparse
from pathlib import Path

from excise.benchmark.items import HIDDEN_STATE_SETS, load_items
from excise.errors import InputError, run
from excise.evaluation.settings import RepresentationSettings
from excise.modeling.base import load_config, pick_device, set_determinism
from excise.modeling.hidden_states import Reader, Reference
from excise.modeling.located import Shelf
from excise.modeling.settings import locations
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
    parser.add_argument(
        "--located",
        type=locations,
        default={},
        help="places of models that are not below --models-dir, JSON",
    )
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the records")
    parser.add_argument("--reference", required=True, help="the model to compare with")
    parser.add_argument("--oracles", nargs="*", default=[], help="names of the oracles")
    parser.add_argument("--models", nargs="+", required=True, help="names below --models-dir")
    args = parser.parse_args(argv)

    set_determinism(threads=args.hp.threads)
    device = pick_device(args.hp.gpu)
    shelf = Shelf(args.base, args.models_dir, args.located, "float32", device)
    items = load_items(args.data, args.utility, HIDDEN_STATE_SETS, answers=None)

    def reader_of(name: str) -> Reader:
        asked = args.hp.batch_size, args.hp.positions, args.hp.system_prompt, device
        return Reader(shelf.tokenizer(name), items, *asked)

    reader = reader_of(args.reference)
    for name in dict.fromkeys([*args.oracles, *args.models]):
        if shelf.location(name).base != shelf.location(args.reference).base:
            check_same_tokens(reader, reader_of(name), args.reference, name)
    config = load_config(shelf.location(args.reference).base).get_text_config()
    per_token = 4 * (config.num_hidden_layers + 1) * config.hidden_size * (1 + len(args.oracles))
    parts = list(reader.parts(max(1, HELD_BYTES // per_token)))
    means = reader.means(shelf.use(args.reference)) if len(parts) > 1 else None
    records: dict[str, list[dict]] = {name: [] for name in args.models}
    for part in parts:
        reference = Reference(part, shelf.use(args.reference), means)
        for name in args.oracles:
            reference.add_oracle(name, shelf.use(name))
        for name, found in records.items():
            if name in (args.reference, *args.oracles):
                found += reference.compare_held(None if name == args.reference else name)
            else:
                found += reference.compare(shelf.use(name))
    order = {item.id: number for number, item in enumerate(reader.items)}
    for name, found in records.items():
        found.sort(key=lambda record: order[record["id"]])
        write_jsonl(args.out_dir / name / "items.jsonl", found)
        print(f"{name}: {len(found)} records, compared with {args.reference}")


def check_same_tokens(reader: Reader, other: Reader, name: str, other_name: str) -> None:
    """Check that two models read every question and answer as the same tokens.

    Raises:
        InputError: they do not; states at a position would then be of different tokens.
    """
    pairs = zip(reader.items, reader.sequences, other.sequences, strict=True)
    for item, own, others in pairs:
        if own != others:
            raise InputError(
                f"{other_name}: its tokenizer reads question {item.id} as other tokens than that "
                f"of {name}; their hidden states cannot be compared: leave {name} out of "
                "audit.models.compare"
            )


if __name__ == "__main__":
    run(main)
