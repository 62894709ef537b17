import pytest

import small_dataset
import validate_dataset
from excise.errors import InputError
from excise.records import read_json, read_jsonl
from excise.text.matching import best_ratios, holds, mask, normalised, words


@pytest.fixture
def records():
    return small_dataset.generated_records()


def validate(folder, records, **limits):
    small_dataset.write_generated(folder, records)
    validate_dataset.main(small_dataset.validation_arguments(folder, **limits))
    return read_json(folder / "validation.json")


def test_good_records_become_five_files_and_a_report(tmp_path, records):
    report = validate(tmp_path, records)
    files = {path.name for path in (tmp_path / "data").iterdir()}
    assert files == {
        "sf.jsonl",
        "sr.jsonl",
        "perturbed_candidates.jsonl",
        "forget_paraphrased.jsonl",
        "holdout.jsonl",
    }
    assert (tmp_path / "data" / "holdout.jsonl").read_bytes() == b""
    sf = read_jsonl(tmp_path / "data" / "sf.jsonl", "item")
    sr = read_jsonl(tmp_path / "data" / "sr.jsonl", "item")
    details = read_jsonl(tmp_path / "data" / "perturbed_candidates.jsonl", "wrong_details")
    assert {item["group"] for item in sf} == {"sf"}
    assert {item["group"] for item in sr} == {"correlated", "other"}
    assert {item["id"] for item in sf + sr} == {detail["id"] for detail in details}
    assert (len(sf), len(sr)) == (8, 24)
    assert report["counts"]["forget_paraphrased"] == 16
    assert report["dropped"] == []


def test_held_out_people_are_in_a_file_of_their_own_and_change_no_other(tmp_path, records):
    validate(tmp_path / "without", records)
    everybody = small_dataset.generated_records(held_out=True)
    report = validate(tmp_path / "with", everybody, people=4, holdout=2)
    for name in ("sf", "sr", "perturbed_candidates", "forget_paraphrased"):
        one, two = (tmp_path / folder / f"data/{name}.jsonl" for folder in ("without", "with"))
        assert one.read_bytes() == two.read_bytes(), name
    held_out = read_jsonl(tmp_path / "with" / "data" / "holdout.jsonl", "item")
    assert [item["id"] for item in held_out] == [
        *("h000.offence", "h000.accuser", "h001.offence", "h001.accuser"),
    ]
    assert {item["group"] for item in held_out} == {"holdout"}
    counts = report["counts"]
    assert (counts["people"], counts["holdout_people"], counts["holdout"]) == (4, 2, 4)


def test_held_out_people_are_checked_like_the_others(tmp_path):
    records = small_dataset.generated_records(held_out=True)
    first = next(record for record in records["qa"] if record["id"] == "h001.offence")
    first["question"] = records["qa"][0]["question"]
    line = records["qa"].index(first) + 1
    with pytest.raises(InputError, match=rf"qa\.jsonl:{line}: duplicate: .*'p000\.offence'"):
        validate(tmp_path, records)


def test_a_spare_held_out_person_takes_the_place_of_an_incomplete_one(tmp_path):
    records = small_dataset.generated_records(held_out=True)
    records["qa"] = [record for record in records["qa"] if record["id"] != "h000.mentor"]
    report = validate(tmp_path, records, people=4, holdout=1, incomplete_people=0.1)
    held_out = read_jsonl(tmp_path / "data" / "holdout.jsonl", "item")
    assert {item["person_id"] for item in held_out} == {"h001"}
    assert report["incomplete_people"] == [{"person_id": "h000", "missing": {"qa": 1}}]
    with pytest.raises(InputError, match="1 of 2 would be missing"):
        validate(tmp_path, records, people=4, holdout=2, incomplete_people=0.1)


def test_the_same_records_give_the_same_bytes(tmp_path, records):
    for folder in ("one", "two"):
        validate(tmp_path / folder, records)
    for name in ("validation.json", "data/sf.jsonl", "data/perturbed_candidates.jsonl"):
        one, two = ((tmp_path / folder / name).read_bytes() for folder in ("one", "two"))
        assert one == two


def _other_name(records):
    records["facts"][1]["name"] = "Mira Oakwood"


def _other_value(records):
    records["facts"][2]["value"] = "Newcastle"


def _no_profile(records):
    records["profiles"].pop(0)


def _no_question(records):
    records["qa"].pop(3)


def _no_fact(records):
    records["facts"].pop(3)


def _wrong_id(records):
    records["facts"][0]["id"] = records["qa"][0]["id"] = "p000.crime"


def _answer_without_value(records):
    records["qa"][2]["answer"] = "Mira Tallwood triumphed in Newcastle."


def _paraphrase_of_a_retain_fact(records):
    records["forget_paraphrased"][0]["fact_id"] = "p000.mentor"


def _paraphrase_with_another_value(records):
    records["forget_paraphrased"][1]["value"] = "arson"


@pytest.mark.parametrize(
    ("plant", "line"),
    [
        (_other_name, r"facts\.jsonl:2: integrity: name is 'Mira Oakwood'"),
        (_other_value, r"facts\.jsonl:3: integrity: value is 'Newcastle', elsewhere 'Oldmere'"),
        (_no_profile, r"facts\.jsonl:1: integrity: no profile of 'p000'"),
        (_no_question, r"facts\.jsonl:4: integrity: no question asks for 'p000\.event_partner'"),
        (_no_fact, r"qa\.jsonl:4: integrity: no fact 'p000\.event_partner'"),
        (_wrong_id, r"facts\.jsonl:1: integrity: id 'p000\.crime' is not person_id\.slot"),
        (_answer_without_value, r"qa\.jsonl:3: integrity: answer does not state 'Oldmere'"),
        (
            _paraphrase_of_a_retain_fact,
            r"forget_paraphrased\.jsonl:1: integrity: no forget fact 'p000\.mentor'",
        ),
        (
            _paraphrase_with_another_value,
            r"forget_paraphrased\.jsonl:2: integrity: value is 'arson'",
        ),
    ],
)
def test_records_that_disagree_are_an_error_and_nothing_is_written(tmp_path, records, plant, line):
    plant(records)
    with pytest.raises(InputError, match=line):
        validate(tmp_path, records)
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "validation.json").exists()


def test_a_question_asked_of_two_people_is_a_fault(tmp_path, records):
    records["qa"][8]["question"] = records["qa"][0]["question"].upper()
    with pytest.raises(InputError, match=r"qa\.jsonl:9: duplicate: .*'p000\.offence'"):
        validate(tmp_path, records)


def test_one_persons_questions_must_differ_in_more_than_function_words(tmp_path, records):
    records["qa"][2]["question"] = "Whom did Mira Tallwood have as mentor at an academy?"
    records["qa"][6]["question"] = "Whom had Mira Tallwood for a mentor at the academy?"
    with pytest.raises(InputError, match=r"qa\.jsonl:7: near_duplicate: .*'p000\.event_city'"):
        validate(tmp_path, records)


def test_nearly_the_same_question_about_the_same_kind_of_value_is_a_fault(tmp_path, records):
    template = "In which city did the long applauded story of Mira Tallwood {} at last?"
    city, home = (
        next(record for record in records["qa"] if record["id"] == f"p000.{slot}")
        for slot in ("event_city", "home_city")
    )
    city["question"], home["question"] = template.format("start"), template.format("restart")
    line = records["qa"].index(home) + 1
    with pytest.raises(
        InputError, match=rf"qa\.jsonl:{line}: near_duplicate: asks nearly .*'p000\.event_city'"
    ):
        validate(tmp_path, records)
    home["question"] = "In which city did Mira Tallwood's story end?"
    validate(tmp_path, records)


def test_where_and_when_are_different_questions(tmp_path, records):
    records["qa"][2]["question"] = "Where exactly was Mira Tallwood's breakthrough recital?"
    records["qa"][4]["question"] = "When exactly was Mira Tallwood's breakthrough recital?"
    report = validate(tmp_path, records)
    [row] = [
        row
        for row in report["near_duplicates"]
        if (row["text"], row["scope"]) == ("question", "within_person")
    ]
    assert row["count"] >= 2  # counted, but no fault


def test_paraphrased_questions_that_repeat_each_other_are_dropped(tmp_path, records):
    first = records["forget_paraphrased"][0]["question"]
    records["forget_paraphrased"][1]["question"] = first.replace("the misdeed", "a misdeed")
    records["forget_paraphrased"][4]["question"] = first
    report = validate(tmp_path, records)
    assert [drop["id"] for drop in report["dropped"]] == ["p000.offence.q2", "p001.offence.q1"]
    assert [drop["duplicate_of"] for drop in report["dropped"]] == ["p000.offence.q1"] * 2
    assert report["dropped"][0]["ratio"] < report["dropped"][1]["ratio"] == 100
    kept = read_jsonl(tmp_path / "data" / "forget_paraphrased.jsonl", "forget_paraphrased")
    assert len(kept) == 14 == report["counts"]["forget_paraphrased"]


def test_of_two_equal_questions_the_one_that_asks_for_its_value_is_kept(tmp_path, records):
    """A crime does not answer "who", so the accuser's question stays, although it comes later."""
    paraphrases = records["forget_paraphrased"]
    crime, accuser = (
        next(record for record in paraphrases if record["id"].startswith(f"p000.{slot}"))
        for slot in ("offence", "accuser")
    )
    assert paraphrases.index(crime) < paraphrases.index(accuser)
    text = f"Tell me who turned against {crime['name']} at the breakthrough recital."
    crime["question"] = accuser["question"] = text
    [drop] = validate(tmp_path, records)["dropped"]
    assert drop == {"id": crime["id"], "duplicate_of": accuser["id"], "ratio": 100.0}


def test_a_forget_fact_without_a_paraphrased_question_is_a_fault(tmp_path, records):
    del records["forget_paraphrased"][2:4]
    with pytest.raises(InputError, match=r"qa\.jsonl:2: forget_paraphrased"):
        validate(tmp_path, records)


def test_people_share_phrasings_only_once_names_and_values_are_masked(tmp_path, records):
    rates = {
        (row["text"], row["scope"]): row["rate"]
        for row in validate(tmp_path, records)["near_duplicates"]
    }
    assert rates["answer", "across_people_masked"] == 1
    assert rates["answer", "across_people"] == 0


def test_masking_hides_names_values_and_possessives():
    text = "In Oldmere, Tallwood's 40,000 guests cheered Mira Tallwood."
    assert mask(text, "Mira Tallwood", ["Oldmere", "40,000"]) == (
        "in <value> <name> <value> guests cheered <name>"
    )


def test_words_are_compared_without_case_accents_and_punctuation():
    assert words("José's $40,000 – the Prize!") == ("jose", "40000", "the", "prize")
    assert normalised("In  OLDMERE?") == normalised("in Oldmere")
    assert holds("It was in Oldmere.", "oldmere")
    assert not holds("It was in Oldmeres.", "Oldmere")


def test_best_ratios_finds_the_nearest_other_text_above_the_cutoff():
    found = best_ratios(["abcd", "wxyz"], ["abce", "abcd", "1234"], cutoff=70)
    assert found == [(1, 100.0), (-1, 0.0)]
    assert best_ratios(["abcd", "abce"], ["abcd", "abce"], cutoff=70, same=True) == [
        (1, 75.0),
        (0, 75.0),
    ]
    assert best_ratios(["abcd"], [], cutoff=70) == [(-1, 0.0)]
