"""Where each result stands in the report of Snakemake (`make report`): subject, caption, labels.

The report holds how the results were made: jobs, commands, times and config. Every job imports
this module, so it must not import torch.
"""

from pathlib import Path

from excise.plots.figures import FIGURES

ROOT = Path(__file__).parents[3]
CAPTIONS = "../report"
"""Folder of the captions, relative to the rules."""

SUBJECTS = {
    "report": "Whole study",
    "findings": "Whole study",
    "eval_results": "Forgetting and damage",
    "sweep_results": "Forgetting and damage",
    "distance_results": "Forgetting and damage",
    "retain_compare_results": "Forgetting and damage",
    "comparison_results": "Forgetting and damage",
    "quantize_results": "Quantization",
    "relearn_results": "Relearning",
    "repr_results": "Hidden states",
    "repr_layers": "Hidden states",
    "depth_results": "Hidden states",
    "update_results": "Updates and forecast",
    "forecast_results": "Updates and forecast",
    "data_report": "Benchmark",
    "diversity_report": "Benchmark",
    "red_team_models": "Benchmark",
    "red_team_judge": "Benchmark",
}
"""Stem of a result file → subject; tables of one layer of hidden states have the stem of theirs."""
OTHER_SUBJECT = "Further results"
"""Subject of a table that is not in `SUBJECTS`: one that a user added."""
OTHER_CAPTION = "result"
"""Stem of the caption of a result without its own."""


def place_of(result: str, kind: str) -> dict:
    """Arguments of Snakemake's `report` for a result file.

    Args:
        result: its path below the results without the suffix: `eval_results`, or
            `audit/eval_results` for a table of the audited models. The stem names the caption.
        kind: what the file is, such as table.
    """
    folder, _, stem = result.rpartition("/")
    own = (ROOT / "report" / f"{stem}.rst").exists()
    return {
        "category": "Audited models" if folder else SUBJECTS.get(stem, OTHER_SUBJECT),
        "caption": f"{CAPTIONS}/{stem if own else OTHER_CAPTION}.rst",
        "labels": {"result": result, "kind": kind},
    }


def place_of_layers(where: str = "") -> dict:
    """The same for tables of hidden states, whose names are wildcards `table`."""
    place = place_of(f"{where}repr_results", "table")
    return place | {"labels": {"result": f"{where}{{table}}", "kind": "table"}}


def place_of_figures() -> dict:
    """The same for figures, whose names are wildcards `figure`: the subject is their table's."""
    return {
        "category": lambda wildcards: SUBJECTS.get(FIGURES[wildcards.figure].table, OTHER_SUBJECT),
        "caption": f"{CAPTIONS}/figure.rst",
        "labels": {"result": "{figure}", "kind": "figure"},
    }
