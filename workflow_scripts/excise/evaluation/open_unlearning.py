"""An evaluated model in the files of open-unlearning's evaluator for TOFU.

Names, nesting and formulas are those of locuslab/open-unlearning at commit d3d7cf9 (`src/evals`,
`configs/eval/tofu_metrics`). Each metric is `{agg_value, value_by_index}`; the index is the row in
our exported dataset (`<results>/dataset/tofu/`), counted from 0. Where a convention of ours
differs, the value is computed anew from log-probabilities and texts. What cannot be computed so is
left out, with its reason.

| open-unlearning | here |
|---|---|
| `avg_loss`: mean over the answer's tokens and end-of-turn, in nats | the same tokens |
| `mia_min_k…`, `extraction_strength`, `exact_memorization`: without end-of-turn | the same |
| truth ratio: P(wrong) / (P(paraphrase) + 1e-10), P(wrong) the geometric mean | computed anew |
| ROUGE: `rouge_score`, stemmed, of at most 200 tokens | computed anew from the generation |
| `ra_*`, `wf_*`: the answer worded like the wrong ones | our paraphrased answer, as exported |
| one retain model | the first oracle |
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pandas as pd
from rouge_score.rouge_scorer import RougeScorer
from scipy.stats import hmean, ks_2samp

from excise.benchmark.export import AUTHORS
from excise.benchmark.items import Item
from excise.evaluation.metrics.membership import (
    area_under_roc,
    excess_loss,
    loss,
    loss_zlib,
    min_k,
    min_k_plus_plus,
)
from excise.evaluation.metrics.memorization import exact_memorization, extraction_strength_ou

GENERATED_TOKENS = 200
"""Longest generation of open-unlearning (`configs/generation/default.yaml`)."""
SMALL = 1e-10
"""What open-unlearning adds to denominators."""
NOT_MADE = {
    "forget_Q_A_gibberish": "needs a classifier that is downloaded (gibberish detector)",
    "mia_gradnorm": "the gradient of an adapter is not the gradient of all weights",
}
"""Metrics of open-unlearning that are never exported → why."""
UTILITY_PARTS = (
    *("retain_Q_A_Prob", "retain_Q_A_ROUGE", "retain_Truth_Ratio"),
    *("ra_Q_A_Prob_normalised", "ra_Q_A_ROUGE", "ra_Truth_Ratio"),
    *("wf_Q_A_Prob_normalised", "wf_Q_A_ROUGE", "wf_Truth_Ratio"),
)
"""The parts of `model_utility`, in open-unlearning's order."""
OF_SETS = {"forget": ("sf",), "retain": ("correlated", "other")}
NO_RETAIN = "no oracle, so no retain model"
NO_HOLDOUT = "no held-out people (generation.holdout: 0)"


class LeftOutError(Exception):
    """A metric cannot be given; the message says why."""


@dataclass
class Exported:
    """The files of one model.

    Attributes:
        metrics: name → `agg_value` and `value_by_index`, content of `TOFU_EVAL.json`.
        left_out: name → why it is not among them.
    """

    metrics: dict[str, dict] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=lambda: dict(NOT_MADE))

    @property
    def summary(self) -> dict[str, float]:
        """Content of `TOFU_SUMMARY.json`: name → `agg_value`."""
        return {name: metric["agg_value"] for name, metric in self.metrics.items()}


def export_model(
    records: pd.DataFrame,
    asked: Mapping[str, Item],
    max_new_tokens: int,
    retain: pd.DataFrame | None = None,
) -> Exported:
    """Everything that open-unlearning's TOFU evaluator reports, as far as our records give it.

    Args:
        records: of one model, with the columns of tokens (`tables.evaluation.read_answers`).
        asked: id → question, with paraphrased and wrong answers.
        max_new_tokens: longest generation of ours.
        retain: records of the model that never saw the forget facts; None: there is none.
    """
    made = Exported()
    rows = Rows(records, asked)

    def put(name: str, compute: Callable[[], dict]) -> None:
        try:
            made.metrics[name] = defined(compute())
        except LeftOutError as reason:
            made.left_out[name] = str(reason)

    for name in ("forget", "retain", "ra", "wf"):
        for metric, compute in _answers(rows, name, max_new_tokens).items():
            put(metric, compute)
    for metric in (extraction_strength_ou, exact_memorization):
        name = metric.name.removesuffix("_ou")
        put(name, lambda metric=metric: scored(rows.of("forget"), metric.values))
    attacks = {
        "mia_loss": loss.values,
        "mia_zlib": loss_zlib.values,
        "mia_min_k": lambda items: -min_k.values(items),
        "mia_min_k_plus_plus": lambda items: -min_k_plus_plus.values(items),
    }
    if retain is not None:
        attacks["mia_reference"] = lambda items: excess_loss.values(items, [retain])
    else:
        made.left_out["mia_reference"] = NO_RETAIN
    for name, scores in attacks.items():
        put(name, lambda scores=scores: attack(rows, scores))
    put("forget_quality", lambda: forget_quality(rows, retain, asked))
    put("privleak", lambda: privleak(made, retain, asked, attacks["mia_min_k"]))
    put("model_utility", lambda: model_utility(made))
    return made


class Rows:
    """The questions of a model, as rows of the exported dataset."""

    def __init__(self, records: pd.DataFrame, asked: Mapping[str, Item]) -> None:
        self.records, self.asked = records, asked

    def of(self, name: str) -> pd.DataFrame:
        """The rows of `forget`, `retain`, `ra`, `wf` or `holdout`, in the dataset's order.

        Questions without wrong answers are not exported (`benchmark.export.tofu_rows`).

        Raises:
            LeftOutError: there are none, or they were not all asked.
        """
        wanted = [item.id for item in self.asked.values() if _belongs(item, name)]
        if not wanted:
            raise LeftOutError(NO_HOLDOUT if name == "holdout" else f"no questions of {name}")
        if not set(wanted) <= set(self.records.index):
            raise LeftOutError(f"the model was not asked all questions of {name}")
        return self.records.loc[wanted]

    def wrong_answers(self, name: str) -> int:
        """Their number, the same for all rows of a file."""
        items = [item for item in self.asked.values() if _belongs(item, name)]
        return min(len(item.wrong_answers) for item in items)


def _belongs(item: Item, name: str) -> bool:
    if name == "holdout":
        return item.set == "holdout"
    if name in OF_SETS:
        return item.set in OF_SETS[name] and bool(item.wrong_answers)
    is_author = item.slot == AUTHORS
    return item.set == "utility" and bool(item.wrong_answers) and is_author == (name == "ra")


def _answers(rows: Rows, name: str, max_new_tokens: int) -> dict[str, Callable[[], dict]]:
    """Name → the metrics about the answers to one file of questions."""
    real = name in ("ra", "wf")
    true = "paraphrase" if real else "answer"  # exported as `answer`
    found: dict[str, Callable[[], dict]] = {
        f"{name}_Q_A_Prob": lambda: probability(rows.of(name), true),
        f"{name}_Q_A_ROUGE": lambda: rouge(rows, name, max_new_tokens, true),
        f"{name}_Q_A_PERT_Prob": lambda: wrong_probability(rows, name),
    }
    if real:
        found[f"{name}_Q_A_Prob_normalised"] = lambda: among_options(rows, name)
    if name == "forget":
        for short, against in (("PARA", "paraphrase"), ("PERT", "wrong")):
            found[f"forget_Q_A_{short}_ROUGE"] = lambda against=against: rouge(
                rows, name, max_new_tokens, against
            )
    if not real:
        found[f"{name}_Q_A_PARA_Prob"] = lambda: probability(rows.of(name), "paraphrase")
    ratio = "forget_truth_ratio" if name == "forget" else f"{name}_Truth_Ratio"
    found[ratio] = lambda: truth_ratio(rows, name)
    return found


def _losses(items: pd.DataFrame, answer: str) -> np.ndarray:
    """−log P per token of the true or the paraphrased answer, in nats, (n,)."""
    sums, counts = (items[f"{kind}_{answer}"].astype(float) for kind in ("logprob", "n_tokens"))
    return -(sums / counts).to_numpy()


def _wrong_losses(rows: Rows, name: str) -> np.ndarray:
    """The same of the wrong answers, (n, wrong answers)."""
    items, count = rows.of(name), rows.wrong_answers(name)
    sums, counts = (
        np.array([one[:count] for one in items[f"{kind}_wrong"]], dtype=float)
        for kind in ("logprob", "n_tokens")
    )
    return -sums / counts


def _by_index(values: Sequence[dict]) -> dict[str, dict]:
    return {str(index): value for index, value in enumerate(values)}


def scored(items: pd.DataFrame, scores: Callable[[pd.DataFrame], np.ndarray]) -> dict:
    """One score per question, and their mean."""
    values = scores(items)
    by_index = _by_index([{"score": float(value)} for value in values])
    return {"agg_value": float(np.mean(values)), "value_by_index": by_index}


def probability(items: pd.DataFrame, answer: str) -> dict:
    """`probability`: exp(−avg_loss), and its mean."""
    losses = _losses(items, answer)
    found = [{"prob": float(np.exp(-one)), "avg_loss": float(one)} for one in losses]
    return {"agg_value": float(np.exp(-losses).mean()), "value_by_index": _by_index(found)}


def wrong_probability(rows: Rows, name: str) -> dict:
    """`probability` of several answers: lists, and the mean over answers, then over questions."""
    losses = _wrong_losses(rows, name)
    found = [{"prob": np.exp(-one).tolist(), "avg_loss": one.tolist()} for one in losses]
    mean = float(np.exp(-losses).mean(axis=1).mean())
    return {"agg_value": mean, "value_by_index": _by_index(found)}


def among_options(rows: Rows, name: str) -> dict:
    """`probability_w_options`: p / (p + Σ p_wrong)."""
    true = np.exp(-_losses(rows.of(name), "paraphrase"))
    wrong = np.exp(-_wrong_losses(rows, name)).sum(axis=1)
    values = true / (true + wrong + SMALL)
    found = [{"prob": float(value)} for value in values]
    return {"agg_value": float(values.mean()), "value_by_index": _by_index(found)}


def truth_ratios(rows: Rows, name: str) -> np.ndarray:
    """P(wrong) / (P(paraphrase) + 1e-10), P(wrong) the geometric mean; (n,), 0 to ∞."""
    wrong = np.exp(-_wrong_losses(rows, name).mean(axis=1))
    return wrong / (np.exp(-_losses(rows.of(name), "paraphrase")) + SMALL)


def truth_ratio(rows: Rows, name: str) -> dict:
    """`truth_ratio`; the mean of min(R, 1/R) on forget questions, of max(0, 1 − R) elsewhere."""
    values = truth_ratios(rows, name)
    if name == "forget":
        mean = np.minimum(values, 1 / (values + SMALL)).mean()
    else:
        mean = np.maximum(0, 1 - values).mean()
    found = [{"score": float(value)} for value in values]
    return {"agg_value": float(mean), "value_by_index": _by_index(found)}


@cache
def _scorer() -> RougeScorer:
    return RougeScorer(["rouge1", "rougeL"], use_stemmer=True)


def rouge(rows: Rows, name: str, max_new_tokens: int, against: str) -> dict:
    """`rouge`: ROUGE-L recall of the generation, with ROUGE-1 recall and ROUGE-L F1 beside it.

    Args:
        rows: of the model.
        name: which questions.
        max_new_tokens: longest generation.
        against: the `answer`, the `paraphrase` or the `wrong` answers; of several there are lists,
            and the mean is over them, then over questions.

    Raises:
        LeftOutError: nothing was generated, or open-unlearning would cut generations elsewhere.
    """
    items = rows.of(name)
    if "generation" not in items:
        raise LeftOutError("nothing was generated")
    cut = int((~items["stopped"].astype(bool)).sum())
    if max_new_tokens > GENERATED_TOKENS or (cut and max_new_tokens < GENERATED_TOKENS):
        what = f"{cut} generations were cut at {max_new_tokens} tokens" if cut else "longer answers"
        raise LeftOutError(
            f"{what}; open-unlearning cuts at {GENERATED_TOKENS}: set "
            f"evaluation.max_new_tokens: {GENERATED_TOKENS}"
        )
    found = []
    for key, generation in items["generation"].items():
        item = rows.asked[key]
        if against == "wrong":
            count = rows.wrong_answers(name)
            each = [_overlap(item, one, generation) for one in item.wrong_answers[:count]]
            found.append({key: [one[key] for one in each] for key in each[0]})
        else:
            truth = item.answer if against == "answer" else item.paraphrased_answer
            found.append(_overlap(item, truth or "", generation))
    mean = float(np.mean([np.mean(one["rougeL_recall"]) for one in found]))
    return {"agg_value": mean, "value_by_index": _by_index(found)}


def _overlap(item: Item, truth: str, generation: str) -> dict:
    """What open-unlearning stores of one generation and one answer."""
    scores = _scorer().score(truth, generation)
    return {
        "rouge1_recall": scores["rouge1"].recall,
        "rougeL_f1": scores["rougeL"].fmeasure,
        "rougeL_recall": scores["rougeL"].recall,
        "input": item.question,
        "ground_truth": truth,
        "generation": generation,
    }


def attack(rows: Rows, scores: Callable[[pd.DataFrame], np.ndarray]) -> dict:
    """An MIA attack: scores of both sets, and their AUC; 1 = forget facts are clearly members.

    Args:
        rows: of the model.
        scores: a higher score = less likely a member.
    """
    found = {name: scored(rows.of(name), scores) for name in ("forget", "holdout")}
    sides = [
        [one["score"] for one in found[name]["value_by_index"].values()]
        for name in ("forget", "holdout")
    ]
    area = area_under_roc(*(-np.array(side) for side in sides))
    return {**found, "auc": area, "agg_value": area}


def forget_quality(rows: Rows, retain: pd.DataFrame | None, asked: Mapping[str, Item]) -> dict:
    """`ks_test`: p of the two-sample Kolmogorov-Smirnov test on forget truth ratios."""
    if retain is None:
        raise LeftOutError(NO_RETAIN)
    others = truth_ratios(Rows(retain, asked), "forget")
    return {"agg_value": float(ks_2samp(truth_ratios(rows, "forget"), others).pvalue)}


def privleak(
    made: Exported,
    retain: pd.DataFrame | None,
    asked: Mapping[str, Item],
    scores: Callable[[pd.DataFrame], np.ndarray],
) -> dict:
    """`privleak` on `mia_min_k`, against the retain model, in percent; never against 0.5."""
    if retain is None:
        raise LeftOutError(f"{NO_RETAIN}; open-unlearning would take 0.5 for its AUC")
    if "mia_min_k" not in made.metrics:
        raise LeftOutError(f"needs mia_min_k: {made.left_out['mia_min_k']}")
    own = 1 - made.metrics["mia_min_k"]["agg_value"]
    other = 1 - attack(Rows(retain, asked), scores)["agg_value"]
    return {"agg_value": (own - other) / (other + SMALL) * 100}


def model_utility(made: Exported) -> dict:
    """`hm_aggregate`: the harmonic mean of `UTILITY_PARTS`."""
    for name in UTILITY_PARTS:
        if name not in made.metrics:
            raise LeftOutError(f"needs {name}: {made.left_out[name]}")
    return {"agg_value": float(hmean([made.metrics[name]["agg_value"] for name in UTILITY_PARTS]))}


def defined(metric: dict) -> dict:
    """The metric itself.

    Raises:
        LeftOutError: its value is not finite, as of a collapsed model.
    """
    if not np.isfinite(metric["agg_value"]):
        raise LeftOutError("undefined for this model (a score is not finite)")
    return metric
