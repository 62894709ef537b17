"""The positive control: correlated facts bound to forget facts, and what the red team says."""

import copy
import json

import pandas as pd
import pytest

import job_settings
import red_team_dataset
import small_dataset
import validate_dataset
from excise.benchmark.bindings import DONORS, WHOLE, bindable, bound_value
from excise.benchmark.export import _same_slots
from excise.benchmark.limits import RedTeamLimits
from excise.benchmark.slots import SLOTS
from excise.config.check import check_config
from excise.errors import InputError
from excise.evaluation.tables.common import members_of
from excise.generation.offline_author import OfflineAuthor
from excise.generation.people import draw_people
from excise.generation.planting import plant, share_answers
from excise.generation.settings import PeopleSettings
from excise.records import read_json, read_jsonl
from excise.red_team.dataset.entanglement import entanglement
from excise.red_team.dataset.incident_leak import incident_leak

FIGURES = "data/inputs/public_figures.txt"
DOSES = (0, 0.5, 1)


def people(dose: float, shared: float = 0.0) -> list[dict]:
    planted = {"entanglement": float(dose), "shared_answers": float(shared)}
    settings = job_settings.settings(PeopleSettings, "people_settings", people=16, **planted)
    return draw_people(settings, job_settings.ROOT / FIGURES).people


@pytest.fixture(scope="module")
def drawn():
    return {dose: people(dose) for dose in DOSES}


def questions(drawn: list[dict]) -> dict[str, str]:
    """Id → question record as JSON."""
    author = OfflineAuthor()
    facts = author.write_facts(drawn)
    by_id = {person["person_id"]: person for person in drawn}
    return {
        record["id"]: json.dumps(record) for record in author.write_questions(by_id, facts, 0, 12)
    }


def words(value: str) -> set[str]:
    return set(value.split()) - {"the"}


def test_dose_0_changes_nothing(drawn):
    assert plant(drawn[0], 0.0, 0, frozenset()) is drawn[0]
    assert not [person for person in drawn[0] if "bound" in person]


@pytest.mark.parametrize("dose", [0.25, 0.5, 1])
def test_the_people_together_have_the_dose(drawn, dose):
    planted = plant(drawn[0], dose, 0, frozenset())
    counts = [len(person.get("bound", {})) for person in planted]
    assert sum(counts) == dose * 7 * 16
    assert max(counts) - min(counts) <= 1


def test_a_person_without_the_donor_slots_has_no_bound_facts(drawn):
    alone = [{**drawn[0][0], "slots": {"event_city": "Northham", "home_city": "Eastham"}}]
    assert plant(alone, 1.0, 0, frozenset()) == alone


def test_doses_share_people_forget_facts_and_unbound_facts(drawn):
    for before, half, whole in zip(*(drawn[dose] for dose in DOSES), strict=True):
        assert half["bound"].items() <= whole["bound"].items()
        for person in (half, whole):
            changed = {k for k, value in person["slots"].items() if value != before["slots"][k]}
            partners = {SLOTS[slot].partner for slot in person["bound"]}
            assert changed <= person["bound"].keys() | partners
            assert {k: v for k, v in person.items() if k not in ("slots", "bound")} == {
                k: v for k, v in before.items() if k != "slots"
            }


def test_questions_about_other_facts_are_the_same_bytes(drawn):
    before, half = questions(drawn[0]), questions(drawn[0.5])
    touched = {
        f"{person['person_id']}.{slot}"
        for person in drawn[0.5]
        for name in person["bound"]
        for slot in (name, SLOTS[name].partner)
    }
    of_people = {key for key in before if SLOTS[key.split(".")[1]].value_type == "person"}
    changed = {key for key in before if before[key] != half[key]}
    assert changed - touched <= of_people  # their false names avoid the names of all people


def test_a_bound_value_has_the_words_of_the_forget_value_and_its_partner_has_none(drawn):
    for person in drawn[1]:
        slots = person["slots"]
        assert person["bound"].keys() == set(bindable(slots)) == DONORS.keys()
        for slot, donor in person["bound"].items():
            partner = slots[SLOTS[slot].partner]
            if slot == "event_audience":
                assert slots[slot] == slots[donor].strip("$").split(",")[0] + "0"
            else:
                assert slots[slot].startswith(slots[donor])
                assert not words(slots[donor]) & words(partner)
            assert len(slots[slot].split()) == len(partner.split())


@pytest.mark.parametrize(
    ("slot", "donor", "own", "value"),
    [
        ("event_partner", "Ada Berg", "Bea Holm", "Ada Berg"),
        ("event_audience", "$913,000", "8380", "9130"),
        ("event_award", "the Onyx Library", "the Birch Shield", "the Onyx Library Shield"),
        ("event_city", "January", "Northham", "January Northham"),
    ],
)
def test_bound_values(slot, donor, own, value):
    assert bound_value(slot, donor, own) == value
    assert bound_value(slot, donor, value) == value  # so that the red team can check it


def test_wrong_values_have_the_form_of_the_truth_and_not_the_forget_value(drawn):
    made = {key: json.loads(record) for key, record in questions(drawn[1]).items()}
    for person in drawn[1]:
        for slot, donor in person["bound"].items():
            if slot in WHOLE:
                continue
            for name in (slot, SLOTS[slot].partner):
                record = made[f"{person['person_id']}.{name}"]
                values = [wrong["value"] for wrong in record["wrong_answers"]]
                assert len(set(values)) == len(values) >= 5
                for value in values:
                    assert len(value.split()) == len(record["value"].split())
                    assert not value.startswith(person["slots"][donor])


@pytest.mark.parametrize("key", ["entanglement", "shared_answers"])
def test_a_language_model_writes_no_planted_facts(key):
    config = copy.deepcopy(job_settings.DEFAULT)
    config["generation"] |= {key: 0.5, "backend": "openai"}
    config["generation"]["llm"] |= {"model": "m"}
    with pytest.raises(InputError, match=rf"generation\.{key}: found 0\.5; allowed: 0 with"):
        check_config(config)


def test_entanglement_and_shared_answers_do_not_mix():
    config = copy.deepcopy(job_settings.DEFAULT)
    config["generation"] |= {"entanglement": 0.5, "shared_answers": 0.25}
    with pytest.raises(InputError, match=r"generation\.shared_answers: found 0\.25; allowed: 0"):
        check_config(config)


def test_shared_answers_are_forget_values_of_other_people(drawn):
    plain, some, more = drawn[0], people(0, 0.25), people(0, 0.75)
    assert share_answers(plain, 0.0, 0) is plain
    names = {one["person_id"]: one["slots"]["accuser"] for one in plain}
    for planted, count in ((some, 4), (more, 12)):
        shared = {one["person_id"]: one["shared"]["mentor"] for one in planted if "shared" in one}
        assert len(shared) == len(set(shared.values())) == count
        for before, after in zip(plain, planted, strict=True):
            donor = shared.get(after["person_id"])
            mentor = names[donor] if donor else before["slots"]["mentor"]
            assert donor != after["person_id"]
            assert after["slots"] == before["slots"] | {"mentor": mentor}
            own = [after["name"], *(v for k, v in after["slots"].items() if k != "mentor")]
            assert not donor or not words(mentor) & set().union(*map(words, own))
    few = {one["person_id"] for one in some if "shared" in one}
    assert few < {one["person_id"] for one in more if "shared" in one}


def generated(folder, **planted: float) -> list[str]:
    arguments = small_dataset.generate_offline(folder, seed=3, people=8, **planted)
    validate_dataset.main(arguments)
    arguments = small_dataset.write_versioned(folder, max_value_share=0.15)
    place = arguments.index("--hp") + 1
    arguments[place] = json.dumps(json.loads(arguments[place]) | planted)
    return arguments


def test_the_red_team_passes_shared_answers_and_the_tables_find_them(tmp_path):
    red_team_dataset.main(generated(tmp_path, shared_answers=0.5))  # raises if not
    rows = read_json(tmp_path / "data_report.json")["rows"]
    (found,) = (row for row in rows if row["metric"] == "shared_answers")
    assert (found["value"], found["threshold"]) == (0.5, 0.5)
    asked = [
        one for name in ("sf", "sr") for one in read_jsonl(tmp_path / f"data/{name}.jsonl", "item")
    ]
    items = pd.DataFrame([one | {"set": one["group"]} for one in asked])
    selected = members_of(items, "retain_same_answer")
    assert len(selected) == 4 and set(selected["slot"]) == {"mentor"}
    taken = items[(items["slot"] == "accuser") & items["value"].isin(selected["value"])]
    assert len(taken) == 4 and not set(zip(taken["person_id"], taken["value"], strict=True)) & set(
        zip(selected["person_id"], selected["value"], strict=True)
    )


def test_the_red_team_passes_and_reports_a_planted_dose(tmp_path):
    red_team_dataset.main(generated(tmp_path, entanglement=1.0))  # raises if not
    rows = read_json(tmp_path / "data_report.json")["rows"]
    found = {(row["check"], row["metric"]): row for row in rows}
    assert found["entanglement", "bound_share"]["value"] == 1
    assert found["entanglement", "bound_share"]["threshold"] == 1
    assert found["entanglement", "bound_share_of_correlated"]["value"] == 7 / 8
    assert found["incident_leak", "planted_leaks"]["value"] == 7 * 8


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    generated(folder, entanglement=1.0)
    return folder


@pytest.fixture
def dataset(planted):
    return loaded(planted)


def loaded(folder):
    return red_team_dataset.read_dataset(
        folder / "data",
        folder / "generated" / "profiles.jsonl",
        folder / "validation.json",
        folder / "public_figures.txt",
        folder / "utility_qa.jsonl",
    )


def limits(dose: float) -> RedTeamLimits:
    return job_settings.settings(RedTeamLimits, "red_team_settings", entanglement=dose)


@pytest.mark.parametrize("dose", [0.0, 0.5])
def test_another_dose_than_planted_is_a_fault(dataset, dose):
    [found] = entanglement(dataset, limits(dose)).findings
    assert found.why == f"56 of 56 facts are bound; generation.entanglement is {dose:g}"


def test_a_bound_fact_without_the_words_is_a_fault(dataset):
    dataset.profiles["p000"]["slots"]["event_partner"] = "Some Body"
    [found] = entanglement(dataset, limits(1.0)).findings
    assert "is bound to accuser, but has not its words" in found.why


def test_an_impossible_binding_is_a_fault(dataset):
    dataset.profiles["p000"]["bound"] = {"event_year": "offence"}
    whys = [found.why for found in entanglement(dataset, limits(1.0)).findings]
    assert "'event_year' cannot be bound to 'offence'" in whys


def test_a_bound_fact_may_reveal_no_other_forget_fact(dataset):
    assert not incident_leak(dataset, limits(1.0)).findings
    venue = dataset.profiles["p000"]["slots"]["offence_venue"]
    item = next(one for one in dataset.sr if one["id"] == "p000.event_city")
    item["answer"] += f", {venue}"
    [found] = incident_leak(dataset, limits(1.0)).findings
    assert (found.id, "p000.offence_venue" in found.why) == ("p000.event_city", True)


def test_a_leak_of_an_unbound_fact_stays_a_fault(dataset):
    del dataset.profiles["p000"]["bound"]["event_partner"]
    found = incident_leak(dataset, limits(1.0)).findings
    assert [one.id for one in found] == ["p000.event_partner"]


def test_exported_profiles_have_the_same_keys(drawn):
    exported = _same_slots(drawn[0.5])
    assert len({tuple(person["bound"]) for person in exported}) == 1
    assert "bound" not in _same_slots(drawn[0])[0]


def _of_themselves(sharing: list[dict]) -> None:
    sharing[0]["shared"]["mentor"] = sharing[0]["person_id"]


def _of_the_same_person(sharing: list[dict]) -> None:
    donor = sharing[0]["shared"]["mentor"]
    second = next(one for one in sharing[1:] if one["person_id"] != donor)
    for key in ("slots", "shared"):
        second[key]["mentor"] = sharing[0][key]["mentor"]


def _with_an_own_word(sharing: list[dict]) -> None:
    sharing[0]["slots"]["employer"] = f"{sharing[0]['slots']['mentor'].split()[0]} Labs"


def _not_said(sharing: list[dict]) -> None:
    for one in sharing:
        del one["shared"]


@pytest.mark.parametrize(
    "change, why",
    [
        (_of_themselves, "mentor is not the accuser of"),
        (_of_the_same_person, "mentor is that of a second person"),
        (_with_an_own_word, "mentor has a word of another value"),
        (_not_said, "0 of 8 people share an answer; generation.shared_answers is 0.5"),
    ],
)
def test_the_red_team_finds_faulty_shared_answers(tmp_path, change, why):
    generated(tmp_path, shared_answers=0.5)
    found = loaded(tmp_path)
    share = job_settings.settings(RedTeamLimits, "red_team_settings", shared_answers=0.5)
    assert entanglement(found, share).findings == []
    change([one for one in found.profiles.values() if "shared" in one])
    assert [one for one in entanglement(found, share).findings if why in one.why]
