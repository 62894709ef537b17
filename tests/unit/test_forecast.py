"""The forecast of the damage: predictors by hand, and scores against scipy and by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import forecast_damage
import job_settings
import score_forecast
from excise.benchmark.items import Item, asked_questions
from excise.errors import InputError
from excise.evaluation.forecast import PREDICTORS, STATES, forecast, mean_states
from excise.evaluation.rank_statistics import (
    auc,
    auc_interval,
    rank_correlation_interval,
    rank_correlation_within,
    spearman,
)
from excise.evaluation.results import read_rows
from excise.evaluation.tables.forecast import forecast_rows, happened
from excise.modeling.adapters import adapter_tensors, attach_lora, load_adapter, save_adapter
from excise.modeling.base import load_base, load_tokenizer
from excise.modeling.chat import encode
from excise.modeling.fact_gradients import Sketch, answer_gradient, fact_gradients
from excise.modeling.hidden_states import Reader
from excise.records import read_jsonl, schema_validator, write_jsonl
from small_benchmark import write_benchmark
from tiny_models import lora, tiny_folder

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


# --- statistics ---


def test_rank_correlation_is_that_of_scipy_with_ties():
    for _ in range(5):
        x = RANDOM.integers(0, 6, 40).astype(float)
        y = x + RANDOM.integers(0, 6, 40)
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert spearman(np.array([1.0, 2, 3]), np.array([5.0, 6, 9])) == pytest.approx(1)
    assert spearman(np.array([1.0, 2, 3]), np.array([9.0, 6, 5])) == pytest.approx(-1)
    assert math.isnan(spearman(np.ones(3), np.array([1.0, 2, 3])))


def test_auc_by_hand():
    scores = np.array([0.1, 0.4, 0.4, 0.9])
    # Pairs of a positive and a negative: .4 beats .1 and ties .4; .9 beats both.
    assert auc(scores, np.array([False, True, False, True])) == 3.5 / 4
    assert auc(-scores, np.array([False, True, False, True])) == 0.5 / 4
    assert math.isnan(auc(scores, np.zeros(4, bool)))


def facts(people: int = 12, each: int = 10, together: float = 0.6):
    who = np.repeat([f"p{number}" for number in range(people)], each)
    x = RANDOM.standard_normal(len(who))
    return x, together * x + RANDOM.standard_normal(len(who)), who


def test_an_interval_of_a_correlation_lies_around_it_and_within_its_range():
    x, y, who = facts()
    found = rank_correlation_interval(x, y, who)
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert -1 < found.low < found.value < found.high < 1
    assert (found.n, found.n_clusters, found.method) == (120, 12, "jackknife_atanh")
    order = RANDOM.permutation(len(x))
    assert rank_correlation_interval(x[order], y[order], who[order]) == found
    stretched = rank_correlation_interval(np.exp(x), y**3, who)
    assert stretched.value == pytest.approx(found.value)
    opposite = rank_correlation_interval(-x, y, who)
    assert (opposite.low, opposite.high) == pytest.approx((-found.high, -found.low))


def test_within_people_differences_between_people_do_not_count():
    x, y, who = facts(people=4)
    level = np.repeat([0.0, 10, 20, 30], 10)
    found = rank_correlation_within(x + level, y + level, who)
    expected = [stats.spearmanr(x[who == p], y[who == p]).statistic for p in np.unique(who)]
    assert found.value == pytest.approx(np.mean(expected))
    assert rank_correlation_interval(x + level, y + level, who).value > 0.9
    assert (found.n, found.n_clusters, found.method) == (40, 4, "cluster_t")


def test_a_person_without_a_correlation_is_left_out():
    x, y, who = facts(people=5)
    x[:10] = 1.0
    found = rank_correlation_within(x, y, who)
    assert (found.n, found.n_clusters) == (40, 4)
    nothing = rank_correlation_within(np.ones(50), y, who)
    assert (nothing.value, nothing.n) == (None, 0)


def test_a_number_that_is_undefined_makes_the_value_null():
    x, y, who = facts()
    y[3] = math.nan
    for function in (rank_correlation_interval, rank_correlation_within):
        found = function(x, y, who)
        assert (found.value, found.low, found.n_undefined) == (None, None, 1)
    x[0] = math.nan
    assert auc_interval(x, np.ones(len(x)), who).value is None


def test_an_auc_has_limits_only_if_enough_people_are_on_both_sides():
    x, y, who = facts()
    found = auc_interval(x, y > 0, who)
    assert 0 < found.low < found.value < found.high < 1
    assert found.method == "jackknife_logit"
    lost = np.isin(np.arange(len(x)), [0, 10, 20, 30])  # four people
    few = auc_interval(x, lost, who)
    assert few.value is not None and (few.low, few.method) == (None, None)
    assert auc_interval(x, np.zeros(len(x)), who).value is None
    perfect = auc_interval(x, x > 0, who)
    assert perfect.value == 1 and (perfect.low is None or perfect.low > 0.5)


# --- predictors ---


def item(name: str, group: str) -> Item:
    person, slot = name.split(".")
    return Item(name, group, person, "Ann", slot, "word", None, "x", "Which?", "x", None, ())


ITEMS = [
    item("p0.a", "sf"),
    item("p0.b", "sf"),
    item("p1.a", "sf"),
    item("p0.c", "correlated"),
    item("p1.d", "other"),
]


def predicted(gradients, states=None) -> dict[str, dict]:
    gradients = torch.tensor(gradients)
    states = torch.eye(5, dtype=torch.float64) if states is None else torch.tensor(states)
    positions = dict.fromkeys(STATES.values(), states)
    losses = [0.1, 0.2, 0.3, 0.4, 0.5]
    return {one["id"]: one for one in forecast(ITEMS, gradients, losses, positions)}


def test_gradient_predictors_by_hand():
    gradients = [[1.0, 0.0], [0.0, 1.0], [0.0, -2.0], [3.0, 4.0], [0.0, -5.0]]
    found = predicted(gradients)
    assert list(found) == ["p0.c", "p1.d"]
    first = found["p0.c"]
    assert first["gradient_person_mean"] == pytest.approx(0.7)
    assert first["gradient_person_max"] == pytest.approx(0.8)
    assert first["gradient_all_mean"] == pytest.approx((0.6 + 0.8 - 0.8) / 3)
    # The mean gradient of the forget facts is (1/3, -1/3).
    assert first["gradient_product"] == pytest.approx(-1 / 3)
    assert first["gradient_forget_set"] == pytest.approx(-1 / (5 * math.sqrt(2)))
    assert (first["finetuned_loss"], first["same_event"]) == (pytest.approx(0.4), 1)
    assert found["p1.d"]["gradient_person_max"] == pytest.approx(1)
    assert found["p1.d"]["same_event"] == 0


def test_state_predictors_by_hand():
    states = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [2.0, 0.0], [-2.0, -1.0]]  # of mean 0
    found = predicted([[1.0, 0.0]] * 5, states)
    assert found["p0.c"]["state_prompt_person"] == pytest.approx(1)
    assert found["p1.d"]["state_answer_person"] == pytest.approx(2 / math.sqrt(5))
    shifted = predicted([[1.0, 0.0]] * 5, [[x + 7, y - 3] for x, y in states])
    assert shifted["p0.c"]["state_prompt_all"] == pytest.approx(1)


def test_predictors_that_are_undefined_are_null_in_the_file(tmp_path):
    gradients = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    records = predicted(gradients)
    assert math.isnan(records["p0.c"]["gradient_all_mean"])
    write_jsonl(tmp_path / "x.jsonl", records.values())
    first, _ = map(json.loads, (tmp_path / "x.jsonl").read_text().splitlines())
    assert first["gradient_all_mean"] is None
    apart = [*ITEMS[:4], replace(ITEMS[4], person_id="p2")]
    states = dict.fromkeys(STATES.values(), torch.eye(5, dtype=torch.float64))
    alone = forecast(apart, torch.eye(5), [0.0] * 5, states)
    assert math.isnan(alone[1]["gradient_person_mean"])
    assert math.isnan(alone[1]["state_prompt_person"])


def test_the_schema_names_every_predictor():
    schema = schema_validator("forecast").schema
    assert set(schema["required"]) == {"id", "person_id", "slot", "set", *PREDICTORS}


# --- gradients ---


def test_a_sketch_keeps_products_on_average_and_short_vectors_exactly():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 4000, generator=generator)
    other = other + one
    expected = torch.cosine_similarity(one, other, dim=0).item()
    found = []
    for seed in range(60):
        sketch = Sketch(4000, 400, torch.device("cpu"), seed)
        found.append(torch.cosine_similarity(sketch(one), sketch(other), dim=0).item())
    assert np.mean(found) == pytest.approx(expected, abs=3 * 0.05 / math.sqrt(60))
    assert 0.01 < np.std(found) < 1 / math.sqrt(400)
    assert torch.equal(Sketch(4000, 4000, torch.device("cpu"))(one), one)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forecast")
    write_benchmark(folder, people=2)
    tiny_folder(folder / "base")
    model = attach_lora(load_base(folder / "base"), lora(), seed=0)
    with torch.no_grad():
        for name, tensor in adapter_tensors(model).items():
            if "lora_B" in name:
                tensor.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    save_adapter(model, folder / "adapter")
    return folder


def asked(folder) -> list[Item]:
    questions = asked_questions(folder / "data", folder / "utility_qa.jsonl")
    return [one for one in questions.values() if one.set in ("sf", "correlated", "other")]


def test_a_step_along_the_forget_gradient_changes_losses_as_forecast(folder):
    """First order: the change of a retain fact's loss is step · its product."""
    items, tokenizer = asked(folder), load_tokenizer(folder / "base")
    base = load_base(folder / "base").requires_grad_(False)
    model = load_adapter(base, folder / "adapter", trainable=True)
    gradients, losses = fact_gradients(model, tokenizer, items)
    reader = Reader(tokenizer, items, 8, list(STATES.values()))
    found = forecast(items, gradients, losses, mean_states(reader, model, 1))
    weights = [one for one in model.parameters() if one.requires_grad]
    forget = [number for number, one in enumerate(items) if one.set == "sf"]
    step, start = 1e-3 * gradients[forget].mean(dim=0), 0
    with torch.no_grad():
        for weight in weights:
            weight += step[start : start + weight.numel()].reshape(weight.shape)
            start += weight.numel()
    retain = [number for number, one in enumerate(items) if one.set != "sf"]
    for number, record in zip(retain, found, strict=True):
        encoded = encode(tokenizer, items[number].question, items[number].answer)
        _, after = answer_gradient(model, weights, encoded, tokenizer.pad_token_id)
        expected = 1e-3 * record["gradient_product"]
        assert after - losses[number] == pytest.approx(expected, rel=0.05, abs=2e-6)


def test_states_are_averaged_over_the_answer(folder):
    items, tokenizer = asked(folder)[:5], load_tokenizer(folder / "base")
    model = load_base(folder / "base")
    reader = Reader(tokenizer, items, 2, list(STATES.values()))
    found = mean_states(reader, model, 1)
    for number, one in enumerate(items):
        encoded = encode(tokenizer, one.question, one.answer)
        ids = torch.tensor([encoded.input_ids[:-1]])
        with torch.inference_mode():
            states = model(ids, output_hidden_states=True).hidden_states[1][0].double()
        prompt = len(encoded.prompt_ids)
        for position, expected in (
            ("last_prompt", states[prompt - 1]),
            ("answer", states[prompt:].mean(dim=0)),
        ):
            torch.testing.assert_close(found[position][number], expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(InputError, match="middle_layer: found 9; allowed: 0 to 3"):
        mean_states(reader, model, 9)


def test_the_program_writes_one_line_a_retain_fact_and_the_table_scores_them(folder):
    benchmark = ["--data", str(folder / "data")]
    arguments = ["--base", str(folder / "base"), "--adapter", str(folder / "adapter"), *benchmark]
    out = folder / "forecast.jsonl"
    hp = job_settings.hp("forecast_settings", middle_layer=2, batch_size=8)
    forecast_damage.main([*arguments, "--hp", hp, "--out", str(out)])
    before = out.read_bytes()
    forecast_damage.main([*arguments, "--hp", hp, "--out", str(out)])
    assert out.read_bytes() == before
    lines = read_jsonl(out, "forecast")
    sr = read_jsonl(folder / "data/sr.jsonl", "item")
    assert {one["id"] for one in lines} == {one["id"] for one in sr}
    assert all(-1 <= one[name] <= 1 for one in lines for name in PREDICTORS[:5])

    model = "unlearn/ga/lr0.0002/epoch_3"
    questions = asked_questions(folder / "data", folder / "utility_qa.jsonl")
    damage = {one["id"]: one["gradient_product"] for one in lines}
    middle = np.median(list(damage.values()))
    for name, scale in (("finetuned", 0.0), (model, 3.0)):
        answers = [
            {"id": key, "set": one.set, "person_id": one.person_id, "slot": one.slot}
            | {"logprob_answer": -scale * damage.get(key, 0.0), "n_tokens_answer": 2}
            | {"slot_match": int(scale == 0 or damage.get(key, 0.0) <= middle)}
            for key, one in questions.items()
        ]
        write_jsonl(folder / "eval" / name / "items.jsonl", answers)
    hp = json.dumps({"confidence": 0.95, "levels": {"light": ["ga/lr0.0002/epoch_3"]}})
    shared = ["--hp", hp, "--experiment", "test", "--config", "{}", *benchmark]
    score = ["--forecast", str(out), "--eval-dir", str(folder / "eval"), "--models", model]
    score_forecast.main([*score, *shared, "--out", str(folder / "table.json")])
    rows = read_rows(folder / "table.json")
    exact = rows[(rows["of"] == "gradient_product") & (rows["set"] == "sr")]
    assert dict(zip(exact["metric"], exact["value"], strict=True)) == pytest.approx(
        {"spearman": 1.0, "spearman_within_person": 1.0, "auc_lost": 1.0}
    )
    assert set(rows["level"]) == {"light"} and set(rows["of"]) == set(PREDICTORS)

    write_jsonl(out, lines[1:])
    with pytest.raises(InputError, match=r"forecast\.jsonl: found \d+ records; \d+ are expected"):
        score_forecast.main([*score, *shared, "--out", str(folder / "table.json")])


def test_what_happened_by_hand():
    keys = ["a", "b", "c"]
    found = happened(
        pd.DataFrame({"x": [1.0, 2.0, 3.0]}, index=keys),
        pd.DataFrame(
            {"logprob_answer": [-1.0, -2.0, -3.0], "n_tokens_answer": 2, "slot_match": [1, 1, 0]},
            index=keys,
        ),
        pd.DataFrame(
            {"logprob_answer": [-5.0, -2.0, None], "n_tokens_answer": 2, "slot_match": [0, 1, 0]},
            index=keys,
        ),
    )
    assert found["damage"].tolist()[:2] == [2.0, 0.0] and math.isnan(found["damage"]["c"])
    assert found["known"].tolist() == [True, True, False]
    assert found["lost"].tolist() == [True, False, False]


def test_a_collapsed_model_has_null_correlations_and_an_auc():
    x, y, who = facts(people=6)
    columns = {"id": who, "person_id": who, "slot": "s", "set": "other", "x": x}
    frame = pd.DataFrame(columns | {"damage": math.nan, "known": True, "lost": y > 0})
    rows = {(row["set"], row["metric"]): row for row in forecast_rows(frame, 0.95)}
    assert rows["sr", "spearman"]["value"] is None
    assert rows["sr", "spearman"]["n_undefined"] == 60
    assert rows["other", "auc_lost"]["value"] > 0.5
    assert ("correlated", "spearman") not in rows
