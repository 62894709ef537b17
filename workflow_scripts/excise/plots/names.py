"""How figures and the report write models, methods, sets and metrics. No matplotlib."""

import unicodedata
from collections.abc import Mapping

from excise.evaluation.results import settings_columns
from excise.unlearning.axes import SHORT

METHODS = ("ga", "gd", "npo", "simnpo", "idk_dpo", "rmu", "task_vector")  # for their colours
SET_NAMES = {
    "sf": "forget",
    "correlated": "correlated retain",
    "other": "other retain",
    "sr": "retain",
    "utility": "utility",
}
METRIC_NAMES = {
    "slot_accuracy": "slot accuracy",
    "slot_accuracy_strict": "slot accuracy, as spelled",
    "rougeL_recall": "ROUGE-L recall",
    "rougeL_f1": "ROUGE-L F1",
    "probability": "answer probability",
    "win_rate": "win rate of the truth",
}
COLORS = 10
"""Number of colours in the palette of the house (seaborn's colour-blind one)."""


def color_number(method: str) -> int:
    """Place of a method's colour in the palette: one per method, the same in every figure."""
    known = len(METHODS)
    rest = sum(map(ord, method)) % (COLORS - known) + known
    return METHODS.index(method) if method in METHODS else rest


def method_name(method: str, labels: Mapping[str, str]) -> str:
    """How a method is written: `GA (gradient ascent)`; without a label in capitals."""
    return labels.get(method, method.upper())


def audited_name(model: str) -> str:
    """`audit/theirs` → `theirs (audited)`."""
    return f"{model.removeprefix('audit/')} (audited)"


def trajectory_of(model: str) -> str:
    """`unlearn/ga/lr0.0002/epoch_5` → `ga/lr0.0002`."""
    return "/".join(model.removeprefix("unlearn/").split("/")[:2])


def trajectory_name(trajectory: str, labels: Mapping[str, str]) -> str:
    """`npo/lr0.0002_beta0.1` → `NPO, lr 0.0002, β 0.1`."""
    method, settings = trajectory.split("/")
    return f"{method_name(method, labels).split(' (')[0]}, {settings_name(settings)}"


def settings_name(settings: str) -> str:
    """`lr0.0002_beta0.1` → `lr 0.0002, β 0.1`."""
    pairs = settings_columns(settings).items()
    return ", ".join(f"{symbol(SHORT.get(name, name))} {value:g}" for name, value in pairs)


def symbol(name: str) -> str:
    """How a hyperparameter is written: `beta` → β, `lr` → lr, `steps_kept` → steps kept."""
    try:  # Unicode writes lambda as lamda
        return unicodedata.lookup(f"GREEK SMALL LETTER {name.replace('lambda', 'lamda')}")
    except KeyError:
        return name.replace("_", " ")
