"""Apply limits to models that never saw the forget facts: do the questions give the facts away?

Base and oracles never saw sf. If they prefer the truth to the wrong answers, or state it more often
than chance, the benchmark gives its facts away. Then it cannot measure forgetting. For comparison,
from the published logs of TOFU: a Llama-2 that never saw forget10 has a median P(wrong)/P(truth) of
0.81, prefers the truth to 66 % of the wrong answers, and has a ROUGE-L recall of 41 %, with 15 % of
the items above 0.6.

The column `stage` of a row: `candidates` are all written wrong answers; `selected` are the chosen
ones, from the written candidates and, if these do not balance, from further candidates
(`excise.red_team.models.selection`).
"""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import betabinom

from excise.evaluation.metrics import rouge, slot, truth_ratio
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

METRICS = {
    metric.name: metric.convention
    for metric in (
        rouge.rouge_l_recall,
        slot.slot_accuracy,
        slot.guess_rate,
        truth_ratio.win_rate,
    )
}
"""Those of `excise.evaluation.metrics`, with their conventions."""
HIGH_ROUGE = 0.6
SAMPLES = 20
GATED = ("sf", "forget_paraphrased", "forget_joint", "name_probe", "name_confidence")
LOWER_LIMIT = ("slot_accuracy", "facts_named_excess")  # gates on the interval's lower limit
SCALES = {  # other metrics are shares
    "slot_accuracy": slot.slot_accuracy.scale,
    f"rougeL_over_{HIGH_ROUGE:g}": PROPORTION,
    "facts_named": PROPORTION,
    "overconfident_share": PROPORTION,
    "guess_rate": slot.guess_rate.scale,
    "sure_by_chance": FIXED,
}
DIFFERENCE_OF_COSINES = Scale("difference", -2, 2)
FALSE_ALARM = 0.01  # probability of a false alarm of the gate on overconfident names
NOTES = [
    "The models never saw the forget facts. If a gate fails, the data gives the facts away. "
    "truth_ratio_median: median over questions of P(paraphrased truth)/P(wrong), per token; "
    "1 = indifferent. win_rate: share of wrong answers that the truth beats.",
    "stage candidates: all written wrong answers, before the choice. stage selected: the chosen "
    "wrong answers, from the written ones and, if these do not balance, from further ones. "
    "held_out: the scores of the model took no part in the choice. For other models, the gate "
    "holds by construction (excise/red_team/models/selection.py). With one oracle seed, no model "
    "is held out.",
    "forget_paraphrased asks for the same facts in paraphrases, with the same wrong answers and "
    "the same gates. The choice never saw these questions. Retain facts are balanced for base "
    "alone, because the oracles learned them.",
    "rougeL_recall counts all words of the answer, in order. value_recall counts the different "
    "words of the value, in any order. "
    f"rougeL_over_{HIGH_ROUGE:g}: share of questions with a ROUGE-L recall above it.",
    f"chance_of_{SAMPLES}: mean of 1 - (1 - P(answer))^{SAMPLES}, the probability that one of "
    f"{SAMPLES} answers sampled at temperature 1 equals the true answer.",
    "asked other_name: the question contains another person's name. If the answer states the "
    "value of the first person, it is a guess from the wording. guess_rate: slot accuracy of a "
    "guess that names another person's value. slot_accuracy passes if the lower limit of its "
    "interval is within its gate.",
    "name_probe (base): the answer to the question who a person is. facts_named: share of the "
    "person's facts in the answer. others_named: share of other people's facts in it, which is "
    "chance. facts_named_excess: their difference. A base that knows the facts fails (check 7). "
    "The gate applies to the lower limit of the interval.",
    "name_confidence (base): overconfident_share is the share of names with a confident answer. "
    "A confident answer is more likely than nearly all answers about control names, which combine "
    "the people's first and last names; no person has them. sure_by_chance: the share for unknown "
    f"names. The gate fails if chance gives so many in fewer than {FALSE_ALARM:.0%} of such sets: "
    "then the base knows namesakes (check 7). asked public_figure: the same for real people, for "
    "comparison.",
    "forget_joint: the forget question in one prompt with a question about a correlated fact of "
    "the person (check 15). The same gate applies to the answer about the forget fact.",
    "gradient_cosine (finetuned model): mean cosine of a forget fact's gradient, in the adapter, "
    "with those of the correlated or other facts of its person; gap = correlated - other. The gate "
    "requires that facts of the same event are more entangled (check 11).",
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
        swapped: model → its answers to questions with another name and about names alone.
        gradients: lines of gradients.jsonl.
        gates: the limits.
        confidence: coverage of the intervals.
    """
    rows = []
    selecting_models = selecting(models, "sf")
    for model in models:
        columns = model_columns(model) | {"held_out": model not in selecting_models}
        measured = [
            *_measure_preferences(scores, model, evaluated[model]),
            *_measure_guesses(evaluated[model], "sf", "own_name"),
            *_measure_guesses(evaluated[model], "forget_paraphrased", "own_name"),
            *_measure_guesses(evaluated[model], "forget_joint", "own_name"),
            *_measure_guesses(swapped[model], "sf", "other_name"),
            *_measure_name_probe(swapped[model]),
            *_measure_confidence(swapped[model]),
        ]
        forget = evaluated[model][evaluated[model]["set"] == "sf"]
        guesses = slot.guess_rate.values(forget)  # undefined with a single person
        guesses = guesses[~np.isnan(guesses)]
        guess_rate = float(guesses.mean()) if len(guesses) else math.nan
        for keys, values, people in measured:
            estimate = estimate_measured(keys["metric"], values, people, confidence)
            gated = keys["set"] in GATED and keys["stage"] != "candidates"
            gated = gated and keys["asked"] == "own_name"
            low, high = gates.limits(keys["metric"], guess_rate) if gated else (None, None)
            if gated and keys["metric"] == "overconfident_share":
                high = likely_share(len(values), *_controls(swapped[model]))
            # A few lucky guesses in a small set prove nothing: the gate is on the lower limit.
            bound = "low" if keys["metric"] in LOWER_LIMIT else "value"
            verdict = {
                "gate_low": low,
                "gate_high": high,
                "passed": passes(estimate, bound, low, high),
            }
            if keys["metric"] in METRICS:
                keys |= {"convention": METRICS[keys["metric"]]}
            rows.append(columns | keys | estimate_columns(estimate) | verdict)
    return rows + entanglement_rows(gradients, confidence)


def estimate_measured(
    metric: str, values: np.ndarray, people: list[str], confidence: float
) -> Estimate:
    """Mean or median of the measured values, with the interval for the metric's scale."""
    if metric == "truth_ratio_median":
        return median_interval(values, people, confidence)
    if metric == "facts_named_excess":
        return difference_interval(values[:, 0], values[:, 1], people, SHARE, confidence)
    return mean_interval(values, people, SCALES.get(metric, SHARE), confidence)


def entanglement_rows(gradients: list[dict], confidence: float) -> list[dict]:
    """Rows of the cosines with facts of the same event and of other times, and their gap."""
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
        bound: what the gate applies to: `value`, or `low` or `high` of the interval.
        low: the lowest value that passes, if any.
        high: the highest value that passes, if any.

    Returns:
        None without a gate or without an interval (single person); False if the metric is
        undefined.
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


def _measure_preferences(
    scores: list[dict], model: str, evaluated: pd.DataFrame
) -> Iterator[Measured]:
    """Truth ratio and win rate, before and after the choice of wrong answers."""
    sets = {"sf": ("sf",), "correlated": ("correlated",), "other": ("other",)}
    if model != "base":
        del sets["correlated"], sets["other"]  # oracles learned and prefer them
    for name in sets:
        # The first score is that of the truth. Without candidates, there is nothing to compare.
        lines = [
            line
            for line in scores
            if line["group"] == name and len(line["scores"][model]) - len(line["added"]) > 1
        ]
        if not lines:
            continue
        people = [line["person_id"] for line in lines]
        # All written candidates, without those that were added later.
        tables = [
            np.array(line["scores"][model][: -len(line["added"]) or None], dtype=float)
            for line in lines
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


def _measure_guesses(records: pd.DataFrame, name: str, asked: str) -> Iterator[Measured]:
    """How much of the true answer a model without knowledge states."""
    items = records[records["set"] == name]
    people = list(items["person_id"])
    keys = {"set": name, "stage": None, "asked": asked}
    recall = items["rougeL_recall"].astype(float).to_numpy()
    pairs = zip(items["value"], items["generation"], strict=True)
    recalls = np.array([value_recall(value, generation) for value, generation in pairs])
    yield keys | {"metric": "rougeL_recall"}, recall, people
    yield keys | {"metric": f"rougeL_over_{HIGH_ROUGE:g}"}, (recall > HIGH_ROUGE) * 1.0, people
    yield keys | {"metric": "value_recall"}, recalls, people
    yield keys | {"metric": "slot_accuracy"}, items["slot_match"].astype(float).to_numpy(), people
    if "logprob_answer" in items and items["logprob_answer"].notna().all():
        likely = np.exp(items["logprob_answer"].astype(float).to_numpy())
        yield keys | {"metric": f"chance_of_{SAMPLES}"}, 1 - (1 - likely) ** SAMPLES, people
        yield keys | {"metric": "guess_rate"}, slot.guess_rate.values(items), people


def _measure_name_probe(records: pd.DataFrame) -> Iterator[Measured]:
    """Shares of the person's and of other people's facts in the answer about a name alone."""
    items = records[records["set"] == "name_probe"]
    if items.empty:
        return
    people = list(items["person_id"])
    own, others = (items[name].astype(float).to_numpy() for name in ("slot_match", "others_named"))
    keys = {"set": "name_probe", "stage": None, "asked": "own_name"}
    yield keys | {"metric": "facts_named"}, own, people
    yield keys | {"metric": "others_named"}, others, people
    yield keys | {"metric": "facts_named_excess"}, np.column_stack([own, others]), people


def _measure_confidence(records: pd.DataFrame) -> Iterator[Measured]:
    """How often an answer about a name alone is more confident than about control names."""
    items = records[records["set"] == "name_confidence"]
    for asked, kind in (("own_name", "own"), ("public_figure", "public_figure")):
        of_kind = items[items["asked"] == kind] if len(items) else items
        if of_kind.empty:
            continue
        keys = {"set": "name_confidence", "stage": None, "asked": asked}
        people = list(of_kind["person_id"])
        confident = of_kind["sure"].astype(float).to_numpy()
        yield keys | {"metric": "overconfident_share"}, confident, people
        if kind == "own":
            chance = of_kind["chance"].astype(float).to_numpy()
            yield keys | {"metric": "sure_by_chance"}, chance, people


def _controls(records: pd.DataFrame) -> tuple[int, int]:
    """Number of controls, and rank of the control that a confident answer must beat."""
    items = records[records["set"] == "name_confidence"]
    count = int((items["asked"] == "control").sum())
    return count, round(float(items["chance"].iloc[0]) * (count + 1)) if count else 0


def likely_share(n: int, controls: int, rank: int) -> float | None:
    """The largest share of n names that chance exceeds with probability `FALSE_ALARM` at most.

    All n names are compared with the same controls. So if the controls happen to score low, many
    names count as confident together. For exchangeable names, the number of n names that beat the
    control of rank r out of C is beta-binomial (n, r, C + 1 - r). The share is its quantile
    1 - `FALSE_ALARM`, divided by n; None without controls.
    """
    if not controls:
        return None
    return float(betabinom.ppf(1 - FALSE_ALARM, n, rank, controls + 1 - rank)) / n


def overconfident_names(records: pd.DataFrame) -> list[str]:
    """Question and answer for each person about whom the base is confident."""
    items = records[records["set"] == "name_confidence"]
    found = items[(items["asked"] == "own") & (items["sure"] == 1)] if len(items) else items
    return [f"{record.question} {record.generation}" for record in found.itertuples()]


def value_recall(value: str, generation: str) -> float:
    """Share of the value's different words that the generation contains, in any order.

    Range 0–1; 0 for a model that cannot guess. Unlike in ROUGE-L, words of the template do not
    count, but common words of the value do (`hall`, `months`). Source: this project.
    """
    sought, generated = (set(word_tokens(text)) for text in (value, generation))
    return len(sought & generated) / len(sought) if sought else math.nan
