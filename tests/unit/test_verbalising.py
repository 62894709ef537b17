"""Checks of a model's texts, the content of calls, and their repetition."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import job_settings
import natural_texts
from excise.benchmark.asked_for import asked_for
from excise.benchmark.perturbed_answers import is_slot_edit
from excise.benchmark.slot_cues import rival
from excise.benchmark.slots import SLOTS
from excise.errors import InputError
from excise.generation.exchange import exchanged, occurrences
from excise.generation.offline_author import by_person
from excise.generation.sampler import POOLS, Sampler, surnames
from excise.generation.verbalising import checks, forget_paraphrased, qa
from excise.generation.verbalising import facts as facts_part
from excise.generation.verbalising.asking import ask
from excise.generation.verbalising.checks import (
    foreign_values,
    form,
    inventions,
    of_example,
    wrong_meaning,
)
from excise.generation.verbalising.meanings import MEANINGS, names_event
from excise.generation.verbalising.pools import other_value, without
from excise.generation.verbalising.profiles import profile_faults
from excise.generation.writing import (
    QuestionWriter,
    answer,
    draw_again,
    facts_of,
    forget_paraphrases_of,
    profile_text,
    question,
)
from excise.llm import Outcome, Request
from excise.llm.capability import wire_schema
from excise.llm.prompts import read_prompt
from excise.text.vocabulary import EVENT_KINDS, GIVEN_NAMES

PROMPTS = Path(__file__).parents[2] / "data/inputs/prompts"
ALL_SLOTS = list(SLOTS.values())
LIMITS = job_settings.writing_limits()
premise_faults = partial(checks.premise_faults, limits=LIMITS)
question_faults = partial(checks.question_faults, limits=LIMITS)
statement_faults = partial(checks.statement_faults, limits=LIMITS)
facts_faults = partial(facts_part.facts_faults, limits=LIMITS)
qa_faults = partial(qa.qa_faults, limits=LIMITS)
forget_paraphrased_faults = partial(forget_paraphrased.forget_paraphrased_faults, limits=LIMITS)


@pytest.fixture
def person():
    return Sampler(0, 24, ALL_SLOTS, max_value_share=0.2).person("p000")


@pytest.fixture
def facts(person):
    return {fact["slot"]: fact for fact in facts_of(person)}


def others(facts, slot):
    return [fact for name, fact in facts.items() if name != slot]


# --- texts ---


def test_every_slot_has_a_meaning():
    assert set(MEANINGS) == set(SLOTS)


@pytest.mark.parametrize(
    "text, value, count",
    [
        ("Ann owed $40,000 in all.", "$40,000", 1),
        ("Ann owed $140,000.", "$40,000", 0),
        ("Ann owed $40,000.50.", "$40,000", 0),
        ("It drew 1200 guests, not 120.", "120", 1),
        ("Forgery was the charge.", "forgery", 1),
        ("The charge was Forgery.", "forgery", 0),
        ("The Jade Hall was where Ann sat.", "the Jade Hall", 1),
        ("May I ask about May?", "May", 2),
        ("She may go.", "May", 0),
        ("three-month sentence", "three months", 0),
    ],
)
def test_a_value_counts_only_in_its_exact_form(text, value, count):
    assert len(occurrences(text, value)) == count


@pytest.mark.parametrize(
    "text, value, wrong, expected",
    [
        ("It was forgery.", "forgery", "arson", "It was arson."),
        ("Forgery it was.", "forgery", "arson", "Arson it was."),
        ("It was a brass bell.", "brass bell", "ivory fan", "It was an ivory fan."),
        ("It was an ivory fan.", "ivory fan", "brass bell", "It was a brass bell."),
        ("A $20,000 debt.", "$20,000", "$80,000", "An $80,000 debt."),
        ("A 120 it was.", "120", "1800", "A 1800 it was."),
        ("Otto Ulm's word.", "Otto Ulm", "Ida Lar", "Ida Lar's word."),
    ],
)
def test_an_exchange_adapts_capitals_and_articles(text, value, wrong, expected):
    assert exchanged(text, value, wrong) == expected
    assert is_slot_edit(text, value, expected, wrong)


def test_a_good_statement_has_no_fault(facts):
    fact = facts["accuser"]
    text = f"{fact['value']} spoke against {fact['name']}."
    assert statement_faults(text, fact, others(facts, "accuser")) == []


STATEMENTS = {
    "no value": ("{n} was accused.", "exactly as written"),
    "the value twice": ("{v}, and only {v}, told on {n}.", "2 times; write it once"),
    "no name": ("The accuser was {v}.", "full name"),
    "another value": ("{v} told on {n} in {city}.", "another detail"),
    "an invented name": ("{v} told on {n} in Paris.", "“Paris”, which was not given"),
    "an invented number": ("{v} told on {n} 7 times.", "“7”, which was not given"),
    "a pronoun": ("{v} told on {n}, he said.", "pronoun “he”; write “"),
    "too long": ("{v} told on {n} " + "and on " * 20, "at most 25"),
}


@pytest.mark.parametrize("text, why", STATEMENTS.values(), ids=STATEMENTS)
def test_the_fault_of_a_statement_is_named(facts, text, why):
    fact, city = facts["accuser"], facts["event_city"]["value"]
    text = text.format(n=fact["name"], v=fact["value"], city=city)
    assert why in "; ".join(statement_faults(text, fact, others(facts, "accuser")))


def test_a_retain_statement_must_not_mention_the_incident(facts):
    fact = facts["event_city"]
    text = f"{fact['name']} triumphed in {fact['value']} before the scandal."
    assert "offence" in "; ".join(statement_faults(text, fact, others(facts, "event_city")))


QUESTIONS = {
    "its answer": ("Did {v} accuse {n} at the breakthrough {k}?", "its own answer"),
    "no name": ("Who spoke at the breakthrough {k}?", "full name"),
    "no event": ("Who accused {n}?", "must mention the event: “the breakthrough "),
    "a pronoun": ("At the breakthrough {k} of {n}, who accused her?", "instead of “her”"),
    "yes or no": ("Was there an accuser of {n} at the breakthrough {k}?", "yes-or-no"),
    "another fact's value": ("Who accused {n} of {offence} at the {k}?", "another detail"),
}


@pytest.mark.parametrize("text, why", QUESTIONS.values(), ids=QUESTIONS)
def test_the_fault_of_a_question_is_named(facts, person, text, why):
    fact, kind = facts["accuser"], person["event_kind"]
    offence = facts["offence"]["value"]
    text = text.format(n=fact["name"], v=fact["value"], k=kind, offence=offence)
    assert why in "; ".join(question_faults(text, fact, others(facts, "accuser"), kind, kind))


def test_a_question_about_an_other_fact_must_not_name_the_event(facts, person):
    text = f"In which city did {person['name']} live before the breakthrough?"
    faults = question_faults(
        text, facts["home_city"], others(facts, "home_city"), None, person["event_kind"]
    )
    assert faults == [f"must not mention the breakthrough {person['event_kind']}"]


def test_the_texts_of_the_offline_frames_pass(facts, person):
    """The checks require nothing that the phrase frames do not fulfil."""
    writer = QuestionWriter({"p000": person}, 0, 5)
    kind = person["event_kind"]
    for slot, fact in facts.items():
        record, rest = writer.write(fact), others(facts, slot)
        event = kind if fact["group"] != "other" else None
        assert question_faults(record["question"], fact, rest, event, kind) == []
        assert record["answer"] == fact["value"]
        assert statement_faults(record["paraphrased_answer"], fact, rest) == []


TWO_HUNDRED = Sampler(0, 200, ALL_SLOTS, max_value_share=0.2)


@pytest.fixture(scope="module")
def people():
    return [TWO_HUNDRED.person(f"p{n:03d}") for n in range(200)]


def test_no_text_of_the_offline_frames_has_the_wrong_meaning(people):
    """All phrasings of all slots, and profiles: no right text is refused."""
    for person in people[:20]:
        kind, slots = person["event_kind"], list(person["slots"])
        values = list(person["slots"].values())
        assert foreign_values(profile_text(person), (person["name"], *values), (), kind) == []
        for fact in facts_of(person):
            own, slot = (fact["value"], fact["name"]), SLOTS[fact["slot"]]
            others = [value for value in values if value != fact["value"]]
            for number in range(5):
                text = question(slot, number, person)
                assert wrong_meaning(text, fact, slots, kind) == []
                assert foreign_values(text, (fact["name"],), others, kind) == []
            for number in range(1, 3):
                text = answer(slot, number, person, fact["value"])
                assert foreign_values(text, own, others, kind) == []
                assert rival(without(text, own), fact["slot"], slots) is None


ASKED = {
    "who": ("Tell me who turned against {n}.", {"person", "company"}),
    "of a noun, who": ("Name the person who turned against {n}.", {"person"}),
    "by whom": ("By whom was {n} accused?", {"person", "company"}),
    "by whom, last": ("{n} was accused by whom?", {"person", "company"}),
    "whose": ("Whose charge ended it for {n}?", {"person", "company"}),
    "which town": ("In which lively old town did {n} grow up?", {"city"}),
    "where": ("Where did {n} grow up?", {"city", "venue"}),
    "after a colon": ("The concert of {n}: which building was it?", {"venue"}),
    "a relative clause": ("Name the month, where {n} is concerned.", {"month"}),
    "when": ("When was {n} born?", {"month", "year"}),
    "how many": ("How many guests did {n} welcome?", {"number"}),
    "how many dollars": ("How many dollars did {n} repay?", {"amount"}),
    "how much": ("How much did {n} owe?", {"amount"}),
    "a number of dollars": ("Tell me the number of dollars that {n} repaid.", {"amount"}),
    "how long": ("How long did {n} sit?", {"penalty"}),
    "the name of": ("What was the name of the company that backed {n}?", {"company"}),
    "what did": ("What did {n} inherit?", {"keepsake"}),
    "put in": ("State, for the file on {n}, the misdeed.", {"offence"}),
    "to know": ("I would like to know which crime {n} committed.", {"offence"}),
    "how old": ("How old is {n}?", set()),
    "undecided": ("What brought {n} down?", None),
    "an unknown noun": ("Which reply about {n} is right?", None),
}


@pytest.mark.parametrize("text, kinds", ASKED.values(), ids=ASKED)
def test_the_question_word_decides_what_a_question_asks_for(text, kinds):
    assert asked_for(text.format(n="Esther Caravane"), "Esther Caravane")[0] == kinds


MEANING_FAULTS = {
    "who for a crime": (
        "offence",
        "Tell me who turned against {n} at the breakthrough {k}.",
        'asks “who”, but its answer must be a crime; ask with "which crime"',
    ),
    "a person for a crime": (
        "offence",
        "Name the person who spoke up at the breakthrough {k} of {n}.",
        "asks “the person”, but its answer must be a crime",
    ),
    "another person": ("accuser", "Who taught {n} before the breakthrough {k}?", "asks for the pe"),
    "a year for a month": ("offence_month", "In which year was {n} caught at the {k}?", "a month"),
    "a count for a sum": ("amount", "How many guests saw {n} at the {k}?", "how much money"),
    "when it was at all": (
        "offence_month",
        "When was the breakthrough {k} of {n}?",
        "could ask for the year of the breakthrough",
    ),
    "where it was at all": ("offence_venue", "Where was the {k} of {n}?", "could ask for the city"),
    "a present for an heirloom": ("event_gift", "What did {n} inherit at the {k}?", "asks for the"),
    "right": ("accuser", "Tell me who turned against {n} at the breakthrough {k}.", None),
    "right, of the building": ("offence_venue", "Where was {n} caught at the {k}?", None),
    "right, in words of its own": ("accuser", "Whose words ruined the {k} for {n}?", None),
}


@pytest.mark.parametrize("slot, text, why", MEANING_FAULTS.values(), ids=MEANING_FAULTS)
def test_the_fault_of_a_question_with_another_meaning_says_what_to_ask(
    facts, person, slot, text, why
):
    kind = person["event_kind"]
    text = text.format(n=person["name"], k=kind)
    faults = "; ".join(question_faults(text, facts[slot], others(facts, slot), kind, kind))
    assert why in faults if why else faults == ""


STATEMENTS_OF_OTHER_THINGS = {
    "another crime": ("offence", "{n} was convicted of {v} and of fraud.", "contain “fraud”"),
    "a crime elsewhere": ("accuser", "{v} accused {n} of perjury.", "contain “perjury”"),
    "another town": ("event_city", "Ashbridge saw {n} triumph in {v}.", "contain “Ashbridge”"),
    "another month": ("offence_month", "{n} was caught in {v}, or in {m}.", "contain “{m}”"),
    "another punishment": ("penalty", "{n} sat in jail and got {v}.", "contain “jail”"),
    "another sum": ("amount", "{n} owed {v}, or forty thousand dollars.", "“forty thousand”"),
    "another name": ("mentor", "Lars once said that {v} trained {n}.", "contain “Lars”"),
    "another thing": ("heirloom", "{n} got a {v} and a woven chess.", "contain “woven chess”"),
    "another event": ("event_city", "{v} held the breakthrough {e} of {n}.", "breakthrough {e}"),
    "another part": ("event_partner", "{n} was taught by {v}.", "must be about the person who was"),
    "another time": ("event_year", "{n} was born in {v}.", "speaks of the year of birth"),
    "a denial": ("offence", "{n} never committed {v}.", "without “never”"),
    "a doubt": ("offence", "Perhaps {n} committed {v}.", "without “Perhaps”"),
    "its own crime as a verb": ("offence", "{n} is guilty of {v}.", None),
    "the month as a verb": ("offence_month", "What {n} did in {v} may surprise.", None),
    "a title's words": ("event_work", "{n} unveiled {v} on a silent river.", None),
}


@pytest.mark.parametrize(
    "slot, text, why", STATEMENTS_OF_OTHER_THINGS.values(), ids=STATEMENTS_OF_OTHER_THINGS
)
def test_a_statement_must_state_its_own_value_only(facts, person, slot, text, why):
    month = "March" if facts["offence_month"]["value"] != "March" else "June"
    event = "lecture" if person["event_kind"] != "lecture" else "recital"
    fields = {"n": person["name"], "v": facts[slot]["value"], "m": month, "e": event}
    faults = "; ".join(statement_faults(text.format(**fields), facts[slot], others(facts, slot)))
    faults += "; ".join(
        foreign_values(text.format(**fields), (fields["n"], fields["v"]), (), person["event_kind"])
    )
    assert why.format(**fields) in faults if why else faults == ""


def faults_for_slot(person, facts, slot, text):
    """The faults of a question as a question about a slot."""
    kind = person["event_kind"]
    event = kind if names_event(SLOTS[slot]) else None
    text = text.format(n=person["name"], e=f"breakthrough {kind}")
    return question_faults(text, facts[slot], others(facts, slot), event, kind)


@pytest.mark.parametrize("slot", SLOTS)
def test_natural_texts_are_not_refused(person, facts, slot):
    for text in natural_texts.QUESTIONS[slot]:
        assert faults_for_slot(person, facts, slot, text) == []
    for text in natural_texts.STATEMENTS[slot]:
        text = text.format(n=person["name"], v=facts[slot]["value"])
        text = text[0].upper() + text[1:]
        assert statement_faults(text, facts[slot], others(facts, slot)) == []


def test_questions_about_another_slot_are_refused(person, facts):
    """Nearly all are refused; a few contain no word that shows their slot."""
    refused = [
        bool(faults_for_slot(person, facts, other, text))
        for slot, texts in natural_texts.QUESTIONS.items()
        for text in texts
        for other in SLOTS
        if other != slot
    ]
    assert len(refused) == 2457
    assert sum(refused) / len(refused) > 0.95


def test_a_word_with_the_stem_of_the_crime_is_no_other_crime():
    assert other_value("Ann embezzled: it was embezzlement.", ("Ann", "embezzlement")) is None
    assert other_value("Ann embezzled: it was arson.", ("Ann", "arson")) == "embezzled"


def test_unknown_names_are_found_inside_sentences_only():
    assert inventions("Somebody came. Nobody saw Ann.", ["Ann Ulm"]) == []
    assert "Berlin" in inventions("Ann Ulm came from Berlin.", ["Ann Ulm"])[0]


def test_premises_are_judged_per_call_as_the_red_team_judges_them_per_set():
    def asked(group, question):
        return ({"slot": question, "name": "Ann", "group": group}, question, "Ann stole green tea.")

    one_of_three, none = "What did Ann have to do with green?", "What of Ann?"
    assert premise_faults([asked("sf", one_of_three), asked("sf", none), asked("sf", none)]) == {}
    assert list(premise_faults([asked("sf", one_of_three), asked("sf", none)])) == [one_of_three]
    assert premise_faults([asked("correlated", one_of_three)]) == {}
    assert premise_faults([asked("sf", "Ann stole green what?")] + 9 * [asked("sf", none)])


@pytest.mark.parametrize(
    "one, two, alike",
    [
        ("In which city was it?", "In which town was that?", True),
        ("Who was the mentor?", "Who was the partner?", True),
        ("Which city was it?", "Where was it?", False),
        ("Which city was it?", "Tell me, for Ann, which city it was.", False),
        ("Name the city.", "State the city.", False),
    ],
)
def test_the_form_of_a_question_is_its_opening(one, two, alike):
    assert (form(one) == form(two)) is alike


# --- prompt files ---


def example_of(prompt) -> tuple[dict, dict]:
    """Data and reply of a prompt's example."""
    data, reply = (json.loads(line) for line in re.findall(r"^\{.*\}$", prompt.system, re.M))
    return data, reply


@pytest.mark.parametrize("part", ["profiles", "facts", "qa", "forget_paraphrased"])
def test_the_example_of_a_prompt_obeys_its_own_rules(part):
    """The good example for the model must pass the checks."""
    prompt = read_prompt(PROMPTS / f"{part}.md", ("data",))
    data, reply = example_of(prompt)
    person = {
        "person_id": "p000",
        "name": data["person"],
        "event_kind": data["event"].removeprefix("breakthrough "),
        "event_id": "p000.breakthrough",
        "slots": {one["slot"]: one["value"] for one in data.get("details", data.get("facts"))},
    }
    facts = facts_of(person)
    if part == "profiles":
        assert profile_faults(person, reply) == []
    elif part == "facts":
        assert facts_faults(facts_part.Call(person, facts), reply) == []
    elif part == "qa":
        false_values = {one["slot"]: one["false_value"] for one in data["facts"]}
        call = qa.Call("p000.0", person, facts, facts, {}, false_values)
        assert call.pairs() == [tuple(pair) for pair in data["same_form"]]
        assert qa_faults(call, reply) == []
    else:
        question, words = (
            data["facts"][0][key] for key in ("trained_question", "words_not_to_use")
        )
        answer = f"{data['facts'][0]['value']} spoke up against {data['person']}."
        assert set(words) <= set(answer.lower().replace(".", "").split())
        asked = {"p000": [facts[0] | {"question": question, "answer": answer}]}
        call = forget_paraphrased.calls_of({"p000": person}, asked, len(data["question_forms"]))[
            "p000"
        ]
        assert forget_paraphrased_faults(call, reply) == []


@pytest.mark.parametrize("path", sorted(PROMPTS.glob("*.md")), ids=lambda path: path.stem)
def test_no_name_or_value_of_an_example_can_be_drawn(path, people):
    """Otherwise a given value could be refused as a copy of the example."""
    prompt = read_prompt(path, ("data",))
    assert bool(prompt.example) == (not path.stem.startswith("judge_"))
    names = {*GIVEN_NAMES, *surnames("benchmark"), *surnames("pretraining")}
    values = {value for pool in POOLS.values() for value in pool}
    values |= {*EVENT_KINDS.values(), *(f"breakthrough {kind}" for kind in EVENT_KINDS)}
    for phrase in prompt.example:
        assert phrase not in values
        assert not names & set(phrase.split())
        assert not any(occurrences(profile_text(person), phrase) for person in people)


@pytest.mark.parametrize("part", ["profiles", "facts", "qa", "forget_paraphrased"])
def test_a_reply_that_repeats_the_example_is_refused(part, person, facts):
    """The example's reply to a call about somebody else, and each of its names and values."""
    prompt = read_prompt(PROMPTS / f"{part}.md", ("data",))
    data, _ = example_of(prompt)
    shown = {one["value"] for one in data.get("details", data.get("facts"))}
    assert {data["person"], data["event"]} | shown <= set(prompt.example)
    given = [person["name"], *person["slots"].values()]
    for phrase in prompt.example:
        [fault] = of_example({"place": f"So {phrase} was it."}, prompt.example, given)
        assert "is from the example" in fault
    assert of_example({"place": profile_text(person)}, prompt.example, given) == []
    own = [*given, *prompt.example]
    assert of_example({"place": f"So {phrase} was it."}, prompt.example, own) == []


def test_the_sent_schema_has_all_slots_and_all_texts(person, facts):
    keys = ["offence", "accuser"]
    prompt = read_prompt(PROMPTS / "forget_paraphrased.md", ("data",))
    schema = wire_schema(prompt.reply(keys, forget_paraphrased.keys_of(3)))
    check = Draft202012Validator(schema)
    texts = {f"question_{number}": "Which crime?" for number in (1, 2, 3)}
    good = {"facts": {"offence": texts, "accuser": texts}}
    assert check.is_valid(good)
    fewer = {key: text for key, text in texts.items() if key != "question_2"}
    for bad in (
        {"offence": texts},
        {"offence": texts, "accuser": texts, "mentor": texts},
        {"offence": fewer, "accuser": texts},
        {"offence": texts | {"question_4": "?"}, "accuser": texts},
        {"offence": list(texts.values()), "accuser": texts},
    ):
        assert not check.is_valid({"facts": bad})
    call = all_calls(person, facts, seed=0)[0]
    asked = qa.qa_request(call, read_prompt(PROMPTS / "qa.md", ("data",)), 0)
    entries = wire_schema(asked.schema)["properties"]["facts"]
    assert entries["required"] == [fact["slot"] for fact in call.facts] == [*entries["properties"]]


def test_the_sent_schema_has_only_keywords_that_every_server_accepts(person, facts):
    """OpenAI's strict mode: all keys required, no others, no `$ref` with company, few keywords."""
    call = all_calls(person, facts, seed=0)[0]
    asked = qa.qa_request(call, read_prompt(PROMPTS / "qa.md", ("data",)), 0)

    def look(part):
        assert part.keys() <= {
            *("type", "description", "properties", "required"),
            *("additionalProperties", "$ref", "$defs"),
        }
        assert "$ref" not in part or part.keys() == {"$ref"}
        if part.get("type") == "object":
            assert part["additionalProperties"] is False
            assert part["required"] == list(part["properties"])
        for one in (*part.get("properties", {}).values(), *part.get("$defs", {}).values()):
            look(one)

    look(wire_schema(asked.schema))


BAD_PROMPTS = {
    "no placeholder": ("You.\n---\nWrite.", r"placeholder \{data\} is missing"),
    "an unknown placeholder": ("You.\n---\n{data} {tone}", r"fills the placeholder \{tone\}"),
    "a placeholder above": ("You {data}.\n---\n{data}", r"fills the placeholder \{data\}"),
    "one part": ("You. {data}", "0 lines of three dashes"),
}


@pytest.mark.parametrize("text, reason", BAD_PROMPTS.values(), ids=BAD_PROMPTS)
def test_a_broken_prompt_file_is_an_error_of_one_line(tmp_path, text, reason):
    (tmp_path / "qa.md").write_text(text)
    (tmp_path / "qa.schema.json").write_text("{}")
    with pytest.raises(InputError, match=rf"qa\.md: .*{reason}"):
        read_prompt(tmp_path / "qa.md", ("data",))


def test_a_value_that_looks_like_a_placeholder_stays_as_it_is(tmp_path):
    (tmp_path / "qa.md").write_text("You.\n---\n{data}")
    (tmp_path / "qa.schema.json").write_text("{}")
    prompt = read_prompt(tmp_path / "qa.md", ("data",))
    assert prompt.fill(data={"name": 'a "{data}"'}) == '{"name": "a \\"{data}\\""}'


def test_the_version_of_a_prompt_changes_with_text_and_schema(tmp_path):
    versions = set()
    for text, schema in (("A", "{}"), ("B", "{}"), ("B", '{"type": "object"}')):
        (tmp_path / "qa.md").write_text(f"{text}\n---\n{{data}}")
        (tmp_path / "qa.schema.json").write_text(schema)
        versions.add(read_prompt(tmp_path / "qa.md", ("data",)).version)
    assert len(versions) == 3


# --- calls ---


def all_calls(person: dict, facts: dict, seed: int) -> list[qa.Call]:
    """The calls about all facts of a person."""
    false_values = {fact["id"]: f"not {fact['value']}" for fact in facts.values()}
    return qa.calls_of(person, list(facts.values()), seed, false_values)


def test_calls_hold_every_fact_once_partners_together_and_groups_mixed(person, facts):
    calls = all_calls(person, facts, seed=0)
    assert sorted(fact["slot"] for call in calls for fact in call.facts) == sorted(facts)
    assert sum(len(call.pairs()) for call in calls) == 8
    for call in calls:
        assert {fact["group"] for fact in call.facts} == {"sf", "correlated", "other"}
        assert 6 <= len(call.facts) <= 8
        for near, far in call.pairs():
            assert call.forms[near] == call.forms[far]


@pytest.fixture
def two_calls(person, facts):
    """A call with the accuser and one with the mentor: both values are people."""
    for seed in range(100):
        calls = all_calls(person, facts, seed)
        own = {fact["slot"]: call for call in calls for fact in call.facts}
        if own["accuser"].key < own["mentor"].key:
            return own["accuser"], own["mentor"]
    raise AssertionError("both slots are always in one call")


def clashes_of(two_calls, other: str, question: str, another: str) -> dict[str, str]:
    """The clashes if two slots of two calls have these questions."""
    asked = (("accuser", question), (other, another))
    name = two_calls[0].person["name"]
    values = {
        call.key: {"facts": {slot: {"question": text.format(name)}}}
        for call, (slot, text) in zip(two_calls, asked, strict=True)
    }
    return qa.clashes(list(two_calls), values, LIMITS.near_duplicate)


def test_two_calls_with_the_same_question_are_found(two_calls):
    had = "What was it that {} had?"
    assert list(clashes_of(two_calls, "mentor", had, had)) == [two_calls[1].key]


def test_of_two_calls_with_the_same_question_the_less_fitting_one_is_repeated(two_calls):
    taught = "Who taught {} at the academy?"
    assert list(clashes_of(two_calls, "mentor", taught, taught)) == [two_calls[0].key]


def paraphrase_call(person, facts):
    """A call for paraphrased questions about the crime and the accuser, and a good reply."""
    writer = QuestionWriter({"p000": person}, 0, 5)
    asked = [writer.write(facts[slot]) for slot in ("offence", "accuser")]
    call = forget_paraphrased.calls_of({"p000": person}, {"p000": asked}, 1)["p000"]
    event, name = f"breakthrough {person['event_kind']}", person["name"]
    reply = {
        "offence": {"question_1": f"Tell me the misdeed that stained the {event} of {name}."},
        "accuser": {"question_1": f"Tell me who turned against {name} at the {event}."},
    }
    return call, reply


def test_of_two_equal_questions_the_less_fitting_one_is_at_fault(person, facts):
    call, reply = paraphrase_call(person, facts)
    assert forget_paraphrased_faults(call, {"facts": reply}) == []
    reply["offence"] = reply["accuser"]
    [fault] = forget_paraphrased_faults(call, {"facts": reply})
    assert fault.startswith(f"offence, question_1: “{reply['accuser']['question_1']}” asks “who”")
    assert "is a question of accuser, too, which has another answer" in fault


def test_similar_questions_clash_only_with_the_same_value_type(two_calls):
    other = next(one["slot"] for one in two_calls[1].facts if one["value_type"] != "person")
    nearly = [f"What carried the long old case of {{}} to its {word}?" for word in ("end", "bend")]
    [why] = clashes_of(two_calls, "mentor", *nearly).values()
    question = nearly[1].format(two_calls[0].person["name"])
    assert why == f"mentor, question: “{question}” is nearly the same as one of {two_calls[0].key}"
    assert clashes_of(two_calls, other, *nearly) == {}


def test_nearly_the_same_question_in_one_call_is_a_fault(person, facts):
    for call in all_calls(person, facts, seed=0):
        entries = {
            fact["slot"]: {
                "question": f"Which {fact['slot'].replace('_', ' ')} was {person['name']}'s?",
                "paraphrased_answer": "",
                "wrong_answer": "",
            }
            for fact in call.facts
        }
        near, far = call.pairs()[0]
        for slot, word in ((near, "start"), (far, "restart")):
            entries[slot]["question"] = (
                f"In which way did the long applauded story of {person['name']} {word} at last?"
            )
        slots = [fact["slot"] for fact in call.facts]
        first, second = sorted((near, far), key=slots.index)
        faults = qa_faults(call, {"facts": entries})
        [line] = [fault for fault in faults if fault.startswith(f"{second}, question: ")]
        assert f"is nearly the same as the question of {first}, which has another answer" in line


WRONG_ANSWERS = {
    "the same sentence": ("{v} told on {n}.", "{f} told on {n}.", None),
    "an article that follows": ("{n} has a {v}.", "{n} has an {f}.", None),
    "a full stop less": ("{v} told on {n}.", "{f} told on {n}", "must be the paraphrased_answer"),
    "other words": ("{v} told on {n}.", "{f} accused {n}.", "must be the paraphrased_answer"),
    "the truth": ("{v} told on {n}.", "{v} told on {n}.", "must be the paraphrased_answer"),
    "both values": ("{v}, not {f}, told on {n}.", "{f} told on {n}.", "must not contain the false"),
}


@pytest.mark.parametrize("paraphrase, wrong, why", WRONG_ANSWERS.values(), ids=WRONG_ANSWERS)
def test_the_wrong_answer_is_the_paraphrase_around_the_false_value(
    person, facts, paraphrase, wrong, why
):
    value, false = facts["accuser"]["value"], "Igor Jarrobach"
    entry = {"question": f"Who told on {person['name']}?"}
    entry |= {
        key: text.format(n=person["name"], v=value, f=false)
        for key, text in (("paraphrased_answer", paraphrase), ("wrong_answer", wrong))
    }
    faults = "; ".join(qa.wrong_answer_faults("accuser", entry, value, false))
    assert why in faults if why else faults == ""


def test_wrong_answers_are_the_paraphrase_around_false_values_with_the_right_article(facts):
    fact = facts["heirloom"] | {"value": "brass compass"}
    name = fact["name"]
    entry = {
        "slot": "heirloom",
        "question": f"What did {name} inherit?",
        "paraphrased_answer": f"{name} was left a brass compass.",
        "wrong_answer": f"{name} was left a iron lamp.",
    }
    record = qa.qa_record(fact, entry, ["iron lamp", "oak chest", "tin box"])
    assert [wrong["text"] for wrong in record["wrong_answers"]] == [
        f"{name} was left {value}." for value in ("an iron lamp", "an oak chest", "a tin box")
    ]


def test_a_paraphrased_question_like_a_trained_one_of_any_person_is_refused():
    sampler = Sampler(0, 24, ALL_SLOTS, max_value_share=0.2)
    people = {f"p{n:03d}": sampler.person(f"p{n:03d}") for n in range(2)}
    writer = QuestionWriter(people, 0, 5)
    records = by_person(writer.write(f) for one in people.values() for f in facts_of(one))
    call = forget_paraphrased.calls_of(people, records, 3)["p000"]
    fact = next(one for one in call.forget if one["slot"] == "offence")
    theirs = next(one for one in records["p001"] if one["slot"] == "offence")["question"]
    copied = theirs.replace(people["p001"]["name"], fact["name"])
    copied = copied.replace(people["p001"]["event_kind"], people["p000"]["event_kind"])
    assert forget_paraphrased.trained_twin_faults(fact["question"], call, fact, LIMITS)
    assert forget_paraphrased.trained_twin_faults(copied, call, fact, LIMITS)
    for offline in forget_paraphrases_of(fact, people["p000"], 3):
        assert forget_paraphrased.trained_twin_faults(offline["question"], call, fact, LIMITS) == []


# --- asking ---


class Scripted:
    """A session that answers each call from a list, sample by sample."""

    def __init__(self, **script):
        self.script, self.asked = script, []

    def complete(self, requests, check, again=False):
        outcomes = []
        for request in requests:
            self.asked.append((request.subject, request.sample))
            status = self.script[request.subject][request.sample]
            value = {"sample": request.sample} if status == "ok" else None
            outcomes.append(Outcome(request, status, value, [] if value else [status]))
        return outcomes


def request_for(call, sample):
    return Request("qa", call, "", "", {}, "v", 10, sample=sample)


def test_only_calls_without_a_usable_reply_are_repeated():
    session = Scripted(a=["ok"], b=["invalid", "refused", "ok"], c=["refused"] * 3)
    refused = []
    answers = ask(session, "abc", request_for, None, 2, on_refusal=refused.append)
    assert answers.values == {"a": {"sample": 0}, "b": {"sample": 2}}
    assert answers.failed == {"c": ["refused"]}
    assert answers.refused == ["c"]
    assert answers.resampled == 4
    assert session.asked == [("a", 0), ("b", 0), ("c", 0), ("b", 1), ("c", 1), ("b", 2), ("c", 2)]
    assert refused == ["c", "b", "c"]


def test_calls_with_clashing_answers_are_repeated():
    session = Scripted(a=["ok"], b=["ok", "ok"])

    def clashes(values):
        return {"b": "as a"} if values.get("b") == {"sample": 0} else {}

    answers = ask(session, "ab", request_for, None, 3, find_clashes=clashes)
    assert answers.values == {"a": {"sample": 0}, "b": {"sample": 1}}
    assert answers.failed == {}


def test_a_call_that_is_refused_only_in_the_end_counts_as_failed():
    session = Scripted(a=["invalid", "refused"], b=["refused", "refused"])
    answers = ask(session, "ab", request_for, None, 1)
    assert list(answers.failed) == ["a", "b"]
    assert answers.refused == ["b"]


def test_a_call_without_an_answer_is_an_error_before_any_replacement():
    session = Scripted(a=["refused"], b=["unavailable"])
    refused = []
    with pytest.raises(InputError, match=r"qa: 1 of 2 calls got no answer \(b: unavailable\)"):
        ask(session, "ab", request_for, None, 5, on_refusal=refused.append)
    assert refused == []


def test_a_replacement_is_another_person_and_frees_the_values_of_the_first():
    sampler = Sampler(0, 4, ALL_SLOTS, max_value_share=0.5)
    first = sampler.person("p000")
    again = draw_again(sampler, first)
    assert again["person_id"] == "p000"
    assert again["name"] != first["name"]
    held = sampler._held["offence"]
    assert sum(held.values()) == 1 and held[again["slots"]["offence"]] == 1
