"""Metrics against hand-computed values, and what each declares of itself."""

import ast
import math
import re
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from excise.evaluation.metrics import membership, memorization
from excise.evaluation.metrics.interface import (
    CompositeMetric,
    DistributionMetric,
    ItemMetric,
    LeakMetric,
    ReferenceMetric,
    RescaledMetric,
    TwoSetMetric,
)
from excise.evaluation.metrics.registry import FAMILIES, METRICS, metrics_of
from excise.evaluation.tables import compared_answers, quantization, retain_gap
from excise.evaluation.tables.evaluation import metric_rows
from excise.plots.style import METRIC_NAMES

NO_HIT, HIT = 3, 0
METRIC_FOLDER = Path(memorization.__file__).parent


def answers(**columns: list) -> pd.DataFrame:
    """One row per question; lists of numbers become arrays, as in `tokens.parquet`."""
    arrays = {
        name.replace("__", "."): [np.array(one) if isinstance(one, list) else one for one in values]
        for name, values in columns.items()
    }
    ids = [f"p{number:03}.city" for number in range(len(next(iter(columns.values()))))]
    people = {"id": ids, "set": "sf", "person_id": [one[:4] for one in ids]}
    return pd.DataFrame(people | arrays, index=ids)


def hits(*ranks: list[int]) -> pd.DataFrame:
    """Answers whose tokens have these ranks; the last one is the end-of-turn token."""
    return answers(answer__rank=[*ranks], answer__logprob=[[-1.0] * len(one) for one in ranks])


# --- what each metric says of itself ---


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_metric_says_its_range_its_direction_and_its_source(metric):
    text = metric.function.__doc__
    low, high = metric.scale.low, metric.scale.high
    assert "Source: " in text and ("ange" in text or "see `" in text)
    ranges = {(0, 1), (0, math.inf), (-math.inf, 0), (-math.inf, math.inf), (-100, math.inf)}
    assert (low, high) in ranges
    assert metric.higher_means in ("remembered", "forgotten", "neither")
    assert metric.needs
    assert 10 < len(metric.convention) < 180, "say in `convention` which form this is"


def test_every_function_of_a_family_that_is_declared_a_metric_is_in_the_registry():
    declared = [
        name
        for file in METRIC_FOLDER.glob("*.py")
        for name in re.findall(r'^@\w+_metric\(\s*"(\w+)"', file.read_text(), re.MULTILINE)
    ]
    assert sorted(declared) == sorted(METRICS)
    others = {"__init__", "interface", "registry"}
    families = {family.__name__.rpartition(".")[2] for family in FAMILIES}
    assert families == {file.stem for file in METRIC_FOLDER.glob("*.py")} - others


def test_two_metrics_of_one_name_are_refused():
    with pytest.raises(ValueError, match="already a metric 'extraction_strength'"):
        metrics_of(memorization, memorization)


def test_the_metrics_that_tables_and_plots_name_are_in_the_registry():
    tables = (retain_gap.METRICS, quantization.RECOVERING, compared_answers.METRICS)
    for metric in (one for named in tables for one in named):
        assert METRICS[metric.name] is metric
    assert set(METRIC_NAMES) <= set(METRICS)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_metric_reads_only_the_columns_it_declares(metric):
    """Its family's file names no other column in brackets, apart from keys of other metrics."""
    tree = ast.parse(Path(metric.function.__code__.co_filename).read_text())
    (function,) = [one for one in tree.body if getattr(one, "name", "") == metric.function.__name__]
    read = {
        node.slice.value
        for node in ast.walk(function)
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("items", "members", "others")
        and isinstance(node.slice, ast.Constant)
    }
    assert read <= set(metric.needs)


# --- extraction strength and exact memorization ---


@pytest.mark.parametrize(
    "ranks, strength, memorization_share",
    [
        ([HIT, HIT, HIT, HIT, HIT], 1, 1),
        ([NO_HIT, HIT, HIT, HIT, HIT], 3 / 4, 3 / 4),
        ([HIT, HIT, NO_HIT, HIT, HIT], 1 / 4, 3 / 4),
        ([HIT, HIT, HIT, NO_HIT, HIT], 0, 3 / 4),  # the floor is 0, not 1/n
        ([NO_HIT, NO_HIT, NO_HIT, NO_HIT, HIT], 0, 0),
        ([HIT, HIT, HIT, HIT, NO_HIT], 1, 1),  # the end-of-turn token does not count
        ([NO_HIT, HIT], 0, 0),
        ([HIT, NO_HIT], 1, 1),
    ],
)
def test_extraction_strength_counts_the_tail_and_exact_memorization_all_hits(
    ranks, strength, memorization_share
):
    items = hits(ranks)
    assert memorization.extraction_strength.values(items).tolist() == [strength]
    assert memorization.exact_memorization.values(items).tolist() == [memorization_share]


@pytest.mark.parametrize(
    "ranks, strength",
    [
        ([HIT, HIT, HIT, HIT, HIT], 1),
        ([NO_HIT, HIT, HIT, HIT, HIT], 3 / 4),
        ([HIT, HIT, HIT, NO_HIT, HIT], 1 / 4),  # total failure: 1/n
        ([HIT, HIT, NO_HIT, HIT, HIT], 1 / 4),  # as if the last token were missed too
        ([NO_HIT, HIT], 1),  # one token: never below 1
    ],
)
def test_open_unlearnings_extraction_strength_has_a_floor_of_one_over_n(ranks, strength):
    assert memorization.extraction_strength_ou.values(hits(ranks)).tolist() == [strength]


def test_nobody_extracts_more_than_is_memorized():
    chance = np.random.default_rng(0)
    items = hits(*[chance.integers(0, 2, chance.integers(2, 9)).tolist() for _ in range(200)])
    strength = memorization.extraction_strength.values(items)
    share = memorization.exact_memorization.values(items)
    assert (strength <= share).all() and (strength < share).any()


def test_how_far_a_missed_token_is_from_the_top_does_not_matter():
    near, far = hits([HIT, 1, HIT, HIT]), hits([HIT, 900, HIT, HIT])
    for metric in (memorization.extraction_strength, memorization.exact_memorization):
        assert metric.values(near).tolist() == metric.values(far).tolist()


def test_a_collapsed_model_has_no_hits_to_count():
    items = answers(answer__rank=[[0, 0]], answer__logprob=[[math.nan, -1.0]])
    for metric in (memorization.extraction_strength, memorization.exact_memorization):
        assert np.isnan(metric.values(items)).all()


# --- membership ---


def test_loss_is_per_token_and_zlib_divides_it_by_compressed_bytes():
    items = answers(logprob_answer=[-6.0], n_tokens_answer=[4], answer=["It was in Rome, José."])
    assert membership.loss.values(items).tolist() == [1.5]
    size = len(zlib.compress("It was in Rome, José.".encode()))
    assert membership.loss_zlib.values(items).tolist() == [1.5 / size]


def test_min_k_is_the_mean_of_the_lowest_two_fifths():
    logprob = [-1.0, -4.0, -2.0, -3.0, -5.0, -100.0]  # five tokens and the end-of-turn token
    one = [-7.0, -100.0]  # 40 % of one token: still one
    items = answers(answer__logprob=[logprob, one, [math.nan, -1.0]])
    assert membership.min_k.values(items)[:2].tolist() == [-4.5, -7.0]
    assert np.isnan(membership.min_k.values(items)[2])


def test_min_k_does_not_depend_on_the_order_of_the_tokens():
    logprob = np.random.default_rng(0).uniform(-5, 0, 9).tolist()
    turned = answers(answer__logprob=[[*logprob[::-1], 0.0]])
    assert membership.min_k.values(turned) == membership.min_k.values(
        answers(answer__logprob=[[*logprob, 0.0]])
    )


def test_min_k_plus_plus_standardises_by_the_models_own_distribution():
    items = answers(
        answer__logprob=[[-1.0, -2.0, -9.0]],
        answer__mean=[[-2.0, -1.0, 0.0]],
        answer__variance=[[4.0, 0.25, 1.0]],
    )
    # z = 0.5 and −2; the lowest 40 % of two tokens is one
    assert membership.min_k_plus_plus.values(items).tolist() == [-2.0]


def test_a_model_that_is_certain_has_a_finite_z_score():
    items = answers(
        answer__logprob=[[-0.001, 0.0]], answer__mean=[[0.0, 0.0]], answer__variance=[[0.0, 0.0]]
    )
    assert membership.min_k_plus_plus.values(items) == pytest.approx([-1.0])


def test_the_excess_loss_is_the_mean_over_the_oracles():
    model, one, two = (
        answers(logprob_answer=[total, -2.0], n_tokens_answer=[2, 2])
        for total in (-8.0, -2.0, -4.0)
    )
    assert membership.excess_loss.values(model, [one, two]).tolist() == [2.5, 0.0]
    assert membership.excess_loss.values(model, [model]).tolist() == [0.0, 0.0]


def test_the_area_under_roc_is_the_chance_to_be_above():
    def area(members, others):
        return membership.area_under_roc(pd.Series(members), pd.Series(others))

    assert area([3.0, 4.0], [1.0, 2.0]) == 1
    assert area([1.0, 2.0], [3.0, 4.0]) == 0
    assert area([1.0, 3.0], [2.0]) == 0.5
    assert area([2.0, 3.0], [2.0, 1.0]) == (0.5 + 1 + 1 + 1) / 4  # a tie counts half
    assert math.isnan(area([], [1.0])) and math.isnan(area([math.nan], [1.0]))


def test_the_area_is_the_same_for_every_increasing_function_of_the_score():
    chance = np.random.default_rng(1)
    members, others = pd.Series(chance.normal(0.5, 1, 40)), pd.Series(chance.normal(0, 1, 30))
    area = membership.area_under_roc(members, others)
    assert membership.area_under_roc(np.exp(members), np.exp(others)) == pytest.approx(area)
    assert membership.area_under_roc(others, members) == pytest.approx(1 - area)


def test_a_model_has_an_auc_only_beside_people_whom_nobody_was_trained_on():
    names = ("logprob_answer", "n_tokens_answer")
    forget = answers(**dict(zip(names, [[-1.0, -2.0, -3.0], [2, 2, 2]], strict=True)))
    rows = [row["metric"] for row in metric_rows(forget, 0.95)]
    assert "loss" in rows and "auc_loss" not in rows
    unseen = forget.assign(logprob_answer=[-2.5, -6.0, -8.0], set="holdout")
    unseen["person_id"] = ["q1", "q2", "q3"]
    unseen.index = unseen["id"] = ["q1.city", "q2.city", "q3.city"]
    (row,) = [
        r for r in metric_rows(pd.concat([forget, unseen]), 0.95) if r["metric"] == "auc_loss"
    ]
    assert (row["set"], row["n"], row["n_people"]) == ("sf", 6, 6)
    assert row["interval"] == "newcombe_area"
    assert row["value"] == pytest.approx(8 / 9)
    assert row["ci_low"] < row["value"] <= row["ci_high"] <= 1


def both_sets(member_losses: list, other_losses: list) -> pd.DataFrame:
    """Forget and held-out questions, one per person; a loss stands for all tokens of an answer."""

    def questions(losses: list, name: str, first: str) -> pd.DataFrame:
        made = answers(
            logprob_answer=[-2.0 * one for one in losses],
            n_tokens_answer=[2] * len(losses),
            answer__logprob=[[-one, -one] for one in losses],
        )
        ids = [one.replace("p", first) for one in made.index]
        people = [one[:4] for one in ids]
        return made.assign(id=ids, set=name, person_id=people).set_index("id", drop=False)

    return pd.concat([questions(member_losses, "sf", "p"), questions(other_losses, "holdout", "h")])


def rows_of(
    items: pd.DataFrame, oracles: list[pd.DataFrame], finetuned: list[pd.DataFrame] | None = None
) -> dict[tuple, dict]:
    found = metric_rows(items, 0.95, {"oracle": oracles, "finetuned": finetuned or []})
    return {(row["set"], row["metric"]): row for row in found}


def test_the_reference_attack_ranks_the_excess_loss_of_both_sets():
    model = both_sets([1.0, 5.0, 3.0], [2.0, 4.0, 3.0])
    first = both_sets([4.0, 6.0, 3.0], [1.0, 5.0, 3.0])
    oracles = [first, both_sets([2.0, 8.0, 3.0], [2.0, 4.0, 3.0])]
    # excess: members 1 - 3, 5 - 7, 3 - 3; others 2 - 1.5, 4 - 4.5, 3 - 3
    rows = rows_of(model, oracles)
    pairs = 3 + 3 + (1 + 0 + 0.5)  # members at -2, -2 and 0 against others at .5, -.5 and 0
    assert rows["sf", "auc_reference"]["value"] == pytest.approx(pairs / 9)
    assert ("sf", "auc_reference") not in rows_of(model, [])


def test_privleak_compares_with_the_mean_of_the_oracles_and_never_with_a_half():
    model = both_sets([1.0, 1.0, 1.0], [2.0, 4.0, 0.5])  # AUC of min-k 2/3
    oracles = [both_sets([3.0, 3.0, 3.0], [2.0, 4.0, 1.0]), both_sets([3.0] * 3, [3.0] * 3)]
    rows = rows_of(model, oracles)
    assert rows["sf", "auc_min_k"]["value"] == pytest.approx(2 / 3)
    reference = (1 / 3 + 1 / 2) / 2
    expected = 100 * ((1 / 3) - (1 - reference)) / (1 - reference)
    row = rows["sf", "privleak"]
    assert row["value"] == pytest.approx(expected)
    assert row["value"] == pytest.approx(membership.privleak(2 / 3, reference))
    assert (row["interval"], row["n"], row["n_people"]) == ("mover_ratio", 6, 6)
    assert ("sf", "privleak") not in rows_of(model, [])
    assert ("sf", "auc_min_k") in rows_of(model, [])


def test_s_mia_lies_between_finetuned_and_the_mean_of_the_oracles():
    """Loss 1 to 12 of members against 4.5 everywhere else: 4 of 12 are members' wins."""
    others, flat = [4.5] * 8, [4.5] * 12
    model = both_sets([*map(float, range(1, 13))], others)
    finetuned = both_sets([1.0] * 12, others)  # AUC 1
    oracles = [both_sets(flat, others), both_sets([9.0] * 3 + [4.5] * 9, others)]  # 1/2, 3/8
    row = rows_of(model, oracles, [finetuned])["sf", "s_mia"]
    assert row["value"] == pytest.approx((1 - 4 / 12) / (1 - (1 / 2 + 3 / 8) / 2))
    assert row["value"] == pytest.approx(membership.s_mia(4 / 12, 1, 7 / 16))
    assert (row["interval"], row["n"], row["n_people"]) == ("mover_inverted", 20, 20)
    assert row["reason"] is None and row["ci_low"] < row["value"] < row["ci_high"]
    assert "reason" not in rows_of(model, oracles, [finetuned])["sf", "privleak"]


def test_s_mia_has_a_reason_where_finetuned_is_no_clearer_member_than_the_oracles():
    model, flat = both_sets([1.0, 2.0, 3.0], [2.0] * 3), both_sets([2.0] * 3, [2.0] * 3)
    row = rows_of(model, [flat], [flat])["sf", "s_mia"]
    assert row["value"] is row["ci_low"] is row["interval"] is None
    assert "lower limit is not above 0" in row["reason"]


def test_s_mia_has_no_row_without_finetuned_or_without_an_oracle():
    model = both_sets([1.0, 2.0, 3.0], [2.0] * 3)
    assert ("sf", "s_mia") not in rows_of(model, [model], [])
    assert ("sf", "s_mia") not in rows_of(model, [], [model])


def test_a_model_that_collapsed_has_an_undefined_area():
    whole = both_sets([1.0, 2.0], [3.0, 1.5])
    rows = rows_of(both_sets([math.nan, 1.0], [2.0, 3.0]), [whole], [whole])
    for name in ("auc_loss", "auc_min_k", "auc_reference", "privleak", "s_mia"):
        assert (rows["sf", name]["value"], rows["sf", name]["n_undefined"]) == (None, 1), name


def test_held_out_people_have_rows_of_what_needs_the_true_answer_alone():
    items = both_sets([1.0, 2.0], [2.0, 3.0])
    for column in ("logprob_paraphrase", "n_tokens_paraphrase", "truth_ratio"):
        items[column] = np.where(items["set"] == "sf", 1.0, np.nan)
    for column in ("logprob_wrong", "n_tokens_wrong"):
        items[column] = [[-1.0] if one == "sf" else [] for one in items["set"]]
    rows = rows_of(items, [])
    held_out = {metric for name, metric in rows if name == "holdout"}
    assert {"loss", "min_k"} <= held_out and not held_out & {"win_rate", "truth_ratio"}
    assert {"win_rate", "truth_ratio"} <= {metric for name, metric in rows if name == "sf"}


def test_a_metric_against_a_reference_has_rows_where_there_is_one():
    items = answers(logprob_answer=[-4.0, -2.0], n_tokens_answer=[2, 2])
    assert "excess_loss" not in [row["metric"] for row in metric_rows(items, 0.95)]
    rows = metric_rows(items, 0.95, {"oracle": [items.assign(logprob_answer=-2.0)]})
    (row,) = [row for row in rows if row["metric"] == "excess_loss"]
    assert (row["value"], row["n"]) == (0.5, 2)


def test_each_kind_of_metric_is_there():
    kinds = {type(metric) for metric in METRICS.values()}
    assert kinds == {
        ItemMetric,
        ReferenceMetric,
        TwoSetMetric,
        LeakMetric,
        RescaledMetric,
        DistributionMetric,
        CompositeMetric,
    }
