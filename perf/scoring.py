"""Seconds to score answers on this machine, with this library and with another one in turn.

    git worktree add /tmp/before HEAD~1
    python perf/scoring.py --other /tmp/before/workflow_scripts

Prints the CPU seconds of each, the median of the paired ratios, the largest difference of a sum of
log-probabilities, and the share of the fp32 peak that this library reaches. The peak is that of a
product of 2,048 × 2,048 matrices. Only products of tokens and weights count as work.

It needs the package: `make .venv/installed`, or PYTHONPATH=workflow_scripts.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

import excise
from excise.benchmark.slots import SLOTS
from excise.generation.sampler import Sampler
from excise.generation.writing import answer, question
from excise.modeling.base import load_base, load_tokenizer, pick_device, set_determinism
from excise.modeling.scoring import score_answers


def main() -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="data/inputs/base/tiny-qwen2")
    parser.add_argument("--other", type=Path, help="folder of another version of `excise`")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--answers", type=int, default=7, help="answers to each question")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--measure", action="store_true", help="print one version's times as JSON")
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measured(args)))
        return
    libraries = {"this": Path(excise.__file__).parents[1]}
    libraries |= {"other": args.other} if args.other else {}
    found = {name: [] for name in libraries}
    for _ in range(args.rounds):
        for name, folder in libraries.items():
            environment = os.environ | {"PYTHONPATH": str(folder.resolve())}
            command = [sys.executable, *sys.argv, "--measure"]
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
            found[name].append(json.loads(done.stdout))
    for name, runs in found.items():
        seconds = [run["seconds"] for run in runs]
        print(f"{name:5}  median {statistics.median(seconds):.3f} s  min {min(seconds):.3f} s")
    best = min(found["this"], key=lambda run: run["seconds"])
    share = best["flop"] / best["seconds"] / best["peak"]
    print(f"products {best['flop'] / 1e9:.0f} GFLOP, peak {best['peak'] / 1e9:.1f} GFLOP/s")
    print(f"this library reaches {share:.0%} of the peak")
    if args.other:
        pairs = zip(found["this"], found["other"], strict=True)
        ratio = statistics.median(new["seconds"] / old["seconds"] for new, old in pairs)
        sums = zip(found["this"][0]["sums"], found["other"][0]["sums"], strict=True)
        far = max(abs(one - two) for one, two in sums)
        print(f"{len(best['sums'])} answers, this/other {ratio:.3f}, largest difference {far:.1e}")


def measured(args: argparse.Namespace) -> dict:
    """CPU seconds of a second pass, the sums it finds, its work and the machine's peak."""
    set_determinism(0, args.threads)
    tokenizer = load_tokenizer(args.base)
    model = load_base(args.base, "float32").to(pick_device(args.gpu)).eval()
    asked, answers = questions(args.people, args.answers)
    work = counted(model)
    score_answers(model, tokenizer, asked, answers, 64)
    work["flop"] = 0
    started = time.process_time()
    found = score_answers(model, tokenizer, asked, answers, 64)
    seconds = time.process_time() - started
    sums = [one.logprob for options in found for one in options]
    return {"seconds": seconds, "sums": sums, "peak": peak(model.device)} | work


def counted(model: torch.nn.Module) -> dict[str, int]:
    """The work of all linear layers from now on: 2 · rows · inputs · outputs each time."""
    work = {"flop": 0}

    def count(layer, args, _output):
        work["flop"] += 2 * args[0].numel() * layer.out_features

    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(count)
    return work


def peak(device: torch.device) -> float:
    """Floating-point operations a second of a large product in fp32, the best of five."""
    one = torch.randn(2048, 2048, device=device)
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        (one @ one).sum().item()
        best = min(best, time.process_time() - started)
    return 2 * 2048**3 / best


def questions(people: int, answers: int) -> tuple[list[str], list[list[str]]]:
    """Questions about made-up people, each with answers that other people would give."""
    sampler = Sampler(0, people + answers, list(SLOTS.values()))
    everyone = [sampler.person(f"p{number:03}") for number in range(people + answers)]
    asked, options = [], []
    for number, person in enumerate(everyone[:people]):
        others = everyone[number : number + answers]
        for name, slot in SLOTS.items():
            asked.append(question(slot, 0, person))
            options.append([answer(slot, 0, person, one["slots"][name]) for one in others])
    return asked, options


if __name__ == "__main__":
    main()
