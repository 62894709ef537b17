"""Where each result stands in the report of Snakemake (`make report`): subject, caption, labels.

The report holds how the results were made: jobs, commands, times and config. Every job imports
this module, so it must not import torch.
"""

from excise.plots.figures import FIGURES

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


def place_of(result: str, kind: str, where: str = "") -> dict:
    """Arguments of Snakemake's `report` for a result file.

    Args:
        result: its stem, which is the name of its caption too.
        kind: what the file is, such as table.
        where: folder below the results: `audit/` for tables of the audited models, or nothing.

    Raises:
        KeyError: the result has no subject.
    """
    return {
        "category": "Audited models" if where else SUBJECTS[result],
        "caption": f"{CAPTIONS}/{result}.rst",
        "labels": {"result": f"{where}{result}", "kind": kind},
    }


def place_of_layers(where: str = "") -> dict:
    """The same for tables of hidden states, whose names are wildcards `table`."""
    place = place_of("repr_results", "table", where)
    return place | {"labels": {"result": f"{where}{{table}}", "kind": "table"}}


def place_of_figures() -> dict:
    """The same for figures, whose names are wildcards `figure`: the subject is their table's."""
    return {
        "category": lambda wildcards: SUBJECTS[FIGURES[wildcards.figure].table],
        "caption": f"{CAPTIONS}/figure.rst",
        "labels": {"result": "{figure}", "kind": "figure"},
    }
