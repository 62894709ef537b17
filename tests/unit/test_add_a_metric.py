"""docs/how-to/add-a-metric.md, followed to the letter in a copy of the programs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import job_settings
from excise.evaluation.results import read_rows
from excise.workflow.imports import import_closure
from synthetic_records import write_study

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/add-a-metric.md").read_text()
FUNCTION, READING = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
PLACE = re.search(r"Put this at the end of `(\S+)`", PAGE)[1]
MODELS = ["finetuned", "oracle/seed_0"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """The programs with the metric of the page in its place, and the table made by them."""
    folder = tmp_path_factory.mktemp("workspace")
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "workflow_scripts", folder / "workflow_scripts", ignore=leave)
    with (folder / PLACE).open("a") as file:
        file.write("\n\n" + FUNCTION)
    write_study(folder / "results", people=4, models=MODELS)
    arguments = ["--eval-dir", "results/eval", "--models", *MODELS, "--experiment", "test"]
    arguments += ["--config", "{}", "--out", "results/eval_results.json"]
    arguments += ["--hp", job_settings.hp("summary_settings")]
    program = [sys.executable, "workflow_scripts/summarize_eval.py", *arguments]
    subprocess.run(program, cwd=folder, check=True)
    return folder


def test_the_metric_of_the_page_is_in_the_table_with_an_interval(workspace):
    rows = read_rows(workspace / "results/eval_results.json")
    rows = rows[rows["metric"] == "reciprocal_rank"]
    assert set(rows["set"]) == {
        "sf",
        "forget_paraphrased",
        "correlated",
        "other",
        "sr",
        "utility",
        "holdout",
    }
    forget = rows[rows["set"] == "sf"].set_index("model")
    assert list(forget.index) == MODELS
    assert (forget["n_people"] == 4).all()
    assert (forget["ci_low"] < forget["value"]).all()
    assert forget.loc["oracle/seed_0", "value"] < forget.loc["finetuned", "value"] <= 1


def test_the_page_reads_the_table_as_it_says(workspace):
    done = subprocess.run(
        [sys.executable, "-c", READING], cwd=workspace, check=True, capture_output=True, text=True
    )
    assert all(model in done.stdout for model in MODELS)


def test_only_tables_are_made_again_for_a_new_metric():
    def closure(program: str) -> list[str]:
        return import_closure(f"workflow_scripts/{program}.py")

    assert PLACE in closure("summarize_eval") and PLACE in closure("summarize_quantize")
    for program in ("evaluate", "quantize", "represent", "compare_retain", "red_team_models"):
        assert PLACE not in closure(program), program


def test_the_page_names_what_is_there():
    for path in re.findall(r"`((?:tables|excise|rules)/[\w/]+\.\w+)`", PAGE):
        places = [ROOT, ROOT / "workflow_scripts", ROOT / "workflow_scripts/excise/evaluation"]
        assert any((place / path).is_file() for place in places), path
