"""Embed texts with a language model, for measures of diversity."""

import numpy as np
import torch

from excise.modeling.base import backbone, check_sequences, position_limit
from excise.modeling.batching import batches


@torch.inference_mode()
def embed(model, tokenizer, texts: list[str], batch_size: int) -> np.ndarray:
    """Mean hidden state after the last block over the tokens of each text: fp32 (texts, hidden).

    Equal texts pass through the model once. Texts beyond the model's positions are cut.
    """
    different = list(dict.fromkeys(texts))
    encoded = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in different]
    vectors: dict[str, np.ndarray] = {}
    encoded = [ids[: position_limit(model)] for ids in encoded]
    check_sequences(model, encoded)
    for batch in batches([len(ids) for ids in encoded], batch_size, model.device):
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
