"""Read a dataset's texts with a model and keep one vector each, for the diversity report.

A vector is the mean over the text's tokens of the hidden states after the last block.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from excise.errors import run
from excise.evaluation.settings import EmbeddingSettings
from excise.files import atomic_path
from excise.generation.diversity_rows import offline_twin, read_texts
from excise.generation.settings import TwinSettings
from excise.modeling.base import (
    check_sequences,
    load_base,
    load_tokenizer,
    pick_device,
    position_limit,
    set_determinism,
)
from excise.modeling.scoring import backbone, batches
from excise.settings import json_of


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True, help="base model folder")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    twin = json_of(TwinSettings, "--offline-twin")
    parser.add_argument("--offline-twin", type=twin, help="see diversity_report; JSON")
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
        f"{kind}.{variant}": embed(model, tokenizer, own, args.hp.batch_size)
        for kind, variants in texts.kinds.items()
        for variant, own in variants.items()
    }
    with atomic_path(args.out) as temporary, temporary.open("wb") as file:
        np.savez(file, **vectors)
    print(f"{sum(map(len, vectors.values()))} texts read")


@torch.inference_mode()
def embed(model, tokenizer, texts: list[str], batch_size: int) -> np.ndarray:
    """One vector a text: fp32 (texts, hidden). Texts that repeat are read once."""
    different = list(dict.fromkeys(texts))
    encoded = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in different]
    vectors: dict[str, np.ndarray] = {}
    encoded = [ids[: position_limit(model)] for ids in encoded]
    check_sequences(model, encoded)
    for batch in batches([len(ids) for ids in encoded], batch_size):
        longest = max(len(encoded[index]) for index in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, index in enumerate(batch):
            ids[row, : len(encoded[index])] = torch.tensor(encoded[index])
            mask[row, : len(encoded[index])] = 1
        ids, mask = ids.to(model.device), mask.to(model.device)
        states = backbone(model)(input_ids=ids, attention_mask=mask, use_cache=False)
        weights = mask[:, :, None].float()
        means = (states.last_hidden_state.float() * weights).sum(1) / weights.sum(1)
        vectors |= dict(
            zip((different[index] for index in batch), means.cpu().numpy(), strict=True)
        )
    return np.stack([vectors[text] for text in texts])


if __name__ == "__main__":
    run(main)
