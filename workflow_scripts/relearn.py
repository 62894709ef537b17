"""Attack models by further training on a few facts, and ask them for the forget facts meanwhile.

Each attack starts from the model's saved adapter and trains it with the loss of finetuning. At some
steps the program asks every forget question. Each record says whether the attacker showed the fact.
Models that never saw the forget facts (oracles) get the same batches; they are the baseline.
"""

import argparse
import time
from pathlib import Path

from excise.attacks.attack_sets import ATTACKS, attack_set
from excise.attacks.relearning import AttackedModel, relearn
from excise.attacks.settings import RelearningSettings
from excise.benchmark.items import load_items
from excise.errors import run
from excise.evaluation.measure import Evaluator
from excise.modeling.base import pick_device, set_determinism
from excise.modeling.differentiable_logprobs import product_dtype
from excise.records import read_jsonl, write_json, write_jsonl
from excise.settings import as_dict, json_of


def main(argv: list[str] | None = None) -> None:
    """Write `<out-dir>/<model>/<attack>/step_<n>.jsonl` and `training_log.json` of each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="base model folder")
    parser.add_argument("--data", type=Path, required=True, help="benchmark folder")
    settings = json_of(RelearningSettings)
    parser.add_argument("--hp", type=settings, required=True, help="settings, JSON")
    parser.add_argument("--models-dir", type=Path, required=True, help="folder of the adapters")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the records")
    parser.add_argument("--models", nargs="+", required=True, help="names below --models-dir")
    parser.add_argument(
        "--attacks", nargs="+", choices=ATTACKS, required=True, help="what the attacker trains on"
    )
    parser.add_argument(
        "--steps", nargs="+", type=int, required=True, help="steps at which models are asked"
    )
    args = parser.parse_args(argv)

    hp, steps = args.hp, sorted({0, *args.steps})
    asking, training = hp.evaluation, hp.training
    facts = read_jsonl(args.data / "sf.jsonl", "item") + read_jsonl(args.data / "sr.jsonl", "item")
    sets = {one: attack_set(one, facts, hp.share, training.seed) for one in args.attacks}
    items = load_items(args.data, None, ("sf",), answers=None)
    set_determinism(training.seed, asking.threads)
    device = pick_device(asking.gpu)
    host = AttackedModel(args.base, asking.dtype, device)
    evaluator = Evaluator(
        *(host.tokenizer, items, asking.batch_size, asking.max_new_tokens, asking.system_prompt)
    )
    for name in args.models:
        started, log = time.monotonic(), {}
        for attack, shown in sets.items():
            ids = {fact["id"] for fact in shown}

            def measure(step, model, ids=ids, folder=args.out_dir / name / attack) -> None:
                records = evaluator.evaluate(model).items
                marked = [record | {"shown": record["id"] in ids} for record in records]
                write_jsonl(folder / f"step_{step}.jsonl", marked)

            course = relearn(
                *(host, args.models_dir / name, shown, training, hp.learning_rate, steps),
                *(measure, asking.system_prompt),
            )
            about = {"facts": [fact["id"] for fact in shown], "unfinished": course.unfinished}
            log[attack] = about | course.log
        about = {"settings": as_dict(hp), "product_dtype": product_dtype(device, training.autocast)}
        write_json(args.out_dir / name / "training_log.json", about | {"attacks": log})
        print(f"{name}: {len(log)} attacks, {time.monotonic() - started:.1f} s", flush=True)


if __name__ == "__main__":
    run(main)
