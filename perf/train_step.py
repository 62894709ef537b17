"""Measure seconds per LoRA training step on this machine: kernels, precisions, batch sizes.

    python perf/train_step.py --base data/inputs/base/tiny-qwen2 --threads 1

The first table compares attention kernels and precisions at 32 questions. The second one says what
larger batches gain. Several adapters that train at once over one base have the operations of one
larger batch, so this is also the most that they could gain.

Run it twice, with and without the allocator settings of rules/common.smk in the environment
(`MALLOC_MMAP_THRESHOLD_`, `MALLOC_TRIM_THRESHOLD_`), to measure the cost of page faults.

It needs the package: `make .venv/installed`, or PYTHONPATH=workflow_scripts.
"""

import argparse
import statistics
import time

import torch

from excise.benchmark.slots import SLOTS
from excise.generation.sampler import Sampler
from excise.generation.writing import answer, question
from excise.modeling.adapters import attach_lora
from excise.modeling.base import load_base, load_tokenizer, set_determinism, unwrapped
from excise.modeling.chat import Encoded, encode
from excise.modeling.differentiable_logprobs import answer_logprobs, cross_entropy
from excise.modeling.settings import LoraSettings

LORA = LoraSettings(rank=32, alpha=64, dropout=0.0, target_modules="all-linear")
BATCHES = (8, 16, 32, 64, 128, 256)


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
    questions = _questions(tokenizer, max(BATCHES))
    adapter = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(adapter, lr=1e-4)

    def step(kernel: str, cast: str, size: int) -> float:
        unwrapped(model).set_attn_implementation(kernel)
        started = time.process_time()
        batch = questions[:size]
        loss = cross_entropy(answer_logprobs(model, batch, tokenizer.pad_token_id, cast))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return time.process_time() - started

    variants = [(k, cast, 32) for k in ("eager", "sdpa") for cast in ("bfloat16", "none")]
    for (kernel, cast, _), seconds in _measured(step, variants, args.rounds).items():
        median, least = statistics.median(seconds) * 1e3, min(seconds) * 1e3
        print(f"attention {kernel:5}  autocast {cast:8}  CPU ms: {median:7.1f}, min {least:7.1f}")
    sizes = [("eager", "none", size) for size in BATCHES]
    for (_, _, size), seconds in _measured(step, sizes, args.rounds).items():
        each = statistics.median(seconds) / size * 1e3
        print(f"float32, {size:3} questions a step: median {each:6.2f} CPU ms a question")


def _questions(tokenizer, count: int) -> list[Encoded]:
    """Questions about as many people as are needed."""
    people = Sampler(0, count // len(SLOTS) + 1, list(SLOTS.values()))
    found = []
    for number in range(count // len(SLOTS) + 1):
        person = people.person(f"p{number:03}")
        for name, slot in SLOTS.items():
            true = answer(slot, 0, person, person["slots"][name])
            found.append(encode(tokenizer, question(slot, 0, person), true))
    return found[:count]


def _measured(step, variants: list[tuple], rounds: int) -> dict[tuple, list[float]]:
    """CPU seconds of each variant; they take turns, and the first round only allocates."""
    seconds = {variant: [] for variant in variants}
    for _ in range(rounds + 1):
        for variant in variants:
            seconds[variant].append(step(*variant))
    return {variant: times[1:] for variant, times in seconds.items()}


if __name__ == "__main__":
    main()
