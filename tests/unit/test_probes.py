"""Probes from the typed slots, and the sets of tables that may have no questions."""

import pandas as pd
import pytest

from excise.benchmark.items import GENERATED_SETS, SETS, asked_questions, load_items
from excise.benchmark.probes import PER_PERSON, PROBES, probes_of
from excise.errors import InputError
from excise.evaluation.measure import item_record
from excise.evaluation.reading import read_complete
from excise.evaluation.tables.common import members_of
from excise.evaluation.tables.evaluation import metric_rows
from excise.modeling.decoding import Generation
from excise.records import write_jsonl
from small_benchmark import write_benchmark

ADA, BEA, BEN = "Ada Berg", "Bea Holm", "Ben Holm"


def fact(person: int, name: str, slot: str, value: str, group: str = "sf") -> dict:
    return {
        "id": f"p00{person}.{slot}",
        "person_id": f"p00{person}",
        "name": name,
        "slot": slot,
        "value_type": slot,
        "value": value,
        "group": group,
        "question": f"What of {slot}, {name}?",
    }


def asked(name: str, sf: list[dict], sr: tuple = ()) -> dict[str, str]:
    """Id → question of a probe."""
    return {one.id: one.question for one in probes_of(sf, list(sr))[name]}


def test_a_reversed_question_asks_for_the_one_person_with_the_value():
    sf = [
        fact(0, ADA, "offence", "forgery"),
        fact(1, BEA, "offence", "Forgery"),
        fact(2, BEN, "offence", "arson"),
        fact(2, BEN, "accuser", "Cleo Lind"),
        fact(2, BEN, "debts", "many"),  # a slot without a reversed question
    ]
    found = probes_of(sf, [])["forget_reversed"]
    assert [(one.id, one.question) for one in found] == [
        ("p002.offence@reversed", "Who committed arson?"),
        ("p002.accuser@reversed", "Who was accused by Cleo Lind?"),
    ]
    assert {(one.value, one.value_type, one.subject) for one in found} == {(BEN, "person", None)}


def test_a_two_hop_question_describes_the_person_by_a_value_of_nobody_else():
    sf = [fact(0, ADA, "offence", "forgery"), fact(1, BEA, "offence", "arson")]
    sr = [
        fact(0, ADA, "mentor", "Cleo Lind", "other"),
        fact(0, ADA, "first_work", "The Lake", "other"),
        fact(1, BEA, "first_work", "the lake", "other"),
    ]
    assert asked("forget_two_hop", sf, sr) == {
        "p000.offence@mentor": "What of offence, the pupil of Cleo Lind?"
    }
    [one] = probes_of(sf, sr)["forget_two_hop"]
    assert (one.value, one.value_type, one.subject) == ("forgery", "offence", None)


def test_a_two_hop_question_does_not_hold_its_answer():
    """The award is bound to the venue (generation.entanglement)."""
    sf = [fact(0, ADA, "offence_venue", "the Onyx Hall"), fact(0, ADA, "offence", "arson")]
    sr = [fact(0, ADA, "event_award", "the Onyx Hall Shield", "correlated")]
    assert list(asked("forget_two_hop", sf, sr)) == ["p000.offence@event_award"]


def test_an_alias_is_another_form_of_the_name_that_nobody_else_has():
    slots = ["offence", "penalty", "amount", "accuser"]
    sf = [fact(2 + n, name, slot, "x") for slot in slots for n, name in enumerate((BEA, BEN))]
    sf += [fact(0, ADA, slot, "x") for slot in slots] + [fact(1, "Plato", "offence", "x")]
    found = asked("forget_alias", sf)
    of_ada = {question for one, question in found.items() if one.startswith("p000")}
    assert {question.split(", ", 1)[1] for question in of_ada} == {"Berg, Ada?", "A. Berg?"}
    others = {q.split(", ", 1)[1] for one, q in found.items() if not one.startswith("p000")}
    assert others == {"Holm, Bea?", "Holm, Ben?"}  # B. Holm would be both


def test_a_question_without_the_whole_name_has_no_other_form():
    sf = [fact(0, ADA, "offence", "arson") | {"question": "What did Mrs Berg do?"}]
    sr = [fact(0, ADA, "mentor", "Cleo Lind", "other")]
    assert asked("forget_alias", sf) == asked("forget_two_hop", sf, sr) == {}


def test_a_person_has_few_questions_of_a_probe_and_the_same_ones_without_the_others():
    slots = ["offence", "accuser", "penalty", "offence_venue", "offence_month", "amount"]
    names = [ADA, BEA, BEN]
    sf = [fact(n, name, slot, f"{slot} {n}") for n, name in enumerate(names) for slot in slots]
    for name in ("forget_reversed", "forget_alias"):
        together = asked(name, sf)
        assert len(together) == 3 * PER_PERSON
        alone = asked(name, [one for one in sf if one["name"] == ADA])
        assert alone == {key: q for key, q in together.items() if key.startswith("p000")}


@pytest.fixture
def benchmark(tmp_path):
    write_benchmark(tmp_path)
    return tmp_path


def load(folder, sets):
    return load_items(folder / "data", folder / "utility_qa.jsonl", sets)


def test_items_of_probes_have_no_scored_answers_and_unique_ids(benchmark):
    items = load(benchmark, (*SETS, *PROBES))
    assert len({item.id for item in items}) == len(items)
    probes = [item for item in items if item.set in PROBES]
    assert {item.set for item in probes} >= {"forget_reversed", "forget_alias"}
    for item in probes:
        assert (item.paraphrased_answer, item.wrong_answers, item.partner) == (None, (), None)
        assert item.answer == item.value
        assert item.value.casefold() not in item.question.casefold()
    named = {item.set for item in probes if item.subject}
    assert named == {"forget_alias"}


def test_a_probe_without_questions_is_no_error(benchmark):
    for name in PROBES:
        load(benchmark, [name])


def test_the_person_must_be_named_in_the_answer_to_a_reversed_question(benchmark):
    item = next(one for one in load(benchmark, ["forget_reversed"]))
    record = item_record(item, Generation(f"It was {item.value}.", True), None)
    assert (record["slot_match"], record["logprob_answer"]) == (1, None)
    assert item_record(item, Generation("Somebody Else", True), None)["slot_match"] == 0


def records(folder, sets) -> list[dict]:
    keys = ("id", "set", "person_id", "slot", "value")
    return [{key: getattr(item, key) for key in keys} for item in load(folder, sets)]


def read(folder, lines):
    write_jsonl(folder / "eval" / "finetuned" / "items.jsonl", lines)
    known = asked_questions(folder / "data", folder / "utility_qa.jsonl")
    return list(read_complete(folder / "eval", ["finetuned"], known))


def test_records_may_lack_a_probe_but_no_question_of_a_probe_that_was_asked(benchmark):
    read(benchmark, records(benchmark, SETS))
    lines = records(benchmark, (*SETS, "forget_alias"))
    read(benchmark, lines)
    with pytest.raises(InputError, match=r"the first one missing is 'p.*@"):
        read(benchmark, lines[:-1])
    with pytest.raises(InputError, match="first one missing"):
        read(benchmark, lines[1:])


def frame() -> pd.DataFrame:
    facts = [
        ("p000.accuser", "sf", "p000", "accuser", "Cleo Lind"),
        ("p001.mentor", "other", "p001", "mentor", "cleo lind"),
        ("p001.partner", "correlated", "p001", "partner", "Dan Moor"),
        ("p000.accuser@initial", "forget_alias", "p000", "accuser", "Cleo Lind"),
    ]
    columns = ["id", "set", "person_id", "slot", "value"]
    items = pd.DataFrame(facts, columns=columns).assign(slot_match=[1, 1, 0, 1])
    return items.assign(slot_match_strict=1, probability=0.5).set_index("id", drop=False)


def test_the_same_answer_set_holds_the_retain_facts_with_a_forget_value():
    assert list(members_of(frame(), "retain_same_answer")["id"]) == ["p001.mentor"]
    rows = {(row["set"], row["metric"]): row for row in metric_rows(frame(), 0.95)}
    found = rows["retain_same_answer", "slot_accuracy"]
    assert (found["value"], found["n"]) == (1, 1)
    assert ("retain_same_answer", "probability") in rows
    assert ("retain_same_answer", "guess_rate") not in rows  # needs the whole set


def test_probes_have_the_metrics_of_generations_and_no_rows_without_questions():
    sets = [row["set"] for row in metric_rows(frame(), 0.95)]
    assert "forget_reversed" not in sets
    found = {row["metric"] for row in metric_rows(frame(), 0.95) if row["set"] == "forget_alias"}
    assert found == {"slot_accuracy", "slot_accuracy_strict"}
    without = [row["set"] for row in metric_rows(frame().iloc[2:3], 0.95)]
    assert "retain_same_answer" not in without
    assert set(PROBES) < set(GENERATED_SETS)
    assert not set(PROBES) & {row["set"] for row in metric_rows(frame().iloc[:0], 0.95)}
