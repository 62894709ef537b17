"""The report: rows and answers survive the way into the page, and no text of a model breaks it."""

import base64
import gzip
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

import compare_experiments
import own_study
import report
from excise.errors import InputError
from excise.evaluation.peers import Peers
from excise.evaluation.results import model_columns, write_result
from excise.evaluation.statistics import SHARE, difference_interval
from excise.records import write_json, write_jsonl
from excise.report.answers import FULL, AnswerBook, Subject, attack_rows, read_subjects
from excise.report.coding import encode_rows, packed, safe_json
from excise.report.definitions import column_definitions, metric_definitions
from excise.report.experiment import model_entry, read_experiment, sources_of
from excise.report.page import SCRIPTS, part_of, render
from excise.report.settings import ReportSettings
from synthetic_records import answer_records, questions, write_relearning

GA = "unlearn/ga/lr0.0002/epoch_5"
THEIRS, START = "audit/theirs", "reference/their-start"
ATTACKED = ["oracle/seed_0", GA]
MODELS = ["base", "finetuned", "oracle/seed_0", "oracle/seed_1", START, GA, THEIRS]
HOSTILE = "</script><script>alert(1)</script><!-- \u2028\u202e\u0000 " + "x" * 10_000
HP = {"confidence": 0.95, "labels": {"ga": "GA (gradient ascent)"}}


def unpacked(text):
    return json.loads(gzip.decompress(base64.b64decode(text)))


def decoded(table):
    """What `decodeRows` of store.js does."""
    rows = [{} for _ in range(table["n"])]
    for name, column in table["columns"].items():
        for number, row in enumerate(rows):
            places = column.get("at")
            row[name] = column["of"][places[number]] if places else column["is"][number]
    return rows


def script(page, name):
    return re.search(rf'<script id="{name}"[^>]*>(.*?)</script>', page, re.S)[1]


def row(model, metric, value, **more):
    keys = {"set": "sf", "metric": metric, "value": value, "ci_low": 0.1, "ci_high": 0.9}
    keys |= {"interval": "cluster_t", "n": 12, "n_people": 3, "n_undefined": 0}
    return model_columns(model) | keys | more


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results folder with two tables, records of seven models, one of them also quantized."""
    folder = tmp_path_factory.mktemp("study") / "results"
    asked = questions(3)
    for model in MODELS:
        write_jsonl(folder / f"eval/{model}/items.jsonl", answer_records(model, asked))
    write_jsonl(folder / f"quantize/{GA}/nf4.jsonl", answer_records(GA, asked, known=0.9))
    for model in ATTACKED:
        write_relearning(folder / "relearn" / model, model, asked)
    config = {"model": {"path": "data/inputs/base/tiny-qwen2"}, "evaluation": {"confidence": 0.9}}
    rows = [row(model, "slot_accuracy", 0.5) for model in MODELS]
    header = {"experiment": "made up", "notes": ["a note"]}
    write_result(folder / "sweep_results.json", config=config, rows=rows, **header)
    case = row(GA, "claim", 0.2, finding="claim", statement="It is so.", verdict="confirmed")
    write_result(folder / "findings.json", config={"oracle": {"seeds": [0]}}, rows=[case], **header)
    return folder


@pytest.fixture(scope="module")
def clean(results):
    return rendered(results)


# --- the form of rows and texts in the page ---


def test_rows_survive_the_way_into_the_page():
    rows = [
        {"set": "sf", "value": 0.123456789, "n": 3, "list": ["a"]},
        {"set": "sf", "value": None, "n": 4},
        {"set": "sr", "value": float("nan"), "n": 3},
        {"set": "sf", "value": 1e-12, "n": 3},
    ]
    found = decoded(json.loads(safe_json(encode_rows(rows))))
    assert [one["set"] for one in found] == ["sf", "sf", "sr", "sf"]
    assert [one["value"] for one in found] == [0.123457, None, None, 1e-12]
    assert [one["list"] for one in found] == [["a"], None, None, None]
    assert [one["n"] for one in found] == [3, 4, 3, 3]


def test_true_and_one_and_1_are_not_mixed_up():
    rows = [{"cell": value} for value in (True, 1, "1", 1.0, None, False, 0)] * 9
    found = [one["cell"] for one in decoded(encode_rows(rows))]
    assert json.dumps(found) == json.dumps([True, 1, "1", 1, None, False, 0] * 9)


def test_a_column_of_few_values_is_short():
    assert encode_rows([{"set": "sf"}] * 100)["columns"]["set"] == {"of": ["sf"], "at": [0] * 100}


def test_no_text_can_end_its_script():
    text = safe_json([HOSTILE, "\ud800 alone", "a & b"])
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == [HOSTILE, "\ufffd alone", "a & b"]


def test_the_same_content_is_packed_to_the_same_text():
    assert packed([1, "two"]) == packed([1, "two"])
    assert unpacked(packed([1, "two"])) == [1, "two"]


# --- what models said ---


def subject(model, matches, precision=FULL, name="sf", attack=None):
    """One question about each of two facts of two people."""
    facts = [(person, slot) for person in ("p000", "p001") for slot in ("offence", "venue")]
    ids = [f"{person}.{slot}{name}" for person, slot in facts]
    records = {
        "id": ids,
        "set": name,
        "person_id": [person for person, _ in facts],
        "slot": [slot for _, slot in facts],
        "value": "arson",
        "question": "Which?",
        "answer": "arson",
        "generation": ["arson" if one else "no" for one in matches],
        "slot_match": matches,
        "answer_type": ["true_value" if one else "refusal" for one in matches],
    }
    return Subject(model, precision, pd.DataFrame(records, index=ids), attack)


def joined(*subjects):
    first = subjects[0]
    records = pd.concat([one.records for one in subjects])
    return Subject(first.model, first.precision, records)


def by_way(rows):
    return {(one["model"], one["precision"], one["set"]): one for one in rows}


def test_what_comes_back_by_hand():
    other = "forget_paraphrased"
    tuned = joined(subject(GA, [1, 0, 0, 0]), subject(GA, [1, 1, 1, 0], name=other))
    first = joined(
        subject("oracle/seed_0", [0, 0, 0, 0]), subject("oracle/seed_0", [0, 1, 0, 0], name=other)
    )
    second = joined(
        subject("oracle/seed_1", [0, 0, 0, 0]), subject("oracle/seed_1", [0, 0, 0, 0], name=other)
    )
    quantized = subject(GA, [1, 1, 0, 0], "nf4")
    rows = by_way(attack_rows([tuned, first, second, quantized], 0.95))
    plain, words = rows[GA, FULL, "sf"], rows[GA, FULL, other]
    assert (plain["value"], plain["oracle"], plain["beyond"], plain["n_missed"]) == (
        0.25,
        0,
        0.25,
        3,
    )
    assert plain["returned"] == 0  # of the facts missed as trained, none is stated when asked so
    # Three of four in other words; the oracles state .5 of one of the four.
    assert (words["value"], words["oracle"], words["beyond"]) == (0.75, 0.125, 0.625)
    # Missed as trained: the last three. Two come back; the oracles have .5, 0 and 0 of these.
    assert words["returned"] == pytest.approx(2 / 3)
    assert words["returned_beyond"] == pytest.approx(2 / 3 - 0.5 / 3)
    people = np.array(["p000", "p000", "p001", "p001"])
    limits = difference_interval([1, 1, 1, 0], [0, 0.5, 0, 0], people, SHARE, 0.95)
    assert (words["beyond_low"], words["beyond_high"]) == (limits.low, limits.high)
    # An oracle is compared with the other one.
    assert rows["oracle/seed_0", FULL, other]["beyond"] == 0.25
    # No oracle was quantized: nothing to compare with.
    assert rows[GA, "nf4", "sf"]["beyond"] is None
    assert rows[GA, "nf4", "sf"]["returned"] == pytest.approx(1 / 3)


def test_an_audited_model_is_compared_with_the_oracles_that_the_config_names():
    subjects = [
        subject(THEIRS, [1, 1, 0, 0]),
        subject(START, [1, 1, 1, 1]),
        subject("reference/their-oracle", [1, 0, 0, 0]),
        subject("oracle/seed_0", [1, 1, 0, 0]),
        subject("audit/alone", [1, 1, 0, 0]),
    ]
    given = {
        THEIRS: Peers(START, ("reference/their-oracle",)),
        START: Peers(START, ("reference/their-oracle",)),
        "audit/alone": Peers(None, ()),
    }
    rows = by_way(attack_rows(subjects, 0.95, given))
    assert rows[THEIRS, FULL, "sf"]["beyond"] == 0.25
    assert rows[START, FULL, "sf"]["beyond"] == 0.75
    assert rows["audit/alone", FULL, "sf"]["beyond"] is None


def test_what_an_audited_model_says_counts_as_no_word(tmp_path):
    said = "zorbl flimp quax"
    files = {}
    for model in ("base", "finetuned", THEIRS):
        records = answer_records(model, questions(2))
        if model == THEIRS:
            records = [one | {"generation": said, "slot_match": 0} for one in records]
        files[model, FULL] = tmp_path / model / "items.jsonl"
        write_jsonl(files[model, FULL], records)
    theirs = read_subjects(files)[-1].records
    assert set(theirs.loc[theirs["set"] == "sf", "answer_type"]) == {"gibberish"}


def test_ways_of_asking_come_from_the_records():
    asked = joined(subject(GA, [0, 0, 0, 0]), subject(GA, [1, 0, 0, 0], name="forget_by_moonlight"))
    retained = subject(GA, [1, 1, 1, 1], name="correlated")
    rows = by_way(attack_rows([joined(asked, retained)], 0.95))
    assert {name for _, _, name in rows} == {"sf", "forget_by_moonlight"}


def test_the_book_holds_every_answer_with_its_type():
    model = joined(subject(GA, [1, 0, 0, 0]), subject(GA, [1, 1, 0, 0], name="forget_joint"))
    model.records.loc[model.records["set"] == "forget_joint", "answer_type"] = None
    content = unpacked(AnswerBook([model, subject("oracle/seed_0", [0, 0, 0, 0])]).packed()[0])
    assert content["subjects"] == [[GA, FULL, None], ["oracle/seed_0", FULL, None]]
    fact = content["people"][0]["facts"][0]
    assert (fact["slot"], fact["group"], fact["value"]) == ("offence", "sf", "arson")
    plain, joint = fact["asked"]
    assert [content["texts"][place] for place in plain["said"]] == ["arson", "no"]
    assert plain["kinds"] == "tr"
    # A joint answer has no type; the oracle was not asked.
    assert joint["kinds"] == "t-" and joint["said"][1] == -1
    assert content["people"][1]["facts"][0]["asked"][1]["kinds"] == "n-"


def test_the_book_holds_what_a_model_said_after_an_attack():
    after = subject(GA, [1, 1, 0, 0], attack="forget_part")
    after.records["shown"] = [True, False, True, False]
    book = AnswerBook([subject(GA, [0, 0, 0, 0]), after])
    content = unpacked(book.packed()[0])
    assert content["subjects"] == [[GA, FULL, None], [GA, FULL, "forget_part"]]
    first, second = (fact["asked"][0] for fact in content["people"][0]["facts"])
    assert (first["kinds"], first["shown"]) == ("rt", ["forget_part"])
    assert (second["kinds"], second["shown"]) == ("rt", [])
    # What comes back under an attack does not make a fact resistant.
    assert book.by_interest() == AnswerBook([subject(GA, [0, 0, 0, 0])]).by_interest()


def test_the_matrix_of_ways_of_asking_leaves_attacks_to_their_table():
    rows = list(attack_rows([subject(GA, [0, 1, 1, 1], attack="other")], 0.95))
    assert rows == []
    both = [subject(GA, [0, 0, 0, 0]), subject(GA, [1, 1, 1, 1], attack="other")]
    assert [one["value"] for one in attack_rows(both, 0.95)] == [0]


def test_answers_after_an_attack_are_sorted_like_all_others(results):
    sources = sources_of(results)
    relearned = {(GA, "correlated"): results / f"relearn/{GA}/correlated/step_20.jsonl"}
    after = read_subjects(sources.records, relearned)[-1]
    assert (after.model, after.attack) == (GA, "correlated")
    assert set(after.records["answer_type"]) == {"true_value", "other_text"}


def test_a_results_folder_gives_the_last_step_that_its_table_names(results, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    assert sources_of(folder).relearned == {}  # there is no table
    rows = [
        row(model, "slot_accuracy", 0.5, attack="correlated", step=step, shown=False)
        for model in ("finetuned", *ATTACKED)
        for step in (0, 5)
    ]
    write_result(
        folder / "relearn_results.json", experiment="made up", config={}, notes=[], rows=rows
    )
    wanted = {
        (model, "correlated"): folder / f"relearn/{model}/correlated/step_5.jsonl"
        for model in ATTACKED
    }
    assert sources_of(folder).relearned == wanted  # step_20.jsonl is of another run


def test_people_who_do_not_fit_are_left_out_and_the_most_damaged_stay():
    damaged = joined(subject(GA, [0, 0, 1, 1]), subject(GA, [1, 1, 0, 0], name="correlated"))
    book = AnswerBook([damaged])
    assert book.by_interest()[0] == "p001"  # its retain facts are lost
    text, people = book.packed(most=1)
    assert people == ["p001"]
    assert [one["person_id"] for one in unpacked(text)["people"]] == ["p001"]
    assert book.packed()[1] == ["p000", "p001"]


def own_book(folder, *fields):
    """The book of models that were asked the user's own files with these fields alone."""
    facts = own_study.facts(people=3)
    files = {name: own_study.only(lines, *fields) for name, lines in facts.items()}
    files["forget_paraphrased"] = own_study.paraphrases(facts["sf"])
    own_study.read(folder, own_study.write_files(folder / "own", **files))
    own_study.write_records(folder)
    models = {(one, FULL): folder / f"eval/{one}/items.jsonl" for one in own_study.MODELS}
    subjects = read_subjects(models)
    list_of_people = unpacked(AnswerBook(subjects).packed()[0])["people"]
    return list_of_people, list(attack_rows(subjects, 0.95))


def test_utility_questions_stand_after_all_people_and_count_as_nobody():
    records = pd.DataFrame(answer_records(GA, questions(2))).set_index("id", drop=False)
    book = AnswerBook([Subject(GA, FULL, records)])
    text, people = book.packed()
    assert people == ["p000", "p001"]
    general = unpacked(text)["people"][-1]
    asked = [one for one in questions(2) if one["set"] == "utility"]
    assert general["person_id"] == "utility"
    assert [one["key"] for one in general["facts"]] == [one["id"] for one in asked]
    assert {one["group"] for one in general["facts"]} == {"utility"}
    utility = len(packed(book.content(["utility"])))
    few = unpacked(book.packed(most=2 * utility)[0])["people"]  # whoever does not fit
    assert len(few) == 2 and len(few[-1]["facts"]) == len(asked)
    none = unpacked(book.packed(most=utility)[0])["people"]
    assert [one["person_id"].startswith("p0") for one in none] == [True]


def test_people_about_whom_nothing_was_judged_are_the_least_interesting():
    lost, kept = subject(GA, [0, 1, 1, 1], name="correlated"), subject(GA, [0, 0, 0, 0])
    records = pd.concat([lost.records, kept.records])
    records["person_id"] = records["person_id"].where(records["set"] == "sf", "only retain")
    unjudged = lost.records.assign(person_id="a", slot_match=np.nan, answer_type=None)
    unjudged.index = unjudged["id"] = [f"a{n}" for n in range(4)]
    book = AnswerBook([Subject(GA, FULL, pd.concat([records, unjudged]))])
    assert book._known("a", ["correlated"], [0], 1.0) == 1.0
    assert book.by_interest()[0] == "only retain"


def test_a_joint_question_of_own_files_belongs_to_its_fact(tmp_path):
    facts = own_study.facts(people=3)
    fields = ("question", "answer", "person", "value", "group")
    files = {name: own_study.only(lines, *fields) for name, lines in facts.items()}
    own_study.read(tmp_path, own_study.write_files(tmp_path / "own", **files))
    own_study.write_records(tmp_path)
    path = tmp_path / f"eval/{own_study.MODELS[-1]}/items.jsonl"
    (found,) = read_subjects({(own_study.MODELS[-1], FULL): path})
    joint = found.records[found.records["set"] == "forget_joint"]
    people = unpacked(AnswerBook([found]).packed()[0])["people"]
    shown = [a for one in people for fact in one["facts"] for a in fact["asked"]]
    assert sum(one["set"] == "forget_joint" for one in shown) == len(joint)


def test_own_facts_without_slots_are_told_apart_by_their_ids(tmp_path):
    people, rows = own_book(tmp_path, "question", "answer", "person")
    first = next(one for one in people if one["person_id"] == "Ada Bell0")
    assert [one["key"] for one in first["facts"]][:3] == ["sf1", "sf2", "sf3"]
    assert [one["group"] for one in first["facts"]] == ["sf"] * 3 + ["retain"] * 5
    assert [one["set"] for one in first["facts"][0]["asked"]] == ["sf", "forget_paraphrased"]
    # Without values nothing is judged: neither known nor missed.
    assert {kind for one in first["facts"] for kind in one["asked"][0]["kinds"]} == {"u"}
    assert rows == []


def test_own_facts_without_persons_are_all_in_the_book(tmp_path):
    people, rows = own_book(tmp_path, "question", "answer", "value")
    assert [one["person_id"] for one in people] == [
        *sorted([*(f"sf{n}" for n in range(1, 10)), *(f"sr{n}" for n in range(1, 16))]),
        "utility",
    ]
    assert all(len(one["facts"]) == 1 for one in people[:-1])
    assert {one["n_people"] for one in rows} == {None}  # intervals are over questions
    assert all(one["value"] > 0.8 for one in rows if one["model"] == "finetuned")
    assert all(one["beyond_low"] is not None for one in rows if one["model"] == "finetuned")


def test_records_without_generations_have_no_answers(tmp_path):
    path = tmp_path / "items.jsonl"
    left = ("generation", "slot_match", "slot_match_strict")
    records = [
        {key: value for key, value in one.items() if key not in left}
        for one in answer_records(GA, questions(2))
    ]
    write_jsonl(path, records)
    subjects = read_subjects({(GA, FULL): path})
    assert list(attack_rows(subjects, 0.95)) == []
    assert AnswerBook(subjects).texts == {}


# --- names and definitions ---


def test_a_checkpoint_is_written_with_method_setting_and_epoch():
    entry = model_entry("unlearn/npo/lr0.0002_beta0.1/epoch_5", {"npo": "NPO (negative)"})
    assert entry["label"] == "NPO, lr 0.0002, β 0.1, epoch 5"
    assert (entry["trajectory"], entry["epoch"]) == ("npo/lr0.0002_beta0.1", 5)
    assert model_entry("oracle/seed_1", {})["label"] == "oracle, seed 1"


def test_models_of_others_are_written_with_their_names():
    theirs = {"kind": "audited", "label": "theirs (audited)", "short": "theirs"}
    assert model_entry(THEIRS, {}) == theirs
    assert model_entry(START, {})["label"] == "their-start (reference)"


def test_models_stand_in_a_fixed_order(results):
    sources = sources_of(results)
    assert list(dict.fromkeys(model for model, _ in sources.records)) == MODELS
    assert list(read_experiment(sources).models) == MODELS


def test_a_study_that_trains_nothing_shows_the_tables_of_its_audit(results, tmp_path):
    rows = [row(THEIRS, "slot_accuracy", 0.5)]
    config = {"audit": {"models": [AUDITED], "references": [{"name": "their-start"}]}}
    path = tmp_path / "audit/eval_results.json"
    write_result(path, experiment="audit", config=config, notes=[], rows=rows)
    sources = sources_of(tmp_path)
    assert sources.tables == [path]
    assert read_experiment(sources).peers[THEIRS] == Peers(START, ("oracle/seed_0",))


AUDITED = {"name": "theirs", "compare": {"finetuned": "their-start", "oracle": ["oracle/seed_0"]}}


def test_every_metric_and_column_has_a_definition():
    metrics = metric_definitions()
    assert all(one["definition"] for one in metrics.values())
    assert "states" in metrics["slot_accuracy"]["convention"]
    assert column_definitions()["detectable"].startswith("effect that a study")


# --- the page ---


def test_the_page_holds_all_of_a_study(results, tmp_path):
    write_json(results / "data_report.json", {"rows": [], "checks": [], "validation": {"sf": 18}})
    write_jsonl(
        tmp_path / "data/profiles.jsonl", [{"person_id": "p000", "name": "Ada", "slots": {}}]
    )
    (tmp_path / "README.md").write_text("# Card")
    out = tmp_path / "report.html"
    report.main(
        [
            *("--tables", str(results / "findings.json"), str(results / "sweep_results.json")),
            *("--eval-dir", str(results / "eval"), "--models", *MODELS),
            *("--quantize-dir", str(results / "quantize"), "--quantized", GA),
            *("--relearn-dir", str(results / "relearn"), "--attacked", *ATTACKED),
            *("--attacks", "correlated", "--last-step", "20"),
            *("--precisions", "nf4", "--data-report", str(results / "data_report.json")),
            *("--dataset", str(tmp_path)),
            *("--hp", json.dumps(HP), "--out", str(out)),
        ]
    )
    page = out.read_text()
    about = json.loads(script(page, "about-0"))
    assert about["toy"] is True
    assert about["models"][GA]["label"] == "GA, lr 0.0002, epoch 5"
    assert about["config"]["oracle"] == {"seeds": [0]}  # of all tables together
    assert (about["names"], about["card"], about["confidence"]) == ({"p000": "Ada"}, "# Card", 0.95)
    tables = unpacked(script(page, "tables-0").strip())
    assert decoded(tables["sweep_results"])[0]["value"] == 0.5
    assert decoded(tables["findings"])[0]["verdict"] == "confirmed"
    answers = unpacked(script(page, "answers-0").strip())
    models = [[model, FULL, None] for model in MODELS]
    attacked = [[model, FULL, "correlated"] for model in ATTACKED]
    assert answers["subjects"] == [*models, [GA, "nf4", None], *attacked]
    assert about["models"][THEIRS]["label"] == "theirs (audited)"
    attacks = by_way(decoded(about["attacks"]))
    assert {FULL, "nf4"} == {precision for _, precision, _ in attacks}
    assert attacks["finetuned", FULL, "sf"]["beyond"] > 0.5


def test_the_page_loads_nothing_and_has_one_plotly(clean):
    assert not re.search(r"<(script|img|link|iframe)[^<>]{1,200}(src|href)=", clean)
    assert clean.count("plotly.js v") == 1
    assert "default-src 'none'" in clean
    assert len(clean.encode()) < 6_000_000


def test_every_section_is_there(clean):
    for name in "verdicts trade-off facts correlated comes-back inside benchmark tables".split():
        assert f'<section id="{name}"' in clean
    assert all(f"page/{name}" in SCRIPTS for name in ("facts.js", "start.js"))


def test_hostile_texts_stay_data(tmp_path, clean):
    folder = tmp_path / "results"
    records = answer_records(GA, questions(2))
    records[0] |= {"generation": HOSTILE, "slot_match": 0}
    write_jsonl(folder / f"eval/{GA}/items.jsonl", records)
    rows = [row(GA, "slot_accuracy", 0.5)]
    write_result(
        folder / "sweep_results.json",
        experiment=HOSTILE[:40],
        config={},
        notes=[HOSTILE],
        rows=rows,
    )
    page = rendered(folder)
    assert "<script>alert(1)" not in page
    assert page.count("</script>") == clean.count("</script>")
    assert HOSTILE in unpacked(script(page, "answers-0").strip())["texts"]


def test_the_same_inputs_give_the_same_page(results, clean):
    assert rendered(results) == clean


def rendered(*folders):
    sources = [sources_of(folder) for folder in folders]
    return render([part_of(read_experiment(one), one) for one in sources])


# --- several experiments, and folders that lack something ---


def test_a_folder_with_one_table_makes_a_page(tmp_path):
    rows = [row(GA, "slot_accuracy", 0.5)]
    path = tmp_path / "results/eval_results.json"
    write_result(path, experiment="bare", config={}, notes=[], rows=rows)
    page = rendered(tmp_path / "results")
    assert script(page, "answers-0").strip() == ""
    assert json.loads(script(page, "about-0"))["toy"] is False


def test_experiments_are_put_beside_each_other(results, tmp_path):
    out = tmp_path / "both.html"
    compare_experiments.main(["--results", str(results), str(results), "--out", str(out)])
    page = out.read_text()
    assert script(page, "about-0") == script(page, "about-1")
    assert page.count("plotly.js v") == 1
    assert json.loads(script(page, "about-1"))["confidence"] == 0.9  # of the tables' config


@pytest.mark.parametrize(
    ("made", "message"),
    [([], "no such folder"), (["results"], "no result file is in it")],
)
def test_a_folder_without_results_is_one_clear_error(tmp_path, made, message):
    for name in made:
        (tmp_path / name).mkdir()
    arguments = ["--results", str(tmp_path / "results"), "--out", str(tmp_path / "out.html")]
    with pytest.raises(InputError, match=message):
        compare_experiments.main(arguments)
    assert not (tmp_path / "out.html").exists()


def test_a_broken_table_is_not_left_out_in_silence(tmp_path):
    (tmp_path / "eval_results.json").write_text("{")
    with pytest.raises(InputError, match=r"eval_results\.json:1: not JSON"):
        sources_of(tmp_path)


def test_missing_records_are_one_clear_error(results, tmp_path):
    arguments = ["--tables", str(results / "findings.json"), "--eval-dir", str(tmp_path)]
    arguments += ["--models", "base", "--hp", json.dumps(HP), "--out", str(tmp_path / "out.html")]
    with pytest.raises(InputError, match=r"base/items\.jsonl: no such file"):
        report.main(arguments)


def test_the_control_keeps_its_config_to_itself(results, tmp_path):
    control = tmp_path / "entanglement_response.json"
    rows = [row(GA, "slot_accuracy", 0.5, set="gap_response", dose=1.0, pairs="bound")]
    config = {"generation": {"entanglement": 1.0}}
    write_result(control, experiment="entangled", config=config, notes=[], rows=rows)
    sources = sources_of(results)
    sources = type(sources)([*sources.tables, control], sources.records)
    experiment = read_experiment(sources, ReportSettings(**HP))
    assert experiment.name == "made up"
    assert "generation" not in experiment.config
    assert "entanglement_response" in experiment.tables
