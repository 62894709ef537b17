"""The candidates for the wrong answers of every question, and the choice among them.

A pool holds the candidates of one question and the score that each model gives them. The choice
runs in rounds: where the models still prefer the truth or the falsehoods, pools grow by further
candidates, and the choice is made again.

The two actions that need a model or a writer are arguments: `score` and `write_further`.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from excise.benchmark.items import Benchmark
from excise.benchmark.perturbed_answers import falsehood_faults
from excise.errors import InputError
from excise.red_team.models.selection import Choice, choose, excess
from excise.red_team.settings import SelectionSettings

DRAWS = 5  # choices among the same candidates, before further candidates are drawn

Score = Callable[[Sequence[str], Sequence[Sequence[str]]], Mapping[str, list[list[float]]]]
"""(questions, answers of each) → model → log-probability per token of each question's answers."""
WriteFurther = Callable[[dict, dict, Sequence[str]], list[dict]]
"""(item, its true paraphrase, values that its pool holds) → further wrong answers {value, text}."""


class CandidatePools:
    """Candidates and their scores, by question.

    Args:
        benchmark: the questions, with the candidates that were written.
        score: scores answers with every model.
        write_further: writes further candidates; returns an empty list if no values are left.
    """

    def __init__(self, benchmark: Benchmark, score: Score, write_further: WriteFurther):
        self._score_answers, self._write_further = score, write_further
        self._items = {item["id"]: item for item in benchmark.sf + benchmark.sr}
        self._details = benchmark.details
        self._pools = {
            item_id: list(detail["wrong_answers"]) for item_id, detail in benchmark.details.items()
        }
        self._written = {item_id: len(pool) for item_id, pool in self._pools.items()}
        self._scores: dict[str, dict[str, list[float]]] = {item_id: {} for item_id in self._items}
        self._add_scores(
            {
                item_id: [
                    self._details[item_id]["paraphrased_answer"],
                    *(wrong["text"] for wrong in pool),
                ]
                for item_id, pool in self._pools.items()
            }
        )

    def margins(self, item_id: str, models: Sequence[str]) -> np.ndarray:
        """Log-probability per token of the truth minus that of each candidate: (M, J)."""
        table = np.array([self._scores[item_id][model] for model in models])
        return table[:, :1] - table[:, 1:]

    def wrong_answers(self, item_id: str, choice: Choice) -> list[dict]:
        """The chosen candidates as {value, text}."""
        return [self._pools[item_id][place] for place in choice.chosen]

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
        """Add further candidates to the pools of these questions, and score them.

        Returns:
            False if no question has values left.

        Raises:
            InputError: a further candidate is true, or differs from the truth in more than the
                value. Values are drawn as the written ones were, so this is a bug of Excise.
        """
        new: dict[str, list[str]] = {}
        for item in items:
            detail, pool = self._details[item["id"]], self._pools[item["id"]]
            if not pool:
                continue  # the config requests no wrong answers
            further = self._write_further(item, detail, [wrong["value"] for wrong in pool])
            if further:
                pool += further
                new[item["id"]] = [wrong["text"] for wrong in further]
        for item_id in new:
            self._check_falsehoods(self._items[item_id])
        if new:
            self._add_scores(new)
        return bool(new)

    def _check_falsehoods(self, item: dict) -> None:
        person_items = [
            other for other in self._items.values() if other["person_id"] == item["person_id"]
        ]
        detail = self._details[item["id"]] | {"wrong_answers": self._pools[item["id"]]}
        for fault in falsehood_faults(item, detail, person_items):
            raise InputError(f"{item['id']}: a further wrong answer is invalid: {fault}")

    def _add_scores(self, answers: dict[str, list[str]]) -> None:
        """Score answers (item id → texts) with every model and append the scores."""
        questions = [self._items[item_id]["question"] for item_id in answers]
        for model, scores in self._score_answers(questions, list(answers.values())).items():
            for item_id, item_scores in zip(answers, scores, strict=True):
                self._scores[item_id].setdefault(model, []).extend(item_scores)


def choose_wrong_answers(
    pools: CandidatePools, items: Sequence[dict], models: Sequence[str], settings: SelectionSettings
) -> dict[str, Choice]:
    """Choose the wrong answers of one group of questions; the best choice of all rounds counts.

    After a round that is out of tolerance, further candidates are drawn for the questions that
    missed their rank. The other questions get further candidates if none missed, or if no values
    are left for those that did.

    Args:
        pools: the candidates.
        items: the questions of the group.
        models: the selecting models.
        settings: of the choice.

    Returns:
        item id → choice.
    """
    if not items:
        return {}
    slots = [item["slot"] for item in items]
    best, least_excess = [], np.inf
    for number in range(settings.wrong_rounds + 1):
        margins = [pools.margins(item["id"], models) for item in items]
        for draw in range(DRAWS):
            seed = f"{settings.seed}-{number}-{draw}" if number or draw else settings.seed
            choices = choose(slots, margins, settings.wrong_answers, seed)
            found = excess(margins, choices, settings.wrong_tolerance)
            if not best or found < least_excess:
                best, least_excess = choices, found
            if not found:
                break
        missed = [item for item, choice in zip(items, best, strict=True) if choice.miss]
        print(
            f"{items[0]['group']}: {len(items)} questions, chosen by {', '.join(models)}; "
            f"{len(missed)} missed their rank, {least_excess:.3f} beyond the tolerance",
            flush=True,
        )
        if not least_excess or number == settings.wrong_rounds:
            break
        if not pools.draw_more(missed):
            pools.draw_more([item for item in items if item not in missed])
    return {item["id"]: choice for item, choice in zip(items, best, strict=True)}
