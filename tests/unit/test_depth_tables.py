"""Depth scores and probes by hand: what counts as erased, for whom, at which layer."""

import json

import numpy as np
import pandas as pd
import pytest

import summarize_depth
from excise.errors import InputError
from excise.evaluation import probes
from excise.evaluation.results import read_rows
from excise.evaluation.tables.depth import erased
from excise.records import write_jsonl

NAN = float("nan")
ORACLES = ["oracle/seed_0", "oracle/seed_1"]
MODEL = "unlearn/ga/lr0.1/epoch_2"


def test_the_score_by_hand():
    oracle = np.array([[0.04, 1.0, 3.0], [0.0, 0.01, 0.05], [0.1, 0.3, 0.6]])
    model = np.array([[9.0, 0.5, 3.5], [1.0, 1.0, 1.0], [-1.0, 0.15, 0.6]])
    scores, ratio, known = erased(oracle, model, 0.05)
    assert known.tolist() == [[False, True, True], [False] * 3, [True] * 3]
    # (1 · .5 + 3 · 1) / 4; nothing known; (.1 · 0 + .3 · .5 + .6 · 1) / 1
    assert scores[[0, 2]] == pytest.approx([3.5 / 4, 0.75])
    assert np.isnan(scores[1])
    assert ratio[2] == pytest.approx([0, 0.5, 1])


def test_the_finetuned_model_has_0_and_the_oracle_itself_1():
    drops = np.random.default_rng(0).uniform(0.06, 3, (20, 6))
    assert (erased(drops, np.zeros_like(drops), 0.05)[0] == 0).all()
    assert erased(drops, drops, 0.05)[0] == pytest.approx(np.ones(20))


def test_a_broken_models_score_is_undefined_only_where_there_is_knowledge():
    oracle, model = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[NAN, NAN], [NAN, 1.0]])
    scores, _, known = erased(oracle, model, 0.05)
    assert np.isnan(scores[0]) and scores[1] == 1 and known.any(axis=1).all()


def records(drops: dict[str, list[float]], lens: list[float]) -> list[dict]:
    """A record per person: p = −1, patched p − drop, and the same lens for all."""
    return [
        {
            **{"id": f"{person}.slot", "set": "sf", "person_id": person, "slot": "slot"},
            **{"n_tokens_value": 2, "logprob": -1.0, "lens": lens},
            "patched": [-1.0 - one for one in own],
        }
        for person, own in drops.items()
    ]


def write(folder, model, drops, lens, hits=()):
    write_jsonl(folder / model / "items.jsonl", records(drops, lens))
    lines = [
        {"id": f"{person}.slot", "set": "sf", "person_id": person, "slot": "slot"}
        | {"hit": [0.0, hit], "control": [0.0, 0.25]}
        for person, hit in hits
    ]
    write_jsonl(folder / model / "probes.jsonl", lines)


@pytest.fixture
def study(tmp_path):
    people = ["a", "b", "c", "d"]
    hits = [(person, 1.0) for person in people]
    write(tmp_path, "finetuned", {p: [0.0, 0.0] for p in people}, [-2.0, -1.0], hits)
    write(tmp_path, ORACLES[0], {p: [1.0, 3.0] for p in people}, [-4.0, -5.0], hits)
    write(tmp_path, ORACLES[1], {"a": [0.0, 0.01]} | {p: [2.0, 2.0] for p in "bcd"}, [-3, -3], hits)
    write(tmp_path, MODEL, {p: [0.5, 4.0] for p in people}, [-3.0, -3.0], hits)
    return tmp_path


def table(folder, models=("finetuned", *ORACLES, MODEL), **hp) -> pd.DataFrame:
    hp = {"confidence": 0.95, "levels": {"light": [MODEL]}, "knowledge_threshold": 0.05} | hp
    hp = {"depth_sets": None} | hp
    shared = ["--hp", json.dumps(hp), "--experiment", "test", "--config", "{}"]
    arguments = ["--depth-dir", str(folder), "--models", *models]
    summarize_depth.main([*arguments, *shared, "--out", str(folder / "depth.json")])
    return read_rows(folder / "depth.json")


def one(rows, layer=None, **keys) -> pd.Series:
    for key, value in keys.items():
        rows = rows[rows[key] == value]
    rows = rows[rows["layer"].isna() if layer is None else rows["layer"] == layer]
    assert len(rows) == 1
    return rows.iloc[0]


def test_rows_by_hand(study):
    rows = table(study)
    # Oracle 0: (1 · .5 + 3 · 1) / 4 = .875. Oracle 1: nothing known of a; (2 · .25 + 2 · 1) / 4.
    expected = (0.875 + 3 * (0.875 + 0.625) / 2) / 4
    row = one(rows, model=MODEL, metric="uds")
    assert row["value"] == pytest.approx(expected)
    assert (row["n"], row["n_people"], row["level"]) == (4, 4, "light")
    assert row["ci_low"] < row["value"] < row["ci_high"] <= 1
    assert row["interval"] == "bonett_price"
    row = one(rows, model="finetuned", metric="uds")
    assert (row["value"], row["ci_high"], row["interval"]) == (0, 0, "fixed")
    # Layer 1: .5 for all by oracle 0; by oracle 1 .25 for three of them.
    first = one(rows, 1, model=MODEL, metric="uds_by_layer")["value"]
    assert first == pytest.approx((0.5 + 3 * 0.375) / 4)
    # An oracle is compared with the other one alone.
    assert one(rows, model=ORACLES[0], metric="uds")["n"] == 3
    assert one(rows, model=ORACLES[1], metric="uds")["value"] == pytest.approx(
        (0.01 * 0 / 4 + 3 * (1 * 1 + 3 * 2 / 3) / 4 + 3 * 0.01 / 3 / 4) / 4
    )
    # Lens: finetuned −2, −1; oracle 0 loses 2 and 4, oracle 1 loses 1 and 2; the model 1 and 2.
    lens = one(rows, model=MODEL, metric="lens_erasure")["value"]
    assert lens == pytest.approx((0.5 + 1) / 2)
    assert one(rows, 2, model=MODEL, metric="patched_logprob")["value"] == pytest.approx(-5)
    assert one(rows, model=ORACLES[1], metric="knowledge_share")["value"] == pytest.approx(0.75)


def test_probes_have_accuracy_control_and_their_difference(study):
    rows = table(study)
    keys = {"model": MODEL, "slot": "slot", "set": "sf"}
    assert one(rows, 1, metric="probe_accuracy", **keys)["value"] == 1
    assert one(rows, 1, metric="probe_control", **keys)["value"] == 0.25
    row = one(rows, 1, metric="probe_selectivity", **keys)
    assert (row["value"], row["n_people"]) == (0.75, 4)


def test_one_oracle_has_nobody_to_be_compared_with(study):
    rows = table(study, models=("finetuned", ORACLES[0], MODEL))
    assert rows[(rows["model"] == ORACLES[0]) & (rows["metric"] == "uds")].empty
    assert one(rows, model=MODEL, metric="uds")["value"] == pytest.approx(0.875)


def test_the_table_needs_finetuned_and_whole_files(study):
    with pytest.raises(InputError, match="found no finetuned"):
        table(study, models=ORACLES)
    path = study / MODEL / "items.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(InputError, match="found 3 records; 4 are expected"):
        table(study)


def probe_data(people=12, questions=3, layers=2, seed=0):
    """Layer 0 is noise; layer 1 holds the value, in a direction of its own for each value."""
    generator = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), questions)
    value = person % 4
    states = generator.standard_normal((len(person), layers, 30))
    states[:, 1, :4] += 6 * np.eye(4)[value]
    return states, [f"v{one}" for one in value], [f"p{one}" for one in person]


def test_a_probe_finds_what_people_share_and_not_in_noise():
    hits, control = probes.probe(*probe_data())
    assert hits[:, 1].mean() > 0.85
    assert hits[:, 0].mean() < 0.6
    assert control[:, 1].mean() < 0.45


def test_a_probe_is_the_ridge_regression_without_the_person():
    """Against a fit for each person, with the same features."""
    states, values, people = probe_data(people=9, questions=2)
    hits, _ = probes.probe(states, values, people, permutations=2)
    classes = sorted(set(values))
    targets = np.array([[value == one for one in classes] for value in values], dtype=float)
    for layer in range(2):
        features = states[:, layer] - states[:, layer].mean(0)
        features /= features.std(0)
        kernel = features @ features.T / features.shape[1] + 1
        for index, person in enumerate(people):
            train = [k for k, other in enumerate(people) if other != person]
            inner = kernel[np.ix_(train, train)] + probes.PENALTY * np.eye(len(train))
            scores = kernel[index, train] @ np.linalg.solve(inner, targets[train])
            found = classes[scores.argmax()] == values[index]
            if values.count(values[index]) > 2:
                assert hits[index, layer] == found


def test_people_with_a_value_of_their_own_are_not_tested():
    states, values, people = probe_data()
    pairs = zip(values, people, strict=True)
    values = ["alone" if person == "p0" else value for value, person in pairs]
    hits, control = probes.probe(states, values, people)
    alone = [person == "p0" for person in people]
    assert np.isnan(hits[alone]).all() and np.isfinite(hits[~np.array(alone)]).all()
    assert np.isfinite(control).all()
    shared = dict(zip(people, values, strict=True))
    assert set(probes.probed_people(shared)) == set(people) - {"p0"}
    assert probes.probed_people({"a": "x", "b": "x", "c": "y"}) == []


def test_states_that_are_nan_give_nan():
    states, values, people = probe_data()
    states[0, 1, 0] = NAN
    hits, control = probes.probe(states, values, people)
    assert np.isnan(hits[:, 1]).all() and np.isnan(control[:, 1]).all()
    assert np.isfinite(hits[:, 0]).all()
