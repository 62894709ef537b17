"""Seconds to score answers on this machine, this version of `scoring.py` and another in turn.

    git show HEAD~1:workflow_scripts/excise/modeling/scoring.py > /tmp/before.py
    python perf/scoring.py --other /tmp/before.py

Prints the seconds of each, the median of the paired ratios, and whether all sums of
log-probabilities are the same bits.

It needs the package: `make .venv/installed`, or PYTHONPATH=workflow_scripts.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from pathlib import Path
from types import ModuleType

from excise.benchmark.slots import SLOTS
from excise.generation.sampler import Sampler
from excise.generation.writing import answer, question
from excise.modeling import scoring
from excise.modeling.base import load_base, load_tokenizer, pick_device, set_determinism


def main() -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="data/inputs/base/tiny-qwen2")
    parser.add_argument("--other", type=Path, required=True, help="another version of scoring.py")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--answers", type=int, default=7, help="answers to each question")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--gpu", action="store_true")
    args = parser.parse_args()

    set_determinism(0, args.threads)
    tokenizer = load_tokenizer(args.base)
    model = load_base(args.base, "float32").to(pick_device(args.gpu)).eval()
    asked, answers = questions(args.people, args.answers)
    versions = {"other": version_in(args.other), "this": scoring}
    seconds: dict[str, list[float]] = {name: [] for name in versions}
    sums = {}
    for _ in range(args.rounds + 1):
        for name, module in versions.items():
            started = time.perf_counter()
            found = module.score_answers(model, tokenizer, asked, answers, 64)
            seconds[name].append(time.perf_counter() - started)
            sums[name] = [one.logprob for options in found for one in options]
    for name, times in seconds.items():
        print(f"{name:5}  median {statistics.median(times[1:]):.3f} s  min {min(times[1:]):.3f} s")
    pairs = list(zip(seconds["this"], seconds["other"], strict=True))[1:]  # the first one allocates
    ratio = statistics.median(new / old for new, old in pairs)
    same = sums["this"] == sums["other"]
    print(f"{len(sums['this'])} answers, this/other {ratio:.3f}, sums the same bits: {same}")


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


def version_in(path: Path) -> ModuleType:
    """The module in a file outside of the library."""
    spec = importlib.util.spec_from_file_location("other_scoring", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
