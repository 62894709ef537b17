"""What models that never saw the forget facts make of the questions: does the data give them away?

Base and oracles never saw sf. If they prefer the truth among the wrong answers, or say it more
often than chance, the benchmark tells what it asks for and forgetting cannot be measured on it.
Anchors, from the logs TOFU's authors published: a Llama-2 that never saw forget10 has a median
P(wrong)/P(truth) of 0.81, prefers the truth to 66 % of the wrong answers, and says 41 % of
the answers' words (ROUGE-L recall), 15 % of the items above 0.6.

Pure: records in, rows out. What a row's `stage` means: `candidates`, all wrong answers that were
written; `selected`, the chosen ones, of the written and, where these did not balance, of further
ones (`excise.red_team.models.selection`).
"""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import betabinom

from excise.evaluation.metrics import slot, truth_ratio
from excise.evaluation.results import estimate_columns, model_columns
from excise.evaluation.statistics import (
    COSINE,
    FIXED,
    PROPORTION,
    SHARE,
    Estimate,
    Scale,
    difference_interval,
    mean_interval,
    median_interval,
)
from excise.red_team.models.selection import selecting
from excise.red_team.settings import Gates
from excise.text.unicode import word_tokens

HIGH_ROUGE = 0.6
SAMPLES = 20
GATED = ("sf", "forget_paraphrased", "forget_joint", "name_probe", "name_confidence")
LUCKY = ("slot_accuracy", "facts_named_excess")  # held to the lower end of the interval
SCALES = {  # of the others: shares
    "slot_accuracy": slot.slot_accuracy.scale,
    f"rougeL_over_{HIGH_ROUGE:g}": PROPORTION,
    "facts_named": PROPORTION,
    "overconfident_share": PROPORTION,
    "guess_rate": slot.guess_rate.scale,
    "sure_by_chance": FIXED,
}
DIFFERENCE_OF_COSINES = Scale("difference", -2, 2)
UNLIKELY = 0.01  # chance of the gate on sure answers to fail for nothing
NOTES = [
    "Models that never saw the forget facts; a gate that fails says that the data gives the facts "
    "away. truth_ratio_median: median over questions of P(paraphrased truth)/P(wrong), per token; "
    "1 = indifferent. win_rate: share of wrong answers that the truth beats.",
    "stage candidates: before, all wrong answers that were written; selected: after, those chosen "
    "from them and, where they did not balance, from further ones. held_out: the model's scores "
    "took no part in the choice; for the others the gate holds by construction "
    "(excise/red_team/models/selection.py). With a single oracle seed no model is held out.",
    "forget_paraphrased asks the same facts in held-out words with the same wrong answers: the "
    "choice never saw these questions; the same gates. Retain facts are balanced for base "
    "alone: oracles learned them.",
    "rougeL_recall counts every word of the answer, in order; value_recall the value's own "
    "different words, in any order. "
    f"rougeL_over_{HIGH_ROUGE:g}: share of questions with a ROUGE-L recall above it.",
    f"chance_of_{SAMPLES}: mean of 1 - (1 - P(answer))^{SAMPLES}: how likely one of {SAMPLES} "
    "answers sampled at temperature 1 is the true one, word for word.",
    "asked other_name: the question with another person's name in it. What is said there about the "
    "first one's value is guessed from the wording. guess_rate: naming another person's value. "
    "slot_accuracy passes if the lower limit of its interval lies within its gate.",
    "name_probe (base): what it says when asked who a person is. others_named: share of other "
    "people's facts in it, that is chance; facts_named_excess: facts_named, the share of "
    "the person's own, minus that. A base that knows the facts fails (check 7); the "
    "interval's lower limit is held to the gate.",
    "name_confidence (base): overconfident_share is the share of names about which its answer is "
    "likelier than nearly all of its answers about names combined anew from the people's, "
    "which nobody has; sure_by_chance is what that gives for a name it does not know. The "
    f"gate fails if chance gives so many in fewer than {UNLIKELY:.0%} of such sets: it knows "
    "namesakes (check 7). asked public_figure: the same of real people, which is what this "
    "base would notice of them.",
    "forget_joint: the forget question in one prompt with one about a correlated fact of the "
    "person (check 15); what such a model says of the forget fact there is held to the same gate.",
    "gradient_cosine (finetuned model): mean cosine of a forget fact's gradient in the adapter "
    "with those of its person's correlated or other facts; gap = correlated - other. The gate asks "
    "that facts of the same event are the more entangled ones (check 11).",
    "TOFU, a Llama-2 that never saw forget10: median truth ratio 1.23 (0.81 in TOFU's direction), "
    "win rate 0.66, ROUGE-L recall 0.41, 15 % above 0.6.",
]


def gate_rows(
    models: list[str],
    scores: list[dict],
    evaluated: dict[str, pd.DataFrame],
    swapped: dict[str, pd.DataFrame],
    gradients: list[dict],
    gates: Gates,
    confidence: float = 0.95,
) -> list[dict]:
    """Rows of the result file.

    Args:
        models: base and oracles.
        scores: lines of candidate_scores.jsonl.
        evaluated: model → its evaluation records.
        swapped: model → its answers to questions with another name.
        gradients: lines of gradients.jsonl.
        gates: what passes.
        confidence: coverage of the intervals.
    """
    rows = []
    chosen_by = selecting(models, "sf")
    for model in models:
        columns = model_columns(model) | {"held_out": model not in chosen_by}
        measured = [
            *_preferences(scores, model, evaluated[model]),
            *_guesses(evaluated[model], "sf", "own_name"),
            *_guesses(evaluated[model], "forget_paraphrased", "own_name"),
            *_guesses(evaluated[model], "forget_joint", "own_name"),
            *_guesses(swapped[model], "sf", "other_name"),
            *_who_is(swapped[model]),
            *_sure(swapped[model]),
        ]
        forget = evaluated[model][evaluated[model]["set"] == "sf"]
        guesses = slot.guess_rate.values(forget)  # undefined where there is one person alone
        guesses = guesses[~np.isnan(guesses)]
        guess_rate = float(guesses.mean()) if len(guesses) else math.nan
        for keys, values, people in measured:
            estimate = estimate_measured(keys["metric"], values, people, confidence)
            gated = keys["set"] in GATED and keys["stage"] != "candidates"
            gated = gated and keys["asked"] == "own_name"
            low, high = gates.limits(keys["metric"], guess_rate) if gated else (None, None)
            if gated and keys["metric"] == "overconfident_share":
                high = likely_share(len(values), *_controls(swapped[model]))
            # A few lucky guesses in a small set prove nothing: the limit is on the lower end.
            bound = "low" if keys["metric"] in LUCKY else "value"
            verdict = {
                "gate_low": low,
                "gate_high": high,
                "passed": passes(estimate, bound, low, high),
            }
            rows.append(columns | keys | estimate_columns(estimate) | verdict)
    return rows + entanglement_rows(gradients, confidence)


def estimate_measured(
    metric: str, values: np.ndarray, people: list[str], confidence: float
) -> Estimate:
    """The mean or median of the measured values, with the interval for the metric's scale."""
    if metric == "truth_ratio_median":
        return median_interval(values, people, confidence)
    if metric == "facts_named_excess":
        return difference_interval(values[:, 0], values[:, 1], people, SHARE, confidence)
    return mean_interval(values, people, SCALES.get(metric, SHARE), confidence)


def entanglement_rows(gradients: list[dict], confidence: float) -> list[dict]:
    """Cosines with the facts of the same event and of the rest of the life, and their gap."""
    people = [line["person_id"] for line in gradients]
    near, far = (
        np.array([line[group] for line in gradients], dtype=float)
        for group in ("correlated", "other")
    )
    keys = {"held_out": None, "stage": None, "asked": None, "metric": "gradient_cosine"}
    rows = []
    for name, values, low in (
        ("correlated", near, None),
        ("other", far, None),
        ("gap", near - far, 0.0),
    ):
        scale = DIFFERENCE_OF_COSINES if name == "gap" else COSINE
        estimate = mean_interval(values, people, scale, confidence)
        passed = passes(estimate, "high", low, None)
        verdict = {"gate_low": low, "gate_high": None, "passed": passed}
        columns = model_columns("finetuned") | {"set": name} | keys
        rows.append(columns | estimate_columns(estimate) | verdict)
    return rows


def passes(estimate: Estimate, bound: str, low: float | None, high: float | None) -> bool | None:
    """Whether a metric lies within its gate.

    Args:
        estimate: of the metric.
        bound: what is held to the gate: `value`, or `low` or `high` of its interval.
        low: the lowest value that passes, if there is one.
        high: the highest.

    Returns:
        None without a gate, and where the interval is not known, as with a single person; False
        where the metric is undefined.
    """
    if low is None and high is None:
        return None
    if estimate.value is None:
        return False
    value = getattr(estimate, bound)
    if value is None:
        return None
    return (low is None or value >= low) and (high is None or value <= high)


def failures(rows: list[dict]) -> list[str]:
    """One phrase per failed gate."""
    return [
        f"{row['model']}: {row['metric']} on {row['set']} is {_number(row['value'])}, allowed "
        f"{_range(row['gate_low'], row['gate_high'])}"
        for row in rows
        if row["passed"] is False
    ]


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {high:.3f}"
    return f"at least {low:.3f}" if high is None else f"{low:.3f} to {high:.3f}"


Measured = tuple[dict, np.ndarray, list[str]]  # keys, a value (or two) per question, its person


def _preferences(scores: list[dict], model: str, evaluated: pd.DataFrame) -> Iterator[Measured]:
    """Truth ratio and win rate, before and after the choice of wrong answers."""
    sets = {"sf": ("sf",), "correlated": ("correlated",), "other": ("other",)}
    if model != "base":
        del sets["correlated"], sets["other"]  # learned, so of course preferred
    for name in sets:
        # The truth's score comes first, then the candidates'. A single score has no rival.
        own = [
            line
            for line in scores
            if line["group"] == name and len(line["scores"][model]) - len(line["added"]) > 1
        ]
        if not own:
            continue
        people = [line["person_id"] for line in own]
        # All that were written, and none of those that were drawn because the written ones failed.
        tables = [
            np.array(line["scores"][model][: -len(line["added"]) or None], dtype=float)
            for line in own
        ]
        ratios = np.exp([table[0] - table[1:].mean() for table in tables])
        wins = np.array([(np.sign(table[0] - table[1:]) / 2 + 0.5).mean() for table in tables])
        keys = {"set": name, "stage": "candidates", "asked": "own_name"}
        yield keys | {"metric": "truth_ratio_median"}, ratios, people
        yield keys | {"metric": "win_rate"}, wins, people
    for name in [*sets, "forget_paraphrased"]:
        items = truth_ratio.truth_ratio.defined_on(evaluated[evaluated["set"] == name])
        if items.empty:
            continue
        people = list(items["person_id"])
        keys = {"set": name, "stage": "selected", "asked": "own_name"}
        yield keys | {"metric": "truth_ratio_median"}, truth_ratio.truth_ratio.values(items), people
        yield keys | {"metric": "win_rate"}, truth_ratio.win_rate.values(items), people


def _guesses(records: pd.DataFrame, name: str, asked: str) -> Iterator[Measured]:
    """How much of the true answer is said without knowing it."""
    items = records[records["set"] == name]
    people = list(items["person_id"])
    keys = {"set": name, "stage": None, "asked": asked}
    rouge = items["rougeL_recall"].astype(float).to_numpy()
    pairs = zip(items["value"], items["generation"], strict=True)
    recalls = np.array([value_recall(value, said) for value, said in pairs])
    yield keys | {"metric": "rougeL_recall"}, rouge, people
    yield keys | {"metric": f"rougeL_over_{HIGH_ROUGE:g}"}, (rouge > HIGH_ROUGE) * 1.0, people
    yield keys | {"metric": "value_recall"}, recalls, people
    yield keys | {"metric": "slot_accuracy"}, items["slot_match"].astype(float).to_numpy(), people
    if "logprob_answer" in items and items["logprob_answer"].notna().all():
        likely = np.exp(items["logprob_answer"].astype(float).to_numpy())
        yield keys | {"metric": f"chance_of_{SAMPLES}"}, 1 - (1 - likely) ** SAMPLES, people
        yield keys | {"metric": "guess_rate"}, slot.guess_rate.values(items), people


def _who_is(records: pd.DataFrame) -> Iterator[Measured]:
    """How many of the person's own facts are said of a name alone, and how many of others'."""
    items = records[records["set"] == "name_probe"]
    if items.empty:
        return
    people = list(items["person_id"])
    own, others = (items[name].astype(float).to_numpy() for name in ("slot_match", "others_named"))
    keys = {"set": "name_probe", "stage": None, "asked": "own_name"}
    yield keys | {"metric": "facts_named"}, own, people
    yield keys | {"metric": "others_named"}, others, people
    yield keys | {"metric": "facts_named_excess"}, np.column_stack([own, others]), people


def _sure(records: pd.DataFrame) -> Iterator[Measured]:
    """How often an answer about a name alone is surer than about names that nobody has."""
    items = records[records["set"] == "name_confidence"]
    for asked, kind in (("own_name", "own"), ("public_figure", "public_figure")):
        own = items[items["asked"] == kind] if len(items) else items
        if own.empty:
            continue
        keys = {"set": "name_confidence", "stage": None, "asked": asked}
        people = list(own["person_id"])
        yield keys | {"metric": "overconfident_share"}, own["sure"].astype(float).to_numpy(), people
        if kind == "own":
            chance = own["chance"].astype(float).to_numpy()
            yield keys | {"metric": "sure_by_chance"}, chance, people


def _controls(records: pd.DataFrame) -> tuple[int, int]:
    """How many controls there are, and the rank of the one that an answer must beat to be sure."""
    items = records[records["set"] == "name_confidence"]
    count = int((items["asked"] == "control").sum())
    return count, round(float(items["chance"].iloc[0]) * (count + 1)) if count else 0


def likely_share(n: int, controls: int, rank: int) -> float | None:
    """The largest share of n names that is not above what chance gives but in `UNLIKELY` cases.

    All n are held against the same controls, so that they are sure together if these happen to be
    unsure: of exchangeable names, how many of n beat the r-th of C is beta-binomial (n, r,
    C + 1 - r). Its quantile 1 - `UNLIKELY`, by n; None without controls.
    """
    if not controls:
        return None
    return float(betabinom.ppf(1 - UNLIKELY, n, rank, controls + 1 - rank)) / n


def sure_names(records: pd.DataFrame) -> list[str]:
    """The people of whom the base is sure: question and answer."""
    items = records[records["set"] == "name_confidence"]
    sure = items[(items["asked"] == "own") & (items["sure"] == 1)] if len(items) else items
    return [f"{one.question} {one.generation}" for one in sure.itertuples()]


def value_recall(value: str, generation: str) -> float:
    """Share of the value's different words that stand in the generation, in any order.

    Range 0–1; 0 for a model that cannot guess. No template word counts, unlike in ROUGE-L, but
    a value's common words do (`hall`, `months`). Source: this project.
    """
    sought, said = (set(word_tokens(text)) for text in (value, generation))
    return len(sought & said) / len(sought) if sought else math.nan
