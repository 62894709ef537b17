"""The export for open-unlearning: its names, its nesting and its formulas."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from excise.benchmark.items import Item
from excise.evaluation.open_unlearning import export_model

# Written by hand from configs/eval/tofu_metrics/*.yaml and src/evals/metrics/*.py of
# locuslab/open-unlearning d3d7cf9: name → keys of an entry of value_by_index (None: it has none).
PROB, SCORE = {"prob", "avg_loss"}, {"score"}
ROUGE = {"rouge1_recall", "rougeL_f1", "rougeL_recall", "input", "ground_truth", "generation"}
ITS_METRICS = {
    "extraction_strength": SCORE,
    "exact_memorization": SCORE,
    "forget_Q_A_Prob": PROB,
    "forget_Q_A_PARA_Prob": PROB,
    "forget_Q_A_PERT_Prob": PROB,
    "forget_Q_A_ROUGE": ROUGE,
    "forget_Q_A_PARA_ROUGE": ROUGE,
    "forget_Q_A_PERT_ROUGE": ROUGE,
    "forget_truth_ratio": SCORE,
    "forget_quality": None,
    "model_utility": None,
    "privleak": None,
    "mia_loss": None,
    "mia_zlib": None,
    "mia_min_k": None,
    "mia_min_k_plus_plus": None,
    "mia_reference": None,
    "retain_Q_A_Prob": PROB,
    "retain_Q_A_PARA_Prob": PROB,
    "retain_Q_A_PERT_Prob": PROB,
    "retain_Q_A_ROUGE": ROUGE,
    "retain_Truth_Ratio": SCORE,
    "ra_Q_A_Prob": PROB,
    "ra_Q_A_PERT_Prob": PROB,
    "ra_Q_A_Prob_normalised": {"prob"},
    "ra_Q_A_ROUGE": ROUGE,
    "ra_Truth_Ratio": SCORE,
    "wf_Q_A_Prob": PROB,
    "wf_Q_A_PERT_Prob": PROB,
    "wf_Q_A_Prob_normalised": {"prob"},
    "wf_Q_A_ROUGE": ROUGE,
    "wf_Truth_Ratio": SCORE,
}
NOT_EXPORTED = {"forget_Q_A_gibberish", "mia_gradnorm"}
ATTACKS = [name for name in ITS_METRICS if name.startswith("mia_")]


def item(key: str, name: str, slot: str = "city", wrong: int = 2) -> Item:
    person = None if name == "utility" else key.split(".")[0]
    truth, para = f"It was {key} town.", f"The town was {key}."
    texts = tuple(f"The town was wrong {n}." for n in range(wrong))
    about = (person, None, slot, None, None, key)
    return Item(key, name, *about, f"Which town, {key}?", truth, para, texts)


ASKED = {
    one.id: one
    for one in [
        item("p0.a", "sf"),
        item("p0.b", "sf", wrong=3),  # so two wrong answers count in every row
        item("p0.c", "correlated"),
        item("p0.d", "other"),
        item("u1", "utility", "author"),
        item("u2", "utility", "capital"),
        item("u3", "utility", "capital"),
        item("h0.a", "holdout", wrong=0),
        item("h1.a", "holdout", wrong=0),
    ]
}


def records(shift: float = 0.0, said: str = "It was p0.a town.", stopped: bool = True):
    """Log-probabilities that differ from question to question."""
    found = []
    for number, one in enumerate(ASKED.values()):
        mean = -0.1 * (number + 1) - shift
        tokens = [mean - 0.1, mean + 0.1, 2 * mean, mean - mean]  # the last is end-of-turn
        found.append(
            {
                **{"id": one.id, "set": one.set, "person_id": one.person_id, "answer": one.answer},
                **{"generation": said, "stopped": stopped},
                **{"logprob_answer": sum(tokens), "n_tokens_answer": 4},
                **{"logprob_paraphrase": 5 * mean, "n_tokens_paraphrase": 5},
                "logprob_wrong": [5 * mean - 1.0 - n for n in range(len(one.wrong_answers))],
                "n_tokens_wrong": [5] * len(one.wrong_answers),
                "answer.logprob": np.array(tokens),
                "answer.rank": np.array([0, 0, number % 2, 0]),
                "answer.mean": np.full(4, -1.0),
                "answer.variance": np.full(4, 0.25),
            }
        )
    return pd.DataFrame(found).set_index("id", drop=False)


@pytest.fixture(scope="module")
def made():
    return export_model(records(), ASKED, 200, records(shift=0.3))


def test_all_metrics_have_open_unlearnings_names_and_nesting(made):
    assert set(made.metrics) == set(ITS_METRICS)
    assert set(made.left_out) == NOT_EXPORTED
    for name, keys in ITS_METRICS.items():
        metric = made.metrics[name]
        assert isinstance(metric["agg_value"], float), name
        if keys is not None:
            assert all(set(one) == keys for one in metric["value_by_index"].values()), name
            assert list(metric["value_by_index"]) == [
                str(n) for n in range(len(metric["value_by_index"]))
            ]
    for name in ATTACKS:
        metric = made.metrics[name]
        assert set(metric) == {"forget", "holdout", "auc", "agg_value"}
        for side in ("forget", "holdout"):
            assert set(metric[side]) == {"agg_value", "value_by_index"}
            assert set(metric[side]["value_by_index"]["1"]) == SCORE
    assert set(made.summary) == set(ITS_METRICS)
    assert json.loads(json.dumps(made.metrics, allow_nan=False)) == made.metrics


def by_hand(number: int, shift: float = 0.0) -> dict:
    """The question at a place of ASKED."""
    mean = -0.1 * (number + 1) - shift
    return {
        "loss": -(4 * mean) / 4,
        "paraphrase": -mean,
        "wrong": [-(mean - 0.2 * (1 + n)) for n in range(2)],
        "lowest": -(2 * mean),  # 40 % of three tokens is one
    }


def test_probabilities_are_those_of_the_rows_in_the_exported_dataset(made):
    first, second = by_hand(0), by_hand(1)
    found = made.metrics["forget_Q_A_Prob"]["value_by_index"]
    assert found["1"]["avg_loss"] == pytest.approx(second["loss"])
    assert found["1"]["prob"] == pytest.approx(math.exp(-second["loss"]))
    expected = (math.exp(-first["loss"]) + math.exp(-second["loss"])) / 2
    assert made.metrics["forget_Q_A_Prob"]["agg_value"] == pytest.approx(expected)
    wrong = made.metrics["forget_Q_A_PERT_Prob"]["value_by_index"]["1"]
    assert wrong["avg_loss"] == pytest.approx(second["wrong"])
    author = made.metrics["ra_Q_A_Prob"]["value_by_index"]["0"]
    assert author["avg_loss"] == pytest.approx(by_hand(4)["paraphrase"])
    options = [math.exp(-one) for one in by_hand(4)["wrong"]]
    p = author["prob"] / (author["prob"] + sum(options))
    assert made.metrics["ra_Q_A_Prob_normalised"]["agg_value"] == pytest.approx(p)
    assert len(made.metrics["wf_Q_A_Prob"]["value_by_index"]) == 2


def ratio(number: int, shift: float = 0.0) -> float:
    one = by_hand(number, shift)
    return math.exp(-sum(one["wrong"]) / 2) / (math.exp(-one["paraphrase"]) + 1e-10)


def test_truth_ratios_have_the_direction_and_the_mean_of_open_unlearning(made):
    found = made.metrics["forget_truth_ratio"]
    assert [one["score"] for one in found["value_by_index"].values()] == pytest.approx(
        [ratio(0), ratio(1)]
    )
    inverse = [min(ratio(n), 1 / ratio(n)) for n in (0, 1)]
    assert found["agg_value"] == pytest.approx(sum(inverse) / 2)
    kept = [max(0, 1 - ratio(n)) for n in (2, 3)]
    assert made.metrics["retain_Truth_Ratio"]["agg_value"] == pytest.approx(sum(kept) / 2)
    expected = ks_2samp([ratio(0), ratio(1)], [ratio(0, 0.3), ratio(1, 0.3)]).pvalue
    assert made.metrics["forget_quality"]["agg_value"] == pytest.approx(expected)


def test_attacks_score_unlikely_answers_high_and_1_means_member(made):
    found = made.metrics["mia_min_k"]
    scores = [one["score"] for one in found["forget"]["value_by_index"].values()]
    assert scores == pytest.approx([by_hand(0)["lowest"], by_hand(1)["lowest"]])
    assert found["agg_value"] == found["auc"] == 1.0  # every forget answer is likelier
    assert made.metrics["privleak"]["agg_value"] == pytest.approx((0 - 0) / 1e-10 * 100)
    plus = made.metrics["mia_min_k_plus_plus"]["forget"]["value_by_index"]["0"]["score"]
    assert plus == pytest.approx(-(-0.2 + 1.0) / 0.5)
    zlib = made.metrics["mia_zlib"]["forget"]["value_by_index"]["0"]["score"]
    assert 0 < zlib < by_hand(0)["loss"]
    excess = made.metrics["mia_reference"]["forget"]["value_by_index"]["0"]["score"]
    assert excess == pytest.approx(-0.3)


def test_memorization_has_open_unlearnings_floor(made):
    strength = made.metrics["extraction_strength"]["value_by_index"]
    assert strength["0"]["score"] == 1.0
    assert strength["1"]["score"] == pytest.approx(1 / 3)  # the last token is missed: 1 - 2/3
    assert made.metrics["exact_memorization"]["value_by_index"]["1"]["score"] == pytest.approx(
        2 / 3
    )


def test_rouge_is_computed_anew_against_the_answer_that_is_exported(made):
    found = made.metrics["forget_Q_A_ROUGE"]["value_by_index"]["0"]
    assert (found["rougeL_recall"], found["ground_truth"]) == (1.0, "It was p0.a town.")
    author = made.metrics["ra_Q_A_ROUGE"]["value_by_index"]["0"]
    assert author["ground_truth"] == "The town was u1."
    assert author["rougeL_recall"] == pytest.approx(1 / 4)  # "was"; u1 is not said
    assert len(made.metrics["forget_Q_A_PERT_ROUGE"]["value_by_index"]["0"]["generation"]) == 2


def test_model_utility_is_the_harmonic_mean_of_its_nine_parts(made):
    parts = ["retain_Q_A_Prob", "retain_Q_A_ROUGE", "retain_Truth_Ratio"]
    for name in ("ra", "wf"):
        parts += [f"{name}_Q_A_Prob_normalised", f"{name}_Q_A_ROUGE", f"{name}_Truth_Ratio"]
    inverse = sum(1 / made.summary[name] for name in parts)
    assert made.summary["model_utility"] == pytest.approx(9 / inverse)


def test_what_has_another_convention_is_left_out_and_named():
    cut = export_model(records(stopped=False), ASKED, 48)
    assert "9 generations" not in cut.left_out["forget_Q_A_ROUGE"]
    assert cut.left_out["forget_Q_A_ROUGE"].startswith("2 generations were cut at 48 tokens")
    assert cut.left_out["model_utility"].startswith("needs retain_Q_A_ROUGE: 2 generations")
    no_oracle = {"forget_quality", "privleak", "mia_reference"}
    assert all("no oracle" in cut.left_out[name] for name in no_oracle)
    assert not set(cut.left_out) & set(cut.metrics)
    assert set(cut.left_out) | set(cut.metrics) == set(ITS_METRICS) | NOT_EXPORTED
    whole = export_model(records(stopped=False), ASKED, 200)
    assert "forget_Q_A_ROUGE" in whole.metrics


def test_undefined_and_missing_scores_leave_a_metric_out():
    broken = records()
    broken.loc["p0.a", "logprob_answer"] = math.nan
    few = records().drop(index=["h0.a", "h1.a", "u1"])
    assert "not finite" in export_model(broken, ASKED, 200).left_out["forget_Q_A_Prob"]
    assert "not asked all questions of ra" in export_model(few, ASKED, 200).left_out["ra_Q_A_Prob"]
    taught = {key: one for key, one in ASKED.items() if one.set != "holdout"}
    assert "no held-out people" in export_model(few, taught, 200).left_out["mia_loss"]
