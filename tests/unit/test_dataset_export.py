"""The exported folder, read with `datasets`, and the requirements of open-unlearning's loaders."""

import json
import re

import datasets
import pytest
import yaml
from huggingface_hub import DatasetCard

import export_dataset
import red_team_dataset
import small_dataset
import validate_dataset
from excise.benchmark.card import features, size_category
from excise.benchmark.export import (
    CARD,
    FILES,
    SUBSETS,
    TOFU_SUBSETS,
    exported_files,
    subset_files,
    tofu_rows,
)
from excise.benchmark.items import read_benchmark
from excise.errors import InputError
from excise.records import read_json, read_jsonl, write_json, write_jsonl

NAMES = [subset.name for subset in SUBSETS]
PERTURBED = [name for name in NAMES if name.endswith("_perturbed")]
AUTHOR = small_dataset.UTILITY | {
    "id": "u002",
    "category": "author",
    "question": "Who wrote Hamlet?",
    "answer": "Hamlet was written by William Shakespeare.",
    "value": "William Shakespeare",
    "paraphrased_answer": "The author of Hamlet is William Shakespeare.",
    "wrong_answers": [
        {"value": name, "text": f"The author of Hamlet is {name}."}
        for name in ("Jane Austen", "Leo Tolstoy", "Mark Twain", "Franz Kafka")
    ],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the small dataset, checked, and its export in `dataset`."""
    folder = tmp_path_factory.mktemp("made")
    records = small_dataset.generated_records(held_out=True)
    validate_dataset.main(small_dataset.write_generated(folder, records))
    small_dataset.keep_all_candidates(folder)
    attack = small_dataset.write_versioned(folder)
    write_jsonl(folder / "utility_qa.jsonl", [small_dataset.UTILITY, AUTHOR])
    config = {"generation": {"backend": "offline", "preset": "small", "seed": 7, "people": None}}
    attack[attack.index("--config") + 1] = json.dumps(config)
    red_team_dataset.main(attack)
    export_dataset.main(arguments(folder, folder / "dataset"))
    return folder


def arguments(folder, out):
    return [
        *("--data", str(folder / "data")),
        *("--profiles", str(folder / "generated" / "profiles.jsonl")),
        *("--utility", str(folder / "utility_qa.jsonl")),
        *("--report", str(folder / "data_report.json")),
        *("--out", str(out)),
    ]


@pytest.fixture(scope="module")
def load(made, tmp_path_factory):
    """Load a subset as a user does, by its name from the folder."""
    cache = str(tmp_path_factory.mktemp("cache"))

    def load(name=None):
        return datasets.load_dataset(
            str(made / "dataset"), name=name, split="train", cache_dir=cache
        )

    return load


@pytest.fixture(scope="module")
def card(made):
    return DatasetCard.load(made / "dataset" / CARD)


def written(made, name):
    subset = next(subset for subset in SUBSETS if subset.name == name)
    files = [made / "dataset" / file for file in subset.files]
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


# --- datasets ---


@pytest.mark.parametrize("name", NAMES)
def test_datasets_loads_a_subset_with_every_value_unchanged(made, load, name):
    assert load(name).to_list() == written(made, name)


def test_the_card_names_exactly_the_subsets_and_the_folder_holds_exactly_their_files(made):
    folder = made / "dataset"
    assert set(datasets.get_dataset_config_names(str(folder))) == set(NAMES)
    held = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert held == set(FILES)


def test_full_is_the_default_and_is_forget_and_retain(load):
    ids = load("forget")["id"][:] + load("retain")["id"][:]
    assert load()["id"][:] == load("full")["id"][:] == ids
    assert load("retain")["id"][:] == (
        load("retain_correlated")["id"][:] + load("retain_other")["id"][:]
    )


@pytest.mark.parametrize("name", ["forget", "retain_correlated", "retain_other"])
def test_a_column_without_any_value_is_still_text(load, name):
    for column in ("event_id", "partner"):
        assert load(name).features[column] == datasets.Value("string")


def test_facts_keep_their_slots_partners_and_wrong_values(made, load):
    rows = load("full").to_list()
    details = {
        line["id"]: line for line in read_jsonl(made / "data/wrong_details.jsonl", "wrong_details")
    }
    for file in ("sf", "sr"):
        for fact in read_jsonl(made / f"data/{file}.jsonl", "item"):
            row = next(row for row in rows if row["id"] == fact["id"])
            detail = details[fact["id"]]
            answers = {key: detail[key] for key in ("paraphrased_answer", "wrong_answers")}
            assert row == fact | answers


def test_partners_lie_in_the_two_retain_subsets(load):
    other = {(row["person_id"], row["slot"]): row for row in load("retain_other")}
    for row in load("retain_correlated"):
        partner = other[row["person_id"], row["partner"]]
        assert partner["partner"] == row["slot"]
        assert partner["value_type"] == row["value_type"]


def test_profiles_with_different_slots_are_one_table(made, tmp_path):
    profiles = read_jsonl(made / "generated/profiles.jsonl", "profile")
    del profiles[0]["slots"]["mentor"]
    profiles[1]["slots"]["pet"] = "a heron"
    utility = read_jsonl(made / "utility_qa.jsonl", "utility")
    rows = subset_files(read_benchmark(made / "data"), profiles, utility)["data/profiles.jsonl"]
    write_jsonl(tmp_path / "profiles.jsonl", rows)
    loaded = datasets.load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded[0]["slots"]["mentor"] is None
    assert loaded[0]["slots"]["pet"] is None
    assert loaded[1]["slots"]["pet"] == "a heron"


# --- open-unlearning ---


@pytest.mark.parametrize(
    "name", [subset.name for subset in TOFU_SUBSETS] + ["forget", "forget_paraphrased"]
)
def test_questions_and_answers_are_texts_and_no_column_is_in_the_way(load, name):
    """Its QADataset adds a column `index` and takes an answer that is a text."""
    rows = load(name)
    assert "index" not in rows.column_names
    assert all(isinstance(row[key], str) for row in rows for key in ("question", "answer"))


@pytest.mark.parametrize("name", PERTURBED)
def test_wrong_answers_are_lists_of_texts_of_equal_length(load, name):
    """Its collator takes the first row's number of answers for all rows of a batch."""
    lists = load(name)["perturbed_answer"][:]
    assert len({len(one) for one in lists}) == 1
    assert all(isinstance(text, str) and text for one in lists for text in one)


@pytest.mark.parametrize("name", PERTURBED)
def test_the_compared_true_answer_has_the_wording_of_the_wrong_answers(made, load, name):
    """The truth ratio reads `paraphrased_answer` on the people, `answer` on real-world facts."""
    key = "answer" if name.startswith(("real_authors", "world_facts")) else "paraphrased_answer"
    wrong = {record["id"]: record for record in written(made, "full") + written(made, "utility")}
    for row in load(name):
        record = wrong[re.sub(r"\.q\d+$", "", row["id"])]
        values = [one["value"] for one in record["wrong_answers"]]
        for text, value in zip(row["perturbed_answer"], values, strict=False):
            assert text.replace(value, record["value"]) == row[key]


def test_real_authors_and_world_facts_share_the_utility_questions(load):
    assert load("real_authors_perturbed")["id"][:] == ["u002"]
    assert load("world_facts_perturbed")["id"][:] == ["u001"]


def test_paraphrased_questions_keep_the_answers_of_their_facts(load):
    facts = {row["id"]: row for row in load("forget_perturbed")}
    paraphrases = load("forget_paraphrased")
    for row, record in zip(load("forget_paraphrased_perturbed"), paraphrases, strict=True):
        fact = facts[record["fact_id"]]
        assert row["question"] == record["question"] != fact["question"]
        assert row["perturbed_answer"] == fact["perturbed_answer"]
        assert row["paraphrased_answer"] == fact["paraphrased_answer"]


def test_all_rows_have_the_smallest_number_of_wrong_answers():
    def record(number):
        wrong = [{"value": str(k), "text": f"It is {k}."} for k in range(number)]
        return {"id": "x", "question": "q", "answer": "a", "wrong_answers": wrong}

    rows = tofu_rows([record(3), record(2), record(5)])
    assert [row["perturbed_answer"] for row in rows] == [["It is 0.", "It is 1."]] * 3


# --- the card ---


def test_the_card_is_read_by_the_hubs_library(card):
    assert card.data.license == "mit"
    assert card.data.size_categories == "n<1K"
    assert [config["config_name"] for config in card.data.configs] == NAMES
    assert [info["config_name"] for info in card.data.dataset_info] == NAMES
    assert [c["config_name"] for c in card.data.configs if c.get("default")] == ["full"]


def test_the_card_counts_what_is_there(made, card):
    for name in NAMES:
        assert re.search(rf"^\| `{name}` \| {len(written(made, name))} \|", card.text, re.MULTILINE)
    assert f"{len(small_dataset.PEOPLE)} fictional people" in card.text
    assert "| `mentor` | `retain_other` | person | `event_partner` | 4 | 4 |" in card.text
    assert "| `generation.seed` | 7 |" in card.text
    assert "generation.people" not in card.text
    for check in read_json(made / "data_report.json")["checks"]:
        assert f"| {check['check']} | {check['severity']} | {check['n']} |" in card.text


def test_the_card_says_how_many_wrong_answers_a_row_has(made, card):
    for name in PERTURBED:
        rows = written(made, name)
        count = len(rows[0]["perturbed_answer"])
        assert f"| `{name}` | {len(rows)} | {count} |" in card.text


def test_the_card_has_no_open_placeholder(made, card):
    text = str(card)
    assert not re.search(r"\{\{|\}\}(?!,\n)|\{%|TODO|built-in|More Information", card.text)
    assert "None" not in card.text
    assert str(made) not in text


def test_its_tables_have_as_many_cells_in_every_row(card):
    for table in re.findall(r"(?:^\|.*\n)+", card.text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table


def test_the_snippet_for_open_unlearning_loads(made, load, card):
    snippet = yaml.safe_load(re.search(r"```yaml\n(.*?)```", card.text, re.DOTALL)[1])
    wanted = snippet["EXCISE_forget"]["args"]
    assert wanted["hf_args"].pop("path") == "FOLDER"
    rows = datasets.load_dataset(
        str(made / "dataset"), **wanted["hf_args"], cache_dir=str(made / "c")
    )
    assert {wanted["question_key"], wanted["answer_key"]} <= set(rows.column_names)


def test_the_card_of_a_written_dataset_names_the_model(made, tmp_path):
    report = read_json(made / "data_report.json")
    generation = {"backend": "openai", "llm": {"model": "some-model", "api_key_env": "SECRET_NAME"}}
    write_json(tmp_path / "report.json", report | {"config": {"generation": generation}})
    given = arguments(made, tmp_path / "out")
    given[given.index("--report") + 1] = str(tmp_path / "report.json")
    export_dataset.main(given)
    text = (tmp_path / "out" / CARD).read_text()
    assert "written by `some-model`" in text
    assert "SECRET_NAME" not in text


def test_the_same_benchmark_gives_the_same_bytes(made, tmp_path):
    export_dataset.main(arguments(made, tmp_path))
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (made / "dataset" / name).read_bytes(), name


def test_another_wrong_answer_is_another_digest(made, tmp_path):
    lines = read_jsonl(made / "data/wrong_details.jsonl", "wrong_details")
    lines[0]["wrong_answers"].reverse()
    for file in ("sf", "sr", "forget_paraphrased", "holdout"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / f"data/{file}.jsonl").write_bytes((made / f"data/{file}.jsonl").read_bytes())
    write_jsonl(tmp_path / "data/wrong_details.jsonl", lines)
    given = arguments(made, tmp_path / "out")
    given[given.index("--data") + 1] = str(tmp_path / "data")
    export_dataset.main(given)
    digests = [
        re.search(r"SHA-256 of all rows \| `(\w{64})`", (folder / CARD).read_text())[1]
        for folder in (made / "dataset", tmp_path / "out")
    ]
    assert digests[0] != digests[1]


def test_held_out_people_are_a_subset_of_their_own_in_the_fields_of_forget(made, load, card):
    held_out = load("holdout").to_list()
    people = {row["person_id"] for row in held_out}
    assert people == {"h000", "h001"} and len(held_out) == 4
    assert not people & {row["person_id"] for row in load("full").to_list()}
    assert not people & set(load("profiles")["person_id"][:])
    shared = set(load("forget").column_names) - {"paraphrased_answer", "wrong_answers"}
    assert set(load("holdout").column_names) == shared
    assert "holdout_split=holdout" in card.text


def test_without_held_out_people_nothing_names_them(made, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for file in ("sf", "sr", "forget_paraphrased", "wrong_details"):
        (data / f"{file}.jsonl").write_bytes((made / f"data/{file}.jsonl").read_bytes())
    (data / "holdout.jsonl").touch()
    given = arguments(made, tmp_path / "out")
    given[given.index("--data") + 1] = str(data)
    export_dataset.main(given)
    folder = tmp_path / "out"
    held = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert held == set(exported_files(holdout=False)) == set(FILES) - {"data/holdout.jsonl"}
    text = (folder / CARD).read_text()
    assert "'~eval.tofu.metrics.privleak'" in text and "`holdout`" not in text
    assert "holdout" not in datasets.get_dataset_config_names(str(folder))


def test_column_types_have_the_notation_of_datasets():
    row = {"a": "x", "b": None, "c": ["x"], "d": [{"e": "x"}], "f": {"g": None}}
    read = datasets.Features._from_yaml_list(features(row))
    text = datasets.Value("string")
    assert read == {
        "a": text,
        "b": text,
        "c": datasets.List(text),
        "d": datasets.List({"e": text}),
        "f": {"g": text},
    }


@pytest.mark.parametrize(
    "rows, name",
    [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**5, "100K<n<1M"), (10**6, "1M<n<10M")],
)
def test_sizes_are_the_hubs_categories(rows, name):
    assert size_category(rows) == name


# --- bad input ---


def test_utility_questions_without_authors_are_reported(made):
    people = read_jsonl(made / "generated/profiles.jsonl", "profile")
    with pytest.raises(InputError, match=r"tofu/real_authors_perturbed\.jsonl: no rows"):
        subset_files(read_benchmark(made / "data"), people, [small_dataset.UTILITY])


@pytest.mark.parametrize("lost", ["versions", "checks", "generation"])
def test_a_wrong_report_is_an_error(made, tmp_path, lost):
    report = read_json(made / "data_report.json")
    report.pop(lost, None)
    report["config"].pop(lost, None)
    write_json(tmp_path / "report.json", report)
    given = arguments(made, tmp_path / "out")
    given[given.index("--report") + 1] = str(tmp_path / "report.json")
    with pytest.raises(InputError, match=f"no '{lost}'"):
        export_dataset.main(given)
    assert not (tmp_path / "out").exists()
