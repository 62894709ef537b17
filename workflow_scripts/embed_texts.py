"""Embed a dataset's texts with the base model, for the diversity report."""

import argparse
from pathlib import Path

import numpy as np

from excise.errors import run
from excise.evaluation.settings import EmbeddingSettings
from excise.files import atomic_path
from excise.generation.diversity_rows import offline_twin, read_texts
from excise.generation.settings import TwinSettings
from excise.generation.text_embeddings import embed
from excise.modeling.base import load_base, load_tokenizer, pick_device, set_determinism
from excise.settings import json_of


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True, help="base model folder")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    twin = json_of(TwinSettings, "--offline-twin")
    parser.add_argument("--offline-twin", type=twin, help="as in diversity_report; JSON")
    settings = json_of(EmbeddingSettings)
    parser.add_argument("--hp", type=settings, required=True, help="settings, JSON")
    parser.add_argument("--out", type=Path, required=True, help="embeddings.npz")
    args = parser.parse_args(argv)

    set_determinism(0, args.hp.threads)
    tokenizer = load_tokenizer(args.base)
    model = load_base(args.base, args.hp.dtype).to(pick_device(args.hp.gpu)).eval()
    if args.offline_twin:
        texts = offline_twin(args.data, args.offline_twin)
    else:
        texts = read_texts(args.data)
    vectors = {
        f"{kind}.{variant}": embed(model, tokenizer, variant_texts, args.hp.batch_size)
        for kind, variants in texts.kinds.items()
        for variant, variant_texts in variants.items()
    }
    with atomic_path(args.out) as temporary, temporary.open("wb") as file:
        np.savez(file, **vectors)
    print(f"embedded {sum(map(len, vectors.values()))} texts")


if __name__ == "__main__":
    run(main)
