"""All figures by name: the table that each shows, and the module with the function of its name.

A new figure is a function `<name>(rows, settings)` in a module of this package, and a line here.
Further arguments of the function have defaults; `plot.py` takes them by hand.
"""

from typing import NamedTuple


class Figure(NamedTuple):
    """What a figure shows, and who draws it.

    Attributes:
        table: stem of a result file.
        module: dotted name; rules name its files, and not those of the other figures, as inputs.
        audit: the table of an audit that it can show; None: none.
    """

    table: str
    module: str
    audit: str | None = None


FIGURES = {
    "forget_vs_retain": Figure("sweep_results", "excise.plots.forgetting", "eval_results"),
    "retain_gap": Figure("retain_compare_results", "excise.plots.forgetting"),
    "matched_retention": Figure("comparison_results", "excise.plots.comparisons"),
    "quantize_recovery": Figure("quantize_results", "excise.plots.forgetting", "quantize_results"),
    "relearning_curves": Figure("relearn_results", "excise.plots.relearning"),
    "layerdrift_by_epoch": Figure("repr_layers", "excise.plots.drift"),
    "layerdrift_by_method": Figure("repr_layers", "excise.plots.drift", "repr_layers"),
    "depth_by_layer": Figure("depth_results", "excise.plots.depth"),
}
