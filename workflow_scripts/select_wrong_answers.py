"""Choose the wrong answers of each question among its candidates, so that none reveals the truth.

Base and oracles, which never saw the forget facts, score every candidate. If they still prefer the
truth after the choice, or prefer it too rarely, the program draws further candidates and chooses
again. It writes wrong_details.jsonl and candidate_scores.jsonl.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from excise.benchmark.items import read_benchmark
from excise.errors import run
from excise.generation.exchange import exchanged
from excise.generation.writing import QuestionWriter
from excise.modeling.adapters import AdapterHost
from excise.modeling.base import pick_device, set_determinism
from excise.modeling.scoring import score_answers
from excise.records import read_jsonl, write_jsonl
from excise.red_team.models.candidate_pools import CandidatePools, choose_wrong_answers
from excise.red_team.models.selection import Choice, selecting
from excise.red_team.settings import SelectionSettings
from excise.settings import json_of
from excise.text.public_figures import read_public_figures

GROUPS = ("sf", "correlated", "other")


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True, help="base model folder")
    parser.add_argument("--data", type=Path, required=True, help="folder of the benchmark")
    parser.add_argument("--profiles", required=True, help="profiles.jsonl, for further candidates")
    parser.add_argument("--public-figures", required=True, help="names to avoid, one per line")
    settings = json_of(SelectionSettings)
    parser.add_argument("--hp", type=settings, required=True, help="settings, JSON")
    parser.add_argument("--models-dir", type=Path, required=True, help="folder of the adapters")
    parser.add_argument("--models", nargs="+", required=True, help="base and the oracles")
    parser.add_argument("--out", type=Path, required=True, help="wrong_details.jsonl")
    parser.add_argument("--scores", type=Path, required=True, help="candidate_scores.jsonl")
    args = parser.parse_args(argv)

    benchmark = read_benchmark(
        args.data, answers="perturbed_candidates", with_forget_paraphrased=False
    )
    items = benchmark.sf + benchmark.sr
    set_determinism(0, args.hp.threads)
    host = AdapterHost(args.base, args.hp.dtype, pick_device(args.hp.gpu))
    pools = CandidatePools(
        benchmark, partial(score, host, args), partial(write_further, question_writer(args))
    )
    choices: dict[str, Choice] = {}
    for group in GROUPS:
        group_items = [item for item in items if item["group"] == group]
        models = selecting(args.models, group)
        choices |= choose_wrong_answers(pools, group_items, models, args.hp)

    write_jsonl(
        args.out,
        [
            detail | {"wrong_answers": pools.wrong_answers(item_id, choices[item_id])}
            for item_id, detail in benchmark.details.items()
        ],
    )
    write_jsonl(args.scores, [pools.record(item, choices[item["id"]]) for item in items])


def score(
    host: AdapterHost,
    args: argparse.Namespace,
    questions: Sequence[str],
    answers: Sequence[Sequence[str]],
) -> dict[str, list[list[float]]]:
    """Score answers with every model: model → log-probability per token of each question's."""
    scores = {}
    for name in args.models:
        scored = score_answers(
            host.use(None if name == "base" else args.models_dir / name),
            host.tokenizer,
            questions,
            answers,
            args.hp.batch_size,
            args.hp.system_prompt,
        )
        scores[name] = [[answer.logprob / answer.n_tokens for answer in own] for own in scored]
        print(f"{name}: scored {sum(map(len, answers))} answers", flush=True)
    return scores


def question_writer(args: argparse.Namespace) -> QuestionWriter:
    """The writer that draws false values, as it drew those of the written candidates."""
    people = {person["person_id"]: person for person in read_jsonl(args.profiles, "profile")}
    figures = frozenset(map(str.casefold, read_public_figures(args.public_figures)))
    return QuestionWriter(people, args.hp.seed, args.hp.perturbed_candidates, figures)


def write_further(
    writer: QuestionWriter, item: dict, detail: dict, known: Sequence[str]
) -> list[dict]:
    """Further wrong answers of a question: its true paraphrase around further false values."""
    truth, value = detail["paraphrased_answer"], item["value"]
    return [
        {"value": false, "text": exchanged(truth, value, false)}
        for false in writer.wrong_values(item, known)
    ]


if __name__ == "__main__":
    run(main)
