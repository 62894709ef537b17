import json
import math

import pytest

import small_dataset
from excise.errors import InputError
from excise.records import read_json, read_jsonl, write_json, write_jsonl

LINES = small_dataset.generated_records()["qa"]


def spoiled(tmp_path, spoil):
    """A file whose third line is spoiled."""
    lines = json.loads(json.dumps(LINES[:4]))
    spoil(lines[2])
    write_jsonl(tmp_path / "qa.jsonl", lines)
    return tmp_path / "qa.jsonl"


def test_records_come_back_as_they_were_written(tmp_path):
    write_jsonl(tmp_path / "qa.jsonl", LINES)
    assert read_jsonl(tmp_path / "qa.jsonl", "qa") == LINES


@pytest.mark.parametrize("line", ["{'id': 1}", '{"id": "p000.offence"', "", "null", "[]"])
def test_a_line_that_is_no_json_object_is_named(tmp_path, line):
    path = tmp_path / "qa.jsonl"
    path.write_text(json.dumps(LINES[0]) + f"\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"qa\.jsonl:2: "):
        read_jsonl(path, "qa")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda line: line.pop("answer"), "'answer' is a required property"),
        (lambda line: line.update(extra=1), "'extra' was unexpected"),
        (lambda line: line.update(value=7), "value: 7 is not of type 'string'"),
        (lambda line: line.update(group="forget"), "group: 'forget' is not one of"),
        (lambda line: line.update(person_id="17"), "person_id: '17' does not match"),
        (lambda line: line.update(answer=" Yes. "), "answer: ' Yes. ' does not match"),
        (lambda line: line.update(wrong_answers=["no"]), "wrong_answers.0: 'no' is not of type"),
        (lambda line: line.update(id=LINES[0]["id"]), "'p000.offence' repeats line 1"),
    ],
)
def test_a_line_that_breaks_its_schema_is_named_with_the_reason(tmp_path, spoil, why):
    with pytest.raises(InputError, match=rf"qa\.jsonl:3: .*{why}"):
        read_jsonl(spoiled(tmp_path, spoil), "qa")


def test_a_wrong_answer_equal_to_the_right_one_is_named(tmp_path):
    def right_again(line):
        line["wrong_answers"][1]["value"] = line["value"].upper()

    with pytest.raises(InputError, match=r"qa\.jsonl:3: wrong_answers\.1: 'OLDMERE' is already"):
        read_jsonl(spoiled(tmp_path, right_again), "qa")


def test_a_wrong_answer_given_twice_is_named(tmp_path):
    def twice(line):
        line["wrong_answers"][1] = line["wrong_answers"][0]

    with pytest.raises(InputError, match=r"qa\.jsonl:3: wrong_answers\.1: 'Elmhaven' is already"):
        read_jsonl(spoiled(tmp_path, twice), "qa")


def test_an_empty_or_missing_file_is_named(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(InputError, match=r"empty\.jsonl: empty"):
        read_jsonl(tmp_path / "empty.jsonl", "qa")
    with pytest.raises(InputError, match=r"gone\.jsonl: no such file"):
        read_jsonl(tmp_path / "gone.jsonl", "qa")
    with pytest.raises(InputError, match=r"gone\.json: cannot read"):
        read_json(tmp_path / "gone.json")


def test_json_holds_null_where_a_number_is_undefined_and_sorted_keys(tmp_path):
    write_json(tmp_path / "x.json", {"b": [math.nan, math.inf, 1.5], "a": {"c": -math.inf}})
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"a": {"c": None}, "b": [None, None, 1.5]}
    assert text.index('"a"') < text.index('"b"')


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "qa.jsonl"
    write_jsonl(path, LINES)
    with pytest.raises(TypeError):
        write_jsonl(path, [LINES[0], {"not json": object()}])
    assert read_jsonl(path, "qa") == LINES
    assert [found.name for found in tmp_path.iterdir()] == ["qa.jsonl"]


@pytest.mark.parametrize("kind", ["profile", "fact", "qa", "forget_paraphrased", "utility"])
def test_every_schema_accepts_a_good_record_and_needs_each_of_its_keys(tmp_path, kind):
    records = small_dataset.generated_records()
    records |= {"utility": [small_dataset.UTILITY]}
    plural = {"profile": "profiles", "fact": "facts"}
    good = records[plural.get(kind, kind)][0]
    write_jsonl(tmp_path / "good.jsonl", [good])
    assert read_jsonl(tmp_path / "good.jsonl", kind) == [good]
    for key in good:
        write_jsonl(tmp_path / "bad.jsonl", [{k: v for k, v in good.items() if k != key}])
        with pytest.raises(InputError, match=f"'{key}' is a required property"):
            read_jsonl(tmp_path / "bad.jsonl", kind)
