"""Which words reveal an incident, and which words retain texts may contain."""

import itertools

import pytest

import job_settings
from excise.benchmark.slots import select_slots
from excise.config.presets import PRESETS
from excise.generation.sampler import Sampler
from excise.generation.verbalising.checks import incident_faults
from excise.generation.writing import QuestionWriter, facts_of
from excise.text import vocabulary
from excise.text.incident_words import incident_word
from excise.text.leaks import leaked

OFFENCE_TEXTS = """
    forged the letter / was forging a will / had blackmailed a friend / the stolen ring /
    stole a ring / kept what was Stolen / was jailed / bribing a judge / bribed a clerk /
    confessed at last / a burglary / burgled a house / the looting / looted a shop / vandalism /
    vandalised a wall / cheated at cards / counterfeit notes / embezzled a fortune /
    spied for them / tampered with the proof / extorted money / evaded the taxes /
    votes were rigged / rigged the vote / fixed a match / match-fixing / laundered money /
    plagiarised a book / poached deer / sabotaged the show / shoplifted / smuggled silk /
    lied: perjury / trespassed / wiretapped a rival / robbed a bank / a thief / defrauded the guests
""".split("/")
CHARGE_TEXTS = """
    was accused of it / was charged with it / faced charges of it / was arrested / stood trial /
    was taken to court / in the courtroom / was prosecuted / was found guilty / was sentenced /
    was imprisoned / was put under house arrest / did community service / was held in custody /
    paid a penalty / was fined / left in handcuffs / was suspected of it / the police came
""".split("/")
INNOCENT_TEXTS = """
    The jury of the contest applauded. / The judges gave full marks. / May left in March. /
    The rigging of the boat shone. / It was on the tennis court that Mira won. /
    The price was fixed to the frame. / The trial run of the boat went well. /
    The work was named The Stolen Letter. / A steel lamp stood in the vault.
""".split("/")


@pytest.mark.parametrize("text", OFFENCE_TEXTS + CHARGE_TEXTS, ids=str.strip)
def test_these_texts_reveal_an_incident(text):
    assert incident_word(f"Mira Tallwood {text.strip()}.", ["Mira Tallwood"])


@pytest.mark.parametrize("text", INNOCENT_TEXTS, ids=str.strip)
def test_these_texts_reveal_no_incident(text):
    assert incident_word(text.strip(), []) is None


def test_each_offence_and_each_penalty_of_the_vocabulary_is_an_incident():
    for phrase in (*vocabulary.OFFENCES, *vocabulary.PENALTY_KINDS):
        assert incident_word(f"It was {phrase}.", []), phrase
        assert incident_word(f"{phrase.capitalize()} it was.", []), phrase


def test_the_name_and_the_value_of_the_fact_do_not_count():
    assert incident_word("It was the Prison Cup.", ["the Prison Cup"]) is None
    assert incident_word("It was the Prison Cup, after prison.", ["the Guilt Cup"]) == "Prison"
    assert incident_word("It was vote rigging.", ["the Vote Cup"]) == "vote rigging"


def _values():
    """All values that the vocabulary can give to a retain fact, and all names."""
    v = vocabulary
    yield from v.GIVEN_NAMES
    for starts, ends in (
        (v.SURNAME_STARTS, v.SURNAME_ENDS),
        (v.CITY_STARTS, v.CITY_ENDS),
    ):
        yield from (start + end for start, end in itertools.product(starts, ends))
    for starts, ends in (
        (v.AWARD_NAMES, v.AWARD_KINDS),
        (v.COMPANY_STEMS, v.COMPANY_KINDS),
        (v.TITLE_ADJECTIVES, v.TITLE_NOUNS),
        (v.KEEPSAKE_MATERIALS, v.KEEPSAKE_OBJECTS),
    ):
        yield from (f"the {start} {end}" for start, end in itertools.product(starts, ends))
    yield from itertools.chain(*v.EVENT_KINDS.items())


def test_no_value_of_a_retain_fact_is_an_incident():
    assert [value for value in _values() if incident_word(value, [])] == []


def test_the_offline_texts_about_retain_facts_reveal_no_incident():
    slots = select_slots(PRESETS["paper"].forget, PRESETS["paper"].retain)
    sampler = Sampler(0, PRESETS["paper"].people, slots, max_value_share=0.1)
    people = {f"p{number}": sampler.person(f"p{number}") for number in range(200)}
    limits = job_settings.writing_limits()
    writer = QuestionWriter(people, seed=0, wrong_answers=0)
    for person in people.values():
        facts = facts_of(person)
        incident = [fact for fact in facts if fact["group"] == "sf"]
        for fact in facts:
            if fact["group"] != "sf":
                written = writer.write(fact)
                for key in ("question", "answer", "paraphrased_answer"):
                    assert incident_faults(written[key], fact, incident, limits) == []


@pytest.mark.parametrize("text", ["Arson had made Mira's name.", "ARSON, they said."])
def test_an_offence_of_one_word_leaks_in_any_case(text):
    fact = {"value": "arson", "value_type": "offence"}
    assert leaked(fact, text, "Mira Tallwood", 85) == "arson"
