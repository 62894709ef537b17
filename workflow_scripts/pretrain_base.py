"""Pretrain the embedded base model on generated people and the utility facts.

The shipped `data/base/tiny-qwen2` is this program's output, with a manifest that says from what.
"""

import argparse
import json
import random
from pathlib import Path

import torch

from excise.decoding import generate
from excise.errors import run
from excise.files import sha256
from excise.generation.corpus import ask
from excise.generation.sampler import Sampler
from excise.generation.slots import SLOTS
from excise.metrics import slot_match
from excise.models import load_base, load_tokenizer, set_determinism
from excise.pretraining import corpus_digest, new_model, pretrain, save, train_tokenizer
from excise.records import read_jsonl, write_json

STRANGERS = 25  # people asked about in the copying check, 22 questions each


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utility", required=True, help="utility_qa.jsonl")
    parser.add_argument("--hp", type=json.loads, required=True, help="pretraining settings, JSON")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    args = parser.parse_args(argv)

    utility, hp = read_jsonl(args.utility, "utility"), args.hp
    set_determinism(hp["seed"], hp["threads"])
    tokenizer = train_tokenizer(utility, hp)
    model = new_model(tokenizer, hp)
    print(
        f"{model.num_parameters() / 1e6:.2f} M parameters, vocabulary {len(tokenizer)}", flush=True
    )
    log = pretrain(model, tokenizer, utility, hp)
    save(model, tokenizer, args.out)
    manifest = {
        "settings": hp,
        "corpus_sha256_first_50_batches": corpus_digest(utility, hp),
        "utility_sha256": sha256(args.utility),
        "weights_sha256": sha256(args.out / "model.safetensors"),
        "torch": torch.__version__,
        "log": log,
        "checks": checks(args.out, utility, hp["seed"]),
    }
    write_json(args.out / "manifest.json", manifest)
    print(manifest["checks"])


def checks(folder: Path, utility: list[dict], seed: int) -> dict[str, float]:
    """What the saved model can do, from its generations.

    Returns:
        `utility_slot_accuracy`: share of utility facts answered in the held-out phrasing;
        `unseen_names_copied`: share of answers about people with never-seen surnames that
        repeat the name.
    """
    model, tokenizer = load_base(folder, "float32"), load_tokenizer(folder)
    said = generate(model, tokenizer, [item["question"] for item in utility], 48, 128)
    known = [slot_match(item["value"], made.text) for item, made in zip(utility, said, strict=True)]
    rng = random.Random(seed)
    strangers = Sampler(seed, None, list(SLOTS.values()), name_space="benchmark")
    people = [strangers.person(f"p{index}") for index in range(STRANGERS)]
    asked = [(person["name"], ask(person, slot, rng)[0]) for person in people for slot in SLOTS]
    said = generate(model, tokenizer, [question for _, question in asked], 48, 128)
    copied = [slot_match(name, made.text) for (name, _), made in zip(asked, said, strict=True)]
    return {
        "utility_slot_accuracy": sum(known) / len(known),
        "unseen_names_copied": sum(copied) / len(copied),
    }


if __name__ == "__main__":
    run(main)
