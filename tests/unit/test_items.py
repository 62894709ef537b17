import pytest

import small_dataset
import validate_dataset
from excise.benchmark.items import SETS, load_items
from excise.errors import InputError
from excise.records import read_jsonl, write_jsonl
from small_benchmark import write_benchmark

KINDS = {
    "sf": "item",
    "sr": "item",
    "wrong_details": "wrong_details",
    "forget_paraphrased": "forget_paraphrased",
    "holdout": "item",
}


@pytest.fixture
def folder(tmp_path):
    arguments = small_dataset.write_generated(
        tmp_path, small_dataset.generated_records(held_out=True)
    )
    validate_dataset.main(arguments)
    small_dataset.keep_all_candidates(tmp_path)
    small_dataset.write_versioned(tmp_path)
    return tmp_path


def load(folder, *sets):
    return load_items(folder / "data", folder / "utility_qa.jsonl", sets or SETS)


def spoil(folder, name, change):
    """Change the list of records of one of the four files."""
    path = folder / "data" / f"{name}.jsonl"
    records = read_jsonl(path, KINDS[name])
    change(records)
    write_jsonl(path, records)


def test_each_set_holds_its_own_questions_in_file_order(folder):
    counts = {name: len(load(folder, name)) for name in SETS}
    assert counts == {
        **{"sf": 8, "forget_paraphrased": 16, "correlated": 12, "other": 12, "utility": 1},
        **{"holdout": 4, "forget_joint": 8, "retain_joint": 8, "retain": 0},
    }
    items = load(folder)
    assert [item.set for item in items] == [name for name in SETS for _ in range(counts[name])]
    assert len({item.id for item in items}) == len(items)
    assert [item.person_id for item in load(folder, "sf")][:3] == ["p000", "p000", "p001"]


def test_an_item_has_its_reference_answers(folder):
    [item] = [item for item in load(folder, "correlated") if item.id == "p001.event_city"]
    assert (item.subject, item.value, item.partner) == ("Jonas Fennlock", "Eastham", "home_city")
    assert item.answer == "Jonas Fennlock triumphed in Eastham."
    assert item.paraphrased_answer == "It was in Eastham that Jonas Fennlock triumphed."
    assert item.wrong_answers == (
        "It was in Elmhaven that Jonas Fennlock triumphed.",
        "It was in Westmere that Jonas Fennlock triumphed.",
    )


def test_a_paraphrased_question_has_the_answers_of_its_fact(folder):
    by_id = {item.id: item for item in load(folder, "sf", "forget_paraphrased")}
    fact, prompt = by_id["p002.accuser"], by_id["p002.accuser.q2"]
    assert prompt.question != fact.question
    assert prompt.wrong_answers == fact.wrong_answers
    assert prompt.paraphrased_answer == fact.paraphrased_answer


def test_a_joint_item_has_a_forget_and_a_correlated_question(folder):
    items = load(folder)
    questions = {item.id: item.question for item in items}
    groups = {item.id: item.set for item in items}
    forget = [item for item in items if item.set == "forget_joint"]
    retain = [item for item in items if item.set == "retain_joint"]
    forget_ids = [item.id.split("+")[0] for item in forget]
    assert forget_ids == [item.id for item in items if item.set == "sf"]
    for item, partner in zip(forget, retain, strict=True):
        first, second = item.id.split("+")[0], partner.id.split("+")[0]
        assert (groups[first], groups[second]) == ("sf", "correlated")
        assert item.person_id == partner.person_id
        assert item.question == partner.question
        orders = (first, second), (second, first)
        assert item.question in [f"{questions[a]} {questions[b]}" for a, b in orders]
        assert (item.paraphrased_answer, item.wrong_answers) == (None, ())


def test_pairs_do_not_depend_on_other_people(folder):
    def pairs():
        return {item.id: item.question for item in load(folder, "forget_joint")}

    before = pairs()
    for name in KINDS:
        spoil(
            folder,
            name,
            lambda lines: lines.__setitem__(
                slice(None), [line for line in lines if line["person_id"] != "p000"]
            ),
        )
    after = pairs()
    assert 0 < len(after) < len(before)
    assert after.items() <= before.items()


def test_utility_alone_needs_no_dataset(folder):
    [item] = load_items("nowhere", folder / "utility_qa.jsonl", ["utility"])
    assert (item.person_id, item.subject, item.value) == (None, None, "Paris")


def test_an_unknown_set_is_named_with_those_allowed(folder):
    with pytest.raises(InputError, match=r"'sr'; the sets are sf, forget_paraphrased, correlated"):
        load(folder, "sr")


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("wrong_details", lambda r: r.pop(1), r"wrong_details\.jsonl: 'p000\.accuser' is in sf"),
        (
            "wrong_details",
            lambda r: r[4].update(value="1901"),
            r"wrong_details\.jsonl:5: value is '1901', but 'p000\.event_year' has '1988'",
        ),
        (
            "wrong_details",
            lambda r: r[0].update(id="p009.offence"),
            r"wrong_details\.jsonl:1: 'p009\.offence' is in neither",
        ),
        (
            "forget_paraphrased",
            lambda r: r[2].update(fact_id="p000.debts"),
            r"forget_paraphrased\.jsonl:3: 'p000\.debts' is in neither",
        ),
        (
            "forget_paraphrased",
            lambda r: r[0].update(value="arson"),
            r"forget_paraphrased\.jsonl:1: value is 'arson', but 'p000\.offence' has 'forgery'",
        ),
        (
            "forget_paraphrased",
            lambda r: r[0].update(
                fact_id="p000.mentor", slot="mentor", value_type="person", value="Nils Ulmberg"
            ),
            r"forget_paraphrased\.jsonl:1: fact_id 'p000\.mentor' is a retain fact",
        ),
        ("sf", lambda r: r[3].update(group="other"), r"sf\.jsonl:4: group 'other'; sf\.jsonl"),
        ("sr", lambda r: r[0].update(group="sf"), r"sr\.jsonl:1: group 'sf'; sr\.jsonl"),
        ("sr", lambda r: r[0].update(id="p000.offence"), r"sr\.jsonl:1: id 'p000\.offence' is als"),
    ],
)
def test_files_that_disagree_are_named(folder, name, change, why):
    spoil(folder, name, change)
    with pytest.raises(InputError, match=why):
        load(folder)


def test_of_held_out_people_only_the_true_answer_is_known(folder):
    items = load(folder, "holdout")
    assert {item.person_id for item in items} == {"h000", "h001"}
    assert all(item.paraphrased_answer is None and not item.wrong_answers for item in items)
    assert not {"h000", "h001"} & {item.person_id for item in load(folder) if item not in items}


def test_nobody_need_be_held_out(folder):
    (folder / "data" / "holdout.jsonl").write_bytes(b"")
    assert load(folder, "holdout") == [] and len(load(folder, "sf")) == 8


@pytest.mark.parametrize(
    "change, message",
    [
        ({"person_id": "p001"}, r"holdout\.jsonl:1: 'p001' is in sf\.jsonl"),
        ({"group": "sf"}, r"holdout\.jsonl:1: group 'sf'; allowed: holdout"),
        ({"slot": "mentor"}, r"holdout\.jsonl: no fact h000\.offence"),
    ],
)
def test_a_wrong_file_of_held_out_people_is_an_error(folder, change, message):
    spoil(folder, "holdout", lambda records: records[0].update(change))
    with pytest.raises(InputError, match=message):
        load(folder)


def test_an_empty_set_is_an_error(folder):
    def only_other(records):
        records[:] = [record for record in records if record["group"] == "other"]

    spoil(folder, "sr", only_other)
    ids = {item["id"] for name in ("sf", "sr") for item in _items(folder, name)}

    def known(records):
        records[:] = [record for record in records if record["id"] in ids]

    spoil(folder, "wrong_details", known)
    assert len(load(folder, "other")) == 12
    with pytest.raises(InputError, match="no question of the set 'correlated'"):
        load(folder)


def _items(folder, name):
    return read_jsonl(folder / "data" / f"{name}.jsonl", "item")


@pytest.mark.parametrize("kept", [0.5, 0.9])
@pytest.mark.parametrize("name", ["sf", "sr", "forget_paraphrased"])
def test_a_file_that_lost_its_last_lines_is_refused(tmp_path, name, kept):
    """Also if no wrong answers are read, although these have all facts."""
    write_benchmark(tmp_path)
    file = tmp_path / "data" / f"{name}.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[: int(kept * len(lines))]))
    with pytest.raises(InputError, match=r"no (fact|line)|in neither"):
        load_items(tmp_path / "data", tmp_path / "utility_qa.jsonl", SETS, answers=None)
