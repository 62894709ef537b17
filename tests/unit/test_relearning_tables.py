"""The relearning table by hand: values, changes, areas, and what is beyond the oracles."""

import json

import pandas as pd
import pytest

import summarize_relearn
from excise.errors import InputError
from excise.evaluation.results import read_rows
from excise.evaluation.tables.relearning import areas, steps_to_half
from excise.records import write_jsonl

MODEL = "unlearn/ga/lr0.1/epoch_2"
ORACLES = ["oracle/seed_0", "oracle/seed_1"]
PEOPLE = {"a.1": "a", "a.2": "a", "b.1": "b", "b.2": "b", "c.1": "c"}
STEPS = (0, 2, 6)
# Model → by step: the facts b.1, b.2, c.1, which the attacker does not show; then a.1 and a.2.
KNOWN = {
    MODEL: ([0, 0, 0, 0, 1], [1, 0, 0, 1, 1], [1, 1, 0, 1, 1]),
    ORACLES[0]: ([0, 0, 0, 0, 0], [0, 0, 0, 1, 1], [1, 0, 0, 1, 1]),
    ORACLES[1]: ([0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 1]),
}
ORDER = ["b.1", "b.2", "c.1", "a.1", "a.2"]


def records(known: list[int], shown: str | None = "a") -> list[dict]:
    """A record per fact; the probability is .9 where the fact is known, else .3."""
    found = []
    for key, match in zip(ORDER, known, strict=True):
        keys = {"id": key, "set": "sf", "person_id": PEOPLE[key], "slot": key[2:], "value": "v"}
        keys |= {"slot_match": match, "probability": 0.9 if match else 0.3, "generation": "v"}
        found.append(keys | ({} if shown is None else {"shown": PEOPLE[key] == shown}))
    return found


@pytest.fixture
def study(tmp_path):
    for model, steps in KNOWN.items():
        for step, known in zip(STEPS, steps, strict=True):
            path = tmp_path / "relearn" / model / "forget_part" / f"step_{step}.jsonl"
            write_jsonl(path, records(known))
    write_jsonl(tmp_path / "eval/finetuned/items.jsonl", records([1, 1, 1, 1, 1], None))
    return tmp_path


def table(folder, models=(*ORACLES, MODEL), **hp) -> pd.DataFrame:
    hp = {"confidence": 0.95, "levels": {"light": [MODEL]}, "attacks": ["forget_part"]} | hp
    shared = ["--hp", json.dumps({"steps": STEPS} | hp), "--experiment", "test", "--config", "{}"]
    folders = ["--relearn-dir", str(folder / "relearn"), "--eval-dir", str(folder / "eval")]
    out = ["--out", str(folder / "relearn.json")]
    summarize_relearn.main([*folders, "--models", *models, *shared, *out])
    return read_rows(folder / "relearn.json")


def one(rows, model=MODEL, shown=False, step=None, **keys) -> pd.Series:
    rows = rows[(rows["model"] == model) & (rows["shown"] == shown)]
    rows = rows[rows["step"].isna() if step is None else rows["step"] == step]
    for key, value in keys.items():
        rows = rows[rows[key] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def test_the_values_at_each_step(study):
    rows = table(study)
    values = [one(rows, step=step, metric="slot_accuracy")["value"] for step in STEPS]
    assert values == pytest.approx([0, 1 / 3, 2 / 3])
    values = [one(rows, step=step, metric="probability")["value"] for step in STEPS]
    assert values == pytest.approx([0.3, 0.5, 0.7])
    row = one(rows, step=2, metric="slot_accuracy")
    assert (row["n"], row["n_people"], row["level"], row["set"]) == (3, 2, "light", "sf")
    assert row["interval"] == "wilson_clopper_pearson" and row["ci_low"] < 1 / 3 < row["ci_high"]


def test_facts_shown_and_not_shown_have_rows_of_their_own(study):
    rows = table(study)
    row = one(rows, shown=True, step=0, metric="slot_accuracy")
    assert (row["value"], row["n"], row["n_people"]) == (0.5, 2, 1)
    assert set(rows["n"]) == {2, 3}  # never the 5 together


def test_the_change_and_what_of_it_is_beyond_the_oracles(study):
    rows = table(study)
    change = one(rows, step=6, metric="change", of="slot_accuracy")
    assert change["value"] == pytest.approx(2 / 3) and change["interval"] == "bonett_price"
    # The oracles' mean change is (.5, 0, 0), that of the model (1, 1, 0).
    beyond = one(rows, step=6, metric="change_beyond_oracles", of="slot_accuracy")
    assert beyond["value"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert (beyond["interval"], beyond["n_oracles"]) == ("bonett_price", 2)
    # A probability changes by .6 with each fact.
    beyond = one(rows, step=6, metric="change_beyond_oracles", of="probability")
    assert beyond["value"] == pytest.approx(0.6 * 0.5) and beyond["interval"] == "cluster_t"
    assert rows[(rows["step"] == 0)]["metric"].isin(["slot_accuracy", "probability"]).all()


def test_an_oracle_is_compared_with_the_others_alone(study):
    rows = table(study)
    row = one(rows, ORACLES[0], step=6, metric="change_beyond_oracles", of="slot_accuracy")
    assert row["value"] == pytest.approx(1 / 3) and row["n_oracles"] == 1
    single = table(study, models=[ORACLES[0], MODEL])
    metrics = set(single[single["model"] == ORACLES[0]]["metric"])
    assert "change" in metrics and "change_beyond_oracles" not in metrics
    none = set(table(study, models=[MODEL])["metric"])
    assert "area" in none and not {"change_beyond_oracles", "area_beyond_oracles"} & none


def test_the_area_is_the_mean_value_over_the_attack(study):
    rows = table(study)
    # b.1: (0 + 1)/2 · 2 + 1 · 4 = 5 of 6; b.2: (0 + 1)/2 · 4 = 2 of 6; c.1: 0.
    area = one(rows, metric="area", of="slot_accuracy")
    assert area["value"] == pytest.approx((5 / 6 + 2 / 6) / 3)
    # Oracles: b.1 (2/6 + 0)/2, c.1 (0 + 1)/2.
    beyond = one(rows, metric="area_beyond_oracles", of="slot_accuracy")
    assert beyond["value"] == pytest.approx((5 / 6 - 1 / 6 + 2 / 6 - 1 / 2) / 3)
    assert beyond["interval"] == "cluster_t_mover"


def test_areas_do_not_depend_on_steps_where_the_curve_is_straight():
    assert areas(pd.DataFrame([[0.2, 0.4, 0.8]]).to_numpy(), [0, 5, 15]) == pytest.approx(0.5)
    assert areas(pd.DataFrame([[0.2, 0.8]]).to_numpy(), [0, 15]) == pytest.approx(0.5)
    assert areas(pd.DataFrame([[0.3, 0.3, 0.3]]).to_numpy(), [0, 1, 9]) == pytest.approx(0.3)


def test_the_first_step_with_half_of_what_finetuned_knew(study):
    rows = table(study)
    assert one(rows, metric="steps_to_half", of="slot_accuracy")["value"] == 6
    assert one(rows, metric="steps_to_half", of="probability")["value"] == 2  # .5 ≥ .45
    assert one(rows, shown=True, metric="steps_to_half", of="slot_accuracy")["value"] == 0
    never = one(rows, ORACLES[0], metric="steps_to_half", of="slot_accuracy")
    assert pd.isna(never["value"]) and never["n_undefined"] == 0 and pd.isna(never["interval"])
    finetuned = one(rows, "finetuned", step=0, metric="slot_accuracy")
    assert (finetuned["value"], finetuned["n"]) == (1, 3)
    assert steps_to_half([0, 0], [0, 5], finetuned=0.0) is None


def test_the_same_attack_on_an_oracle_has_nothing_beyond_itself(study):
    copy = study / "relearn" / ORACLES[0]
    for step in STEPS:
        text = (copy / f"forget_part/step_{step}.jsonl").read_text()
        (study / "relearn" / MODEL / f"forget_part/step_{step}.jsonl").write_text(text)
    rows = table(study, models=[ORACLES[0], MODEL])
    for metric in ("change_beyond_oracles", "area_beyond_oracles"):
        found = rows[(rows["metric"] == metric) & (rows["model"] == MODEL)]
        assert len(found) and (found["value"] == 0).all()
        found = found[~found["shown"].astype(bool)]  # the shown facts are about one person
        assert (found["ci_low"] < 0).all() and (found["ci_high"] > 0).all()


def test_other_facts_shown_to_one_model_are_an_error(study):
    path = study / "relearn" / MODEL / "forget_part/step_2.jsonl"
    write_jsonl(path, records([0] * 5, shown="b"))
    with pytest.raises(InputError, match=r"step_2\.jsonl: shows other facts"):
        table(study)
    write_jsonl(path, records([0] * 5)[:4])
    with pytest.raises(InputError, match=r"missing is 'a\.2'"):
        table(study)


def test_without_values_only_the_probability_is_followed(study):
    for path in study.rglob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        write_jsonl(path, [line | {"slot_match": None} for line in lines])
    rows = table(study)
    assert set(rows["of"].dropna()) == {"probability"}
    assert "slot_accuracy" not in set(rows["metric"])
