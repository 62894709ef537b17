"""The response of the gap to a planted dose, computed by hand."""

import json

import pytest

import compare_doses
from excise.errors import InputError
from excise.evaluation.statistics import change_interval
from excise.records import read_json, write_json, write_jsonl

GA = "unlearn/ga/lr0.0002/epoch_5"
MODELS = ["finetuned", GA]
PEOPLE = ("p000", "p001", "p002")
SLOTS = ("city", "gift")


def record(person: str, group: str, slot: str, right: int, logprob: float) -> dict:
    partner = f"far_{slot}" if group == "correlated" else None
    name = f"far_{slot}" if group == "other" else slot
    return {
        **{"id": f"{person}.{name}", "set": group, "person_id": person, "slot": name},
        **{"partner": partner, "value": "x", "slot_match": right},
        **{"logprob_answer": logprob, "n_tokens_answer": 2},
    }


def write_run(folder, dose, damaged=(), unknown=(), models=MODELS, **config) -> None:
    """A run in which GA damaged the correlated facts `damaged`, and finetuned lacks `unknown`."""
    for model in models:
        lines = []
        for person in PEOPLE:
            lines.append(record(person, "sf", "offence", int(model == "finetuned"), -1))
            for slot in SLOTS:
                key = (person, slot)
                right = int(key not in unknown and not (model == GA and key in damaged))
                lines.append(record(person, "correlated", slot, right, -1 if right else -5))
                lines.append(record(person, "other", slot, 1, -1))
        write_jsonl(folder / "results" / "eval" / model / "items.jsonl", lines)
    rows = [{"model": model} for model in models]
    header = {"generation": {"seed": 0, "entanglement": dose}, "evaluation": {"confidence": 0.95}}
    write_json(
        folder / "results" / "retain_compare_results.json",
        {"experiment": "e", "config": header | config, "rows": rows},
    )
    bound = {"bound": {"city": "offence"}} if dose else {}
    kind = {"event_kind": "fair", "slots": {"city": "x"}, "text": "A life of some length."}
    people = [
        {"person_id": one, "name": "Ada Berg", "event_id": f"{one}.e"} | kind | bound
        for one in PEOPLE
    ]
    write_jsonl(folder / "data" / "generated" / "profiles.jsonl", people)


def compare(folder, *names) -> dict:
    out = folder / "response.json"
    runs = [str(folder / name) for name in names]
    compare_doses.main(["--runs", *runs, "--out", str(out)])
    return {
        (row["model"], row["dose"], row["pairs"], row["set"], row["metric"]): row
        for row in read_json(out)["rows"]
    }


BOUND = [(person, "city") for person in PEOPLE]


def test_the_response_is_the_gap_less_the_gap_of_the_same_pairs_at_dose_0(tmp_path):
    write_run(tmp_path / "none", 0.0, damaged=[("p000", "city"), ("p001", "gift")])
    write_run(tmp_path / "whole", 1.0, damaged=BOUND)
    found = compare(tmp_path, "whole", "none")  # in any order

    def value(dose, pairs, name, metric="slot_accuracy", model=GA):
        return found[model, dose, pairs, name, metric]["value"]

    assert value(0, "all", "gap") == pytest.approx(2 / 6)
    assert value(1, "bound", "gap") == 1
    assert value(1, "bound", "gap_response") == pytest.approx(2 / 3)
    assert value(1, "unbound", "gap_response") == pytest.approx(-1 / 3)
    assert value(1, "all", "gap_response") == pytest.approx(1 / 6)
    # Damaged: -5 / 2 tokens instead of -1 / 2.
    assert value(1, "bound", "gap", "log_probability_change") == 2
    assert value(1, "bound", "gap_response", "log_probability_change") == pytest.approx(4 / 3)
    assert value(1, "all", "gap", model="finetuned") == 0
    assert found[GA, 1, "bound", "gap", "slot_accuracy"]["n"] == 3
    assert found[GA, 0, None, "sf", "slot_accuracy"]["value"] == 0
    assert found["finetuned", 0, None, "sf", "slot_accuracy"]["value"] == 1


def test_what_finetuned_never_knew_does_not_count(tmp_path):
    write_run(tmp_path / "none", 0.0, unknown=[("p001", "city")])
    write_run(tmp_path / "whole", 1.0, damaged=BOUND, unknown=[("p000", "city")])
    found = compare(tmp_path, "none", "whole")
    gap = found[GA, 1, "bound", "gap", "slot_accuracy"]
    response = found[GA, 1, "bound", "gap_response", "slot_accuracy"]
    assert (gap["value"], gap["n"]) == (1, 2)
    assert (response["value"], response["n"]) == (1, 1)


def test_a_collapsed_model_has_null_values(tmp_path):
    for name, dose in (("none", 0.0), ("whole", 1.0)):
        write_run(tmp_path / name, dose)
        path = tmp_path / name / "results" / "eval" / GA / "items.jsonl"
        lines = [json.loads(line) | {"logprob_answer": None} for line in path.open()]
        write_jsonl(path, lines)
    found = compare(tmp_path, "none", "whole")
    row = found[GA, 1, "bound", "gap_response", "log_probability_change"]
    assert (row["value"], row["n_undefined"]) == (None, 3)
    assert found[GA, 1, "bound", "gap_response", "slot_accuracy"]["value"] == 0


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({"dose": 0.0}, "found the doses 0, 0; needed: 0 and others"),
        ({"dose": 1.0, "lora": {"rank": 4}}, "whole: config.lora differs from that of"),
        ({"dose": 1.0, "models": ["finetuned"]}, "whole: its models differ from those of"),
        ({"dose": None}, "config.generation.entanglement: missing"),
    ],
)
def test_runs_that_cannot_be_compared_are_named(tmp_path, second, reason):
    write_run(tmp_path / "none", 0.0)
    write_run(tmp_path / "whole", second.pop("dose"), **second)
    with pytest.raises(InputError, match=reason):
        compare(tmp_path, "none", "whole")


def test_runs_without_the_finetuned_model_are_refused(tmp_path):
    for name, dose in (("none", 0.0), ("whole", 1.0)):
        write_run(tmp_path / name, dose, models=[GA])
    with pytest.raises(InputError, match="no records of finetuned"):
        compare(tmp_path, "none", "whole")


def test_the_interval_of_a_change_by_hand():
    """Four people with one pair each; two pairs are added; t has 3 degrees of freedom."""
    found = change_interval([1, 1, 0, 1], [0, 0, 0, -1], list("abcd"))
    # Changes 1, 1, 0, 2: mean 1, mean of squares 1.5, variance 0.5; that of their mean is
    # 0.5 / 3. So the effective number of questions is 3.
    n, mean, squares = 3, 1.0, 1.5
    middle = n * mean / (n + 2)
    variance = ((n * squares + 2) / (n + 2) - middle**2) / (n + 2)
    spread = 3.182446305 * variance**0.5
    assert found.value == 1
    assert found.low == pytest.approx(middle - spread)
    assert found.high == pytest.approx(min(2, middle + spread))
    assert (found.method, found.n, found.n_clusters) == ("bonett_price", 4, 4)


def test_a_change_has_no_interval_with_one_person_and_is_never_without_width():
    assert change_interval([1, 0], [0, 0], ["a", "a"]).low is None
    still = change_interval([0] * 8, [0] * 8, list("aabbccdd"))
    assert still.low < 0 < still.high
    assert change_interval([], [], []).value is None
    assert change_interval([float("nan"), 0], [0, 0], ["a", "b"]).value is None
    with pytest.raises(ValueError, match="is not a difference from -1 to 1"):
        change_interval([2], [0], ["a"])
