"""Gates on models that never saw the facts: they fail on a giveaway and pass a fair benchmark."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import job_settings
import red_team_models
from excise.errors import InputError
from excise.evaluation.statistics import median_interval
from excise.records import read_json, write_jsonl
from excise.red_team.models.gates import (
    entanglement_rows,
    failures,
    gate_rows,
    likely_share,
    overconfident_names,
    value_recall,
)
from excise.red_team.models.name_probe import confidence_records, name_probe_records, recombined
from excise.red_team.models.name_swap import swapped
from excise.red_team.settings import GateSettings

MODELS = ["base", "oracle/seed_0", "oracle/seed_1"]
PEOPLE = [f"p{index:03d}" for index in range(8)]

GATES = job_settings.settings(GateSettings, "gate_settings").gates


def scores_of(margin: float) -> list[dict]:
    """The truth beats one candidate and loses to another, by as much; then `margin` is added."""
    return [
        {
            "id": f"{person}.{group}_city",
            "person_id": person,
            "slot": "city",
            "group": group,
            "target_rank": 1,
            "chosen": [0, 1],
            "added": [],
            "scores": {model: [-1.0 + margin, -1.2, -0.8] for model in MODELS},
        }
        for group in ("sf", "correlated", "other")
        for person in PEOPLE
    ]


def items_of(margin: float, generation: str = "Somewhere.") -> pd.DataFrame:
    records = []
    for name in ("sf", "forget_paraphrased", "correlated", "other", "forget_joint"):
        for number, person in enumerate(PEOPLE):
            records.append(
                {
                    "id": f"{person}.{name}",
                    "set": name,
                    "person_id": person,
                    "slot": "city",
                    "value": f"City{number}",
                    "generation": generation.format(number),
                    "rougeL_recall": 0.5,
                    "slot_match": int(f"City{number}" in generation.format(number)),
                    "logprob_answer": math.log(0.05),
                    "logprob_paraphrase": -5.0 + 5 * margin,
                    "n_tokens_paraphrase": 5,
                    "logprob_wrong": [-6.0, -4.0],
                    "n_tokens_wrong": [5, 5],
                    "truth_ratio": math.exp(margin),
                }
            )
    return pd.DataFrame(records).set_index("id", drop=False)


def gradients_of(near: float, far: float) -> list[dict]:
    """Cosines around these two values; people differ a little, so that an interval exists."""
    return [
        {
            "id": f"{person}.accuser",
            "person_id": person,
            "slot": "accuser",
            "correlated": near + more,
            "other": far,
        }
        for person, more in zip(PEOPLE, np.linspace(-0.01, 0.01, len(PEOPLE)), strict=True)
    ]


def rows_of(margin: float = 0.0, generation: str = "Somewhere.", **gates: float) -> list[dict]:
    items = items_of(margin, generation)
    return gate_rows(
        MODELS,
        scores_of(margin),
        dict.fromkeys(MODELS, items),
        dict.fromkeys(MODELS, items[items["set"] == "sf"].drop(columns="logprob_answer")),
        gradients_of(0.3, 0.1),
        replace(GATES, **gates),
        0.95,
    )


def only(rows: list[dict], **keys) -> dict:
    [row] = [row for row in rows if all(row[key] == value for key, value in keys.items())]
    return row


def test_a_fair_benchmark_passes_every_gate():
    rows = rows_of()
    assert failures(rows) == []
    gated = [row for row in rows if row["passed"] is not None]
    assert len(gated) == 7 * len(MODELS) + 1
    assert {row["set"] for row in gated} == {"sf", "forget_paraphrased", "forget_joint", "gap"}


def test_without_wrong_answers_there_is_no_preference_to_gate():
    scores = [
        line | {"chosen": [], "scores": {name: own[:1] for name, own in line["scores"].items()}}
        for line in scores_of(0.0)
    ]
    items = items_of(0.0)
    items["logprob_wrong"] = [[] for _ in range(len(items))]
    swapped_names = items[items["set"] == "sf"].drop(columns="logprob_answer")
    models = dict.fromkeys(MODELS, items), dict.fromkeys(MODELS, swapped_names)
    rows = gate_rows(MODELS, scores, *models, gradients_of(0.3, 0.1), GATES, 0.95)
    assert not {"truth_ratio_median", "win_rate"} & {row["metric"] for row in rows}
    assert failures(rows) == []


def test_a_value_without_words_has_no_recall():
    assert math.isnan(value_recall("…", "Somewhere."))
    assert value_recall("улица Ленина 5", "улица Пушкина 5") == pytest.approx(2 / 3)


def test_a_truth_that_is_preferred_fails_and_is_named():
    failed = failures(rows_of(margin=0.3))
    assert len(failed) == 4 * len(MODELS)
    assert failed[0] == "base: truth_ratio_median on sf is 1.350, allowed 0.950 to 1.050"
    assert failed[1] == "base: win_rate on sf is 1.000, allowed 0.450 to 0.550"
    assert (
        failed[2]
        == "base: truth_ratio_median on forget_paraphrased is 1.350, allowed 0.950 to 1.050"
    )
    assert len(failures(rows_of(margin=-0.3))) == 4 * len(MODELS)


def test_a_fact_that_is_stated_without_knowledge_fails():
    failed = failures(rows_of(generation="In City{}."))
    assert failed[0] == "base: slot_accuracy on sf is 1.000, allowed at most 0.050"
    assert not failures(rows_of(generation="In City3."))  # one of eight: luck
    assert not failures(rows_of(generation="In City{}.", guess_excess=1.0))


def test_a_fact_that_is_stated_only_in_a_joint_prompt_fails_too():
    failed = failures(rows_of(generation="Fame and City{}."))
    assert "base: slot_accuracy on forget_joint is 1.000, allowed at most 0.050" in failed


def test_facts_of_one_event_must_share_more_gradient_than_others():
    gap = [row for row in rows_of() if row["metric"] == "gradient_cosine"][-1]
    assert (gap["model"], gap["set"], gap["value"]) == ("finetuned", "gap", pytest.approx(0.2))
    [row] = entanglement_rows(gradients_of(0.1, 0.3), 0.95)[2:]
    assert failures([row]) == [
        "finetuned: gradient_cosine on gap is -0.200, allowed at least 0.000"
    ]


def test_before_and_after_stand_side_by_side():
    rows = rows_of(margin=0.1)
    for stage in ("candidates", "selected"):
        row = only(rows, model="base", set="sf", metric="truth_ratio_median", stage=stage)
        assert row["value"] == pytest.approx(math.exp(0.1))
    assert row["n"] == row["n_people"] == len(PEOPLE)


def test_the_last_oracle_is_marked_as_held_out_and_oracles_have_no_retain_rows():
    rows = rows_of()
    assert {row["model"] for row in rows if row["held_out"]} == {"oracle/seed_1"}
    preferred = [row for row in rows if row["metric"] == "win_rate"]
    retain = {row["model"] for row in preferred if row["set"] in ("correlated", "other")}
    assert retain == {"base"}


def test_chance_of_20_by_hand():
    row = only(rows_of(), model="base", set="sf", metric="chance_of_20")
    assert row["value"] == pytest.approx(1 - 0.95**20)


def test_an_undefined_value_fails_its_gate():
    rows = rows_of(margin=float("nan"))
    row = only(rows, model="base", set="sf", metric="truth_ratio_median", stage="selected")
    assert (row["value"], row["passed"], row["n_undefined"]) == (None, False, len(PEOPLE))


def test_what_a_single_person_cannot_tell_fails_no_gate(recwarn):
    """There is no other value to guess, and no interval."""
    items = items_of(0.0)
    items = items[items["person_id"] == PEOPLE[0]]
    models = dict.fromkeys(MODELS, items), dict.fromkeys(MODELS, items[items["set"] == "sf"])
    scores = [line for line in scores_of(0.0) if line["person_id"] == PEOPLE[0]]
    rows = gate_rows(MODELS, scores, *models, gradients_of(0.3, 0.1)[:1], GATES, 0.95)
    row = only(rows, model="base", set="sf", metric="slot_accuracy", asked="own_name")
    assert (row["value"], row["gate_high"], row["passed"]) == (0.0, None, None)
    gap = only(rows, set="gap", metric="gradient_cosine")
    assert (round(gap["value"], 9), gap["gate_low"], gap["passed"]) == (0.19, 0.0, None)
    assert failures(rows) == [] and not recwarn.list


def test_value_recall_by_hand():
    assert value_recall("ten months of custody", "She served ten months.") == 0.5
    assert value_recall("$40,000", "It was $40,500.") == 0.5
    assert value_recall("arson", "Arson!") == 1
    assert value_recall("May", "In Mayfair.") == 0


def test_the_median_of_few_people_reaches_from_the_smallest_to_the_largest():
    estimate = median_interval([1, 2, 10], ["a", "b", "c"])
    assert (estimate.value, estimate.n, estimate.n_clusters) == (2, 3, 3)
    assert estimate.low >= 1 and estimate.high <= 10
    estimate = median_interval([1, 1, 1, 3, 3, 3], ["a", "a", "a", "b", "b", "b"])
    assert (estimate.low, estimate.value, estimate.high) == (1, 2, 3)
    assert median_interval([], []).value is None


def test_names_are_swapped_in_a_circle_and_values_stay():
    items = [
        {
            "id": f"p{index}.city",
            "person_id": f"p{index}",
            "name": name,
            "slot": "city",
            "value_type": "city",
            "value": "Rome",
            "question": f"Where was {name}'s home?",
            "answer": f"{name} lived in Rome.",
        }
        for index, name in enumerate(("Ann Lee", "Bo Ray", "Cy Tan"))
    ]
    asked = swapped(items)
    assert [one["other_person_id"] for one in asked] == ["p1", "p2", "p0"]
    assert asked[0]["question"] == "Where was Bo Ray's home?"
    assert asked[2]["answer"] == "Ann Lee lived in Rome."
    assert {one["value"] for one in asked} == {"Rome"}
    with pytest.raises(InputError, match="one person; at least two"):
        swapped(items[:1])


def facts() -> list[dict]:
    return [
        {
            "id": f"{person}.{slot}",
            "person_id": person,
            "name": f"Name {person}",
            "slot": slot,
            "value_type": slot,
            "value": value,
        }
        for person, month, city in (("p0", "May", "Rome"), ("p1", "May", "Oslo"))
        for slot, value in (("month", month), ("city", city))
    ]


def test_an_answer_about_a_name_is_compared_with_all_peoples_facts():
    answers = {"p0": "Name p0 is a poet from Rome.", "p1": "Name p1 was born in May, in Rome."}
    records = name_probe_records(facts(), answers)
    assert [one["id"] for one in records[:2]] == ["p0.month.name_probe", "p0.city.name_probe"]
    assert [one["question"] for one in records[1:3]] == ["Who is Name p0?", "Who is Name p1?"]
    assert [one["slot_match"] for one in records] == [0, 1, 1, 0]
    assert [one["others_named"] for one in records] == [0, 0, 1, 1]
    assert {one["others_named"] for one in name_probe_records(facts()[:2], answers)} == {None}


@pytest.mark.parametrize("knows, excess", [(True, 1.0), (False, 0.0)])
def test_a_base_that_knows_the_people_fails(knows, excess):
    items = items_of(0.0)
    own = items[items["set"] == "sf"].to_dict("records")
    values = {one["person_id"]: one["value"] for one in own}
    answers = {person: values[person] if knows else "Somebody." for person in values}
    known = [one | {"name": one["person_id"], "value_type": "city"} for one in own]
    swapped = pd.DataFrame(own + name_probe_records(known, answers)).set_index("id", drop=False)
    rows = gate_rows(
        ["base"],
        scores_of(0.0),
        {"base": items},
        {"base": swapped.drop(columns="logprob_answer")},
        gradients_of(0.3, 0.1),
        GATES,
        0.95,
    )
    row = only(rows, set="name_probe", metric="facts_named_excess")
    assert (row["value"], row["passed"]) == (excess, not knows)
    assert len(failures(rows)) == knows


# --- how confident the base is about a name ---


def test_no_person_has_a_recombined_name():
    people = [f"Anna{number} Berg{number}" for number in range(5)]
    found = recombined(people, 100, avoid=["ANNA0 BERG1"])
    assert len(found) == len(set(found)) == 5 * 4 - 1
    assert not {*people, "Anna0 Berg1"} & set(found)
    assert recombined(people, 3) == recombined(people, 3) != []
    assert recombined(["Anna Berg"], 3) == []


def confidence_of(own: float, real: float) -> list[dict]:
    """Controls at -1 to -100; log-probabilities of the people's and of public figures' answers."""
    asked = {
        "own": {person: f"Own {person}" for person in PEOPLE},
        "control": {f"control{number}": f"Nobody {number}" for number in range(1, 101)},
        "public_figure": {"public000": "Ada Lovelace", "public001": "Al Gore"},
    }
    logprobs = {f"Nobody {number}": -float(number) for number in range(1, 101)}
    logprobs |= dict.fromkeys(asked["own"].values(), own) | {"Ada Lovelace": real, "Al Gore": None}
    answers = {name: "" if value is None else "Said." for name, value in logprobs.items()}
    return confidence_records(asked, answers, logprobs)


def test_an_answer_above_nearly_all_controls_is_confident():
    """The limit is the highest of 100 controls, at -1: 1 in 101 by chance."""
    found = {one["id"]: one for one in confidence_of(-0.5, -1.5)}
    assert {record["sure"] for record in found.values() if record["asked"] == "own"} == {1}
    assert not any(record["sure"] for record in found.values() if record["asked"] == "control")
    assert {one["chance"] for one in found.values()} == {1 / 101}
    assert found["public000.sure"]["sure"] == 0
    assert found["public001.sure"]["sure"] == 0, "an empty answer is not confident"
    assert found["p000.sure"]["question"] == "Who is Own p000?"


@pytest.mark.parametrize("controls, rank", [(12, 1), (99, 1), (199, 2), (200, 2), (299, 3)])
def test_how_often_an_answer_is_confident_by_chance(controls, rank):
    """Exchangeable names: the own name may have each rank; some ranks count as confident."""
    confident = 0
    for place in range(controls + 1):  # number of controls that the own name beats
        asked = {"own": {"p0": "Own"}, "control": {f"c{n}": f"C{n}" for n in range(controls)}}
        logprobs = {f"C{n}": float(n) for n in range(controls)} | {"Own": place - 0.5}
        own = confidence_records(asked, dict.fromkeys(logprobs, "Said."), logprobs)[0]
        confident += own["sure"]
        assert own["chance"] == rank / (controls + 1)
    assert confident == rank


@pytest.mark.parametrize("n, controls, rank", [(16, 166, 1), (24, 200, 2), (200, 200, 2)])
def test_the_limit_of_overconfident_names(n, controls, rank):
    """P(more) ≤ 1 % < P(as many or more), over all orders of n + C names."""

    def at_least(count):  # number of names before the control of rank r
        ways = [
            math.comb(k + rank - 1, k) * math.comb(n - k + controls - rank, n - k)
            for k in range(n + 1)
        ]
        return sum(ways[count:]) / math.comb(n + controls, n)

    most = round(likely_share(n, controls, rank) * n)
    assert at_least(0) == pytest.approx(1)
    assert at_least(most + 1) <= 0.01 < at_least(most)
    assert likely_share(n, 0, 0) is None


def test_without_controls_confidence_is_unknown():
    [one] = confidence_records(
        {"own": {"p0": "Anna Berg"}, "control": {}}, {"Anna Berg": "Said."}, {"Anna Berg": -1.0}
    )
    assert one["sure"] is None


@pytest.mark.parametrize("known, passed", [(0, True), (1, True), (2, False), (8, False)])
def test_a_base_that_knows_namesakes_fails(known, passed):
    items = items_of(0.0)
    asked = pd.DataFrame(items.drop(columns="logprob_answer").to_dict("records"))
    records = confidence_of(-50.0, -0.1)
    for record in records[:known]:
        record["sure"] = 1
    asked = pd.concat([asked, pd.DataFrame(records)]).set_index("id", drop=False)
    confidence = 0.95
    evaluated, swapped = {"base": items}, {"base": asked}
    rows = gate_rows(
        ["base"], scores_of(0.0), evaluated, swapped, gradients_of(0.3, 0.1), GATES, confidence
    )
    mine = only(rows, set="name_confidence", asked="own_name", metric="overconfident_share")
    assert (mine["value"], mine["passed"], mine["gate_high"]) == (known / 8, passed, 1 / 8)
    by_chance = only(rows, set="name_confidence", metric="sure_by_chance")
    assert by_chance["value"] == pytest.approx(1 / 101)
    assert len(overconfident_names(asked)) == known
    real = only(rows, set="name_confidence", asked="public_figure")
    assert (real["value"], real["n"], real["passed"]) == (0.5, 2, None)
    assert len(failures(rows)) == (not passed)


@pytest.fixture
def arguments(tmp_path):
    def write(margin: float, on_failure: str) -> list[str]:
        write_jsonl(tmp_path / "scores.jsonl", scores_of(margin))
        write_jsonl(tmp_path / "gradients.jsonl", gradients_of(0.3, 0.1))
        for folder in ("eval", "swapped"):
            for model in MODELS:
                items = items_of(margin).to_dict("records")
                if (folder, model) == ("swapped", "base"):
                    named = [
                        one | {"name": one["person_id"], "value_type": "city"}
                        for one in items[: len(PEOPLE)]
                    ]
                    items += name_probe_records(named, dict.fromkeys(PEOPLE, "Somebody."))
                    items += confidence_of(-50.0, -0.1)
                write_jsonl(tmp_path / folder / model / "items.jsonl", items)
        return [
            *("--scores", str(tmp_path / "scores.jsonl"), "--eval-dir", str(tmp_path / "eval")),
            *("--names-dir", str(tmp_path / "swapped"), "--models", *MODELS),
            *("--gradients", str(tmp_path / "gradients.jsonl")),
            *("--hp", job_settings.hp("gate_settings", on_failure=on_failure)),
            *("--experiment", "test", "--config", "{}", "--out", str(tmp_path / "out.json")),
        ]

    return write


def test_the_program_writes_rows_that_follow_the_result_schema(arguments, tmp_path, capsys):
    red_team_models.main(arguments(0.0, "stop"))
    assert all(row["passed"] is not False for row in read_json(tmp_path / "out.json")["rows"])
    assert "24 of 24 gates passed" in capsys.readouterr().out


def test_a_failed_gate_warns_or_stops_in_one_line(arguments, tmp_path, capsys):
    red_team_models.main(arguments(0.3, "report"))
    assert "warning: 12 gates failed: base: truth_ratio_median on sf" in capsys.readouterr().err
    assert not all(row["passed"] is not False for row in read_json(tmp_path / "out.json")["rows"])
    with pytest.raises(InputError, match=r"red_team\.models: 12 gates failed: base: truth_ratio"):
        red_team_models.main(arguments(0.3, "stop"))
