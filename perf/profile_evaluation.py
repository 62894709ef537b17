"""Print where an evaluation spends its time: the share of each torch operation.

The model answers some questions of a benchmark twice; the second time is profiled.
"""

import argparse
import time
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from excise.benchmark.items import load_items
from excise.errors import run
from excise.evaluation.measure import Evaluator
from excise.modeling.adapters import AdapterHost
from excise.modeling.base import pick_device, set_determinism

SETS = ("sf", "correlated", "other")


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True, help="base model folder")
    parser.add_argument("--adapter", type=Path, help="adapter folder; without it, the base answers")
    parser.add_argument("--data", type=Path, required=True, help="benchmark folder")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--operations", type=int, default=12, help="number of lines")
    args = parser.parse_args(argv)
    set_determinism(0, threads=1)
    host = AdapterHost(args.base, "float32", pick_device())
    model = host.use(args.adapter)
    items = load_items(args.data, None, SETS)[: args.questions]
    evaluator = Evaluator(host.tokenizer, items, batch_size=32, max_new_tokens=32)
    evaluator.evaluate(model)  # the first pass tests the shortcuts
    started = time.process_time()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        evaluator.evaluate(model)
    print(f"{len(items)} questions, {time.process_time() - started:.1f} CPU s with the profiler")
    operations = sorted(found.key_averages(), key=lambda one: -one.self_cpu_time_total)
    total = sum(one.self_cpu_time_total for one in operations)
    for one in operations[: args.operations]:
        print(f"{one.self_cpu_time_total / total:6.1%} {one.count:7d} {one.key}")


if __name__ == "__main__":
    run(main)
