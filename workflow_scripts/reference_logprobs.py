"""Compute NPO's reference once: the finetuned model's log-probability of every forget answer."""

import argparse

from excise.errors import run
from excise.records import read_jsonl, write_json
from excise.settings import json_of
from excise.unlearning.forget_model import reference_sums
from excise.unlearning.settings import ReferenceSettings


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True, help="base model folder")
    parser.add_argument("--adapter", required=True, help="finetuned adapter folder")
    parser.add_argument("--sf", required=True, help="forget set, sf.jsonl")
    settings = json_of(ReferenceSettings)
    parser.add_argument("--hp", type=settings, required=True, help="settings, JSON")
    parser.add_argument("--out", required=True, help="JSON file: item id to log-probability")
    args = parser.parse_args(argv)

    write_json(
        args.out,
        reference_sums(args.base, args.adapter, read_jsonl(args.sf, "item"), args.hp),
    )


if __name__ == "__main__":
    run(main)
