"""The choice of wrong answers: balanced where the pool allows it, and honest where it does not."""

import json
import random
from itertools import combinations

import numpy as np
import pytest

import select_wrong_answers
from excise.items import load_items
from excise.records import read_jsonl
from excise.red_team_models.selection import (
    Pool,
    candidate_sets,
    choose,
    deal_ranks,
    selecting,
)
from small_benchmark import write_benchmark
from tiny_models import tiny_folder

MODELS = ["base", "oracle/seed_0", "oracle/seed_1"]


def wins(margins: np.ndarray, chosen: list[int]) -> np.ndarray:
    return (margins[:, chosen] > 0).sum(axis=1)


def biased(questions: int, models: int, candidates: int, bias: float, seed: int = 0):
    """Margins of models that prefer the truth by `bias`, in standard deviations."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(questions, 1, candidates)) + rng.normal(size=(questions, 1, 1))
    return 0.2 * (shared + bias + 0.3 * rng.normal(size=(questions, models, candidates)))


def test_the_last_of_several_oracles_is_held_out_and_no_oracle_chooses_for_what_it_learned():
    assert selecting(MODELS, "sf") == ["base", "oracle/seed_0"]
    assert selecting(MODELS[:2], "sf") == ["base", "oracle/seed_0"]
    assert selecting(MODELS, "correlated") == selecting(MODELS, "other") == ["base"]


def test_a_preference_for_the_truth_is_balanced_out():
    margins = biased(questions=120, models=2, candidates=12, bias=0.7)
    assert (margins > 0).mean() > 0.6
    chosen = [own for own, _ in choose(["city"] * 120, margins, count=5, seed=0)]
    for model in range(2):
        table = [own[model, picked] for own, picked in zip(margins, chosen, strict=True)]
        assert 0.45 <= np.mean([(row > 0).mean() for row in table]) <= 0.55
        assert 0.95 <= np.exp(np.median([row.mean() for row in table])) <= 1.05


def test_the_truths_rank_is_uniform_and_not_always_the_middle():
    margins = biased(questions=60, models=1, candidates=12, bias=0.0)
    made = choose(["city"] * 60, margins, count=5, seed=0)
    met = [int(wins(own, picked)[0]) for own, (picked, _) in zip(margins, made, strict=True)]
    dealt = [rank for _, rank in made]
    assert np.bincount(dealt, minlength=6).tolist() == [10] * 6
    assert np.abs(np.bincount(met, minlength=6) - 10).max() <= 3


def test_each_slot_is_balanced_by_itself():
    margins = biased(questions=24, models=1, candidates=12, bias=0.0)
    slots = ["city", "year"] * 12
    made = choose(slots, margins, count=5, seed=0)
    for slot in ("city", "year"):
        ranks = [rank for own, (_, rank) in zip(slots, made, strict=True) if own == slot]
        assert sorted(ranks) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_the_same_scores_give_the_same_choice_and_another_seed_another():
    margins = biased(questions=12, models=2, candidates=12, bias=0.0)
    first = choose(["city"] * 12, margins, count=5, seed=0)
    assert choose(["city"] * 12, margins, count=5, seed=0) == first
    assert choose(["city"] * 12, margins, count=5, seed=1) != first


def test_a_slot_added_leaves_the_choice_for_others_alone():
    margins = biased(questions=12, models=1, candidates=8, bias=0.0)
    alone = choose(["city"] * 6, margins[:6], count=5, seed=0)
    assert choose(["city"] * 6 + ["year"] * 6, margins, count=5, seed=0)[:6] == alone


def test_misses_by_hand():
    # The truth beats the first two candidates and loses to the third; two of them are chosen.
    pool = Pool(np.array([[1.0, 2.0, -4.0]]), 2, random.Random(0))
    assert [list(own) for own in pool.sets] == [[0, 1], [0, 2], [1, 2]]
    # rank 0: the sets with one win miss by 1; rank 1: they meet it; rank 2: {0, 1} meets it
    assert pool.misses.tolist() == [1, 0, 0]
    assert pool.draw(2, random.Random(0)) == [0, 1]
    assert 2 in pool.draw(0, random.Random(0))


def test_a_rank_on_the_wrong_side_of_one_is_a_miss():
    # Three chosen, two wins of 0.1 and a loss of 5: the mean is below 0 although two are beaten.
    pool = Pool(np.array([[0.1, 0.1, -5.0]]), 3, random.Random(0))
    assert pool.misses.tolist() == [2, 1, 1, 2]


def test_ranks_go_where_they_can_be_met():
    misses = [np.array([3, 2, 1, 0]), np.array([0, 1, 2, 3])]
    for seed in range(5):
        ranks = deal_ranks(misses, random.Random(seed))
        assert ranks[0] > ranks[1]
        assert sum(ranks) == 3  # whatever is drawn is symmetric about 1.5


def test_a_number_that_is_not_finite_leaves_a_model_without_a_say():
    margins = np.array([[np.nan] * 6, [1.0, 1.0, 1.0, -1.0, -1.0, -1.0]])
    assert (
        Pool(margins, 5, random.Random(0)).misses.tolist()
        == Pool(margins[1:], 5, random.Random(0)).misses.tolist()
    )
    [(chosen, _)] = choose(["city"], [margins[:1]], count=5, seed=0)
    assert len(chosen) == 5


def test_fewer_candidates_than_wanted_are_all_taken():
    [(chosen, _)] = choose(["month"], [np.ones((1, 3))], count=5, seed=0)
    assert chosen == [0, 1, 2]


def test_sets_are_all_there_are_or_a_sample():
    assert [tuple(own) for own in candidate_sets(5, 2, 0)] == list(combinations(range(5), 2))
    sample = candidate_sets(40, 5, 0)
    assert len(sample) > 3000
    assert all(len(set(own)) == 5 and list(own) == sorted(own) for own in sample.tolist())


@pytest.fixture(scope="module")
def selected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("selected")
    write_benchmark(folder)
    (folder / "data" / "wrong_details.jsonl").unlink()
    tiny_folder(folder / "base")
    hp = {
        **{"dtype": "float32", "threads": 1, "gpu": 0, "system_prompt": None},
        **{"batch_size": 16, "wrong_answers": 2, "seed": 0},
    }
    arguments = ["--base", str(folder / "base"), "--data", str(folder / "data")]
    arguments += ["--hp", json.dumps(hp), "--models-dir", str(folder), "--models", "base"]
    arguments += ["--out", str(folder / "data" / "wrong_details.jsonl")]
    select_wrong_answers.main([*arguments, "--scores", str(folder / "scores.jsonl")])
    return folder


def test_the_program_writes_a_benchmark_that_can_be_evaluated(selected):
    items = load_items(selected / "data", "", ["sf", "correlated", "other"])
    assert {len(item.wrong_answers) for item in items} == {2}
    candidates = {
        record["id"]: [wrong["text"] for wrong in record["wrong_answers"]]
        for record in read_jsonl(selected / "data" / "wrong_candidates.jsonl", "wrong_details")
    }
    assert all(set(item.wrong_answers) <= set(candidates[item.id]) for item in items)


def test_the_program_writes_the_scores_behind_the_choice(selected):
    lines = {line["id"]: line for line in read_jsonl(selected / "scores.jsonl", "candidate_scores")}
    details = read_jsonl(selected / "data" / "wrong_candidates.jsonl", "wrong_details")
    assert lines.keys() == {record["id"] for record in details}
    for record in details:
        scores = lines[record["id"]]["scores"]["base"]
        assert len(scores) == 1 + len(record["wrong_answers"])
        assert all(score < 0 for score in scores)
