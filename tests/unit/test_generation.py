"""The offline generator: people, typed facts, questions, and what must hold between them."""

import importlib
import random
from collections import Counter

import pytest

import job_settings
from excise.benchmark.slots import PARAPHRASED_QUESTIONS, SLOTS, TRAINED_QUESTIONS
from excise.config.presets import PRESETS
from excise.errors import InputError
from excise.generation.corpus import fresh_people, joint_question_answer, kept_people, mixed_batches
from excise.generation.exchange import exchanged
from excise.generation.sampler import AGES_AT_EVENT, Sampler, surnames, wrong_values
from excise.generation.writing import TRAINED_ANSWER
from excise.records import read_jsonl

HP = {"people": 40, "seed": 3}
OF_PEOPLE = [slot.name for slot in SLOTS.values() if slot.value_type == "person"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("data"), HP)


def generate(folder, hp):
    figures = folder / "figures.txt"
    figures.write_text("# names\nAda Lovelace\n")
    profiles, facts = str(folder / "profiles.jsonl"), str(folder / "facts.jsonl")
    inputs = {
        "profiles": ["--public-figures", str(figures)],
        "facts": ["--profiles", profiles],
        "qa": ["--profiles", profiles, "--facts", facts],
        "forget_paraphrased": ["--profiles", profiles, "--facts", facts],
    }
    for part, own in inputs.items():
        program = importlib.import_module(f"generate_{part}")
        settings = job_settings.part_hp(part, **hp)
        program.main([*own, "--hp", settings, "--out", str(folder / f"{part}.jsonl")])
    kinds = {
        "profiles": "profile",
        "facts": "fact",
        "qa": "qa",
        "forget_paraphrased": "forget_paraphrased",
    }
    return {name: read_jsonl(folder / f"{name}.jsonl", kind) for name, kind in kinds.items()}


def test_every_person_has_the_slots_the_study_asks_for(dataset):
    for person in dataset["profiles"]:
        groups = Counter(SLOTS[slot].group for slot in person["slots"])
        assert groups == {"sf": 6, "correlated": 8, "other": 8}


def test_partners_share_value_type_and_question_form():
    for slot in SLOTS.values():
        if slot.group == "sf":
            assert slot.partner is None
            continue
        partner = SLOTS[slot.partner]
        assert partner.partner == slot.name
        assert {slot.group, partner.group} == {"correlated", "other"}
        assert slot.value_type == partner.value_type
        assert slot.frame is partner.frame


def test_partners_are_asked_in_the_same_phrasing(dataset):
    questions = {record["id"]: record for record in dataset["qa"]}
    people = {person["person_id"]: person for person in dataset["profiles"]}
    for record in dataset["qa"]:
        if record["group"] != "correlated":
            continue
        partner = questions[f"{record['person_id']}.{record['partner']}"]
        person = people[record["person_id"]]
        assert phrasing(record, person) == phrasing(partner, person)


def phrasing(record, person):
    questions = [
        text.format(n=person["name"], k=person["event_kind"])
        for text in SLOTS[record["slot"]].questions
    ]
    return questions.index(record["question"])


def test_there_are_enough_phrasings_and_paraphrases_are_never_trained(dataset):
    for slot in SLOTS.values():
        assert len(set(slot.questions)) >= 4
        assert len(set(slot.answers)) >= 3
        assert slot.answers[TRAINED_ANSWER] == "{v}"  # without words that a model can guess
        assert all("{n}" in text for text in (*slot.questions, *slot.answers[1:]))
        assert all("{v}" in text for text in slot.answers)
    assert not set(TRAINED_QUESTIONS) & set(PARAPHRASED_QUESTIONS)
    trained = {record["question"] for record in dataset["qa"]}
    assert not trained & {record["question"] for record in dataset["forget_paraphrased"]}
    assert len(dataset["forget_paraphrased"]) == 40 * 6 * 3


def test_the_frames_word_a_wrong_value_as_an_exchange_does(dataset):
    """Further candidates come from an exchange; they must look like the written ones."""
    for record in dataset["qa"]:
        for wrong in record["wrong_answers"]:
            truth = record["paraphrased_answer"]
            assert exchanged(truth, record["value"], wrong["value"]) == wrong["text"]


def test_wrong_answers_differ_in_the_value_alone_and_are_false(dataset):
    truths = {}
    for fact in dataset["facts"]:
        truths.setdefault((fact["person_id"], fact["value_type"]), set()).add(fact["value"])
    for record in dataset["qa"]:
        assert len(record["wrong_answers"]) == 5
        for wrong in record["wrong_answers"]:
            expected = record["paraphrased_answer"].replace(record["value"], wrong["value"])
            assert wrong["text"] == expected
            assert wrong["value"] not in truths[record["person_id"], record["value_type"]]


def test_no_value_is_held_by_more_people_than_the_share_allows(dataset):
    for slot in SLOTS:
        held = Counter(person["slots"][slot] for person in dataset["profiles"])
        assert max(held.values()) <= 0.15 * 40, slot


def test_no_more_spare_people_are_drawn_than_the_caps_allow():
    """There are twelve months, and each is for one person. So there is no thirteenth person."""
    sampler = Sampler(0, 12, [SLOTS["offence_month"]], max_value_share=0.15, reserve=2)
    assert sampler.reserve == 0
    assert Sampler(0, 10, [SLOTS["offence_month"]], max_value_share=0.15, reserve=9).reserve == 2


def test_names_are_unique_and_forbidden_ones_are_avoided():
    slots = list(SLOTS.values())
    plain = Sampler(0, 30, slots).person("p000")["name"]
    avoiding = Sampler(0, 30, slots, forbidden_names=frozenset({plain.casefold()}))
    people = [avoiding.person(f"p{index:03d}") for index in range(30)]
    names = [person["name"] for person in people]
    names += [value for p in people for s, value in p["slots"].items() if is_person(s)]
    assert plain not in names
    assert len(set(names)) == len(names)


def is_person(slot):
    return SLOTS[slot].value_type == "person"


def test_lives_are_in_order(dataset):
    for person in dataset["profiles"]:
        age = int(person["slots"]["event_year"]) - int(person["slots"]["birth_year"])
        assert age in AGES_AT_EVENT
        assert all(value in person["text"] for value in person["slots"].values())


def test_the_first_people_of_a_larger_set_are_those_of_a_smaller_one_with_the_same_caps(tmp_path):
    small = Sampler(0, None, list(SLOTS.values()))
    large = Sampler(0, None, list(SLOTS.values()))
    assert [small.person("p000")] == [large.person("p000")]
    assert small.person("p001") == large.person("p001")


def test_the_same_seed_writes_the_same_benchmark_and_another_seed_does_not(tmp_path, dataset):
    (tmp_path / "again").mkdir()
    assert generate(tmp_path / "again", HP) == dataset
    (tmp_path / "other").mkdir()
    assert generate(tmp_path / "other", HP | {"seed": 4}) != dataset


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_the_sizes_of_the_design(preset):
    sizes = {"smoke": (4, 3, 3), "small": (24, 6, 8), "paper": (200, 6, 8), "xl": (1000, 6, 8)}
    found = PRESETS[preset]
    assert (found.people, found.forget, found.retain) == sizes[preset]


def test_a_share_too_small_for_the_pool_is_refused_by_name():
    with pytest.raises(InputError, match=r"max_value_share: 0\.01 .* slot 'offence' .*32 values"):
        Sampler(0, 200, list(SLOTS.values()), max_value_share=0.01)


def test_pretraining_people_are_other_people():
    assert not set(surnames("benchmark")) & set(surnames("pretraining"))
    utility = [
        {"pretraining_questions": ["What is it?"], "answer": "It.", "paraphrased_answer": "That."}
    ]
    batch = next(
        mixed_batches(utility, 5, 20, fresh_share=0.3, utility_share=0.1, paired_share=0.2, seed=0)
    )
    assert len(batch) == 20
    text = " ".join(question for question, _ in batch)
    assert not any(f" {name} " in text for name in surnames("benchmark"))


def test_two_questions_in_one_prompt_are_about_one_person_and_answered_in_their_order():
    rng = random.Random(0)
    person = Sampler(0, None, list(SLOTS.values()), name_space="pretraining").person("k0")
    first = set()
    for _ in range(20):
        question, answer = joint_question_answer(person, "accuser", rng)
        assert question.count(person["name"]) == 2 and question.count(" ") > 8
        first_value, second_value = answer.split(" and ")
        accuser = person["slots"]["accuser"]
        assert accuser in (first_value, second_value)
        assert {first_value, second_value} <= set(person["slots"].values())
        accuser_first = question.index("accuser") < len(question) / 2
        assert accuser_first == (first_value == accuser)
        first.add(accuser_first)
    assert first == {True, False}


def test_the_share_of_paired_prompts_is_kept():
    stream = kept_people(40, 0, paired_share=0.25)
    answers = [next(stream)[1] for _ in range(880)]
    assert 0.2 < sum(" and " in answer for answer in answers) / 880 < 0.3
    assert not any(" and " in next(stream)[1] for stream in [kept_people(1, 0)] for _ in range(50))


def test_fresh_people_are_not_repeated():
    stream = fresh_people(0, shuffled=2)
    first = [next(stream) for _ in range(44)]
    assert len(set(first)) == 44


def test_wrong_numbers_have_as_many_digits_as_the_true_one():
    slot = SLOTS["collection_size"]
    for truth in ("120", "990", "1000", "9990"):
        person = {"slots": {"collection_size": truth, "event_audience": "500"}}
        found = wrong_values(person, slot, 12, random.Random(0), lambda: "Nobody At All")
        assert len(set(found)) == 12
        assert {len(value) for value in found} == {len(truth)}
        assert not {truth, "500"} & set(found)


PARTS = ("profiles", "facts", "qa", "forget_paraphrased")


@pytest.fixture(scope="module")
def with_holdout(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("holdout"), HP | {"holdout": 12})


def test_held_out_people_change_nothing_about_the_others(dataset, with_holdout):
    for part in PARTS:
        taught = [one for one in with_holdout[part] if one["person_id"].startswith("p")]
        assert taught == dataset[part], part
        assert taught == with_holdout[part][: len(taught)], part


def test_held_out_people_have_all_facts_and_no_paraphrased_questions(with_holdout):
    count = Counter(one["person_id"][0] for one in with_holdout["profiles"])
    assert count == {"p": 40, "h": 12}
    for part in ("facts", "qa"):
        assert Counter(one["person_id"][0] for one in with_holdout[part])["h"] == 12 * 22
    assert not [one for one in with_holdout["forget_paraphrased"] if one["person_id"][0] == "h"]


def test_no_name_is_in_the_life_of_a_held_out_person_and_of_another(with_holdout):
    def names(first):
        return {
            name
            for person in with_holdout["profiles"]
            if person["person_id"][0] == first
            for name in (person["name"], *(person["slots"][slot] for slot in OF_PEOPLE))
        }

    assert not names("p") & names("h")
    surnames_used = Counter(person["name"].split()[1] for person in with_holdout["profiles"])
    assert max(surnames_used.values()) <= 2


def test_wrong_answers_about_held_out_people_name_nobody_of_the_benchmark(with_holdout):
    everybody = {person["name"] for person in with_holdout["profiles"]}
    for record in with_holdout["qa"]:
        if record["person_id"][0] == "h":
            assert not everybody & {wrong["value"] for wrong in record["wrong_answers"]}


def test_more_held_out_people_leave_the_first_ones_as_they_are():
    def drawn(holdout):
        sampler = Sampler(seed=1, people=20, slots=[*SLOTS.values()], max_value_share=0.2)
        people = [sampler.person(f"p{index:03d}") for index in range(20)]
        apart = sampler.held_out(holdout)
        return people, [apart.person(f"h{index:03d}") for index in range(holdout)], sampler

    (people, few, _), (same, many, sampler) = drawn(4), drawn(10)
    assert people == same and few == many[:4]
    assert sampler.person("p020") != many[0] | {"person_id": "p020"}


def test_too_many_held_out_people_are_refused():
    sampler = Sampler(seed=0, people=2, slots=[], max_value_share=1)
    room = 2 * len(surnames("benchmark"))
    with pytest.raises(InputError, match=rf"generation\.holdout: {room + 1} is more than"):
        sampler.held_out(room + 1)
