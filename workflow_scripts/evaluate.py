"""Ask models every question: answers in `items.jsonl`, scores of tokens in `tokens.parquet`.

The program loads the base model once and swaps adapters in place. `--located` names models of
others. The base model also scores the answers of each model.
"""

import argparse
import time
from functools import cache
from pathlib import Path

from excise.benchmark.items import SETS, load_items
from excise.errors import run
from excise.evaluation.base_likelihood import base_scores
from excise.evaluation.measure import Evaluator
from excise.evaluation.settings import ProbingSettings
from excise.evaluation.sweep import EVERYTHING, Sweep
from excise.evaluation.tokens import write_tokens
from excise.modeling.base import pick_device, set_determinism
from excise.modeling.located import Shelf
from excise.modeling.settings import locations
from excise.records import read_json, write_jsonl
from excise.settings import json_of


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True, help="base model folder")
    parser.add_argument("--data", required=True, help="folder of the benchmark")
    parser.add_argument("--utility", required=True, help="utility_qa.jsonl")
    settings = json_of(ProbingSettings)
    parser.add_argument("--hp", type=settings, required=True, help="evaluation settings, JSON")
    parser.add_argument(
        "--sweep",
        type=json_of(Sweep, "--sweep"),
        default=EVERYTHING,
        help="fewer questions for a sweep, JSON",
    )
    parser.add_argument("--models-dir", type=Path, required=True, help="folder of the adapters")
    parser.add_argument(
        "--located",
        type=locations,
        default={},
        help="places of models that are not below --models-dir, JSON",
    )
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the records")
    parser.add_argument("--models", nargs="+", required=True, help="names; base has no adapter")
    args = parser.parse_args(argv)

    hp = args.hp
    items = load_items(args.data, args.utility, (*SETS, *hp.probes))
    set_determinism(0, hp.threads)
    shelf = Shelf(args.base, args.models_dir, args.located, hp.dtype, pick_device(hp.gpu))

    @cache
    def evaluator(tokenizer, sets: tuple[str, ...], generates: bool) -> Evaluator:
        asked = [item for item in items if item.set in sets]
        longest = hp.max_new_tokens if generates else 0
        return Evaluator(tokenizer, asked, hp.batch_size, longest, hp.system_prompt)

    known: dict[tuple[str, str], dict] = {}  # what the base gives to texts of earlier models
    for name in args.models:
        started = time.monotonic()
        model = shelf.use(name)
        sets = tuple(one for one in (*SETS, *hp.probes) if args.sweep.asks(name, one))
        generates = args.sweep.generates(name)
        asking = evaluator(shelf.tokenizer(name), sets, generates)
        records, tokens = asking.evaluate(model)
        if generates:
            base, tokenizer = shelf.use("base"), shelf.tokenizer("base")
            scored = base_scores(base, tokenizer, records, hp.batch_size, hp.system_prompt, known)
            records = [record | score for record, score in zip(records, scored, strict=True)]
        own = name not in args.located
        mark = {"diverged": own and has_diverged(args.models_dir / name)}
        write_jsonl(args.out_dir / name / "items.jsonl", [record | mark for record in records])
        write_tokens(args.out_dir / name / "tokens.parquet", tokens)
        print(f"{name}: {len(records)} items, {time.monotonic() - started:.1f} s", flush=True)


def has_diverged(checkpoint: Path) -> bool:
    """Whether training broke off before this checkpoint's epoch, by its trajectory's log."""
    if not checkpoint.name.startswith("epoch_"):
        return False
    unfinished = read_json(checkpoint.parent / "training_log.json")["unfinished_checkpoints"]
    return int(checkpoint.name.removeprefix("epoch_")) in unfinished


if __name__ == "__main__":
    run(main)
