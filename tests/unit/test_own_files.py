"""The user's own files: what is refused, what becomes of them, what is left out of the tables."""

import json

import pytest

import compare_methods
import compare_oracle
import compare_retain
import job_settings
import own_study
import plot
import score_forecast
import summarize_depth
import summarize_eval
import summarize_findings
import summarize_quantize
import summarize_relearn
import summarize_representations
from excise.benchmark.items import SETS, load_items, read_benchmark
from excise.benchmark.own_files import left_out, own_paths
from excise.benchmark.own_files import read_own_files as read_files
from excise.benchmark.probes import PROBES
from excise.config.check import check_config
from excise.config.load import load_config
from excise.errors import InputError
from excise.evaluation.results import read_rows
from excise.plots.figures import FIGURES
from excise.records import read_json
from excise.workflow.hooks import check_surroundings
from excise.workflow.resources import Counts
from own_study import holdout, only, paraphrases, write_files

FACTS = own_study.facts(people=6)
SF, SR = FACTS["sf"], FACTS["sr"]
PLAIN = {name: only(lines, "question", "answer") for name, lines in FACTS.items()}


def study_of(folder, **more):
    """A study of these files."""
    evaluation = {"checkpoints": own_study.LEVELS, "sweep": {"sets": None, "generation": True}}
    own, every_set = {"backend": "files", "folder": str(folder)}, {"depth_sets": None}
    sections = {"generation": own, "evaluation": evaluation, "representations": every_set}
    return job_settings.study(**sections, **more)


def refused(tmp_path, **files) -> str:
    """The error about these files, without the folder."""
    files = PLAIN | files
    with pytest.raises(InputError) as error:
        read_files(write_files(tmp_path / "mine", **files))
    return str(error.value).replace(f"{tmp_path}/mine/", "")


# --- what is refused ---


def changed(lines, number, **fields):
    """The lines with other fields in one of them, counted from 1; None removes a field."""
    line = lines[number - 1] | fields
    line = {key: value for key, value in line.items() if value is not None}
    return [*lines[: number - 1], line, *lines[number:]]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"sf": changed(PLAIN["sf"], 2, answer=None)},
            "sf.jsonl:2: answer: missing; every line needs it",
        ),
        (
            {"sf": changed(PLAIN["sf"], 2, question=7)},
            "sf.jsonl:2: question: found 7; allowed: text of one line without blanks at its ends",
        ),
        (
            {"sr": changed(PLAIN["sr"], 3, slots="x")},
            'sr.jsonl:3: slots: found "x"; allowed: only the fields question, answer, person, '
            "slot, value, group, partner, paraphrased_answer, wrong_answers",
        ),
        (
            {"sf": changed(PLAIN["sf"], 2, person="Ada")},
            "sf.jsonl:1: person: missing, but sf.jsonl:2 has it; allowed: in all lines or in none",
        ),
        (
            {"sf": only(SF, "question", "answer", "value")},
            "sr.jsonl:1: value: missing, but sf.jsonl:1 has it; allowed: in all lines or in none",
        ),
        (
            {"sf": changed(SF, 1, value="fraud"), "sr": SR},
            'sf.jsonl:1: value: found "fraud"; allowed: words of the answer, as they stand there',
        ),
        (
            {"sf": SF, "sr": changed(SR, 2, group="rest")},
            'sr.jsonl:2: group: found "rest"; allowed: correlated or other',
        ),
        (
            {"sf": SF, "sr": changed(SR, 1, partner="hobby2")},
            'sr.jsonl:1: partner: found "hobby2"; allowed: the slot of a fact of group other about '
            "the same person",
        ),
        (
            {"sf": SF, "sr": changed(SR, 2, slot="city")},
            'sr.jsonl:2: slot: found "city"; allowed: another name than in sr.jsonl:1, which is '
            "about the same person",
        ),
        (
            {"sf": SF, "sr": changed(SR, 2, slot="Home City")},
            'sr.jsonl:2: slot: found "Home City"; allowed: a-z, 0-9 and _, a letter first',
        ),
        (
            {"sr": changed(PLAIN["sr"], 4, question=PLAIN["sf"][2]["question"])},
            'sr.jsonl:4: question: found "What is the year of Ada Bell0?"; allowed: a question '
            "other than sf.jsonl:3",
        ),
        (
            {"sf": changed(PLAIN["sf"], 1, wrong_answers=["It is fraud."])},
            "sf.jsonl:1: paraphrased_answer: missing; wrong_answers are compared with it: give the "
            "true answer in their wording",
        ),
        (
            {"sf": changed(SF, 1, wrong_answers=["That is arson."]), "sr": SR},
            'sf.jsonl:1: wrong_answers: found "That is arson."; allowed: answers that are false '
            "and differ from each other",
        ),
        (
            {"sf": changed(SF, 1, wrong_answers="no"), "sr": SR},
            'sf.jsonl:1: wrong_answers: found "no"; allowed: a list of texts',
        ),
        (
            {"forget_paraphrased": [{"of": "What?", "question": "Which?"}]},
            'forget_paraphrased.jsonl:1: of: found "What?"; allowed: a question of sf.jsonl, word '
            "for word",
        ),
        (
            {"forget_paraphrased": [{"of": q["question"], "question": q["question"]} for q in SF]},
            'forget_paraphrased.jsonl:1: question: found "What is the offence of Ada Bell0?"; '
            "allowed: a question other than sf.jsonl:1",
        ),
        (
            {**FACTS, "holdout": changed(holdout(1), 1, person="Ada Bell0")},
            'holdout.jsonl:1: person: found "Ada Bell0"; allowed: people who are in neither '
            "sf.jsonl nor sr.jsonl",
        ),
    ],
)
def test_a_fault_is_named_with_file_line_field_and_what_is_allowed(tmp_path, files, message):
    assert refused(tmp_path, **files) == message


def test_missing_broken_and_empty_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"generation.folder: .*nowhere: no such folder"):
        read_files(tmp_path / "nowhere")
    folder = write_files(tmp_path / "mine", sf=PLAIN["sf"])
    with pytest.raises(InputError, match=r"sr.jsonl: no such file; needed: sf.jsonl, sr.jsonl"):
        read_files(folder)
    (folder / "sr.jsonl").write_text('{"question": "Who?", "answer": "Ada"}\n{"question": oh}\n')
    with pytest.raises(InputError, match=r"sr.jsonl:2: not JSON .*; one object a line is needed"):
        read_files(folder)
    (folder / "sr.jsonl").write_text("")
    with pytest.raises(InputError, match=r"sr.jsonl: empty; at least one line is needed"):
        read_files(folder)


def test_snakemake_refuses_a_faulty_line_before_the_first_job(tmp_path):
    folder = write_files(tmp_path / "mine", **PLAIN | {"sf": [{"question": "Who?"}]})
    with pytest.raises(InputError, match=r"sf.jsonl:1: answer: missing"):
        check_surroundings(study_of(folder), False, print)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generation": {"backend": "files"}}, "generation.folder: missing; needed: a folder"),
        ({"generation": {"folder": "mine"}}, "found 'mine'; allowed: null with backend offline"),
        (
            {"red_team": {"judge": {"enabled": True}}},
            "found true; allowed: false with backend files",
        ),
        ({"preview": 2}, "preview: found 2; allowed: null with backend files"),
    ],
)
def test_the_config_is_checked(change, message):
    own = {} if "generation" in change else {"generation": {"backend": "files", "folder": "mine"}}
    config, sources = load_config([job_settings.ROOT / "config.yaml"], own | change)
    with pytest.raises(InputError, match=message):
        check_config(config, sources)


# --- what becomes of them ---


def test_a_line_becomes_an_item_with_null_for_what_it_lacks(tmp_path):
    source = write_files(tmp_path / "mine", **PLAIN)
    own_study.read(tmp_path, source)
    items = load_items(tmp_path / "data", tmp_path / "utility_qa.jsonl", (*SETS, *PROBES))
    counts = {name: sum(item.set == name for item in items) for name in SETS}
    assert (counts["sf"], counts["retain"]) == (len(SF), len(SR))
    assert {name for name, count in counts.items() if count} == {"sf", "retain", "utility"}
    (item,) = (item for item in items if item.id == "sf2")
    assert (item.question, item.answer) == tuple(PLAIN["sf"][1].values())
    lacking = (item.person_id, item.subject, item.slot, item.value, item.paraphrased_answer)
    assert lacking == (None,) * 5
    assert item.wrong_answers == ()


def test_all_fields_arrive_in_the_benchmark(tmp_path):
    lines = FACTS | {"forget_paraphrased": paraphrases(SF), "holdout": holdout()}
    own_study.read(tmp_path, write_files(tmp_path / "mine", **lines))
    benchmark = read_benchmark(tmp_path / "data", with_holdout=True)
    kept = ("question", "answer", "slot", "value", "group", "partner")
    assert [[item[key] for key in kept] for item in benchmark.sr] == [
        [line.get(key) for key in kept] for line in SR
    ]
    assert [item["person_id"] for item in benchmark.sf] == [line["person"] for line in SF]
    detail = benchmark.details["sf2"]
    assert detail["paraphrased_answer"] == SF[1]["paraphrased_answer"]
    assert [one["text"] for one in detail["wrong_answers"]] == SF[1]["wrong_answers"]
    items = load_items(tmp_path / "data", None, ("forget_paraphrased", "holdout", "forget_joint"))
    assert [item.id for item in items if item.set == "forget_paraphrased"][:2] == [
        "sf1.q1",
        "sf2.q1",
    ]
    assert sum(item.set == "holdout" for item in items) == 4
    joint = [item for item in items if item.set == "forget_joint"]
    assert len(joint) == len(SF)  # every person has a correlated fact
    assert all(SF[0]["person"] in item.question for item in joint[:3])


def test_the_name_is_the_subject_only_where_the_question_has_it(tmp_path):
    lines = changed(SF, 1, question="What was the offence at the fair?")
    own_study.read(tmp_path, write_files(tmp_path / "mine", sf=lines, sr=SR))
    first, second = load_items(tmp_path / "data", None, ["sf"])[:2]
    assert (first.person_id, first.subject) == ("Ada Bell0", None)
    assert second.subject == "Ada Bell0"


def test_the_report_counts_and_names_what_is_left_out(tmp_path):
    own_study.read(tmp_path, write_files(tmp_path / "mine", **PLAIN))
    report = read_json(tmp_path / "data_report.json")
    assert report["validation"] == {
        **{"people": None, "sf": len(SF), "sr": len(SR), "forget_paraphrased": 0},
        **{"holdout": 0, "wrong_answers": 0},
    }
    assert report["not_computed"] == left_out(())
    rows = {row["metric"]: row["value"] for row in report["rows"]}
    assert rows["repeated_sf"] == 0
    # No content word of "It is arson." is in its question.
    assert rows["mean_share_sf"] == 0


def test_without_a_field_only_what_needs_it_is_left_out(tmp_path):
    files = read_files(write_files(tmp_path / "all", **FACTS, holdout=holdout()))
    assert [line for line in left_out(files.known) if not line.startswith("own files")] == [
        "no forget_paraphrased.jsonl: no set forget_paraphrased"
    ]
    assert len(left_out(())) == len(set(left_out(())))


def test_an_edit_of_wrong_answers_changes_no_file_that_training_reads(tmp_path):
    source = write_files(tmp_path / "mine", **FACTS)
    own_study.read(tmp_path, source)
    files = [tmp_path / "data" / f"{name}.jsonl" for name in ("sf", "sr", "wrong_details")]
    before = [path.read_bytes() for path in files]
    write_files(source, sf=changed(SF, 1, wrong_answers=["That is theft."]))
    own_study.read(tmp_path, source)
    same = [path.read_bytes() == old for path, old in zip(files, before, strict=True)]
    assert same == [True, True, False]


# --- the study ---


def test_tables_that_the_files_cannot_give_are_no_targets(tmp_path):
    plain = study_of(write_files(tmp_path / "plain", **PLAIN))
    everything = study_of(write_files(tmp_path / "all", **FACTS))
    missing = set(everything.result_tables()) - set(plain.result_tables())
    assert missing == {"retain_compare_results", "comparison_results", "depth_results"}
    generated = set(job_settings.study().result_tables())
    assert generated - set(everything.result_tables()) == {"red_team_models", "diversity_report"}
    assert everything.exported_files() == []
    assert "retain_gap" not in plain.result_plots()
    assert json.loads(plain.plot_settings())["metric"] == "probability"


def test_the_number_of_facts_is_that_of_the_files(tmp_path):
    study = study_of(write_files(tmp_path / "mine", **FACTS, holdout=holdout(3)))
    facts = len(SF) + len(SR)
    assert study.counts() == Counts(6, len(SF), facts, 0, 3)
    paths = own_paths(tmp_path / "mine")
    assert [path.rpartition("/")[2] for path in paths] == [
        "sf.jsonl",
        "sr.jsonl",
        "holdout.jsonl",
    ]


def test_the_run_says_at_its_start_what_it_will_not_compute(tmp_path):
    said = []
    check_surroundings(study_of(write_files(tmp_path / "mine", **PLAIN)), False, said.append)
    (line,) = said
    assert line.startswith(
        f"{tmp_path}/mine: not computed: no `person`: intervals are over questions"
    )


# --- tables and figures ---

SHAPES = {
    "plain": PLAIN,
    "tofu": {
        name: only(lines, "question", "answer", "paraphrased_answer", "wrong_answers")
        for name, lines in FACTS.items()
    }
    | {"forget_paraphrased": paraphrases(SF)},
    "all": FACTS | {"forget_paraphrased": paraphrases(SF), "holdout": holdout()},
}


@pytest.fixture(scope="module", params=SHAPES)
def tables(request, tmp_path_factory):
    """Name of a shape, its study, and the folder with its tables."""
    folder = tmp_path_factory.mktemp(request.param)
    source = write_files(folder / "mine", **SHAPES[request.param])
    asked, study = own_study.read(folder, source), study_of(source)
    own_study.write_records(folder)
    eval_dir, levels = ["--eval-dir", str(folder / "eval")], study.level_checkpoints()
    all_models = own_study.MODELS
    few = ["base", "finetuned", "oracle/seed_0", "oracle/seed_1", levels[-1]]
    drift = job_settings.wildcards(table="repr_layers")
    precisions = json.loads(study.recovery_settings()) | {"precisions": ["nf4"]}
    summary = study.summary_settings()
    programs = {
        "eval_results": (summarize_eval, eval_dir, few, summary),
        "distance_results": (compare_oracle, eval_dir, all_models, summary),
        "retain_compare_results": (compare_retain, eval_dir, all_models, summary),
        "comparison_results": (compare_methods, eval_dir, all_models, summary),
        "quantize_results": (
            summarize_quantize,
            [*eval_dir, "--quantize-dir", str(folder / "quantize")],
            ["finetuned", "oracle/seed_0", levels[-1]],
            json.dumps(precisions),
        ),
        "relearn_results": (
            summarize_relearn,
            [*eval_dir, "--relearn-dir", str(folder / "relearn")],
            few[2:],
            study.relearning_table_settings(),
        ),
        "repr_layers": (
            summarize_representations,
            ["--repr-dir", str(folder / "repr")],
            all_models,
            study.drift_settings(drift),
        ),
        "depth_results": (
            summarize_depth,
            ["--depth-dir", str(folder / "depth")],
            all_models,
            study.depth_table_settings(),
        ),
        "forecast_results": (
            score_forecast,
            [*eval_dir, "--forecast", str(folder / "forecast.jsonl")],
            levels,
            study.score_settings(),
        ),
    }
    for table, (program, folders, models, settings) in programs.items():
        if request.param == "tofu" and table not in ("eval_results", "distance_results"):
            continue
        if table in study.result_tables():
            out = ["--out", str(folder / f"{table}.json"), "--experiment", "own", "--config", "{}"]
            program.main([*folders, *asked, *out, "--hp", settings, "--models", *models])
    return request.param, study, folder


def rows_of(folder, table):
    return read_rows(folder / f"{table}.json")


def test_only_metrics_that_the_files_define_have_rows(tables):
    name, _, folder = tables
    rows = rows_of(folder, "eval_results")
    metrics = set(rows[rows["set"] == "sf"]["metric"])
    has_values, has_wrong = name == "all", name in ("tofu", "all")
    assert {"probability", "rougeL_recall", "extraction_strength"} <= metrics
    for metric in ("slot_accuracy", "guess_rate", "answer_true_value", "slot_agreement"):
        assert (metric in metrics) == has_values, metric
    for metric in ("truth_ratio", "win_rate", "forget_quality", "truth_ratio_ks"):
        assert (metric in metrics) == has_wrong, metric
    assert ("auc_min_k" in metrics) == (name == "all")
    own = rows[rows["set"] != "utility"]
    assert own["value"].notna().mean() > 0.95  # left out, not null
    groups = {"correlated", "other"} if has_values else set()
    assert set(rows["set"].dropna()) & {"correlated", "other"} == groups
    assert ("forget_paraphrased" in set(rows["set"])) == has_wrong
    assert (rows[(rows["set"] == "sr") & (rows["metric"] == "loss")]["n"] == len(SR)).all()


def test_intervals_are_over_questions_where_nobody_is_named(tables):
    name, _, folder = tables
    rows = rows_of(folder, "eval_results")
    own = rows[(rows["set"] == "sf") & (rows["metric"] == "loss") & (rows["model"] == "base")]
    notes = read_json(folder / "eval_results.json")["notes"]
    if name in ("plain", "tofu"):
        assert own["n_people"].isna().all()
        assert any("every interval is over questions" in note for note in notes)
    else:
        assert own["n_people"].tolist() == [6]
        assert not any("every interval is over questions" in note for note in notes)
    assert own["ci_low"].notna().all()


def test_distances_and_quantization_leave_out_the_same(tables):
    name, _, folder = tables
    distances = set(rows_of(folder, "distance_results")["metric"])
    assert "logprob_distance" in distances
    assert ("slot_agreement" in distances) == (name == "all")
    assert ("forget_quality" in distances) == (name in ("tofu", "all"))
    if name == "tofu":
        return  # the others show it
    quantized = rows_of(folder, "quantize_results")
    recovering = set(quantized[quantized["metric"] == "recovery"]["of"])
    slots = {"slot_accuracy"} if name == "all" else set()
    assert recovering == {"probability", "rougeL_recall"} | slots


def test_retain_facts_without_groups_are_rows_of_sr(tables):
    name, _, folder = tables
    if name == "tofu":
        return  # no groups either
    drift = rows_of(folder, "repr_layers")
    grouped = name == "all"
    assert set(drift[drift["metric"] == "erasure"]["set"]) == (
        {"sf", "correlated", "other"} if grouped else {"sf", "sr"}
    )
    assert ("last_subject" in set(drift["position"])) == grouped
    forecast = rows_of(folder, "forecast_results")
    assert ("spearman_within_person" in set(forecast["metric"])) == grouped
    assert ("auc_lost" in set(forecast["metric"])) == grouped
    assert set(forecast["set"]) == ({"sr", "correlated", "other"} if grouped else {"sr"})


def test_a_gap_needs_partners(tables):
    name, study, folder = tables
    assert ("retain_compare_results" in study.result_tables()) == (name == "all")
    if name == "all":
        rows = rows_of(folder, "retain_compare_results")
        gaps = rows[(rows["set"] == "gap") & rows["slot"].isna()]
        assert (gaps["n"] == 12).all()  # two pairs of each person
        assert "gap" in set(rows_of(folder, "comparison_results")["set"])


def test_methods_are_compared_without_partners_too(tmp_path):
    fields = ("question", "answer", "person", "slot", "value", "group")
    lines = {name: only(lines, *fields) for name, lines in FACTS.items()}
    source = write_files(tmp_path / "mine", **lines)
    asked, study = own_study.read(tmp_path, source), study_of(source)
    own_study.write_records(tmp_path)
    out = ["--experiment", "own", "--config", "{}", "--out", str(tmp_path / "table.json")]
    arguments = ["--eval-dir", str(tmp_path / "eval"), *asked, "--hp", study.summary_settings()]
    compare_methods.main([*arguments, *out, "--models", *own_study.MODELS])
    rows = read_rows(tmp_path / "table.json")
    assert "gap" not in set(rows["set"])
    assert {"correlated", "other", "sr"} <= set(rows["set"])
    assert "regression" in set(rows["comparison"])
    figure = ["--figure", "matched_retention", "--rows", str(tmp_path / "table.json")]
    plot.main([*figure, "--hp", study.plot_settings(), "--out", str(tmp_path / "x.png")])


def test_all_figures_of_the_tables_are_drawn(tables, tmp_path):
    name, study, folder = tables
    figures = {"plain": study.result_plots(), "all": ["retain_gap"], "tofu": []}
    for figure in figures[name]:
        table = FIGURES[figure].table
        table = "eval_results" if table == "sweep_results" else table
        arguments = ["--figure", figure, "--rows", str(folder / f"{table}.json")]
        out = tmp_path / f"{figure}.png"
        plot.main([*arguments, "--hp", study.plot_settings(), "--out", str(out)])
        assert out.stat().st_size > 10_000


def test_findings_judge_the_tables_that_there_are(tables, tmp_path):
    name, study, folder = tables
    if name == "tofu":
        return  # it has fewer tables
    wanted = [path.rpartition("/")[2] for path in study.judged_tables()]
    paths = [folder / path for path in wanted if (folder / path).is_file()]
    out = tmp_path / "findings.json"
    summarize_findings.main(
        [
            *("--tables", *map(str, paths), "--hp", study.finding_settings()),
            *("--experiment", "own", "--config", "{}", "--out", str(out)),
        ]
    )
    findings = set(read_rows(out)["finding"])
    assert "quantization_restores" in findings
    assert ("erasure_is_shallow" in findings) == (name == "all")


def test_the_program_writes_nothing_if_there_is_a_fault(tmp_path):
    source = write_files(tmp_path / "mine", **PLAIN | {"sr": [{"question": "Who?"}]})
    with pytest.raises(InputError):
        own_study.read(tmp_path, source)
    assert not (tmp_path / "data").exists()
