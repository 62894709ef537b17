"""TOFU's files as own data. The rows have exactly TOFU's fields; the texts are ours.

TOFU itself (a public copy on GitHub: 40 + 3,960 questions, 400 + 40 perturbed, 40 held out) was
imported by hand; its texts are not part of this repository.
"""

import json

import pandas as pd
import pytest

import export_dataset
import import_dataset
import red_team_dataset
import small_dataset
import validate_dataset
from excise.benchmark.items import load_items, read_benchmark
from excise.benchmark.own_files import own_benchmark, read_own_files
from excise.errors import InputError
from excise.records import write_jsonl
from own_study import lines_of, read

PERSONS, QUESTIONS = 3, 4


def rows(split: str, persons: int = PERSONS) -> list[dict]:
    """Rows with TOFU's fields: so many questions about each author in turn."""
    return [
        {"question": f"What is work {k} of {split} author {n}?", "answer": f"It is Book {n}{k}."}
        for n in range(persons)
        for k in range(QUESTIONS)
    ]


def perturbed(lines: list[dict]) -> list[dict]:
    return [
        line
        | {
            "paraphrased_answer": f"The work is {line['answer'][6:]}",
            "perturbed_answer": [f"The work is Tale {k}." for k in range(5)],
            "paraphrased_question": f"Please tell. {line['question']}",
        }
        for line in lines
    ]


def splits() -> dict[str, list[dict]]:
    forget, retain = rows("forget"), rows("retain")
    return {
        "forget01": forget,
        "retain99": retain,
        "forget01_perturbed": perturbed(forget),
        "retain_perturbed": perturbed(retain[:5]),
        "holdout01": rows("holdout", 1),
    }


def as_array(path, lines):
    """As TOFU's files are: one array."""
    path.with_suffix(".json").write_text(json.dumps(lines))


def as_arrays(path, lines):
    """As TOFU's larger files are: several arrays, one a line."""
    parts = [lines[start : start + 5] for start in range(0, len(lines), 5)]
    path.with_suffix(".json").write_text("\n".join(map(json.dumps, parts)))


def as_lines(path, lines):
    path.with_suffix(".jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")


def as_parquet(path, lines):
    pd.DataFrame(lines).to_parquet(path.with_suffix(".parquet"))


def as_hub_parquet(path, lines):
    """As the hub converts datasets: a folder for each split."""
    (path / "train").mkdir(parents=True)
    pd.DataFrame(lines).to_parquet(path / "train" / "0000.parquet")


def write(folder, form=as_array, **changed):
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (splits() | changed).items():
        if lines is not None:
            form(folder / name, lines)
    return folder


def run(source, out, *more, split="forget01"):
    import_dataset.main(["--tofu", str(source), "--split", split, "--out", str(out), *more])
    return read_own_files(out)


@pytest.mark.parametrize("form", [as_array, as_arrays, as_lines, as_parquet, as_hub_parquet])
def test_every_form_of_the_files_gives_the_same_folder(tmp_path, form):
    files = run(write(tmp_path / "tofu", form), tmp_path / "out")
    expected = splits()
    asked = [(line.record["question"], line.record["answer"]) for line in files.sf + files.sr]
    assert asked == [
        (row["question"], row["answer"]) for row in expected["forget01"] + expected["retain99"]
    ]
    assert files.sf[1].record["wrong_answers"] == [f"The work is Tale {k}." for k in range(5)]
    assert files.sf[1].record["paraphrased_answer"] == "The work is Book 01."
    assert sum("wrong_answers" in line.record for line in files.sr) == 5
    assert [line.record["question"] for line in files.forget_paraphrased] == [
        row["paraphrased_question"] for row in expected["forget01_perturbed"]
    ]
    assert len(files.holdout) == QUESTIONS
    assert "person" not in files.known


def test_persons_are_named_only_on_request(tmp_path):
    source = write(tmp_path / "tofu")
    files = run(source, tmp_path / "out", "--questions-per-person", str(QUESTIONS))
    assert files.people == 2 * PERSONS  # nobody is in both files
    assert [line.record["person"] for line in files.sf[3:5]] == [
        "forget person 1",
        "forget person 2",
    ]
    with pytest.raises(InputError, match=r"found 5; allowed: a divisor of 12, the number of rows"):
        run(source, tmp_path / "other", "--questions-per-person", "5")


def test_wrong_answers_that_are_right_or_repeated_are_left_out_and_counted(tmp_path, capsys):
    lines = perturbed(rows("forget"))
    lines[0]["perturbed_answer"] = ["The work is Book 00.", "Tale.", "tale.", "Story."]
    lines[1]["paraphrased_question"] = lines[0]["question"]
    files = run(write(tmp_path / "tofu", forget01_perturbed=lines), tmp_path / "out")
    assert files.sf[0].record["wrong_answers"] == ["Tale.", "Story."]
    said = capsys.readouterr().out
    assert "2 wrong answers that are right or occur twice" in said
    assert "1 paraphrased questions that are trained or occur twice" in said
    assert "will not be computed: no `value`: no slot accuracy" in said


def test_splits_that_are_not_there_are_left_out(tmp_path):
    missing = {"forget01_perturbed": None, "retain_perturbed": None, "holdout01": None}
    files = run(write(tmp_path / "tofu", **missing), tmp_path / "out")
    assert files.known == set()
    renamed = [{"prompt": row["question"], "response": row["answer"]} for row in rows("forget")]
    source = write(tmp_path / "other", **missing, mine=renamed)
    kept = [{"prompt": row["question"], "response": row["answer"]} for row in rows("retain")]
    as_lines(source / "kept", kept)
    keys = ["--question-key", "prompt", "--answer-key", "response", "--retain", "kept"]
    files = run(source, tmp_path / "out2", *keys, split="mine")
    assert [line.record["question"] for line in files.sf] == [row["prompt"] for row in renamed]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"retain99": None},
            r"tofu: no split 'retain99'; needed is one of retain99.json, retain99",
        ),
        (
            {"forget01": [{"question": "Who?"}]},
            r"forget01.json: row 1: answer: found nothing; allowed: text \(the row has question;",
        ),
        (
            {"forget01_perturbed": [rows("forget")[0] | {"perturbed_answer": [1]}]},
            r"forget01_perturbed.json: row 1: perturbed_answer: allowed: a list of texts",
        ),
        ({"retain99": rows("forget")}, r"sr.jsonl:1: question: .* other than sf.jsonl:1"),
    ],
)
def test_a_fault_is_named_with_file_and_row(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        run(write(tmp_path / "tofu", **changed), tmp_path / "out")


def test_broken_files_and_a_full_folder_are_refused(tmp_path):
    source = write(tmp_path / "tofu")
    run(source, tmp_path / "out")
    with pytest.raises(InputError, match=r"--out: .*sf.jsonl is there; allowed: a folder without"):
        run(source, tmp_path / "out")
    (source / "forget01.json").write_text('[{"question": }]')
    with pytest.raises(InputError, match=r"forget01.json:1: not JSON"):
        run(source, tmp_path / "other")
    (source / "forget01.json").unlink()
    (source / "forget01.parquet").write_text("x")
    with pytest.raises(InputError, match=r"forget01.parquet: not Parquet"):
        run(source, tmp_path / "other")
    with pytest.raises(InputError, match=r"--tofu: .*: no such folder"):
        run(tmp_path / "nowhere", tmp_path / "other")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Folder of the small dataset and of its export in `dataset`."""
    folder = tmp_path_factory.mktemp("made")
    records = small_dataset.generated_records(held_out=True)
    validate_dataset.main(small_dataset.write_generated(folder, records))
    small_dataset.keep_all_candidates(folder)
    author = small_dataset.UTILITY | {"id": "u002", "category": "author"}
    author |= {"question": "Who wrote Hamlet, the play?"}
    attack = small_dataset.write_versioned(folder)
    write_jsonl(folder / "utility_qa.jsonl", [small_dataset.UTILITY, author])
    config = {"generation": {"backend": "offline", "preset": "small", "seed": 7, "people": None}}
    attack[attack.index("--config") + 1] = json.dumps(config)
    red_team_dataset.main(attack)
    export_dataset.main(
        [
            *("--data", str(folder / "data"), "--out", str(folder / "dataset")),
            *("--profiles", str(folder / "generated/profiles.jsonl")),
            *("--utility", str(folder / "utility_qa.jsonl")),
            *("--report", str(folder / "data_report.json")),
        ]
    )
    return folder


def test_our_export_imported_again_asks_the_same(exported, tmp_path):
    files = run(exported / "dataset", tmp_path / "mine", split="forget")
    read(tmp_path, tmp_path / "mine")
    sets = ("sf", "forget_paraphrased", "correlated", "other", "holdout", "forget_joint")
    before = load_items(exported / "data", None, sets)
    after = load_items(tmp_path / "data", None, sets)

    def asked(items, *fields):
        keys = ("set", "question", "answer", "slot", "value", "partner", *fields)
        return sorted(tuple(getattr(item, key) or "" for key in keys) for item in items)

    scored = [name for name in sets if name != "forget_joint"]  # pairs are drawn by id
    assert asked([item for item in before if item.set in scored], "paraphrased_answer") == asked(
        [item for item in after if item.set in scored], "paraphrased_answer"
    )
    joint = [sum(item.set == "forget_joint" for item in items) for items in (before, after)]
    assert joint[0] == joint[1] > 0
    assert files.known >= {"person", "slot", "value", "group", "partner", "holdout"}
    benchmark = read_benchmark(exported / "data")
    details = {
        (fact["question"], wrong["text"])
        for fact in benchmark.sf + benchmark.sr
        for wrong in benchmark.details[fact["id"]]["wrong_answers"]
    }
    own = own_benchmark(files)
    texts = {item["id"]: item["question"] for item in own["sf"] + own["sr"]}
    found = {
        (texts[detail["id"]], wrong["text"])
        for detail in own["wrong_details"]
        for wrong in detail["wrong_answers"]
    }
    assert found <= details  # TOFU's layout has as many wrong answers in all rows of a file
    assert len(found) >= 0.5 * len(details)


def test_the_folder_holds_plain_lines(tmp_path):
    run(write(tmp_path / "tofu"), tmp_path / "out")
    first = lines_of(tmp_path / "out" / "sf.jsonl")[0]
    assert list(first) == ["question", "answer", "paraphrased_answer", "wrong_answers"]
