"""The page of a study: tables between comments, figures as its result files say them."""

import json

import pandas as pd
import pytest
from PIL import Image

import make_study


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.25, ".250"), (1.0, "1.000"), (-0.0321, "−.032"), (-0.0001, ".000"), (None, "–")],
)
def test_figures_have_no_zero_before_the_point(value, shown):
    assert make_study.number(value) == shown


def test_a_figure_is_shown_with_its_interval():
    row = pd.Series({"value": 0.5, "ci_low": 0.4, "ci_high": 0.625})
    assert make_study.with_interval(row) == ".500 [.40, .62]"
    assert make_study.with_interval(pd.Series({**row, "ci_low": None})) == ".500"


def test_two_rows_for_one_cell_are_an_error():
    rows = pd.DataFrame({"set": ["sf", "sf"], "value": [0.1, 0.2]})
    with pytest.raises(ValueError, match="2 rows"):
        make_study.cell(rows, set="sf")


def accuracy_row(model: str, name: str, value: float, **more) -> dict:
    row = {"model": model, "set": name, "metric": "slot_accuracy", "value": value}
    return (
        row | {"ci_low": value - 0.1, "ci_high": value + 0.1, "method": None, "epoch": None} | more
    )


@pytest.fixture
def study(tmp_path):
    """Results with one table, all plots, and the costs of two jobs of one stage."""
    results = tmp_path / "results"
    results.mkdir()
    checkpoint = {"method": "ga", "epoch": 3}
    rows = [
        accuracy_row("finetuned", "sf", 0.9),
        accuracy_row("oracle/seed_1", "sf", 0.0, seed=1),
        accuracy_row("unlearn/ga/lr5e-05/epoch_3", "sf", 0.25, **checkpoint),
        accuracy_row("unlearn/ga/lr5e-05/epoch_3", "other", 0.75, **checkpoint),
    ]
    (results / "eval_results.json").write_text(json.dumps({"rows": rows}))
    for name in make_study.PLOTS:
        Image.new("RGB", (1800, 1200), "white").save(results / name)
    jobs = tmp_path / "benchmarks/train_retain_model"
    jobs.mkdir(parents=True)
    for seed, seconds in [(1, 90), (2, 150)]:
        (jobs / f"seed_{seed}.jsonl").write_text(
            json.dumps({"cpu_time": seconds, "max_rss": 1024 * seed})
        )
    return tmp_path


def test_the_page_gets_its_tables_and_keeps_its_prose(study):
    page = study / "smol.md"
    page.write_text(
        "Before.\n<!-- table: accuracy -->\nold\n<!-- end -->\nBetween.\n"
        "<!-- table: costs -->\n<!-- end -->\nAfter.\n"
    )
    arguments = ["--page", page, "--results", study / "results"]
    make_study.main([str(part) for part in [*arguments, "--benchmarks", study / "benchmarks"]])
    lines = page.read_text().splitlines()
    assert lines[0] == "Before." and "Between." in lines and lines[-1] == "After."
    assert "old" not in lines
    assert "| oracle, seed 1 | .000 [−.10, .10] | – | – | – | – |" in lines
    assert "| GA, 3 epochs | .250 [.15, .35] | – | – | .750 [.65, .85] | – |" in lines
    assert "| `train_retain_model` | 2 | 4 | 2.0 |" in lines
    with Image.open(study / "figures/smol/forget_vs_retain.png") as plot:
        assert plot.size == (900, 600)


def test_an_unknown_table_is_an_error():
    with pytest.raises(KeyError, match="accuracies"):
        make_study.fill("<!-- table: accuracies -->\n<!-- end -->", {"accuracy": str})


def test_the_gap_stands_beside_that_of_other_models():
    row = {"metric": "rougeL_recall", "slot": None, "ci_low": None, "ci_high": None}
    row |= {"model": "unlearn/gd/x/epoch_8", "method": "gd", "epoch": 8, "level": "medium"}
    own = [row | {"set": name, "value": 0.5} for name in ("correlated", "other", "gap")]
    other = [row | {"model": "unlearn/gd/y/epoch_5", "set": "gap", "value": 0.125}]
    text = make_study.first_study(lambda _: pd.DataFrame(own), lambda _: pd.DataFrame(other))
    assert text.splitlines()[-1] == "| GD, 8 epochs | .500 | .500 | .500 | .406 | .125 |"
    assert make_study.first_study(lambda _: pd.DataFrame(own)).count(".125") == 0
