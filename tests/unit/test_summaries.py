"""From per-question records to rows: which questions, which people, which formula."""

import json
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

import compare_methods
import compare_retain
import summarize_eval
import summarize_quantize
import summarize_representations
from excise.benchmark.items import asked_questions
from excise.errors import InputError
from excise.evaluation.metrics.membership import privleak, s_mia
from excise.evaluation.metrics.slot import slot_accuracy
from excise.evaluation.metrics.truth_ratio import win_rate
from excise.evaluation.reading import read_items
from excise.evaluation.results import read_rows
from excise.evaluation.tables.drift import Floor, floor_columns
from excise.evaluation.tables.evaluation import metric_rows
from excise.evaluation.tables.quantization import (
    _is_within,
    beyond_oracle_rows,
    change_rows,
)
from excise.evaluation.tables.retain_gap import gap_rows, partner_pairs
from excise.evaluation.tokens import write_tokens
from excise.records import read_json, write_json, write_jsonl
from small_benchmark import write_benchmark
from synthetic_records import BASELINES, LEVELS, PRECISIONS, write_study

HEAVY = "unlearn/ga/lr0.0004/epoch_12"
LIGHT = "unlearn/gd/lr0.0002_lambda1/epoch_3"
MODELS = [*BASELINES, HEAVY, LIGHT]
CONFIDENCE = 0.95
ASKED_QUANTIZED = ["sf", "forget_paraphrased", "correlated", "other", "utility"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, people=6, models=MODELS)
    return folder


EVERYTHING = {"sets": None, "generation": True, "full": []}
SETTINGS = {
    summarize_eval: {"levels": None, "sweep": EVERYTHING},
    compare_retain: {"levels": LEVELS, "sweep": EVERYTHING},
    compare_methods: {"levels": None, "sweep": EVERYTHING},
    summarize_quantize: {
        "levels": LEVELS,
        "precisions": ["int8"],
        "sets": None,
        "sweep": EVERYTHING,
    },
    summarize_representations: {"layer": "all"},
}


def summarize(program, folder, out, *arguments, models=MODELS, **hp) -> pd.DataFrame:
    hp = {"confidence": CONFIDENCE} | SETTINGS[program] | hp
    shared = ["--hp", json.dumps(hp), "--experiment", "test", "--config", "{}"]
    program.main([*arguments, "--models", *models, *shared, "--out", str(folder / out)])
    return read_rows(folder / out)


def one(rows: pd.DataFrame, **keys) -> pd.Series:
    for key, value in keys.items():
        rows = rows[rows[key] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def record(name: str, group: str = "sf", **changes) -> dict:
    person, slot = name.split(".")
    return {
        "id": name,
        "set": group,
        "person_id": person,
        "slot": slot,
        "partner": None,
        "value": "x",
        "rougeL_recall": 1.0,
        "rougeL_f1": 1.0,
        "rougeL_recall_ascii": 1.0,
        "rougeL_f1_ascii": 1.0,
        "slot_match": 1,
        "slot_match_strict": 1,
        "stopped": True,
        "probability": 0.5,
        "truth_ratio": 2.0,
        "truth_ratio_tofu": 0.5,
        "logprob_paraphrase": -2.0,
        "n_tokens_paraphrase": 2,
        "logprob_wrong": [-4.0, -1.0],
        "n_tokens_wrong": [2, 2],
    } | changes


def frame(*records: dict) -> pd.DataFrame:
    return pd.DataFrame(list(records)).set_index("id", drop=False)


def values_of(items: pd.DataFrame) -> dict[tuple[str, str], float]:
    return {(row["set"], row["metric"]): row["value"] for row in metric_rows(items, CONFIDENCE)}


def test_metrics_by_hand():
    items = frame(
        record("a.city", slot_match=1, truth_ratio=1.0),
        record("b.city", slot_match=0, truth_ratio=4.0, value="y", stopped=False),
        record("c.city", slot_match=0, truth_ratio=2.0, logprob_wrong=[-2.0, -4.0]),
    )
    values = values_of(items)
    assert values["sf", "slot_accuracy"] == pytest.approx(1 / 3)
    assert values["sf", "truth_ratio"] == pytest.approx(2.0)
    assert values["sf", "stopped_rate"] == pytest.approx(2 / 3)
    # x is held by a and c: each sees one of two others with its value, b sees none.
    assert values["sf", "guess_rate"] == pytest.approx(1 / 3)
    # Per token −1 against (−2, −.5), (−2, −.5) and (−1, −2): a half, a half, a tie and a win.
    assert values["sf", "win_rate"] == pytest.approx((0.5 + 0.5 + 0.75) / 3)


def test_sr_is_correlated_and_other_together():
    items = frame(record("a.one", "correlated"), record("a.two", "other", slot_match=0))
    values = values_of(items)
    assert values["sr", "slot_accuracy"] == 0.5
    assert ("sf", "slot_accuracy") not in values


def test_utility_questions_are_their_own_clusters_and_people_are_not_counted():
    items = frame(*[record(f"u{i}.capital", "utility", person_id=None) for i in range(3)])
    row = next(row for row in metric_rows(items, CONFIDENCE) if row["metric"] == "slot_accuracy")
    assert (row["n"], row["n_people"], row["interval"]) == (3, None, "wilson_clopper_pearson")
    assert 0 < row["ci_low"] < row["ci_high"] == 1.0


def test_a_collapsed_model_has_null_rows_with_a_count(tmp_path):
    broken = record("b.city", probability=None, truth_ratio=None, logprob_wrong=[None, -1.0])
    write_jsonl(tmp_path / "items.jsonl", [record("a.city"), broken])
    rows = {
        row["metric"]: row for row in metric_rows(read_items(tmp_path / "items.jsonl"), CONFIDENCE)
    }
    for metric in ("probability", "truth_ratio", "win_rate"):
        assert (rows[metric]["value"], rows[metric]["n_undefined"]) == (None, 1)
    assert rows["slot_accuracy"]["value"] == 1.0


def test_questions_without_wrong_answers_have_no_truth_ratio_and_break_no_average(tmp_path):
    none = {
        "truth_ratio": None,
        "truth_ratio_tofu": None,
        "logprob_wrong": [],
        "n_tokens_wrong": [],
    }
    forget = [record("a.city"), record("b.city", truth_ratio=8.0), record("c.city", **none)]
    retained = [record("a.home", "other", **none), record("b.home", "other", **none)]
    write_jsonl(tmp_path / "items.jsonl", forget + retained)
    rows = {
        (row["set"], row["metric"]): row
        for row in metric_rows(read_items(tmp_path / "items.jsonl"), CONFIDENCE)
    }
    ratio = rows["sf", "truth_ratio"]
    assert (ratio["n"], ratio["n_undefined"]) == (2, 0)
    assert ratio["value"] == pytest.approx(4.0)  # sqrt(2 * 8)
    assert rows["sf", "win_rate"]["value"] == 0.5
    assert rows["sf", "slot_accuracy"]["n"] == 3
    for metric in ("truth_ratio", "truth_ratio_tofu", "win_rate"):
        assert (rows["other", metric]["n"], rows["other", metric]["value"]) == (0, None)


def test_a_gap_leaves_out_pairs_without_wrong_answers():
    none = {"logprob_wrong": [], "n_tokens_wrong": []}
    records = gap_items().to_dict("records")
    items = frame(*[one | none if one["id"] == "a.home_city" else one for one in records])
    overall, *_ = gap_rows(items, win_rate, CONFIDENCE)
    assert (overall["n"], overall["n_undefined"]) == (3, 0)
    overall, *_ = gap_rows(items, slot_accuracy, CONFIDENCE)
    assert overall["n"] == 4


def test_a_model_without_records_has_null_rows(tmp_path):
    (tmp_path / "items.jsonl").touch()
    rows = list(metric_rows(read_items(tmp_path / "items.jsonl"), CONFIDENCE))
    assert {row["set"] for row in rows} >= {"sf", "sr", "utility"}
    assert all(row["value"] is None and row["n"] == 0 for row in rows)


def test_rows_of_equal_answers_have_a_width_where_the_scale_allows_it():
    items = frame(*[record(f"{person}.city") for person in "abcd"])
    rows = {row["metric"]: row for row in metric_rows(items, CONFIDENCE)}
    assert rows["slot_accuracy"]["ci_low"] < 0.7 and rows["slot_accuracy"]["ci_high"] == 1
    assert rows["probability"]["ci_low"] < 0.5 < rows["probability"]["ci_high"]
    assert rows["guess_rate"]["interval"] == "fixed"
    # A ratio has no upper end: nothing is known of the width.
    assert (rows["truth_ratio"]["interval"], rows["truth_ratio"]["ci_low"]) == (None, None)


def gap_items() -> pd.DataFrame:
    return frame(
        record("a.event_city", "correlated", partner="home_city", slot_match=0),
        record("a.event_year", "correlated", partner="birth_year", slot_match=1),
        record("a.home_city", "other", slot_match=1),
        record("a.birth_year", "other", slot_match=1),
        record("b.event_city", "correlated", partner="home_city", slot_match=0),
        record("b.event_year", "correlated", partner="birth_year", slot_match=1),
        record("b.home_city", "other", slot_match=1),
        record("b.birth_year", "other", slot_match=0),
        record("b.mentor", "other", slot_match=0),  # nobody's partner: in no gap
    )


def test_the_gap_is_other_minus_correlated_over_partner_slots():
    overall, *by_slot = gap_rows(gap_items(), slot_accuracy, CONFIDENCE)
    assert (overall["value"], overall["n"], overall["n_people"]) == (0.25, 4, 2)
    found = {row["slot"]: (row["partner"], row["value"]) for row in by_slot}
    assert found == {"event_city": ("home_city", 1.0), "event_year": ("birth_year", -0.5)}


def test_a_partner_that_is_missing_is_named():
    with pytest.raises(InputError, match=r"a\.event_city"):
        partner_pairs(gap_items().drop("a.home_city"))


def test_eval_results_mark_the_levels(study):
    rows = summarize(summarize_eval, study, "eval.json", "--eval-dir", str(study / "eval"),
                     levels=LEVELS)  # fmt: skip
    heavy = one(rows, model=HEAVY, set="sf", metric="slot_accuracy")
    assert (heavy["level"], heavy["method"], heavy["epoch"]) == ("heavy", "ga", 12)
    assert heavy["ci_low"] <= heavy["value"] <= heavy["ci_high"]
    assert (heavy["n"], heavy["n_people"]) == (36, 6)
    assert pd.isna(one(rows, model="finetuned", set="sf", metric="slot_accuracy")["level"])
    recomputed = read_items(study / "eval" / HEAVY / "items.jsonl").query("set == 'sf'")
    assert heavy["value"] == pytest.approx(recomputed["slot_match"].mean())


def test_sweep_and_retain_comparison_run_and_repeat_bit_by_bit(study):
    for program, name in ((summarize_eval, "sweep"), (compare_retain, "retain")):
        for copy in ("1", "2"):
            summarize(program, study, name + copy, "--eval-dir", str(study / "eval"))
        assert (study / f"{name}1").read_bytes() == (study / f"{name}2").read_bytes()
    rows = read_rows(study / "retain1")
    assert set(rows["set"]) == {"correlated", "other", "gap"}
    assert rows[(rows["set"] == "gap")]["slot"].nunique() == 4


def quantized(folder, out):
    folders = ["--quantize-dir", str(folder / "quantize"), "--eval-dir", str(folder / "eval")]
    return summarize(summarize_quantize, folder, out, *folders, precisions=list(PRECISIONS))


@pytest.fixture(scope="module")
def quantize_rows(study):
    return quantized(study, "quantize.json")


def test_quantize_results_hold_full_precision_recovery_and_update_size(study, quantize_rows):
    rows = quantize_rows
    full = one(rows, model=HEAVY, set="sf", metric="slot_accuracy", precision="full")
    int8 = one(rows, model=HEAVY, set="sf", metric="slot_accuracy", precision="int8")
    tuned = one(rows, model="finetuned", set="sf", metric="slot_accuracy", precision="full")
    keys = {"metric": "recovery", "set": "sf", "precision": "int8", "of": "slot_accuracy"}
    expected = (int8["value"] - full["value"]) / (tuned["value"] - full["value"])
    assert one(rows, model=HEAVY, **keys)["value"] == pytest.approx(expected)
    assert one(rows, model=HEAVY, metric="relative_delta")["value"] == 0.01
    assert one(rows, model=HEAVY, metric="adapted_share", precision="full")["value"] == 0.96
    assert one(rows, model=HEAVY, metric="quantized_share", precision="int8")["value"] == 1
    notes = json.loads((study / "quantize.json").read_text())["notes"]
    assert notes.count("adapted_share: without 4 % of it.") == 1
    assert set(rows[rows["metric"] == "recovery"]["model"]) == {HEAVY, LIGHT}


def test_quantized_models_that_got_fewer_sets_have_rows_of_these(study):
    folders = ["--quantize-dir", str(study / "quantize"), "--eval-dir", str(study / "eval")]
    fewer = study / "fewer"
    shutil.copytree(study / "quantize", fewer)
    for path in fewer.rglob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        kept = [line for line in lines if line["set"] == "sf"]
        write_jsonl(path, kept)
        tokens, ids = path.with_suffix(".parquet"), [line["id"] for line in kept]
        parquet.write_table(parquet.read_table(tokens, filters=[("id", "in", ids)]), tokens)
    folders[1] = str(fewer)
    asked = {"precisions": list(PRECISIONS)}
    with pytest.raises(InputError, match="full precision"):
        summarize(summarize_quantize, study, "fewer.json", *folders, **asked)
    rows = summarize(summarize_quantize, study, "fewer.json", *folders, **asked, sets=["sf"])
    assert set(rows[rows["of"].notna()]["set"]) == {"sf"}
    accuracies = rows[(rows["metric"] == "slot_accuracy") & (rows["precision"] == "int8")]
    assert set(accuracies["set"]) == {"sf"}


COMPARED = {"auc_reference", "privleak", "s_mia"}


def test_membership_after_quantization_compares_with_models_of_the_same_precision(tmp_path):
    write_study(tmp_path, people=24, models=MODELS)
    folders = ["--quantize-dir", str(tmp_path / "quantize"), "--eval-dir", str(tmp_path / "eval")]
    asked = {"precisions": list(PRECISIONS), "sets": [*ASKED_QUANTIZED, "holdout"]}
    rows = summarize(summarize_quantize, tmp_path, "holdout.json", *folders, **asked)
    for precision in ("full", *PRECISIONS):

        def found(model, metric, precision=precision):
            return one(rows, model=model, set="sf", metric=metric, precision=precision)

        areas = {model: found(model, "auc_min_k")["value"] for model in MODELS}
        marks = areas["finetuned"], (areas["oracle/seed_0"] + areas["oracle/seed_1"]) / 2
        for model in (HEAVY, LIGHT):
            leak, between = privleak(areas[model], marks[1]), s_mia(areas[model], *marks)
            assert found(model, "privleak")["value"] == pytest.approx(leak)
            assert found(model, "s_mia")["value"] == pytest.approx(between)
        last = found("oracle/seed_1", "s_mia")["value"]
        known = s_mia(areas["oracle/seed_1"], marks[0], areas["oracle/seed_0"])
        assert last == pytest.approx(known)
        own = rows[(rows["model"] == "finetuned") & (rows["precision"] == precision)]
        assert COMPARED & set(own["metric"]) == {"auc_reference", "privleak"}
    values = rows[(rows["model"] == HEAVY) & (rows["metric"] == "s_mia")]["value"]
    assert values.nunique() > 1  # the precisions differ
    notes = read_json(tmp_path / "holdout.json")["notes"]
    assert any("precision of the row" in one for one in notes)


def test_quantized_models_that_are_not_asked_the_holdout_have_no_rows_of_it(study, quantize_rows):
    assert not COMPARED & set(quantize_rows["metric"])
    notes = read_json(study / "quantize.json")["notes"]
    assert not any("s_mia" in one for one in notes)


def test_a_precision_that_does_not_run_has_no_membership_rows(tmp_path):
    write_study(tmp_path, people=24, models=MODELS)
    for model in MODELS:
        (tmp_path / "quantize" / model / "int8.jsonl").write_text("")
        weights = read_json(tmp_path / "quantize" / model / "weights.json")
        unsupported = {"unsupported": {"int8": "why"}}
        write_json(tmp_path / "quantize" / model / "weights.json", weights | unsupported)
    folders = ["--quantize-dir", str(tmp_path / "quantize"), "--eval-dir", str(tmp_path / "eval")]
    asked = {"precisions": list(PRECISIONS), "sets": [*ASKED_QUANTIZED, "holdout"]}
    rows = summarize(summarize_quantize, tmp_path, "holdout.json", *folders, **asked)
    compared = rows[rows["metric"].isin(COMPARED)]
    assert set(compared["precision"]) == {"full", "nf4", "fp4"}


def test_changes_beyond_those_of_the_oracles_by_hand():
    def answers(*matches: int) -> pd.DataFrame:
        return frame(*(record(f"{name}.city", slot_match=match)
                       for name, match in zip("abcd", matches, strict=True)))  # fmt: skip

    full, quantized = answers(0, 0, 1, 0), answers(1, 1, 1, 0)
    oracles = [
        (answers(1, 0, 0, 0), answers(0, 0, 0, 0)),
        (answers(0, 0, 0, 0), answers(0, 0, 0, 1)),
    ]
    (change,) = (row for row in change_rows(quantized, full, 0.95) if row["of"] == "slot_accuracy")
    assert (change["value"], change["n"], change["interval"]) == (0.5, 4, "bonett_price")
    rows = {row["of"]: row for row in beyond_oracle_rows(quantized, full, oracles, 0.95)}
    # Changes by question 1, 1, 0, 0; means of the two oracles .5, 0, 0, -.5.
    assert rows["slot_accuracy"]["value"] == 0.5
    assert rows["slot_accuracy"]["interval"] == "bonett_price"
    assert rows["probability"]["value"] == 0
    assert list(beyond_oracle_rows(quantized, full, [], 0.95)) == []
    assert list(beyond_oracle_rows(quantized, full, [(frame_of_nothing(), full)], 0.95)) == []


def frame_of_nothing() -> pd.DataFrame:
    return pd.DataFrame(columns=["id", "set"])


def test_oracles_are_what_changes_are_compared_with(quantize_rows):
    rows = quantize_rows
    keys = {"set": "sf", "precision": "nf4", "of": "slot_accuracy"}
    changes = rows[rows["metric"] == "change"]
    own = one(changes, model=HEAVY, **keys)["value"]
    oracles = [one(changes, model=name, **keys)["value"] for name in BASELINES[2:]]
    beyond = rows[rows["metric"] == "change_beyond_oracles"]
    assert set(beyond["model"]) == {HEAVY, LIGHT}
    expected = own - sum(oracles) / 2
    assert one(beyond, model=HEAVY, **keys)["value"] == pytest.approx(expected)


def test_what_rounding_leaves_of_an_update_is_in_the_table(tmp_path):
    write_study(tmp_path, people=3, models=MODELS)
    path = tmp_path / "quantize" / HEAVY / "weights.json"
    sums = {"codes": 2, "values": 8, "rounded": 16.0, "product": 4.0}
    update = {"h.0.a": {"weights": 10, "update": 4.0, "base": 100.0}}
    changes = {precision: {"h.0.a": sums} for precision in PRECISIONS}
    write_json(path, read_json(path) | {"update": update, "code_changes": changes})
    rows = quantized(tmp_path, "quantize.json")
    codes = rows[rows["metric"] == "codes_changed"]
    assert (codes["model"] == HEAVY).all() and (codes["value"] == 0.2).all()
    assert set(codes["layer"].dropna()) == {1} and (codes["interval"] == "fixed").all()


def test_a_recovery_within_the_noise_of_batches_is_marked(tmp_path):
    write_study(tmp_path, people=3, models=MODELS)
    noise = {"int8": {"slot_match": 1.0, "rougeL_recall": 0.0, "probability": None}}
    write_json(
        tmp_path / "quantize" / HEAVY / "weights.json",
        {"relative_delta": 0.01, "batch_noise": noise},
    )
    rows = quantized(tmp_path, "quantize.json")
    recovery = {"model": HEAVY, "metric": "recovery", "set": "sf"}
    int8 = recovery | {"precision": "int8"}
    assert one(rows, **int8, of="slot_accuracy")["within_noise"]
    assert one(rows, **int8, of="slot_accuracy")["batch_noise"] == 1.0
    assert not one(rows, **int8, of="rougeL_recall")["within_noise"]
    assert pd.isna(one(rows, **int8, of="probability")["within_noise"])
    assert pd.isna(one(rows, **recovery, precision="nf4", of="slot_accuracy")["within_noise"])


def test_a_precision_that_could_not_be_run_is_noted_not_dropped(study, tmp_path):
    write_study(tmp_path, people=3, models=MODELS)
    (tmp_path / "quantize" / HEAVY / "int8.jsonl").write_text("")
    weights = read_json(tmp_path / "quantize" / HEAVY / "weights.json")
    weights["unsupported"] = {"int8": "a reason"}
    write_json(tmp_path / "quantize" / HEAVY / "weights.json", weights)
    rows = quantized(tmp_path, "quantize.json")
    assert pd.isna(
        one(rows, model=HEAVY, precision="int8", set="sf", metric="probability")["value"]
    )
    assert any("precision int8" in note for note in read_json(tmp_path / "quantize.json")["notes"])


def cut(path) -> None:
    """Take away the second half of a file's lines."""
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: len(lines) // 2]))


@pytest.mark.parametrize(
    "program, file, folders",
    [
        (summarize_eval, f"eval/{LIGHT}/items.jsonl", ["eval"]),
        (compare_retain, f"eval/{LIGHT}/items.jsonl", ["eval"]),
        (compare_methods, f"eval/{LIGHT}/items.jsonl", ["eval"]),
        (summarize_quantize, f"eval/{LIGHT}/items.jsonl", ["quantize", "eval"]),
        (summarize_quantize, f"quantize/{LIGHT}/int8.jsonl", ["quantize", "eval"]),
        (summarize_representations, f"repr/{LIGHT}/items.jsonl", ["repr"]),
    ],
)
def test_half_a_file_of_records_makes_no_table(tmp_path, program, file, folders):
    write_study(tmp_path, people=2, models=["finetuned", LIGHT])
    cut(tmp_path / file)
    arguments = [one for name in folders for one in (f"--{name}-dir", str(tmp_path / name))]
    with pytest.raises(
        InputError, match=rf"{file}: found \d+ records; \d+ are expected .* missing"
    ):
        summarize(program, tmp_path, "x.json", *arguments, models=["finetuned", LIGHT])
    assert not (tmp_path / "x.json").exists()


def test_what_belongs_there_is_told_by_the_benchmark(tmp_path):
    """Also if the same lines are missing everywhere."""
    arguments = write_benchmark(tmp_path)
    questions = asked_questions(arguments[1], arguments[3])
    lines = [record("p000.accuser") | {"id": key, "set": item.set, "person_id": item.person_id}
             for key, item in questions.items()]  # fmt: skip
    for model in ("base", "finetuned"):
        write_jsonl(tmp_path / "eval" / model / "items.jsonl", lines[:-1])
    missing = (
        rf"found {len(lines) - 1} records; {len(lines)} are expected .*{re.escape(lines[-1]['id'])}"
    )
    with pytest.raises(InputError, match=missing):
        summarize(
            summarize_eval, tmp_path, "x.json", "--eval-dir", str(tmp_path / "eval"), *arguments,
            models=["base", "finetuned"],
        )  # fmt: skip


def test_questions_must_be_the_same_at_both_precisions(tmp_path):
    write_study(tmp_path, people=2, models=["finetuned", HEAVY])
    path = tmp_path / "eval" / HEAVY / "items.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(InputError, match=r"p000\.sf_0"):
        summarize(
            summarize_quantize, tmp_path, "x.json", "--quantize-dir", str(tmp_path / "quantize"),
            "--eval-dir", str(tmp_path / "eval"), models=["finetuned", HEAVY],
        )  # fmt: skip


def drift(folder, out, **hp):
    return summarize(
        summarize_representations, folder, out, "--repr-dir", str(folder / "repr"), **hp
    )


def test_drift_at_one_layer_is_that_part_of_all_layers(study):
    keys = {"model": HEAVY, "set": "sf", "position": "answer", "metric": "drift"}
    every, third, last = (drift(study, "repr.json", layer=layer) for layer in ("all", 3, "last"))
    assert set(every["layer"]) == set(range(7))
    assert set(third["layer"]) == {3} and set(last["layer"]) == {6}
    assert one(third, **keys)["value"] == one(every, **keys, layer=3)["value"]


def test_drift_stands_beside_the_noise_floor_of_the_oracles(study):
    rows = drift(study, "repr.json", layer="last")
    keys = {"set": "sf", "position": "answer"}
    oracles = ["oracle/seed_0", "oracle/seed_1"]
    floors = [one(rows, model=name, metric="oracle_drift", **keys) for name in oracles]
    row = one(rows, model=HEAVY, metric="drift", **keys)
    assert row["noise_floor"] == pytest.approx(np.mean([floor["value"] for floor in floors]))
    assert row["noise_floor_low"] == min(floor["ci_low"] for floor in floors)
    assert row["reference"] == "finetuned" and floors[0]["reference"] == "oracles"
    assert floors[0]["noise_floor"] is None or math.isnan(floors[0]["noise_floor"])
    identity = one(rows, model="finetuned", metric="drift", **keys)
    assert (identity["value"], bool(identity["below_floor"])) == (0.0, True)
    assert bool(identity["equivalent"])


@pytest.mark.parametrize(
    "high, below, equivalent", [(0.19, True, True), (0.22, True, False), (0.3, False, False)]
)
def test_the_word_zero_needs_an_interval_below_that_of_the_nearest_oracle(high, below, equivalent):
    found = floor_columns({"ci_high": high}, Floor(value=0.25, low=0.2))
    assert (found["below_floor"], found["equivalent"]) == (below, equivalent)
    assert floor_columns({"ci_high": None}, Floor(0.25, 0.2))["equivalent"] is None
    assert floor_columns({"ci_high": 0.1}, Floor(0.25, None))["equivalent"] is None
    assert floor_columns({"ci_high": 0.1}, None)["equivalent"] is None


def test_without_a_second_oracle_there_is_no_floor(tmp_path):
    write_study(tmp_path, people=2, models=["finetuned", "oracle/seed_0"])
    path = tmp_path / "repr" / "oracle/seed_0" / "items.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    alone = ("oracle_drift", "oracle_angle_degrees", "erasure", "direction_cosine")
    write_jsonl(path, [{k: v for k, v in one.items() if k not in alone} for one in lines])
    rows = drift(tmp_path, "repr.json", layer="last", models=["finetuned", "oracle/seed_0"])
    assert rows["noise_floor"].isna().all() and rows["below_floor"].isna().all()
    assert rows["equivalent"].isna().all()
    assert set(rows[rows["model"] == "oracle/seed_0"]["metric"]) == {"drift", "angle_degrees"}


def test_the_direction_is_undefined_where_finetuned_and_oracles_are_equal(study):
    rows = drift(study, "repr.json", layer="all")
    keys = {"model": HEAVY, "set": "sf", "position": "answer", "metric": "erasure"}
    assert math.isnan(one(rows, **keys, layer=0)["value"])
    assert one(rows, **keys, layer=0)["n_undefined"] == one(rows, **keys, layer=0)["n"]
    assert one(rows, **keys, layer=6)["value"] <= 1
    assert set(rows[rows["metric"] == "erasure"]["set"]) == {"sf", "correlated", "other"}


@pytest.mark.parametrize("program", SETTINGS)
@pytest.mark.parametrize(
    "change, why",
    [
        ({"confidnce": 0.9}, "confidnce: unknown key; did you mean confidence?"),
        ({"confidence": "0.9"}, "confidence: found text '0.9'; allowed: a number"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, program, change, why):
    with pytest.raises(InputError, match=re.escape(f"--hp: {why}")):
        summarize(program, tmp_path, "x.json", **change)


@pytest.mark.parametrize(
    "program, change, why",
    [
        (summarize_eval, {"levels": {"light": LIGHT}}, "levels: light: found text"),
        (summarize_quantize, {"precisions": "int8"}, "precisions: found text 'int8'; allowed: a l"),
        (
            summarize_representations,
            {"layer": "first"},
            "layer: found text 'first'; allowed: a whole number or one of last, all",
        ),
    ],
)
def test_a_setting_of_a_table_says_what_is_allowed(tmp_path, program, change, why):
    with pytest.raises(InputError, match=re.escape(f"--hp: {why}")):
        summarize(program, tmp_path, "x.json", **change)


def test_without_levels_a_table_marks_none(study):
    rows = summarize(summarize_eval, study, "plain.json", "--eval-dir", str(study / "eval"))
    assert rows["level"].isna().all() and HEAVY in set(rows["model"])


def test_a_layer_the_model_lacks_is_refused(study):
    with pytest.raises(InputError, match="0 to 6"):
        drift(study, "repr.json", layer=7)


def test_undefined_drift_is_counted(tmp_path):
    write_study(tmp_path, people=2, models=["finetuned"])
    path = tmp_path / "repr" / "finetuned" / "items.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["drift"][3] = None
    write_jsonl(path, lines)
    rows = drift(tmp_path, "repr.json", layer=3, models=["finetuned"])
    first = one(rows, set="sf", position="last_subject", metric="drift")
    assert pd.isna(first["value"]) and first["n_undefined"] == 1


def test_a_missing_file_is_named(tmp_path):
    write_json(tmp_path / "unrelated.json", {})
    with pytest.raises(InputError, match=r"finetuned/items\.jsonl"):
        summarize(
            summarize_eval, tmp_path, "x.json", "--eval-dir", str(tmp_path), models=["finetuned"]
        )


@pytest.mark.parametrize(
    "after, change, within",
    [(0.2, 0.1, True), (0.5, 0.1, False), (math.nan, 0.1, None), (0.2, math.nan, None)],
)
def test_an_undefined_change_is_neither_within_the_noise_nor_beyond(after, change, within):
    assert _is_within(np.array([0.1, after]), np.array([0.1, 0.1]), change) is within


@pytest.mark.parametrize("model", ["finetuned", "oracle/seed_0", "oracle/seed_1"])
@pytest.mark.parametrize(
    "lines, fault", [([], "no records"), ([{}], "a record lacks its position")]
)
def test_hidden_states_without_records_or_positions_are_one_line(tmp_path, model, lines, fault):
    models = ["finetuned", "oracle/seed_0", "oracle/seed_1"]
    write_study(tmp_path, people=2, models=models)
    lines = [line | {"id": "a", "set": "sf", "person_id": "p000"} for line in lines]
    write_jsonl(tmp_path / "repr" / model / "items.jsonl", lines)
    with pytest.raises(InputError, match=rf"^\S*{model}/items.jsonl: {fault}"):
        drift(tmp_path, "repr.json", models=models)


# --- checkpoints of a sweep that are asked less ---


def test_a_checkpoint_has_rows_of_what_it_was_asked(study, tmp_path):
    folder = tmp_path / "limited"
    shutil.copytree(study, folder)
    records = folder / "eval" / LIGHT
    asked = ("sf", "correlated", "other")
    lines = map(json.loads, (records / "items.jsonl").read_text().splitlines())
    kept = [line for line in lines if line["set"] in asked]
    of_generations = {"slot_match", "slot_match_strict", "stopped", "generation"}
    made = ("rouge", "base_")
    of_generations |= {name for line in kept for name in line if name.startswith(made)}
    kept = [
        {name: value for name, value in line.items() if name not in of_generations} for line in kept
    ]
    write_jsonl(records / "items.jsonl", kept)
    tokens = pd.read_parquet(records / "tokens.parquet")
    own = tokens[tokens["id"].isin({line["id"] for line in kept})]
    write_tokens(records / "tokens.parquet", own.to_dict("records"))
    folders = ["--eval-dir", str(folder / "eval")]
    sweep = {"sets": list(asked), "generation": False, "full": [HEAVY]}
    rows = summarize(summarize_eval, folder, "sweep.json", *folders, sweep=sweep)
    whole = summarize(summarize_eval, study, "whole.json", "--eval-dir", str(study / "eval"))
    here, there = rows[rows["model"] == LIGHT], whole[whole["model"] == LIGHT]
    assert set(here["set"]) == {"sf", "correlated", "other", "sr"}
    assert not set(here["metric"]) & {"slot_accuracy", "rougeL_recall", "stopped_rate"}
    keys = ["set", "metric", "value", "ci_low", "ci_high", "n"]
    both = here[keys].merge(there[keys], on=["set", "metric"], suffixes=("", "_whole"))
    assert len(both) == len(here) > 20
    pd.testing.assert_series_equal(both["value"], both["value_whole"], check_names=False)
    others = rows[rows["model"] != LIGHT].reset_index(drop=True)
    expected = whole[whole["model"] != LIGHT].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, expected)
    gaps = summarize(compare_retain, folder, "gap.json", *folders, sweep=sweep)
    assert set(gaps[gaps["model"] == LIGHT]["metric"]) == {"probability", "win_rate"}
    with pytest.raises(InputError, match=r"epoch_.*items\.jsonl: found \d+ records; \d+ are exp"):
        summarize(summarize_eval, folder, "all.json", *folders)
