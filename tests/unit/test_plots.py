"""Plot programs end to end: a picture, the same bytes each time, also of a collapsed model."""

import json

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

import compare_methods
import compare_retain
import plot
import summarize_depth
import summarize_eval
import summarize_quantize
import summarize_relearn
import summarize_representations
from excise.errors import InputError
from excise.evaluation.results import read_rows
from excise.plots.drift import last_checkpoints
from excise.plots.figures import FIGURES
from excise.plots.forgetting import retain_gap, settings_by_method
from excise.plots.settings import PlotSettings
from excise.plots.style import strongest_trajectories, trajectory_name
from excise.workflow.imports import import_closure
from synthetic_records import (
    BASELINES,
    CHECKPOINTS,
    LEVELS,
    PRECISIONS,
    RELEARNING,
    write_study,
)

TABLES = {
    "sweep_results": "sweep.json",
    "retain_compare_results": "retain.json",
    "comparison_results": "comparison.json",
    "quantize_results": "quantize.json",
    "repr_layers": "layers.json",
    "depth_results": "depth.json",
    "relearn_results": "relearn.json",
}
EVERYTHING = {"sets": None, "generation": True, "full": []}
LABELS = {"npo": "NPO (negative preference)"}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    models = write_study(folder, people=4)
    levels = [f"unlearn/{name}" for names in LEVELS.values() for name in names]
    marked = {"levels": LEVELS, "sweep": EVERYTHING}
    evaluated = ["--eval-dir", str(folder / "eval")]
    quantized = ["--quantize-dir", str(folder / "quantize"), *evaluated]
    states = ["--repr-dir", str(folder / "repr")]
    patched = ["--depth-dir", str(folder / "depth")]
    for program, out, folders, names, hp in (
        (summarize_eval, "sweep.json", evaluated, models, marked | {"levels": None}),
        (compare_methods, "comparison.json", evaluated, models, marked | {"levels": None}),
        (compare_retain, "retain.json", evaluated, models, marked),
        (
            *(summarize_quantize, "quantize.json", quantized, BASELINES + levels),
            marked | {"precisions": PRECISIONS, "sets": None},
        ),
        (summarize_representations, "layers.json", states, models, {"layer": "all"}),
        (
            *(summarize_depth, "depth.json", patched, BASELINES + levels),
            {"levels": LEVELS, "knowledge_threshold": 0.05, "depth_sets": None},
        ),
        (
            *(
                summarize_relearn,
                "relearn.json",
                ["--relearn-dir", str(folder / "relearn"), *evaluated],
            ),
            *([*BASELINES[2:], *levels], {"levels": LEVELS} | RELEARNING),
        ),
    ):
        hp = json.dumps({"confidence": 0.95} | hp)
        header = ["--hp", hp, "--experiment", "test", "--config", "{}"]
        program.main([*folders, "--models", *names, *header, "--out", str(folder / out)])
    return folder


def draw(figure, rows, out, *choice, **hp):
    hp = json.dumps({"confidence": 0.95, "labels": LABELS, "metric": "slot_accuracy"} | hp)
    arguments = ["--figure", figure, "--rows", str(rows), "--hp", hp, "--out", str(out)]
    plot.main([*arguments, *choice])


@pytest.mark.parametrize("figure", FIGURES)
def test_a_plot_shows_something_and_repeats_bit_by_bit(figure, results, tmp_path):
    for name in ("one.png", "two.png"):
        draw(figure, results / TABLES[FIGURES[figure].table], tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert b"matplotlib" not in (tmp_path / "one.png").read_bytes()[:400]
    pixels = matplotlib.image.imread(tmp_path / "one.png")
    assert pixels.shape[1] == 1200
    ink = np.any(pixels[:, :, :3] < 0.9, axis=2)
    assert 0.01 < ink.mean() < 0.9
    assert not ink[:2].any() and not ink[-2:].any(), "cut off above or below"
    assert not ink[:, :2].any() and not ink[:, -2:].any(), "cut off at a side"


@pytest.mark.parametrize("figure", FIGURES)
def test_undefined_values_of_a_collapsed_model_do_not_stop_a_plot(figure, results, tmp_path):
    content = json.loads((results / TABLES[FIGURES[figure].table]).read_text())
    for row in content["rows"]:
        if row["epoch"] == 12:
            row |= {"value": None, "ci_low": None, "ci_high": None}
    (tmp_path / "rows.json").write_text(json.dumps(content))
    draw(figure, tmp_path / "rows.json", tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 10_000


def test_a_plot_takes_the_trajectories_and_checkpoints_it_is_given(results, tmp_path):
    chosen = ["ga/lr0.0002", "npo/lr0.0002_beta0.1"]
    draw("retain_gap", results / "retain.json", tmp_path / "a.png", "--trajectories", *chosen)
    layers = results / "layers.json"
    draw("layerdrift_by_epoch", layers, tmp_path / "b.png", "--trajectories", *chosen)
    draw("layerdrift_by_method", layers, tmp_path / "c.png", "--models", *LEVELS["light"])
    with pytest.raises(InputError, match="ga/lr9"):
        draw("layerdrift_by_epoch", layers, tmp_path / "d.png", "--trajectories", "ga/lr9")


@pytest.mark.parametrize(
    "figure, choice, why",
    [
        ("retain_gap", ("--models", "x"), "--models: retain_gap does not choose it; allowed: --me"),
        ("layerdrift_by_epoch", ("--metric", "x"), "allowed: --position, --trajectories"),
        ("layerdrift_by_epoch", ("--position", "end"), "found 'end'; allowed: one of last_prompt"),
    ],
)
def test_a_choice_that_a_figure_does_not_have_is_refused(results, tmp_path, figure, choice, why):
    with pytest.raises(InputError, match=why):
        draw(figure, results / TABLES[FIGURES[figure].table], tmp_path / "x.png", *choice)


def test_a_misspelt_setting_of_a_figure_is_refused(results, tmp_path):
    with pytest.raises(InputError, match="--hp: label: unknown key; did you mean labels"):
        draw("retain_gap", results / "retain.json", tmp_path / "x.png", label={})


def texts_of(figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_a_figure_writes_the_labels_and_the_coverage_that_it_is_given(results):
    rows = read_rows(results / "retain.json")
    named = texts_of(retain_gap(rows, PlotSettings(0.9, {"ga": "Up (ascent)"}, "slot_accuracy")))
    assert "Up\n(ascent)" in named and "90 % intervals" in named
    plain = texts_of(retain_gap(rows, PlotSettings(0.95, {}, "slot_accuracy")))
    assert "GA" in plain and "ascent" not in plain and "95 % intervals" in plain


def test_rows_of_another_file_are_refused(results, tmp_path):
    with pytest.raises(InputError):
        draw("quantize_recovery", results / "layers.json", tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_defaults_pick_the_highest_learning_rate_and_the_last_epoch(results):
    rows = read_rows(results / "layers.json")
    strongest = ["ga/lr0.0004", "gd/lr0.0004_lambda1", "npo/lr0.0004_beta0.1"]
    assert strongest_trajectories(rows) == strongest
    assert last_checkpoints(rows) == [f"unlearn/{name}/epoch_12" for name in strongest]
    assert set(last_checkpoints(rows)) <= set(CHECKPOINTS)


def test_many_settings_are_thinned_to_lowest_middle_and_highest(results):
    rows = read_rows(results / "retain.json")
    rows = rows[rows["method"] == "ga"].iloc[:1]
    many = pd.concat(
        rows.assign(model=f"unlearn/ga/lr{rate}/epoch_3", learning_rate=rate)
        for rate in range(1, 6)
    )
    assert settings_by_method(many) == {"ga": ["ga/lr1", "ga/lr3", "ga/lr5"]}


def test_names_are_written_for_people():
    assert trajectory_name("npo/lr0.0002_beta0.1", LABELS) == "NPO, lr 0.0002, β 0.1"


def test_a_figure_depends_on_its_own_module_and_not_on_others():
    modules = {figure.module for figure in FIGURES.values()}
    for own in modules:
        closure = import_closure("workflow_scripts/plot.py", sorted(modules - {own}), ["result"])
        files = {one: f"workflow_scripts/{one.replace('.', '/')}.py" for one in modules}
        assert {one for one in modules if files[one] in closure} == {own}
