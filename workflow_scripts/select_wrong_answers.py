"""Choose the wrong answers: of the candidates of each question, those that do not betray the truth.

Scores every candidate with models that never saw the forget facts (base and oracles) and chooses.
While these models still tell truth from falsehood, further candidates are drawn where the choice
missed and it is made anew. Writes wrong_details.jsonl and the scores behind the choice.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from excise.benchmark.items import Benchmark, read_benchmark
from excise.benchmark.perturbed_answers import falsehood_faults
from excise.errors import InputError, run
from excise.generation.exchange import exchanged
from excise.generation.writing import QuestionWriter
from excise.modeling.adapters import AdapterHost
from excise.modeling.base import pick_device, set_determinism
from excise.modeling.scoring import score_answers
from excise.records import read_jsonl, write_jsonl
from excise.red_team.models.selection import Choice, choose, excess, selecting
from excise.text.public_figures import read_public_figures

GROUPS = ("sf", "correlated", "other")
DRAWS = 5  # choices among the same candidates, before more of them are drawn


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True, help="base model folder")
    parser.add_argument("--data", type=Path, required=True, help="folder of the benchmark")
    parser.add_argument("--profiles", required=True, help="profiles.jsonl, to draw more from")
    parser.add_argument("--public-figures", required=True, help="names not to use, one a line")
    parser.add_argument("--hp", type=json.loads, required=True, help="settings, JSON")
    parser.add_argument("--models-dir", type=Path, required=True, help="folder of the adapters")
    parser.add_argument("--models", nargs="+", required=True, help="base and the oracles")
    parser.add_argument("--out", type=Path, required=True, help="wrong_details.jsonl")
    parser.add_argument("--scores", type=Path, required=True, help="candidate_scores.jsonl")
    args = parser.parse_args(argv)

    benchmark = read_benchmark(
        args.data, answers="perturbed_candidates", with_forget_paraphrased=False
    )
    pools = Pools(args, benchmark)
    choices: dict[str, Choice] = {}
    for group in GROUPS:
        own = [item for item in benchmark.sf + benchmark.sr if item["group"] == group]
        choices |= choice_of_group(pools, own, selecting(args.models, group), args.hp)

    write_jsonl(
        args.out,
        [
            detail | {"wrong_answers": pools.picked(item_id, choices[item_id].chosen)}
            for item_id, detail in benchmark.details.items()
        ],
    )
    items = benchmark.sf + benchmark.sr
    write_jsonl(args.scores, [pools.record(item, choices[item["id"]]) for item in items])


def choice_of_group(
    pools: "Pools", items: list[dict], models: list[str], hp: dict
) -> dict[str, Choice]:
    """Item id → its wrong answers, for the questions of one group.

    Rounds: choose, several times if need be; while the models that choose still prefer truth or
    falsehood, draw further candidates for the questions that missed their rank (for the others, if
    none did or none can have more) and choose anew. The best choice counts.
    """
    if not items:
        return {}
    slots = [item["slot"] for item in items]
    best, least = [], np.inf
    for number in range(hp["wrong_rounds"] + 1):
        margins = [pools.margins(item["id"], models) for item in items]
        for draw in range(DRAWS):
            seed = f"{hp['seed']}-{number}-{draw}" if number or draw else hp["seed"]
            made = choose(slots, margins, hp["wrong_answers"], seed)
            over = excess(margins, made, hp["wrong_tolerance"])
            if not best or over < least:
                best, least = made, over
            if not over:
                break
        missed = [item for item, one in zip(items, best, strict=True) if one.miss]
        print(
            f"{items[0]['group']}: {len(items)} questions, chosen by {', '.join(models)}; "
            f"{len(missed)} missed their rank, {least:.3f} beyond the tolerance",
            flush=True,
        )
        if not least or number == hp["wrong_rounds"]:
            break
        if not pools.draw_more(missed):
            pools.draw_more([item for item in items if item not in missed])
    return {item["id"]: one for item, one in zip(items, best, strict=True)}


class Pools:
    """The candidates of every question, and how likely each model finds them.

    Args:
        args: of the program.
        benchmark: with the candidates that were written.
    """

    def __init__(self, args: argparse.Namespace, benchmark: Benchmark):
        self._args = args
        set_determinism(0, args.hp["threads"])
        self._host = AdapterHost(args.base, args.hp["dtype"], pick_device(args.hp["gpu"]))
        self._items = {item["id"]: item for item in benchmark.sf + benchmark.sr}
        self._details = benchmark.details
        self._pools = {key: list(one["wrong_answers"]) for key, one in benchmark.details.items()}
        self._written = {key: len(pool) for key, pool in self._pools.items()}
        self._scores: dict[str, dict[str, list[float]]] = {key: {} for key in self._items}
        self._writer: QuestionWriter | None = None
        self._score(
            {
                key: [self._details[key]["paraphrased_answer"], *(w["text"] for w in pool)]
                for key, pool in self._pools.items()
            }
        )

    def margins(self, item_id: str, models: Sequence[str]) -> np.ndarray:
        """Log-probability per token of the truth minus that of each candidate: (M, J)."""
        table = np.array([self._scores[item_id][model] for model in models])
        return table[:, :1] - table[:, 1:]

    def picked(self, item_id: str, chosen: Sequence[int]) -> list[dict]:
        """Wrong answers as {value, text}."""
        return [self._pools[item_id][place] for place in chosen]

    def record(self, item: dict, choice: Choice) -> dict:
        """One line of candidate_scores.jsonl."""
        item_id = item["id"]
        added = self._pools[item_id][self._written[item_id] :]
        return {key: item[key] for key in ("id", "person_id", "slot", "group")} | {
            "target_rank": choice.target_rank,
            "chosen": choice.chosen,
            "added": [wrong["value"] for wrong in added],
            "scores": self._scores[item_id],
        }

    def draw_more(self, items: Sequence[dict]) -> bool:
        """As many further candidates again as were written; False if no values are left.

        Raises:
            InputError: a candidate that is no falsehood in the words of the truth; the values are
                drawn as the written ones were, so this tells of a fault of ours.
        """
        new: dict[str, list[str]] = {}
        for item in items:
            detail, pool = self._details[item["id"]], self._pools[item["id"]]
            if not pool:
                continue  # none were written, because the config requests none
            known = [wrong["value"] for wrong in pool]
            more = self._question_writer().wrong_values(item, known)
            if not more:
                continue
            truth, value = detail["paraphrased_answer"], item["value"]
            wrong = [{"value": one, "text": exchanged(truth, value, one)} for one in more]
            pool += wrong
            new[item["id"]] = [one["text"] for one in wrong]
        for item_id in new:
            own = [
                one
                for one in self._items.values()
                if one["person_id"] == self._items[item_id]["person_id"]
            ]
            detail = self._details[item_id] | {"wrong_answers": self._pools[item_id]}
            for why in falsehood_faults(self._items[item_id], detail, own):
                raise InputError(f"{item_id}: a further wrong answer is none: {why}")
        if new:
            self._score(new)
        return bool(new)

    def _question_writer(self) -> QuestionWriter:
        if self._writer is None:
            hp, args = self._args.hp, self._args
            people = {one["person_id"]: one for one in read_jsonl(args.profiles, "profile")}
            figures = frozenset(map(str.casefold, read_public_figures(args.public_figures)))
            self._writer = QuestionWriter(people, hp["seed"], hp["perturbed_candidates"], figures)
        return self._writer

    def _score(self, texts: dict[str, list[str]]) -> None:
        """Append each model's log-probability per token of the texts to what is known."""
        hp = self._args.hp
        questions = [self._items[item_id]["question"] for item_id in texts]
        for name in self._args.models:
            model = self._host.use(None if name == "base" else self._args.models_dir / name)
            found = score_answers(
                model,
                self._host.tokenizer,
                questions,
                list(texts.values()),
                hp["batch_size"],
                hp["system_prompt"],
            )
            for item_id, answers in zip(texts, found, strict=True):
                scores = [answer.logprob / answer.n_tokens for answer in answers]
                self._scores[item_id].setdefault(name, []).extend(scores)
            print(f"{name}: {sum(map(len, texts.values()))} answers scored", flush=True)


if __name__ == "__main__":
    run(main)
