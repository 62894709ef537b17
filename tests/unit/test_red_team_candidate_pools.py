"""Pools of candidates: how they grow, what they record, and when further candidates are drawn."""

import numpy as np
import pytest

import job_settings
from excise.benchmark.items import read_benchmark
from excise.errors import InputError
from excise.red_team.models.candidate_pools import CandidatePools, choose_wrong_answers
from excise.red_team.models.selection import Choice
from excise.red_team.settings import SelectionSettings
from small_benchmark import write_benchmark


class FakePools:
    """Margins by hand; records for which questions further candidates are drawn."""

    def __init__(self, margins: dict[str, np.ndarray], exhausted: frozenset[str] = frozenset()):
        self.table, self.exhausted, self.drawn = margins, exhausted, []

    def margins(self, item_id, models):
        return self.table[item_id]

    def draw_more(self, items):
        self.drawn.append([item["id"] for item in items])
        return bool({item["id"] for item in items} - self.exhausted)


def choices_of(pools: FakePools) -> dict[str, Choice]:
    items = [{"id": name, "slot": "city", "group": "sf"} for name in pools.table]
    changes = {"wrong_answers": 2, "wrong_rounds": 1, "wrong_tolerance": 0.05}
    settings = job_settings.settings(SelectionSettings, "selection_settings", **changes)
    return choose_wrong_answers(pools, items, ["base"], settings)


def test_others_get_further_candidates_if_those_that_missed_have_no_values_left():
    telling = {name: np.full((1, 3), 1.0) for name in "abc"}  # rank 2 alone can be met
    pools = FakePools(telling)
    choices_of(pools)
    [missed] = pools.drawn
    pools = FakePools(telling, exhausted=frozenset(missed))
    choices_of(pools)
    assert pools.drawn == [missed, sorted(set("abc") - set(missed))] and pools.drawn[1]


def test_groups_without_questions_and_infinite_scores_are_no_error():
    assert choices_of(FakePools({})) == {}
    assert choices_of(FakePools({"a": np.full((1, 3), 2000.0)}))["a"].chosen
    assert choices_of(FakePools({"a": np.full((1, 3), np.nan)}))["a"].chosen


@pytest.fixture
def benchmark(tmp_path):
    write_benchmark(tmp_path)
    return read_benchmark(
        tmp_path / "data", answers="perturbed_candidates", with_forget_paraphrased=False
    )


def score_by_length(questions, answers):
    """Scores of two models: minus the length of an answer, and half of that."""
    lengths = [[-float(len(text)) for text in texts] for texts in answers]
    return {"base": lengths, "oracle/seed_0": [[value / 2 for value in own] for own in lengths]}


def further_cities(item, detail, known):
    """One further candidate, for the first question only."""
    value = f"Newtown{len(known)}"
    text = detail["paraphrased_answer"].replace(item["value"], value)
    return [{"value": value, "text": text}] if item["id"] == "p000.event_city" else []


def question(benchmark, item_id):
    return next(item for item in benchmark.sf + benchmark.sr if item["id"] == item_id)


def test_margins_are_the_truth_minus_each_candidate_under_each_model(benchmark):
    pools = CandidatePools(benchmark, score_by_length, further_cities)
    detail = benchmark.details["p000.event_city"]
    truth = len(detail["paraphrased_answer"])
    longer = [len(wrong["text"]) - truth for wrong in detail["wrong_answers"]]
    margins = pools.margins("p000.event_city", ["base", "oracle/seed_0"])
    assert margins.tolist() == [longer, [value / 2 for value in longer]]


def test_further_candidates_are_scored_recorded_and_can_be_chosen(benchmark):
    pools = CandidatePools(benchmark, score_by_length, further_cities)
    item = question(benchmark, "p000.event_city")
    count = len(benchmark.details[item["id"]]["wrong_answers"])
    assert pools.draw_more([item, question(benchmark, "p001.event_city")])
    choice = Choice([0, count], target_rank=1, miss=0.0)
    record = pools.record(item, choice)
    assert record["added"] == [f"Newtown{count}"]
    assert (record["chosen"], record["target_rank"]) == ([0, count], 1)
    assert [len(scores) for scores in record["scores"].values()] == [count + 2] * 2
    values = [wrong["value"] for wrong in pools.wrong_answers(item["id"], choice)]
    assert values == [
        benchmark.details[item["id"]]["wrong_answers"][0]["value"],
        record["added"][0],
    ]
    assert pools.record(question(benchmark, "p001.event_city"), Choice([0], 0, 0.0))["added"] == []


def test_a_pool_without_values_left_does_not_grow(benchmark):
    pools = CandidatePools(benchmark, score_by_length, further_cities)
    assert not pools.draw_more([question(benchmark, "p001.event_city")])


def test_a_question_without_written_candidates_gets_no_further_ones(benchmark):
    for detail in benchmark.details.values():
        detail["wrong_answers"] = []
    pools = CandidatePools(benchmark, score_by_length, further_cities)
    assert not pools.draw_more([question(benchmark, "p000.event_city")])
    assert pools.margins("p000.event_city", ["base"]).shape == (1, 0)


def test_a_further_candidate_that_is_true_is_an_error(benchmark):
    def write_truth(item, detail, known):
        return [{"value": item["value"], "text": detail["paraphrased_answer"]}]

    pools = CandidatePools(benchmark, score_by_length, write_truth)
    reason = r"p000\.event_city: a further wrong answer is invalid: 'Oldmere' is true"
    with pytest.raises(InputError, match=reason):
        pools.draw_more([question(benchmark, "p000.event_city")])
