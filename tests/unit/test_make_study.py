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
    assert (
        text.splitlines()[-1] == "| GD, 8 epochs | .500 | .500 | .500 | .443, .849, .406 | .125 |"
    )
    assert make_study.first_study(lambda _: pd.DataFrame(own)).count(".125") == 0


def test_a_checkpoint_without_a_level_has_no_line():
    row = accuracy_row("unlearn/ga/lr1e-4/epoch_3", "sf", 0.5, method="ga", epoch=3, level=None)
    other = {"model": "unlearn/ga/lr2e-4/epoch_3", "value": 0.25, "level": "light"}
    base = accuracy_row("base", "sf", 0.0, level=None)
    text = make_study.accuracy(lambda _: pd.DataFrame([base, row, row | other]))
    names = [line.split(" | ")[0] for line in text.splitlines()[2:]]
    assert names == ["| base", "| GA, 3 epochs"] and ".250" in text and ".500" not in text


def matched_row(rate: float, value: float) -> dict:
    row = {"comparison": "matched_forgetting", "metric": "slot_accuracy", "set": "gap"}
    row |= {"method": "ga", "learning_rate": rate, "matched_at": "0.5", "value": value}
    return row | {"ci_low": None, "ci_high": None}


def test_trajectories_of_one_method_are_told_apart_by_their_rates():
    rows = [matched_row(1e-4, 0.125), matched_row(2e-4, 0.25)]
    lines = make_study.matched(lambda _: pd.DataFrame(rows)).splitlines()[2:]
    assert lines == ["| GA at 0.0001 | – | .125 | – | – |", "| GA at 0.0002 | – | .250 | – | – |"]
    alone = make_study.matched(lambda _: pd.DataFrame(rows[:1])).splitlines()[2:]
    assert alone == ["| GA | – | .125 | – | – |"]


def relearning_row(model: str, shown: bool, step: int, metric: str, value: float) -> dict:
    row = {"model": model, "method": "ga", "epoch": 3, "seed": 1, "level": "light"}
    row |= {"attack": "correlated", "shown": shown, "step": step, "metric": metric}
    of = None if metric == "slot_accuracy" else "slot_accuracy"
    return row | {"of": of, "value": value, "ci_low": None, "ci_high": None}


def test_relearning_is_told_of_facts_that_were_not_shown():
    model = "unlearn/ga/lr/epoch_3"
    rows = [
        relearning_row(model, False, 0, "slot_accuracy", 0.125),
        relearning_row(model, False, 15, "slot_accuracy", 0.5),
        relearning_row(model, False, 15, "change_beyond_oracles", 0.25),
        relearning_row(model, True, 15, "slot_accuracy", 1.0),
        relearning_row("finetuned", False, 0, "slot_accuracy", 1.0),
    ]
    head, _, *lines = make_study.relearning(lambda _: pd.DataFrame(rows)).splitlines()
    assert lines == ["| correlated | GA, 3 epochs | .125 | .500 | .250 |"]
    assert "| step 15 |" in head


def test_depth_shows_scores_of_all_layers_together():
    row = {"model": "base", "set": "sf", "metric": "uds", "layer": None, "value": 0.5}
    row |= {"ci_low": 0.25, "ci_high": 0.75, "level": None}
    rows = [row, row | {"metric": "lens_erasure", "value": 0.125}, row | {"layer": 3, "value": 0.9}]
    lines = make_study.depth(lambda _: pd.DataFrame(rows)).splitlines()[2:]
    assert lines == ["| base | .50 [.25, .75] | .12 [.25, .75] |"]


def judged(verdict: str, effect: float) -> list[dict]:
    row = {"finding": "claim", "level": None, "verdict": verdict, "replicated": None}
    limits = {"value": effect, "ci_low": None, "ci_high": None}
    return [row | limits | {"cases": "1 " + verdict}, row | limits | {"cases": None}]


def test_a_replication_stands_beside_the_findings():
    first, second = judged("confirmed", 0.5), judged("undecided", 0.125)
    text = make_study.findings(lambda _: pd.DataFrame(first), lambda _: pd.DataFrame(second))
    line = text.splitlines()[-1]
    assert line == "| `claim` | all | confirmed | .500 | 1 confirmed | – | undecided | .125 |"
    alone = make_study.findings(lambda _: pd.DataFrame(first)).splitlines()[-1]
    assert alone == "| `claim` | all | confirmed | .500 | 1 confirmed | – |"


UNNAMED = "| `of_all_sets` | .75 | – |"


def test_every_metric_has_a_line_and_oracles_share_a_column():
    def row(model: str, metric: str, value: float, name: str = "sf", **more) -> dict:
        return accuracy_row(model, name, value, level=None, **more) | {"metric": metric}

    rows = [
        row("base", "loss", 2.0),
        row("oracle/seed_1", "loss", 1.0, seed=1),
        row("oracle/seed_2", "loss", 1.5, seed=2),
        row("oracle/seed_1", "utility_only", 0.25, "utility", seed=1),
        row("oracle/seed_1", "loss", 9.0, "other", seed=1),
        row("base", "of_all_sets", 0.75, None),
    ]
    lines = make_study.metrics(lambda _: pd.DataFrame(rows)).splitlines()
    assert lines[0] == "| metric | base | oracles |"
    assert lines[2:] == [
        "| `loss` | 2.00 | 1.25 |",
        "| `utility_only`, utility | – | .25 |",
        UNNAMED,
    ]
