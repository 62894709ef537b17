"""Forecast the damage to each retain fact before any unlearning.

The program runs the finetuned model in fp32. It uses the gradient of every fact in the adapter's
weights, and the hidden states at the middle layer. It writes one line per retain fact
(`excise.evaluation.forecast`).
"""

import argparse
from pathlib import Path

from excise.benchmark.items import RETAIN_SETS, load_items
from excise.errors import run
from excise.evaluation.forecast import STATES, forecast, mean_states
from excise.evaluation.settings import ForecastSettings
from excise.modeling.adapters import load_adapter
from excise.modeling.base import load_base, load_tokenizer, pick_device, set_determinism
from excise.modeling.fact_gradients import fact_gradients
from excise.modeling.hidden_states import Reader
from excise.records import write_jsonl
from excise.settings import json_of

SETS = ("sf", *RETAIN_SETS)


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True, help="base model folder")
    parser.add_argument("--adapter", type=Path, required=True, help="the finetuned adapter")
    parser.add_argument("--data", type=Path, required=True, help="benchmark folder")
    settings = json_of(ForecastSettings)
    parser.add_argument("--hp", type=settings, required=True, help="settings, JSON")
    parser.add_argument("--out", type=Path, required=True, help="JSON Lines to write")
    args = parser.parse_args(argv)

    set_determinism(0, args.hp.threads)
    device, prompt = pick_device(args.hp.gpu), args.hp.system_prompt
    items = load_items(args.data, None, SETS, answers=None)
    tokenizer = load_tokenizer(args.base)
    base = load_base(args.base, "float32").to(device).requires_grad_(False)
    model = load_adapter(base, args.adapter, trainable=True)
    gradients, losses = fact_gradients(model, tokenizer, items, prompt)
    reader = Reader(tokenizer, items, args.hp.batch_size, [*STATES.values()], prompt, device)
    states = mean_states(reader, model, args.hp.middle_layer)
    records = forecast(items, gradients, losses, states)
    write_jsonl(args.out, records)
    print(f"{args.out}: {len(records)} retain facts, gradients as {gradients.shape[1]} numbers")


if __name__ == "__main__":
    run(main)
