"""Measure seconds per LoRA training step on this machine, for attention kernels and precisions.

    python perf/train_step.py --base data/inputs/base/tiny-qwen2 --threads 1

Run it twice, with and without the allocator settings of rules/common.smk in the environment
(`MALLOC_MMAP_THRESHOLD_`, `MALLOC_TRIM_THRESHOLD_`), to measure the cost of page faults.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow_scripts"))

from excise.benchmark.slots import SLOTS
from excise.generation.sampler import Sampler
from excise.generation.writing import answer, question
from excise.modeling.adapters import attach_lora
from excise.modeling.base import load_base, load_tokenizer, set_determinism, unwrapped
from excise.modeling.chat import encode
from excise.modeling.differentiable_logprobs import answer_logprobs, cross_entropy

LORA = {"rank": 32, "alpha": 64, "dropout": 0.0, "target_modules": "all-linear"}


def main() -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="data/inputs/base/tiny-qwen2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()

    set_determinism(0, args.threads)
    tokenizer = load_tokenizer(args.base)
    model = attach_lora(load_base(args.base, "float32"), LORA, 0).train()
    person = Sampler(0, 1, list(SLOTS.values())).person("p000")
    batch = [
        encode(tokenizer, question(slot, 0, person), answer(slot, 0, person, person["slots"][name]))
        for name, slot in SLOTS.items()
    ]
    batch = (batch * 2)[:32]
    optimizer = torch_adamw(model)
    variants = [(kernel, cast) for kernel in ("eager", "sdpa") for cast in ("bfloat16", "none")]
    seconds = {variant: [] for variant in variants}
    for _ in range(args.rounds + 1):
        for kernel, cast in variants:
            unwrapped(model).set_attn_implementation(kernel)
            started = time.perf_counter()
            loss = cross_entropy(answer_logprobs(model, batch, tokenizer.pad_token_id, cast))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seconds[kernel, cast].append(time.perf_counter() - started)
    for (kernel, cast), times in seconds.items():
        times = times[1:]  # the first step allocates
        print(
            f"attention {kernel:5}  autocast {cast:8}  "
            f"median {statistics.median(times) * 1000:7.1f} ms  min {min(times) * 1000:7.1f} ms"
        )


def torch_adamw(model):
    """AdamW over the adapter."""
    import torch

    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)


if __name__ == "__main__":
    main()
