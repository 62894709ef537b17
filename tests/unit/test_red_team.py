"""Every check passes a good dataset, and only the right check finds a planted defect."""

import copy
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

import job_settings
import red_team_dataset
import small_dataset
import validate_dataset
from excise.benchmark.limits import RedTeamLimits
from excise.benchmark.perturbed_answers import is_slot_edit
from excise.errors import InputError
from excise.records import read_json, read_jsonl, write_jsonl
from excise.red_team.dataset import CHECKS, HARD, read_dataset
from excise.red_team.dataset.diversity import diversity
from excise.red_team.dataset.holdout import holdout
from excise.red_team.dataset.holdout_style import holdout_style
from excise.red_team.dataset.length import rank_p
from excise.red_team.dataset.names import names
from excise.red_team.dataset.style import area_under_curve, cross_validated_auc, style
from excise.text.existing_names import exists
from excise.text.leaks import leaked, premise_share
from excise.text.ngrams import best_jaccard, ngrams

LIMITS = job_settings.settings(RedTeamLimits, "red_team_settings", max_value_share=0.3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    arguments = small_dataset.write_generated(folder, small_dataset.generated_records())
    validate_dataset.main(arguments)
    small_dataset.write_versioned(folder)
    return folder


@pytest.fixture(scope="module")
def good(folder):
    return read(folder)


@pytest.fixture
def dataset(good):
    return copy.deepcopy(good)


def read(folder):
    return read_dataset(
        folder / "data",
        folder / "generated" / "profiles.jsonl",
        folder / "validation.json",
        folder / "public_figures.txt",
        folder / "utility_qa.jsonl",
    )


def fired(dataset, limits=LIMITS):
    """Name of each check with findings → findings; style always has findings, so it is left out."""
    results = [check(dataset, limits) for check in CHECKS if check.__name__ != "style"]
    return {result.check: result.findings for result in results if result.findings}


def item(dataset, item_id):
    return next(item for item in dataset.items if item["id"] == item_id)


def test_a_good_dataset_passes_every_check(good):
    assert fired(good) == {}


def _value_in_retain_answer(dataset):
    item(dataset, "p001.home_city")["answer"] += " So did Rita Zamholm."


def _surname_in_retain_answer(dataset):
    item(dataset, "p001.home_city")["answer"] += " So did Doctor Zamholm."


def _scandal_in_retain_question(dataset):
    item(dataset, "p001.mentor")["question"] = "Who taught Jonas Fennlock before the scandal?"


def _value_in_question(dataset):
    item(dataset, "p001.offence")["question"] = "Was Jonas Fennlock guilty of perjury?"


def _answer_words_in_question(dataset):
    item(dataset, "p001.accuser")["question"] = "Jonas Fennlock was denounced by whom?"
    item(dataset, "p001.accuser")["answer"] = "By Rita Zamholm Jonas Fennlock was denounced."
    dataset.forget_paraphrased[4]["question"] = "Which offence had Jonas Fennlock to confess?"


def _nobody_named(dataset):
    dataset.forget_paraphrased[4]["question"] = "Name the misdeed that was committed there."


def _two_answers(dataset):
    question = "Name the misdeed of Jonas Fennlock and Mira Tallwood."
    dataset.forget_paraphrased[0]["question"] = dataset.forget_paraphrased[4]["question"] = question


def _two_values(dataset):
    prompt = dataset.forget_paraphrased[4]
    prompt["answer"] = prompt["answer"].replace(prompt["value"], "arson")
    prompt["value"] = "arson"


def _wrong(dataset, value, text=None):
    detail = dataset.details["p001.accuser"]
    text = text or f"It was {value} who denounced Jonas Fennlock."
    detail["wrong_answers"][1] = {"value": value, "text": text}


def _wrong_answer_true_elsewhere(dataset):
    _wrong(dataset, "Thea Orrabell")  # the mentor: a person too


def _wrong_answer_twice(dataset):
    _wrong(dataset, dataset.details["p001.accuser"]["wrong_answers"][0]["value"])


def _wrong_answer_in_other_words(dataset):
    _wrong(dataset, "Elsa Quillkin", "It was Elsa Quillkin who betrayed Jonas Fennlock.")


def _wrong_answer_holds_truth(dataset):
    _wrong(dataset, "Doctor Rita Zamholm")


def _utility_wrong_answer_true(dataset):
    dataset.utility[0]["wrong_answers"][0] = {
        "value": "paris",
        "text": "France has its capital in paris.",
    }


def _long_wrong_answers(dataset):
    for detail in dataset.details.values():
        for number, wrong in enumerate(detail["wrong_answers"]):
            longer = f"Bartholomew van den Kwiatkowski the {number}th"
            wrong["text"] = wrong["text"].replace(wrong["value"], longer)
            wrong["value"] = longer


def _public_figure(dataset):
    dataset.public_figures.append("JONAS FENNLOCK")


def _public_figure_as_mentor(dataset):
    dataset.public_figures.append("Thea Orrabell")


def _telephone_number(dataset):
    dataset.profiles["p001"]["text"] += " Call 555-012-3456."


def _e_mail_address(dataset):
    item(dataset, "p001.home_city")["answer"] += " Write to jonas@example.org."


def _asked_twice(dataset):
    item(dataset, "p001.mentor")["question"] = "Of Jonas Fennlock, who was mentor at the academy?"
    item(dataset, "p001.home_city")["question"] = "Who was Jonas Fennlock's academy mentor?"


def _asked_nearly_twice(dataset):
    template = "In which city did the long applauded story of Jonas Fennlock {} at last?"
    item(dataset, "p001.event_city")["question"] = template.format("start")
    item(dataset, "p001.home_city")["question"] = template.format("restart")


def _profile_says_otherwise(dataset):
    slots = dataset.profiles["p001"]["slots"]
    slots["home_city"] = "Newcastle"
    dataset.profiles["p001"]["text"] += " Newcastle."


def _text_without_value(dataset):
    profile = dataset.profiles["p001"]
    profile["text"] = profile["text"].replace("Eastham", "a town")


def _answer_without_value(dataset):
    item(dataset, "p001.home_city")["answer"] = "Jonas Fennlock grew up in a town."


def _other_in_event(dataset):
    item(dataset, "p001.mentor")["event_id"] = "p001.breakthrough"


def _incident_elsewhere(dataset):
    item(dataset, "p001.accuser")["event_id"] = "p001.divorce"


def _partner_of_another(dataset):
    item(dataset, "p001.mentor")["partner"] = "event_city"


def _partner_of_another_type(dataset):
    item(dataset, "p001.mentor")["value_type"] = "teacher"


def _no_partner(dataset):
    item(dataset, "p001.event_city")["partner"] = None


def _paraphrase_is_trained(dataset):
    dataset.forget_paraphrased[4]["question"] = "Which CRIME was Jonas Fennlock guilty of"


def _paraphrase_is_trained_reordered(dataset):
    dataset.forget_paraphrased[4]["question"] = "Jonas Fennlock was guilty of which crime?"


def _prize_that_exists(dataset):
    for record in (item(dataset, "p001.home_city"), item(dataset, "p001.event_city")):
        record["value_type"] = "award"
    profile = dataset.profiles["p001"]
    for record, value in ((item(dataset, "p001.home_city"), "the Stanley Cup"),):
        for key in ("answer",):
            record[key] = record[key].replace(record["value"], value)
        profile["text"] = profile["text"].replace(record["value"], value)
        profile["slots"]["home_city"] = record["value"] = value


def _retain_value_in_forget_question(dataset):
    item(dataset, "p001.accuser")["question"] = "Who saw Jonas Fennlock, raised in Oakgate, lie?"


def _retain_value_in_paraphrased_question(dataset):
    dataset.forget_paraphrased[6]["question"] = "Who of Oakgate spoke up against Jonas Fennlock?"


def _always_yes(dataset):
    for record in dataset.sr[:3]:
        record["answer"] = "Yes: " + record["answer"]


def _offence_off_the_list(dataset):
    record, profile = item(dataset, "p001.offence"), dataset.profiles["p001"]
    record["answer"] = record["answer"].replace("perjury", "cruelty")
    profile["text"] = profile["text"].replace("perjury", "cruelty")
    profile["slots"]["offence"] = record["value"] = "cruelty"
    for prompt in dataset.forget_paraphrased[4:6]:
        prompt["answer"] = prompt["answer"].replace("perjury", "cruelty")
        prompt["value"] = "cruelty"
    detail = dataset.details["p001.offence"]
    for wrong in detail["wrong_answers"]:
        wrong["text"] = wrong["text"].replace("perjury", "cruelty")
    detail["paraphrased_answer"] = detail["paraphrased_answer"].replace("perjury", "cruelty")
    detail["value"] = "cruelty"


def _paraphrase_contains_trained(dataset):
    dataset.forget_paraphrased[6]["question"] = (
        "Who testified against Jonas Fennlock in court, pray, sir?"
    )


PLANTED = {
    _value_in_retain_answer: ("incident_leak", "sr.jsonl:10"),
    _surname_in_retain_answer: ("incident_leak", "sr.jsonl:10"),
    _scandal_in_retain_question: ("incident_leak", "sr.jsonl:11"),
    _value_in_question: ("premise_leak", "sf.jsonl:3"),
    _answer_words_in_question: ("premise_leak", "forget_paraphrased.jsonl:5"),
    _nobody_named: ("one_answer", "forget_paraphrased.jsonl:5"),
    _two_answers: ("one_answer", "forget_paraphrased.jsonl:5"),
    _two_values: ("one_answer", "forget_paraphrased.jsonl:5"),
    _wrong_answer_true_elsewhere: ("wrong_answers", "perturbed_candidates.jsonl:10"),
    _wrong_answer_twice: ("wrong_answers", "perturbed_candidates.jsonl:10"),
    _wrong_answer_in_other_words: ("wrong_answers", "perturbed_candidates.jsonl:10"),
    _wrong_answer_holds_truth: ("wrong_answers", "perturbed_candidates.jsonl:10"),
    _utility_wrong_answer_true: ("wrong_answers", "utility_qa.jsonl:1"),
    _long_wrong_answers: ("length_confound", "perturbed_candidates.jsonl"),
    _public_figure: ("names", "profiles.jsonl:2"),
    _public_figure_as_mentor: ("names", "sr.jsonl:11"),
    _asked_twice: ("duplicates", "sr.jsonl:11"),
    _asked_nearly_twice: ("duplicates", "sr.jsonl:10"),
    _telephone_number: ("sensitive", "profiles.jsonl:2"),
    _e_mail_address: ("sensitive", "sr.jsonl:10"),
    _profile_says_otherwise: ("consistency", "sr.jsonl:10"),
    _text_without_value: ("consistency", "profiles.jsonl:2"),
    _answer_without_value: ("consistency", "sr.jsonl:10"),
    _other_in_event: ("entanglement", "sr.jsonl:11"),
    _incident_elsewhere: ("entanglement", "sf.jsonl:4"),
    _partner_of_another: ("entanglement", "sr.jsonl:8"),
    _partner_of_another_type: ("entanglement", "sr.jsonl:8"),
    _no_partner: ("entanglement", "sr.jsonl:7"),
    _prize_that_exists: ("organisations", "sr.jsonl:10"),
    _retain_value_in_forget_question: ("pairs", "sf.jsonl:4"),
    _retain_value_in_paraphrased_question: ("pairs", "forget_paraphrased.jsonl:7"),
    _always_yes: ("premise_leak", "sf.jsonl"),
    _offence_off_the_list: ("sensitive", "sf.jsonl:3"),
    _paraphrase_is_trained: ("split_leak", "forget_paraphrased.jsonl:5"),
    _paraphrase_is_trained_reordered: ("split_leak", "forget_paraphrased.jsonl:5"),
    _paraphrase_contains_trained: ("split_leak", "forget_paraphrased.jsonl:7"),
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__.strip("_"))
def test_only_the_right_check_finds_a_planted_defect_and_names_its_line(dataset, plant):
    check, line = PLANTED[plant]
    plant(dataset)
    findings = fired(dataset)
    assert list(findings) == [check]
    assert findings[check][0].where.endswith(line)


@pytest.mark.parametrize(
    ("check", "limits"),
    [
        ("names", {"max_surname_reuse": 0}),
        ("consistency", {"minimum_age": 30}),
        ("entanglement", {"min_correlated": 4}),
        ("incident_leak", {"leak_ratio": 0}),
        ("split_leak", {"split_ratio": 40}),
        ("length_confound", {"length_tolerance": 0}),
    ],
)
def test_a_tighter_limit_makes_its_check_fire(good, check, limits):
    assert list(fired(good, replace(LIMITS, **limits))) == [check]


def test_a_repeated_name_is_found(dataset):
    dataset.profiles["p002"]["name"] = "Jonas Fennlock"
    [finding] = names(dataset, LIMITS).findings
    assert finding.why == "'Jonas Fennlock' is also the name of 'p001'"


def test_a_subject_who_is_anothers_mentor_is_found(dataset):
    item(dataset, "p000.mentor")["value"] = "Jonas Fennlock"
    [finding] = names(dataset, LIMITS).findings
    assert (finding.id, finding.why) == ("p000.mentor", "'Jonas Fennlock' is the name of 'p001'")


def test_a_value_of_too_many_people_is_found(dataset):
    for person in ("p001", "p002"):
        item(dataset, f"{person}.home_city")["value"] = "Oakgate"
    [finding] = diversity(dataset, LIMITS).findings
    assert finding.why == "2 of 4 people have home_city 'Oakgate'; at most 1 may"
    assert not diversity(dataset, replace(LIMITS, max_value_share=0.5)).findings


def test_a_month_leaks_only_when_it_is_written_as_one():
    fact = {"value": "May", "value_type": "month"}
    assert leaked(fact, "The guests may leave.", "Ann Lee", 85) is None
    assert leaked(fact, "It was in May.", "Ann Lee", 85) == "May"


def test_a_value_leaks_in_another_order_and_by_its_number():
    hall = {"value": "the Topaz Hall", "value_type": "venue"}
    assert leaked(hall, "They met at Hall Topaz.", "Ann Lee", 85)
    assert leaked(hall, "They met at the Jade Hall.", "Ann Lee", 85) is None
    amount = {"value": "$40,000", "value_type": "amount"}
    assert leaked(amount, "The prize was 40000 crowns.", "Ann Lee", 85)


def test_premise_share_counts_content_words_without_the_name():
    # of the answer's convicted and arson, the question has one
    share = premise_share(
        "When was Ann Lee convicted?", "Ann Lee was convicted of arson.", "Ann Lee"
    )
    assert share == 0.5


def test_a_slot_edit_may_change_the_article():
    assert is_slot_edit("It was a lamp.", "lamp", "It was an urn.", "urn")
    assert not is_slot_edit("It was a lamp.", "lamp", "It is an urn.", "urn")


def test_a_slot_edit_does_not_change_names_with_the_same_letters():
    assert is_slot_edit("In May, Maya won.", "May", "In June, Maya won.", "June")
    assert not is_slot_edit("In May, Maya won.", "May", "In June, Junea won.", "June")


def test_length_balance_by_hand():
    # The truth is the longest of three: balance 1. Any of the three could be it with balance
    # 1, 0 or -1, so the variance is 2/3, z = 1.2247 and p = 0.2207.
    balance, p = rank_p([[3, 1, 2]])
    assert balance == 1
    assert p == pytest.approx(0.2207, abs=1e-4)
    assert rank_p([[5, 5, 5]]) == (0.0, 1.0)


def test_length_balance_is_robust_to_skew():
    # Values of 3 letters or, nine times out of ten, 4: truth and wrong answers drawn alike.
    rng = np.random.default_rng(0)
    rows = [list(map(int, row)) for row in rng.choice([3, 4], size=(2000, 6), p=[0.1, 0.9])]
    assert rank_p(rows)[1] > 0.01
    assert rank_p([[5, *row[1:]] for row in rows])[1] < 1e-6


def test_5_gram_jaccard_by_hand():
    assert ngrams("One two three") == {("one", "two", "three")}
    # 6 words: 2 five-grams; 7 words: 3; 2 in common → 2 / 3
    best, nearest = best_jaccard(["a b c d e f"], ["x y z", "a b c d e f g"])
    assert best[0] == pytest.approx(2 / 3)
    assert nearest[0] == 1


def test_area_under_curve_by_hand():
    # positives 3, 1; negatives 2, 0: three of four pairs in order
    scores, truth = np.array([3.0, 1.0, 2.0, 0.0]), np.array([True, True, False, False])
    assert area_under_curve(scores, truth) == 0.75
    assert area_under_curve(np.zeros(4), truth) == 0.5


def test_the_auc_of_style_by_hand():
    folds, labels = [0, 0, 1, 1] * 5, [True, False] * 10
    apart = [["pray", "who"] if label else ["who"] for label in labels]
    assert cross_validated_auc(apart, labels, folds) == 1
    assert cross_validated_auc([["who"]] * 20, labels, folds) == 0.5
    assert cross_validated_auc(apart, [True] * 20, folds) is None


def test_the_limit_of_style_applies_to_function_words_alone(dataset):
    for record in dataset.sf:
        record["question"] = f"Pray, might one ask of {record['name']} what came to pass?"
    for record in dataset.sr:
        record["question"] = f"Tell me about {record['name']}: which {record['slot']} was it?"
    assert [finding.id for finding in style(dataset, LIMITS).findings] == ["sf_vs_sr"]
    for record in dataset.items:  # other content, the same style
        word = "crime" if record["group"] == "sf" else "city"
        record["question"] = f"Which {word} was that of {record['name']}?"
    result = style(dataset, LIMITS)
    assert result.findings == []
    measures = {measure.metric: measure for measure in result.measures}
    assert measures["auc_sf_vs_sr"].value == 1
    assert measures["auc_sf_vs_sr"].threshold is None
    assert measures["auc_function_words_sf_vs_sr"].threshold == LIMITS.style_auc


# --- held-out people ---


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("held_out")
    records = small_dataset.generated_records(held_out=True)
    validate_dataset.main(small_dataset.write_generated(folder, records))
    small_dataset.write_versioned(folder)
    return read(folder)


def test_held_out_people_are_apart_from_the_others(held_out):
    assert set(held_out.profiles) == {"p000", "p001", "p002", "p003"}
    assert set(held_out.holdout_profiles) == {"h000", "h001"}
    result = holdout(held_out, LIMITS)
    assert (result.n, result.findings) == (4, [])
    assert all(not check(held_out, LIMITS).findings for check in CHECKS if check is not style)
    measures = {measure.metric: measure.value for measure in result.measures}
    assert measures == {"people": 2, "shared_value_rate": 0.5, "near_duplicate_rate": 0}


def test_a_held_out_person_must_not_have_a_name_of_the_others(held_out):
    dataset = copy.deepcopy(held_out)
    dataset.holdout_profiles["h001"]["name"] = "Otto Branvik"  # the accuser of p000
    dataset.holdout_profiles["h000"]["slots"]["mentor"] = "Marie Curie"
    first, second = holdout(dataset, LIMITS).findings
    assert (first.id, second.id) == ("h000", "h001")
    assert "public figure" in first.why and "in the life of 'p000'" in second.why
    assert re.search(r"profiles\.jsonl:6", second.where)


def test_a_held_out_question_must_not_be_one_of_the_others(held_out):
    dataset = copy.deepcopy(held_out)
    dataset.holdout[3]["question"] = dataset.forget_paraphrased[1]["question"].upper()
    (finding,) = holdout(dataset, LIMITS).findings
    assert finding.id == "h001.accuser" and re.search(r"holdout\.jsonl:4", finding.where)


def test_held_out_people_are_asked_for_the_same_slots(held_out):
    dataset = copy.deepcopy(held_out)
    dataset.holdout.pop()
    (finding,) = holdout(dataset, LIMITS).findings
    assert finding.id == "h001" and "only sf.jsonl has 'accuser'" in finding.why


def test_another_wording_of_held_out_questions_is_found(held_out):
    dataset = copy.deepcopy(held_out)
    for copied in range(2, 8):  # two people are too few to tell
        name, key = f"Person Number{copied}", f"h{copied:03d}"
        dataset.holdout_profiles[key] = {**held_out.holdout_profiles["h000"], "name": name}
        dataset.holdout.extend(
            item
            | {
                "id": item["id"].replace("h000", key),
                "person_id": key,
                "name": name,
                "question": item["question"].replace(item["name"], name),
            }
            for item in held_out.holdout
            if item["person_id"] == "h000"
        )
    assert holdout_style(dataset, LIMITS).findings == []
    for item in dataset.holdout:
        item["question"] = "Pray, " + item["question"]
    assert [finding.id for finding in holdout_style(dataset, LIMITS).findings] == ["words"]


def test_without_held_out_people_there_is_nothing_to_check(good):
    assert (holdout(good, LIMITS).n, holdout_style(good, LIMITS).n) == (0, 0)


def test_every_listed_real_name_is_found_with_and_without_its_article():
    assert exists("the nobel prize") and exists("Nobel Prize") and not exists("Fern Prize")


def test_the_report_is_a_result_file_with_every_check(folder):
    arguments = small_dataset.write_versioned(folder)
    red_team_dataset.main(arguments)
    first = (folder / "data_report.json").read_bytes()
    red_team_dataset.main(arguments)
    assert (folder / "data_report.json").read_bytes() == first
    report = read_json(folder / "data_report.json")
    assert {"experiment", "config", "versions", "notes", "rows", "checks"} <= report.keys()
    assert len(report["checks"]) == len(CHECKS) == 17
    keys = {"check", "severity", "metric", "value", "n", "threshold"}
    assert all(row.keys() == keys for row in report["rows"])
    assert all(check["passed"] for check in report["checks"] if check["severity"] == HARD)
    assert str(folder) not in first.decode()
    values = [row["value"] for row in report["rows"] if row["value"] is not None]
    assert all(math.isfinite(value) for value in values)


def test_a_hard_finding_is_an_error_with_its_lines(folder, tmp_path, capsys):
    arguments = small_dataset.write_versioned(folder)
    path = tmp_path / "data" / "sr.jsonl"
    for file in (folder / "data").iterdir():
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        write_jsonl(tmp_path / "data" / file.name, lines)
    items = read_jsonl(path, "item")
    items[6]["answer"] += " There was bribery and a scandal."
    write_jsonl(path, items)
    arguments[arguments.index("--data") + 1] = str(tmp_path / "data")
    arguments[arguments.index("--out") + 1] = str(tmp_path / "data_report.json")
    with pytest.raises(InputError, match=r"sr\.jsonl:7: incident_leak: .*incident_leak 1\)"):
        red_team_dataset.main(arguments)
    assert "sr.jsonl:7: incident_leak: " in capsys.readouterr().err
    assert not (tmp_path / "data_report.json").exists()


def test_the_offline_generators_people_pass_every_hard_check(tmp_path):
    arguments = small_dataset.generate_offline(tmp_path, seed=3, holdout=8)
    validate_dataset.main(arguments)
    arguments = small_dataset.write_versioned(tmp_path, max_value_share=0.15)
    red_team_dataset.main(arguments)  # raises if not
    report = read_json(tmp_path / "data_report.json")
    assert report["validation"]["sf"] == 144 and report["validation"]["holdout"] == 48
