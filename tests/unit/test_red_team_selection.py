"""The choice of wrong answers: balanced if the candidates allow it, with its miss otherwise."""

import random
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import job_settings
import select_wrong_answers
from excise.benchmark.items import load_items
from excise.benchmark.perturbed_answers import is_slot_edit
from excise.records import read_jsonl, write_jsonl
from excise.red_team.models.selection import (
    CandidateSets,
    Choice,
    assign_ranks,
    candidate_sets,
    choose,
    excess,
    selecting,
)
from small_benchmark import write_benchmark
from small_dataset import PUBLIC_FIGURES, generated_records
from tiny_models import tiny_folder

MODELS = ["base", "oracle/seed_0", "oracle/seed_1"]


def wins(margins: np.ndarray, chosen: list[int]) -> np.ndarray:
    return (margins[:, chosen] > 0).sum(axis=1)


def biased(questions: int, models: int, candidates: int, bias: float, seed: int = 0):
    """Margins of models that prefer the truth by `bias`, in standard deviations."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(questions, 1, candidates)) + rng.normal(size=(questions, 1, 1))
    return 0.2 * (shared + bias + 0.3 * rng.normal(size=(questions, models, candidates)))


def test_the_last_of_several_oracles_does_not_choose_and_none_chooses_for_facts_it_learned():
    assert selecting(MODELS, "sf") == ["base", "oracle/seed_0"]
    assert selecting(MODELS[:2], "sf") == ["base", "oracle/seed_0"]
    assert selecting(MODELS, "correlated") == selecting(MODELS, "other") == ["base"]


def test_a_preference_for_the_truth_is_balanced():
    margins = biased(questions=120, models=2, candidates=12, bias=0.7)
    assert (margins > 0).mean() > 0.6
    choices = choose(["city"] * 120, margins, count=5, seed=0)
    for model in range(2):
        pairs = zip(margins, choices, strict=True)
        table = [margin[model, choice.chosen] for margin, choice in pairs]
        assert 0.45 <= np.mean([(row > 0).mean() for row in table]) <= 0.55
        assert 0.95 <= np.exp(np.median([row.mean() for row in table])) <= 1.05


def test_a_question_without_candidates_gets_none_and_costs_the_others_nothing():
    margins = biased(questions=12, models=2, candidates=12, bias=0.0)
    rest = list(margins)
    margins = [rest[0], np.empty((2, 0)), *rest[1:]]
    choices = choose(["city"] * 13, margins, count=5, seed=0)
    others = choices[:1] + choices[2:]
    assert choices[1] == Choice([], 0, 0.0)
    assert others == choose(["city"] * 12, rest, count=5, seed=0)
    assert excess(margins, choices, 0.05) == excess(rest, others, 0.05)
    alone = choose(["city"], [np.empty((2, 0))], count=5, seed=0)
    assert excess([np.empty((2, 0))], alone, 0.05) == 0.0


def test_the_truths_rank_is_uniform_and_not_always_the_middle():
    margins = biased(questions=60, models=1, candidates=12, bias=0.0)
    choices = choose(["city"] * 60, margins, count=5, seed=0)
    ranks = [
        int(wins(margin, choice.chosen)[0]) for margin, choice in zip(margins, choices, strict=True)
    ]
    targets = [choice.target_rank for choice in choices]
    assert np.bincount(targets, minlength=6).tolist() == [10] * 6
    assert np.abs(np.bincount(ranks, minlength=6) - 10).max() <= 3


def test_each_slot_is_balanced_by_itself():
    margins = biased(questions=24, models=1, candidates=12, bias=0.0)
    slots = ["city", "year"] * 12
    choices = choose(slots, margins, count=5, seed=0)
    for slot in ("city", "year"):
        ranks = [
            choice.target_rank
            for other, choice in zip(slots, choices, strict=True)
            if other == slot
        ]
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
    pool = CandidateSets(np.array([[1.0, 2.0, -4.0]]), 2, random.Random(0))
    assert [list(own) for own in pool.sets] == [[0, 1], [0, 2], [1, 2]]
    # rank 0: the sets with one win miss by 1; rank 1: they meet it; rank 2: {0, 1} meets it
    assert pool.misses.tolist() == [1, 0, 0]
    assert pool.draw(2, random.Random(0)) == [0, 1]
    assert 2 in pool.draw(0, random.Random(0))


def test_a_rank_on_the_wrong_side_of_one_is_a_miss():
    # Three chosen, two wins of 0.1 and a loss of 5: the mean is below 0 although two are beaten.
    pool = CandidateSets(np.array([[0.1, 0.1, -5.0]]), 3, random.Random(0))
    assert pool.misses.tolist() == [2, 1, 1, 2]


def test_ranks_go_where_they_can_be_met():
    misses = [np.array([3, 2, 1, 0]), np.array([0, 1, 2, 3])]
    for seed in range(5):
        ranks = assign_ranks(misses, random.Random(seed))
        assert ranks[0] > ranks[1]
        assert sum(ranks) == 3  # whatever is drawn is symmetric about 1.5


def test_a_model_with_a_number_that_is_not_finite_is_ignored():
    margins = np.array([[np.nan] * 6, [1.0, 1.0, 1.0, -1.0, -1.0, -1.0]])
    assert (
        CandidateSets(margins, 5, random.Random(0)).misses.tolist()
        == CandidateSets(margins[1:], 5, random.Random(0)).misses.tolist()
    )
    [choice] = choose(["city"], [margins[:1]], count=5, seed=0)
    assert len(choice.chosen) == 5


def test_fewer_candidates_than_wanted_are_all_taken():
    [choice] = choose(["month"], [np.ones((1, 3))], count=5, seed=0)
    assert choice.chosen == [0, 1, 2]


def test_sets_are_all_there_are_or_a_sample():
    assert [tuple(own) for own in candidate_sets(5, 2, 0)] == list(combinations(range(5), 2))
    sample = candidate_sets(40, 5, 0)
    assert len(sample) > 3000
    assert all(len(set(own)) == 5 and list(own) == sorted(own) for own in sample.tolist())


def test_excess_by_hand():
    # Two questions, one model: mean margins log 2 and log 3 (median ratio 2.5), 3 of 4 beaten.
    margins = [np.log([[2.0, 2.0, 9.0]]), np.log([[18.0, 0.5, 9.0]])]
    choices = [Choice([0, 1], 1, 0.0), Choice([0, 1], 1, 0.0)]
    assert excess(margins, choices, 0.05) == pytest.approx(2.5 - 1.05 + 0.75 - 0.55)
    assert excess(margins, choices, 1.5) == 0
    with_nan = [np.vstack([margin, np.full(3, np.nan)]) for margin in margins]
    assert excess(with_nan, choices, 0.05) == excess(margins, choices, 0.05)


def test_further_candidates_reduce_the_excess():
    few = biased(questions=60, models=2, candidates=5, bias=1.0)
    more = biased(questions=60, models=2, candidates=40, bias=1.0)
    excesses = [
        excess(margins, choose(["city"] * 60, margins, count=5, seed=0), 0.05)
        for margins in (few, more)
    ]
    assert excesses[0] > 0.1 and excesses[1] == 0


@pytest.fixture(scope="module")
def select(tmp_path_factory):
    """Runs the program with a number of rounds on the small benchmark; returns the folder."""

    def run(rounds: int) -> Path:
        folder = tmp_path_factory.mktemp(f"selected_{rounds}")
        write_benchmark(folder)
        (folder / "data" / "wrong_details.jsonl").unlink()
        write_jsonl(folder / "profiles.jsonl", generated_records()["profiles"])
        (folder / "figures.txt").write_text(PUBLIC_FIGURES)
        tiny_folder(folder / "base")
        changes = {"batch_size": 16, "wrong_answers": 2, "perturbed_candidates": 8}
        changes |= {"wrong_rounds": rounds, "wrong_tolerance": 0.01}
        hp = job_settings.hp("selection_settings", **changes)
        arguments = ["--base", str(folder / "base"), "--data", str(folder / "data")]
        arguments += ["--profiles", str(folder / "profiles.jsonl")]
        arguments += ["--public-figures", str(folder / "figures.txt")]
        arguments += ["--hp", hp, "--models-dir", str(folder), "--models", "base"]
        arguments += ["--out", str(folder / "data" / "wrong_details.jsonl")]
        select_wrong_answers.main([*arguments, "--scores", str(folder / "scores.jsonl")])
        return folder

    return run


@pytest.fixture(scope="module")
def selected(select):
    return select(0)


def excess_of(folder: Path, group: str) -> float:
    """How far the written choice of a group is from a ratio of 1 and a win rate of one half."""
    lines = read_jsonl(folder / "scores.jsonl", "candidate_scores")
    lines = [line for line in lines if line["group"] == group]
    tables = [np.array(line["scores"]["base"]) for line in lines]
    picked = [
        table[0] - table[1:][line["chosen"]] for table, line in zip(tables, lines, strict=True)
    ]
    median = np.median(np.exp([row.mean() for row in picked]))
    wins = np.mean([(row > 0).mean() for row in picked])
    return max(0, abs(median - 1) - 0.01) + max(0, abs(wins - 0.5) - 0.01)


def test_further_candidates_are_drawn_until_models_cannot_tell(select, selected):
    drawn = select(20)
    groups = ("sf", "correlated", "other")
    before, after = ([excess_of(folder, group) for group in groups] for folder in (selected, drawn))
    assert sum(before) > 0.1, "otherwise this test shows nothing"
    assert all(new <= old for old, new in zip(before, after, strict=True))
    assert sum(after) < sum(before) / 4
    lines = {line["id"]: line for line in read_jsonl(drawn / "scores.jsonl", "candidate_scores")}
    details = read_jsonl(drawn / "data" / "wrong_details.jsonl", "wrong_details")
    written = read_jsonl(drawn / "data" / "perturbed_candidates.jsonl", "wrong_details")
    chosen_further = 0
    for detail, candidates in zip(details, written, strict=True):
        line = lines[detail["id"]]
        values = [wrong["value"] for wrong in candidates["wrong_answers"]] + line["added"]
        assert len(set(values)) == len(values) == len(line["scores"]["base"]) - 1
        assert [wrong["value"] for wrong in detail["wrong_answers"]] == [
            values[place] for place in line["chosen"]
        ]
        chosen_further += sum(wrong["value"] in line["added"] for wrong in detail["wrong_answers"])
        for wrong in detail["wrong_answers"]:
            assert is_slot_edit(
                detail["paraphrased_answer"], detail["value"], wrong["text"], wrong["value"]
            )
            assert wrong["value"] != detail["value"]
    assert chosen_further


def test_the_program_writes_a_benchmark_that_can_be_evaluated(selected):
    items = load_items(selected / "data", "", ["sf", "correlated", "other"])
    assert {len(item.wrong_answers) for item in items} == {2}
    candidates = {
        record["id"]: [wrong["text"] for wrong in record["wrong_answers"]]
        for record in read_jsonl(selected / "data" / "perturbed_candidates.jsonl", "wrong_details")
    }
    assert all(set(item.wrong_answers) <= set(candidates[item.id]) for item in items)


def test_the_program_writes_the_scores_behind_the_choice(selected):
    lines = {line["id"]: line for line in read_jsonl(selected / "scores.jsonl", "candidate_scores")}
    details = read_jsonl(selected / "data" / "perturbed_candidates.jsonl", "wrong_details")
    assert lines.keys() == {record["id"] for record in details}
    for record in details:
        scores = lines[record["id"]]["scores"]["base"]
        assert len(scores) == 1 + len(record["wrong_answers"])
        assert all(score < 0 for score in scores)
