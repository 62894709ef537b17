"""Teach the base model all facts about all people: LoRA on the forget and the retain set."""

import argparse
from pathlib import Path

from excise.errors import run
from excise.records import read_jsonl
from excise.settings import json_of
from excise.training.finetuning import finetune
from excise.training.settings import FinetuningSettings


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True, help="base model folder")
    parser.add_argument("--sf", required=True, help="forget set, sf.jsonl")
    parser.add_argument("--sr", required=True, help="retain set, sr.jsonl")
    parser.add_argument(
        "--hp", type=json_of(FinetuningSettings), required=True, help="training settings, JSON"
    )
    parser.add_argument("--out", type=Path, required=True, help="adapter folder to write")
    args = parser.parse_args(argv)

    records = read_jsonl(args.sf, "item") + read_jsonl(args.sr, "item")
    finetune(args.base, records, args.hp, args.out)


if __name__ == "__main__":
    run(main)
