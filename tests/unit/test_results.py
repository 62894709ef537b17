"""Result files: one shape, checked when written, the same bytes each time."""

import json

import pytest

from excise.config.trajectories import config_id
from excise.errors import InputError
from excise.evaluation.results import (
    checkpoint_levels,
    estimate_columns,
    json_object,
    model_columns,
    read_rows,
    write_result,
)
from excise.evaluation.statistics import Estimate
from excise.unlearning.registry import find, names


def a_row(**changes) -> dict:
    row = model_columns("unlearn/npo/lr0.0002_beta0.1/epoch_5")
    row |= estimate_columns(Estimate(0.5, 0.4, 0.6, 96, 16))
    return row | {"set": "sf", "metric": "slot_accuracy"} | changes


def write(path, rows):
    write_result(path, experiment="test", config={"b": 1, "a": 2}, notes=["a note"], rows=rows)


def test_what_is_written_is_read_back_as_a_frame(tmp_path):
    write(tmp_path / "x.json", [a_row(), a_row(metric="probability", value=None)])
    rows = read_rows(tmp_path / "x.json")
    assert list(rows["metric"]) == ["slot_accuracy", "probability"]
    assert rows.loc[0, "beta"] == 0.1
    assert rows["value"].isna().tolist() == [False, True]


def test_header_names_the_packages_and_holds_no_times(tmp_path):
    write(tmp_path / "x.json", [a_row()])
    content = json.loads((tmp_path / "x.json").read_text())
    assert set(content) == {"experiment", "config", "versions", "notes", "rows"}
    assert {"python", "numpy", "pandas"} <= set(content["versions"])  # what this program uses


def test_same_content_gives_the_same_bytes(tmp_path):
    write(tmp_path / "x.json", [a_row()])
    write(tmp_path / "y.json", [dict(reversed(a_row().items()))])
    assert (tmp_path / "x.json").read_bytes() == (tmp_path / "y.json").read_bytes()


def test_not_a_number_is_written_as_null(tmp_path):
    write(tmp_path / "x.json", [a_row(value=float("nan"))])
    assert json.loads((tmp_path / "x.json").read_text())["rows"][0]["value"] is None


@pytest.mark.parametrize(
    "row",
    [
        a_row(metric="slot accuracy"),
        a_row(set="retain"),
        a_row(n=1.5),
        a_row(value="0.5"),
        a_row(precision="int4"),
        a_row(comment="hello"),
        {key: value for key, value in a_row().items() if key != "ci_low"},
    ],
    ids=["metric", "set", "n", "value", "precision", "unknown key", "missing key"],
)
def test_a_row_that_breaks_the_schema_is_not_written(tmp_path, row):
    with pytest.raises(ValueError, match="rows"):
        write(tmp_path / "x.json", [a_row(), row])
    assert not list(tmp_path.iterdir())


def test_a_short_name_of_a_built_in_method_gives_the_column_of_its_hyperparameter():
    for name in names():
        method = find(name)
        point = dict.fromkeys(method.axes, 2.0)
        row = model_columns(f"unlearn/{name}/{config_id(method, point)}/epoch_5")
        assert row | point == row


def test_a_hyperparameter_of_a_users_method_is_a_number(tmp_path):
    row = model_columns("unlearn/mine/lr0.0002_beta4.5_gamma-0.125/epoch_5")
    assert row["gamma"] == -0.125
    write(tmp_path / "x.json", [a_row(gamma=0.125)])


def test_columns_of_each_kind_of_model():
    none = {"method": None, "epoch": None, "seed": None}
    none |= {"learning_rate": None, "beta": None, "retain_weight": None}
    assert model_columns("base") == {"model": "base"} | none
    assert model_columns("oracle/seed_1")["seed"] == 1
    gd = model_columns("unlearn/gd/lr1e-05_lambda2.5/epoch_20")
    assert (gd["method"], gd["epoch"]) == ("gd", 20)
    assert (gd["learning_rate"], gd["retain_weight"], gd["beta"]) == (1e-5, 2.5, None)


@pytest.mark.parametrize(
    "name", ["final", "oracle", "unlearn/ga/epoch_3", "unlearn/ga/fast/epoch_3"]
)
def test_an_unknown_model_name_is_refused(name):
    with pytest.raises(InputError):
        model_columns(name)


def test_levels_are_found_by_full_or_short_name():
    levels = {"light": ["ga/lr0.1/epoch_3"], "heavy": ["unlearn/ga/lr0.1/epoch_9"]}
    assert checkpoint_levels(levels) == {
        "unlearn/ga/lr0.1/epoch_3": "light",
        "unlearn/ga/lr0.1/epoch_9": "heavy",
    }


@pytest.mark.parametrize("text", ["{", "[1]", "3"])
def test_arguments_must_be_json_objects(text):
    with pytest.raises(InputError):
        json_object(text)


@pytest.mark.parametrize("text", ["[]", "{}", '{"rows": []}', "no"])
def test_reading_what_is_no_result_file_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=r"x\.json"):
        read_rows(tmp_path / "x.json")
