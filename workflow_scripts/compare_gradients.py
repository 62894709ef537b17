"""Compare the gradients of forget facts with those of the same person's retain facts.

The program writes one line per forget fact: the mean cosine with the correlated and with the other
facts, in the weights of the finetuned adapter. It runs in fp32, because gradients of learned facts
are small.
"""

import argparse
from pathlib import Path

from excise.errors import run
from excise.modeling.adapters import load_adapter
from excise.modeling.base import load_base, load_tokenizer, pick_device, set_determinism
from excise.modeling.settings import Float32Settings
from excise.records import read_jsonl, write_jsonl
from excise.red_team.models.gradients import similarities
from excise.settings import json_of


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True, help="base model folder")
    parser.add_argument("--adapter", type=Path, required=True, help="the finetuned adapter")
    parser.add_argument("--sf", required=True, help="sf.jsonl")
    parser.add_argument("--sr", required=True, help="sr.jsonl")
    settings = json_of(Float32Settings)
    parser.add_argument("--hp", type=settings, required=True, help="settings, JSON")
    parser.add_argument("--out", type=Path, required=True, help="JSON Lines to write")
    args = parser.parse_args(argv)

    set_determinism(0, args.hp.threads)
    base = load_base(args.base, "float32").to(pick_device(args.hp.gpu)).requires_grad_(False)
    model = load_adapter(base, args.adapter, trainable=True)
    items = read_jsonl(args.sf, "item") + read_jsonl(args.sr, "item")
    tokenizer = load_tokenizer(args.base)
    records = list(similarities(model, tokenizer, items, args.hp.system_prompt))
    write_jsonl(args.out, records)
    print(f"{args.out}: compared {len(records)} forget facts")


if __name__ == "__main__":
    run(main)
