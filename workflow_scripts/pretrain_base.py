"""Pretrain the embedded base model on generated people and the utility facts.

`data/inputs/base/tiny-qwen2` is the output of this program; its manifest records the inputs.
"""

import argparse
from pathlib import Path

import torch

from excise.errors import run
from excise.files import sha256
from excise.generation.base_checks import check_base
from excise.generation.pretraining import corpus_digest, new_model, pretrain, save, train_tokenizer
from excise.generation.settings import PretrainingSettings
from excise.modeling.base import set_determinism
from excise.records import read_jsonl, write_json
from excise.settings import as_dict, json_of


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utility", required=True, help="utility_qa.jsonl")
    settings = json_of(PretrainingSettings)
    parser.add_argument("--hp", type=settings, required=True, help="pretraining settings, JSON")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    args = parser.parse_args(argv)

    utility, hp = read_jsonl(args.utility, "utility"), args.hp
    set_determinism(hp.seed, hp.threads)
    tokenizer = train_tokenizer(utility, hp)
    model = new_model(tokenizer, hp)
    print(
        f"{model.num_parameters() / 1e6:.2f} M parameters, vocabulary {len(tokenizer)}", flush=True
    )
    log = pretrain(model, tokenizer, utility, hp)
    save(model, tokenizer, args.out)
    manifest = {
        "settings": as_dict(hp),
        "corpus_sha256_first_50_batches": corpus_digest(utility, hp),
        "utility_sha256": sha256(args.utility),
        "weights_sha256": sha256(args.out / "model.safetensors"),
        "torch": torch.__version__,
        "log": log,
        "checks": check_base(args.out, utility, hp),
    }
    write_json(args.out / "manifest.json", manifest)
    print(manifest["checks"])


if __name__ == "__main__":
    run(main)
