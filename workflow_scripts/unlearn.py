"""Make the finetuned model forget: one trajectory, an adapter saved at every configured epoch."""

import argparse
from dataclasses import replace
from pathlib import Path

from excise.benchmark.completeness import check_ids
from excise.errors import InputError, run
from excise.records import read_json, read_jsonl
from excise.settings import json_of, parse
from excise.unlearning.alternatives import read_alternatives
from excise.unlearning.registry import find
from excise.unlearning.settings import TrajectorySettings
from excise.unlearning.trajectory import Inputs, unlearn


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True, help="base model folder")
    parser.add_argument("--adapter", required=True, help="finetuned adapter folder")
    parser.add_argument("--sf", required=True, help="forget set, sf.jsonl")
    parser.add_argument("--sr", required=True, help="retain set, sr.jsonl")
    parser.add_argument("--reference", help="reference log-probabilities, for methods that need it")
    parser.add_argument("--alternatives", help="other answers, for methods that need them")
    parser.add_argument(
        "--hp", type=json_of(TrajectorySettings), required=True, help="trajectory settings, JSON"
    )
    parser.add_argument(
        "--epochs", type=int, nargs="+", help="epochs to save (default: those in --hp)"
    )
    parser.add_argument("--out", type=Path, required=True, help="trajectory folder to write")
    args = parser.parse_args(argv)

    method = find(args.hp.method)
    hyperparameters = parse(method.Settings, args.hp.hyperparameters, "--hp: hyperparameters")
    if method.check:
        method.check(hyperparameters, read_json(Path(args.base) / "config.json"))
    needs = method.needs(hyperparameters)
    forget, retain = read_jsonl(args.sf, "item"), read_jsonl(args.sr, "item")
    inputs = Inputs(args.base, args.adapter, forget, retain)
    if needs.reference_sums:
        if args.reference is None:
            raise InputError(f"--reference: method {method.name} needs it")
        reference = read_json(args.reference)
        check_ids(args.reference, reference, [record["id"] for record in forget], args.sf)
        inputs = replace(inputs, reference=reference)
    if needs.alternatives:
        if args.alternatives is None:
            raise InputError(f"--alternatives: method {method.name} needs it")
        inputs = replace(inputs, alternatives=read_alternatives(args.alternatives))
    epochs = tuple(sorted(args.epochs or args.hp.epochs))
    settings = replace(args.hp, hyperparameters=hyperparameters, epochs=epochs)
    unlearn(inputs, method, settings, args.out)


if __name__ == "__main__":
    run(main)
