"""Choose the wrong answers: of the candidates of each question, those that do not betray the truth.

Scores every candidate with models that never saw the forget facts (base and oracles), chooses,
and writes wrong_details.jsonl and the scores behind the choice.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from excise.adapters import AdapterHost
from excise.errors import run
from excise.items import read_benchmark
from excise.models import pick_device, set_determinism
from excise.records import write_jsonl
from excise.red_team_models.selection import choose, selecting
from excise.scoring import score_answers


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True, help="base model folder")
    parser.add_argument("--data", type=Path, required=True, help="folder of the benchmark")
    parser.add_argument("--hp", type=json.loads, required=True, help="settings, JSON")
    parser.add_argument("--models-dir", type=Path, required=True, help="folder of the adapters")
    parser.add_argument("--models", nargs="+", required=True, help="base and the oracles")
    parser.add_argument("--out", type=Path, required=True, help="wrong_details.jsonl")
    parser.add_argument("--scores", type=Path, required=True, help="candidate_scores.jsonl")
    args = parser.parse_args(argv)

    benchmark = read_benchmark(args.data, answers="wrong_candidates", with_forget_eval=False)
    items = benchmark.sf + benchmark.sr
    scores = score_candidates(args, items, benchmark.details)
    choices: dict[str, tuple[list[int], int]] = {}
    for group in ("sf", "correlated", "other"):
        own = [item["id"] for item in items if item["group"] == group]
        models = selecting(args.models, group)
        margins = [margins_of(scores[item_id], models) for item_id in own]
        slots = [item["slot"] for item in items if item["group"] == group]
        made = choose(slots, margins, args.hp["wrong_answers"], args.hp["seed"])
        choices |= dict(zip(own, made, strict=True))
        print(f"{group}: {len(own)} questions, chosen by {', '.join(models)}")

    write_jsonl(
        args.out,
        [
            detail | {"wrong_answers": [detail["wrong_answers"][k] for k in choices[item_id][0]]}
            for item_id, detail in benchmark.details.items()
        ],
    )
    write_jsonl(args.scores, [score_record(item, scores, choices) for item in items])


def score_candidates(
    args: argparse.Namespace, items: list[dict], details: dict[str, dict]
) -> dict[str, dict[str, list[float]]]:
    """Item id → model → log-probability per token of the paraphrased truth and of candidates."""
    set_determinism(0, args.hp["threads"])
    host = AdapterHost(args.base, args.hp["dtype"], pick_device(args.hp["gpu"]))
    questions = [item["question"] for item in items]
    options = [
        [detail["paraphrased_answer"], *(wrong["text"] for wrong in detail["wrong_answers"])]
        for detail in (details[item["id"]] for item in items)
    ]
    scores: dict[str, dict[str, list[float]]] = {item["id"]: {} for item in items}
    for name in args.models:
        model = host.use(None if name == "base" else args.models_dir / name)
        found = score_answers(
            model,
            host.tokenizer,
            questions,
            options,
            args.hp["batch_size"],
            args.hp["system_prompt"],
        )
        for item, answers in zip(items, found, strict=True):
            scores[item["id"]][name] = [answer.logprob / answer.n_tokens for answer in answers]
        print(f"{name}: {sum(map(len, options))} answers scored", flush=True)
    return scores


def margins_of(scores: dict[str, list[float]], models: list[str]) -> np.ndarray:
    """Truth minus candidate under each model: (M, J)."""
    table = np.array([scores[model] for model in models])
    return table[:, :1] - table[:, 1:]


def score_record(item: dict, scores: dict, choices: dict) -> dict:
    """One line of candidate_scores.jsonl."""
    chosen, target = choices[item["id"]]
    keys = ("id", "person_id", "slot", "group")
    return {key: item[key] for key in keys} | {
        "target_rank": target,
        "chosen": chosen,
        "scores": scores[item["id"]],
    }


if __name__ == "__main__":
    run(main)
