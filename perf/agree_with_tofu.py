"""Compare our formulas with the per-item logs that the authors of TOFU published.

    git clone https://github.com/locuslab/tofu ../tofu
    python perf/agree_with_tofu.py ../tofu

Their logs hold log-probabilities, token counts, generations and scores of 16 finetuned models. Our
functions get the first three and must give the scores. Nothing of their code is used.

It needs the package: `make .venv/installed`, or PYTHONPATH=workflow_scripts.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from excise.evaluation import answers

LOGS = "data/ft_*/eval_results/ds_size300/eval_log_aggregated.json"
SMALLEST = 1e-300


def main() -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tofu", type=Path, help="a clone of locuslab/tofu")
    args = parser.parse_args()
    paths = sorted(args.tofu.glob(LOGS))
    if not paths:
        parser.error(f"{args.tofu}: no {LOGS}")
    found = defaultdict(list)
    for path in paths:
        for log in json.loads(path.read_text(encoding="utf-8")).values():
            for key in log["gt_loss"]:
                for name, ours, theirs in compared(log, key):
                    found[name].append(abs(ours - theirs) / max(abs(theirs), SMALLEST))
    print(f"{len(paths)} models")
    for name, differences in found.items():
        unequal = sum(one > 1e-5 for one in differences)
        print(
            f"{name:34} {len(differences):6} items, {unequal:4} differ by more than 1e-5; "
            f"largest relative difference {max(differences):.1e}"
        )


def compared(log: dict, key: str) -> Iterator[tuple[str, float, float]]:
    """Name, our score and the published one, of one item."""
    wrong = [-loss for loss in log["perturb_loss"][key]]
    ratio = answers.truth_ratio(
        -log["paraphrased_loss"][key],
        log["num_token_paraphrased"][key],
        wrong,
        log["num_token_perturb"][key],
    )
    yield "1 / truth_ratio", 1 / ratio, log["truth_ratio"][key]
    per_token = log["gt_loss"][key] / log["num_token_gt"][key]
    yield "loss per token", per_token, log["avg_gt_loss"][key]
    _, said, true = log["generated_text"][key][:3]
    published = log["rougeL_recall"][key]
    yield "rougeL_recall_ascii", answers.rouge_l_ascii(true, said).recall, published
    yield "rougeL_recall (words of any script)", answers.rouge_l(true, said).recall, published


if __name__ == "__main__":
    main()
