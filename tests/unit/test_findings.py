"""Claims are judged by their intervals; a claim as a whole needs all its cases to agree."""

import json

import pandas as pd
import pytest

import summarize_findings
from excise.errors import InputError
from excise.evaluation.findings.claims import CLAIMS
from excise.evaluation.findings.verdicts import detectable, together, verdict
from excise.evaluation.results import model_columns, read_rows, write_result

GA, NPO = "unlearn/ga/lr0.0002/epoch_8", "unlearn/npo/lr0.0002_beta0.1/epoch_8"
LEVELS = {"medium": [GA.removeprefix("unlearn/")], "heavy": []}
HP = {"confidence": 0.95, "middle_layer": 3, "levels": LEVELS}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.02, 0.3, "confirmed"),
        (-0.02, 0.3, "undecided"),
        (-0.3, 0.09, "refuted"),
        (0.01, 0.09, "refuted"),  # there, and too small to matter
        (-0.3, -0.1, "refuted"),
        (-0.3, 0.1, "undecided"),  # the smallest effect that matters is inside
        (None, None, "undecided"),
    ],
)
def test_the_verdict_follows_the_interval(low, high, expected):
    assert verdict(low, high, smallest=0.1) == expected


def test_a_smallest_effect_of_zero_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        verdict(0.1, 0.2, smallest=0)


def test_the_detectable_effect_by_hand():
    # Half-width .1 at 95 %: error .1/1.95996; (1.95996 + .84162) times that.
    assert detectable(-0.1, 0.1, 0.95) == pytest.approx(0.1 * (1.959964 + 0.841621) / 1.959964)
    assert detectable(None, None, 0.95) is None


def test_a_claim_has_the_verdict_of_its_cases_only_if_they_agree():
    assert together(["refuted", "refuted"]) == "refuted"
    assert together(["refuted", "confirmed"]) == "undecided"
    assert together([]) == "undecided"


def row(model, metric, value, low, high, **more):
    return (
        model_columns(model)
        | {
            "set": "sf",
            "metric": metric,
            "value": value,
            "ci_low": low,
            "ci_high": high,
            "interval": "cluster_t",
            "n": 96,
            "n_people": 16,
            "n_undefined": 0,
        }
        | more
    )


def back(model, value, low, high, **more):
    keys = {"of": "slot_accuracy", "attack": "correlated", "step": 15, "shown": False}
    return row(model, "change_beyond_oracles", value, low, high, **(keys | more))


TABLES = {
    "comparison_results": [
        row(GA, "slot_accuracy", 0.02, -0.04, 0.08, set="gap", matched_at="0.5")
        | {"comparison": "matched_forgetting", **dict.fromkeys(model_columns(GA))},
        row(GA, "slot_accuracy", 0.3, 0.2, 0.4, set="gap", matched_at="0.5")
        | {"comparison": "matched_forgetting"},
        row(NPO, "slot_accuracy", 0.2, 0.1, 0.3, set="gap", matched_at="0.25")
        | {"comparison": "matched_forgetting"},
    ],
    "repr_results_3": [
        row(GA, "drift", 0.1, 0.08, 0.12, set="sr", position="last_prompt", layer=3)
        | {"noise_floor": 0.33, "noise_floor_low": 0.3},
        row(NPO, "drift", 0.5, 0.45, 0.55, set="sr", position="last_prompt", layer=3)
        | {"noise_floor": 0.33, "noise_floor_low": 0.3},
        row("audit/theirs", "drift", 0.0, 0.0, 0.0, set="sr", position="last_prompt", layer=3)
        | {"noise_floor": 0.33, "noise_floor_low": 0.3},
        row("finetuned", "drift", 0.0, 0.0, 0.0, set="sr", position="last_prompt", layer=3)
        | {"noise_floor": 0.33, "noise_floor_low": 0.3},
    ],
    "quantize_results": [
        row(GA, "change_beyond_oracles", -0.03, -0.06, 0.0, of="probability", precision="nf4"),
        row(GA, "change_beyond_oracles", 0.3, 0.2, 0.4, of="slot_accuracy", precision="nf4"),
    ],
    "relearn_results": [
        back(GA, 0.25, 0.15, 0.35),
        back(GA, 0.01, -0.02, 0.04, attack="forget_part"),  # shows forget facts
        back(GA, 0.01, -0.02, 0.04, step=5),  # a later step decides
        back(GA, 0.01, -0.02, 0.04, of="probability"),
        back(NPO, 0.05, 0.02, 0.08, attack="other"),  # there, and too small to matter
        back("oracle/seed_1", 0.0, -0.02, 0.02),
    ],
}


@pytest.fixture
def judged(tmp_path):
    for stem, rows in TABLES.items():
        path = tmp_path / f"{stem}.json"
        write_result(path, experiment="test", config={}, notes=[], rows=rows)

    def judge(*arguments, out="findings.json"):
        tables = [str(tmp_path / f"{stem}.json") for stem in TABLES]
        header = ["--hp", json.dumps(HP), "--experiment", "test", "--config", "{}"]
        summarize_findings.main(
            ["--tables", *tables, *arguments, *header, "--out", str(tmp_path / out)]
        )
        return tmp_path / out

    return judge


def whole(path) -> pd.DataFrame:
    rows = read_rows(path)
    return rows[rows["cases"].notna() & rows["level"].isna()].set_index("finding")


def test_each_claim_is_judged_by_its_table(judged):
    rows = read_rows(judged())
    findings = whole(judged())
    assert findings["verdict"].to_dict() == {
        "correlated_suffer_more": "refuted",
        "middle_layer_unmoved": "undecided",
        "quantization_restores": "refuted",
        "relearning_restores": "undecided",
    }
    assert findings.loc["relearning_restores", "cases"] == "1 confirmed, 1 refuted"
    assert findings.loc["middle_layer_unmoved", "cases"] == "1 confirmed, 1 refuted"
    medium = rows[rows["cases"].notna() & (rows["level"] == "medium")].set_index("finding")
    assert medium["verdict"].to_dict() == {
        "middle_layer_unmoved": "confirmed",  # GA alone; the other one stands for no level
        "quantization_restores": "refuted",
        "relearning_restores": "confirmed",
    }
    gap = rows[(rows["finding"] == "correlated_suffer_more") & rows["cases"].isna()]
    assert list(gap["ci_high"]) == [0.08]  # the mean over trajectories, at this degree alone
    effect = ["value", "ci_low", "ci_high", "interval"]
    shown = findings.loc["correlated_suffer_more", effect]
    assert shown.tolist() == gap.iloc[0][effect].tolist()  # one case, so it is the claim's effect
    assert findings.loc["middle_layer_unmoved", effect].isna().all()
    moved = rows[(rows["finding"] == "middle_layer_unmoved") & (rows["model"] == NPO)].iloc[0]
    assert moved["value"] == pytest.approx(-0.2) and moved["ci_high"] == pytest.approx(-0.15)
    assert set(rows["statement"]) <= {claim.statement for claim in CLAIMS}


def test_a_verdict_stands_only_if_a_replication_agrees(judged, tmp_path):
    first = judged()
    assert not whole(first)["stands"].astype(bool).any() and whole(first)["replicated"].isna().all()
    again = whole(judged("--replications", str(first), out="second.json"))
    assert again["replicated"].astype(bool).all()
    assert again["stands"].to_dict() == {
        "correlated_suffer_more": True,
        "middle_layer_unmoved": False,  # undecided in both
        "quantization_restores": True,
        "relearning_restores": False,
    }
    other = json.loads(first.read_text())
    for one in other["rows"]:
        if one["finding"] == "quantization_restores":
            one["verdict"] = "confirmed"
    (tmp_path / "other.json").write_text(json.dumps(other))
    disagreeing = whole(judged("--replications", str(tmp_path / "other.json"), out="third.json"))
    assert disagreeing.loc["quantization_restores", "stands"] in (False, 0)


def test_the_control_is_read_where_most_is_forgotten(judged, tmp_path):
    def response(epoch, low, high, **more):
        model = f"unlearn/ga/lr0.0002/epoch_{epoch}"
        keys = {"set": "gap_response", "dose": 1, "pairs": "bound"} | more
        return row(model, "log_probability_change", (low + high) / 2, low, high, **keys)

    rows = [response(3, -0.1, 0.01), response(8, 0.2, 0.9), response(8, -0.2, 0.02, pairs="all")]
    path = tmp_path / "entanglement_response.json"
    write_result(path, experiment="test", config={}, notes=[], rows=rows)
    found = whole(judged("--control", str(path)))
    assert found.loc["instrument_sees_entanglement", "verdict"] == "confirmed"
    assert found.loc["instrument_sees_entanglement", "cases"] == "1 confirmed"


def test_a_claim_without_cases_is_undecided(judged, tmp_path):
    path = tmp_path / "distance_results.json"
    rows = [row("finetuned", "truth_ratio_ks", 0.5, 0.4, 0.6, level=None)]
    write_result(path, experiment="test", config={}, notes=[], rows=rows)
    header = ["--hp", json.dumps(HP), "--experiment", "test", "--config", "{}"]
    out = tmp_path / "none.json"
    summarize_findings.main(["--tables", str(path), *header, "--out", str(out)])
    found = whole(out).loc["not_like_never_learnt"]
    assert (found["verdict"], found["cases"], found["n"]) == ("undecided", "none", 0)


@pytest.mark.parametrize(
    "argument, reason",
    [("--replications", "found no finding"), ("--control", "found no dose")],
)
def test_another_table_gets_one_line(judged, tmp_path, argument, reason):
    with pytest.raises(InputError, match=rf"^{argument}: .*quantize_results\.json: {reason}; need"):
        judged(argument, str(tmp_path / "quantize_results.json"))
