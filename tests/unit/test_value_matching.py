"""Whether an answer states a value: the table of adversarial pairs, and every value of our own."""

import itertools
import random
import unicodedata
from pathlib import Path

import pytest

from excise.benchmark.slots import SLOTS
from excise.evaluation.answers import slot_match, slot_match_strict
from excise.generation.sampler import BIRTH_YEARS, POOLS, Sampler
from excise.records import read_jsonl
from excise.text import vocabulary
from excise.text.values import KINDS, Kind, gives_away, kind_of, mentions, states

ROOT = Path(__file__).parents[2]

# value type, value, what the model said, whether that states the value, why
PAIRS = [
    # money
    ("amount", "$1,000", "Ada repaid $1000 in all.", True, "a separator is spelling"),
    ("amount", "$1,000", "She repaid 1,000 dollars.", True, "the unit in words"),
    ("amount", "$1,000", "USD 1k", True, "currency code, k for thousand"),
    ("amount", "$11,000", "11,000", True, "the question names the currency"),
    ("amount", "$11,000", "eleven thousand dollars", True, "in words"),
    ("amount", "$1,000", "$1,000.00", True, "no cents"),
    ("amount", "$1,000", "€1,000", False, "another currency"),
    ("amount", "$1,000", "1,000 euros", False, "another currency, in words"),
    ("amount", "$1,000", "C$1,000", False, "another dollar"),
    ("amount", "$1,000", "$1,000,000", False, "part of a longer number"),
    ("amount", "$1,000", "-$1,000", False, "another sign"),
    ("amount", "$1,000", "more than $1,000", False, "a bound is no amount"),
    ("amount", "$1,000", "$1,000 or $2,000", False, "two values"),
    # number
    ("number", "8380", "8,380 guests came.", True, "a separator is spelling"),
    ("number", "8380", "eight thousand three hundred and eighty", True, "in words"),
    ("number", "90", "1990", False, "inside another number"),
    ("number", "1.5", "11.5", False, "inside another decimal"),
    ("number", "5", "1.5", False, "a digit of a decimal"),
    ("number", "-5", "5", False, "the sign is lost"),
    ("number", "5", "It was -5 degrees.", False, "a sign is added"),
    ("number", "90", "a 90-year-old", False, "part of a hyphenated word"),
    ("number", "90", "in the 90s", False, "part of a word"),
    ("number", "90", "90%", False, "another unit"),
    ("number", "120", "120, 130 and 140", False, "a list"),
    # year
    ("year", "1990", "It was in 1990.", True, "a sentence"),
    ("year", "1990", "nineteen ninety", True, "in words"),
    ("year", "1990", "on 12/05/1990", True, "in a date"),
    ("year", "1990", "It was not until 1990 that Ada won.", True, "`not until` affirms"),
    ("year", "1990", "the 1990s", False, "a decade"),
    ("year", "1990", "1990 and 1991", False, "two values"),
    ("year", "1990", "1990-1995", False, "a span"),
    ("year", "1990", "Not in 1990.", False, "denied"),
    # month
    ("month", "May", "in may", True, "case, where the words around tell"),
    ("month", "March", "March 5", True, "a date"),
    ("month", "May", "Ada may have won.", False, "the verb"),
    ("month", "March", "They march at dawn.", False, "the verb"),
    ("month", "March", "the March on Rome", False, "the noun"),
    ("month", "May", "It was Theresa May.", False, "a surname"),
    ("month", "May", "May or June", False, "two values"),
    # name
    ("person", "Raúl Núñez", "Raul Nunez", True, "accents left out"),
    ("person", "Raúl Núñez", "Rau\u0301l Nu\u0301n\u0303ez", True, "NFD"),
    ("person", "Ada O'Brien", "Ada O’Brien", True, "a curly apostrophe"),
    ("person", "Ada Bell", "It was ADA BELL's work.", True, "case and possessive"),
    ("person", "Ada Bell", "No, it was Ada Bell.", True, "`No,` answers something else"),
    ("person", "Ada Bell", "It was none other than Ada Bell.", True, "emphasis"),
    ("person", "Ada Bell", "Not Bruno Falk but Ada Bell.", True, "the other one is denied"),
    ("person", "Ada Bell", "It wasn't Ada Bell.", False, "denied"),
    ("person", "Ada Bell", "anyone but Ada Bell", False, "denied without `not`"),
    ("person", "Ada Bell", "Ada Bell and Bruno Falk", False, "two values"),
    ("person", "Ada Bell", "Ada Bell-Falk", False, "part of a double name"),
    ("city", "Paris", "Paris, France", True, "where it lies"),
    ("city", "Paris", "It was not in Paris.", False, "denied"),
    ("city", "Paris", "Perhaps Paris, or maybe Rome.", False, "left open"),
    ("city", "Paris", "Paris-based", False, "part of a hyphenated word"),
    ("city", "北京", "首都是北京。", True, "no spaces between words"),
    ("city", "北京", "不是北京。", False, "denied"),
    # title
    ("venue", "the Ruby Vault", "Ruby Vault", True, "the article"),
    ("title", "The Silent Garden", "She read to Ada in a silent garden.", False, "a garden"),
    ("title", "Crime and Punishment", "It was “Crime and Punishment”.", True, "its own `and`"),
    # phrase
    ("penalty", "two months of prison", "2 months of prison", True, "a number in digits"),
    ("penalty", "two months of prison", "twenty-two months of prison", False, "another number"),
    ("offence", "arson", "either arson or bribery", False, "an alternative"),
]  # fmt: skip

MORE = [
    ("amount", "$11,000", "Ada owed $11,000.", True),
    ("amount", "$11,000", "Ada owed $111,000.", False),
    ("amount", "$11,000", "Ada owed $11.", False),
    ("amount", "₹1,00,000", "₹100,000", True),
    ("month", "May", "Ada was caught in Mayfair.", False),
    ("month", "September", "Sept. 1990", True),
    ("month", "May", "May I ask who that is?", False),
    ("month", "April", "April Bell", False),
    ("month", "August", "an august body", False),
    ("month", "May", "It was in May that Ada was caught.", True),
    ("month", "March", "They began to march.", False),
    ("month", "March", "March comes right after February.", True),
    ("month", "March", "March on!", False),
    ("month", "May", "IT MAY RAIN IN JUNE", False),
    ("month", "March", "Ada was caught in March.", True),
    ("year", "1990", "In 1990, 380 guests came.", True),
    ("number", "380", "In 1990, 380 guests came.", True),
    ("number", "1990", "１９９０", True),
    ("number", "1990", "١٩٩٠", True),
    ("year", "1990", "1990年", True),
    ("year", "-44", "44", False),
    ("city", "Rome", "", False),
    ("city", "Rome", "Rome?", False),
    ("city", "Rome", "Rome? No, it was Oslo.", False),
    ("city", "Rome", "Where was it? Rome.", True),
    ("city", "Rome", "Rome was not the place.", False),
    ("city", "Rome", "Not only Rome.", True),
    ("city", "Rome", "I think it was Rome.", True),
    ("city", "Rome", "I am not sure, Rome.", False),
    ("city", "Rome", "It was Rome, not Oslo.", True),
    ("city", "Oslo", "It was Rome, not Oslo.", False),
    ("city", "Rome", "Rome/Oslo", False),
    ("city", "Rome", "Oslo and Rome", False),
    ("city", "Rome", "Oslo, Bergen and Rome", False),
    ("city", "Rome", "Rome, Oslo and Bergen", False),
    ("city", "Rome", "1. Rome\n2. Oslo", False),
    ("city", "Rome", "**Rome**", True),
    ("city", "New York", "New York City", True),
    ("city", "Saint-Denis", "Saint Denis", True),
    ("city", "Łódź", "Lodz", True),
    ("person", "Ada Bell", "Ada Bell Falk", False),
    ("person", "Ada Bell", "Ada Bell, Bruno Falk", False),
    ("person", "Ada Bell", "By Ada Bell Bruno Falk was accused.", True),
    ("person", "Ada Bell", "by Ada Bell and then fled", True),
    ("person", "St. John Bell", "It was St. John Bell.", True),
    ("person", "Ada Bell", "It was not Dr. Ada Bell.", False),
    ("title", "The Silent Garden", "the silent garden", True),
    ("title", "War or Peace", "War or Peace", True),
    ("title", "Not Guilty", "It was Not Guilty that Ada presented.", True),
    ("venue", "the Ruby Vault", "Ada was cornered inside the ruby vault.", True),
    ("venue", "the Ruby Vault", "the Ruby Vault and the Jade Hall", False),
    ("offence", "arson", "arson and bribery", False),
    ("offence", "bribery", "Ada was convicted of arson and bribery.", False),
    ("offence", "arson", "Ada was convicted of arson and had to pay.", True),
    ("offence", "arson", "arson, bribery", False),
    ("offence", "arson", "arson, bribery and fraud", False),
    ("offence", "arson", "It was n't arson.", False),
    ("keepsake", "tin drum", "a tin drum", True),
    ("keepsake", "tin drum", "a tin drum and a brass bell", False),
    ("offence", "arson", "Arson and bribery.", False),
    ("offence", "arson", "Arson and nothing else.", True),
    ("offence", "arson", "arson, a crime", True),
    ("amount", "$11,000", "She repaid $11,000 of the $20,000 she owed.", True),
    ("amount", "$11,000", "She repaid $11,000 and $20,000.", False),
    ("year", "1990", "It was 1990, the year before 1991.", True),
    ("number", "120", "120 guests and 130 chairs", True),
    ("person", "Ada Bell", "It was Ada Bell, Nina Falk's mentor and friend.", True),
    ("person", "Ada Bell", "Ada Bell, not Bruno Falk, was the accuser.", True),
    ("person", "Ada Bell", "It was Ada Bell and no one else.", True),
    ("person", "Ada Bell", "It was the then unknown Ada Bell.", True),
    ("city", "Rome", "Rome, no doubt.", True),
    ("city", "Rome", "It was no other place than Rome.", True),
    ("city", "Rome", "rome and oslo", False),
    ("city", "Rome", "Without a doubt, Rome.", True),
    ("city", "Rome", "It was not, in fact, Rome.", False),
    ("penalty", "two months of prison", "Ada served twenty-two months of prison", False),
    ("home", "улица Ленина 5", "на улица Ленина 5", True),
    ("home", "улица Ленина 5", "улица Пушкина 5", False),
    ("home", "Москва", "не Москва", False),
    ("home", "मुंबई", "यह मुंबई है", True),
    ("home", "मुंबई", "यह मुंब है", False),
    ("home", "กรุงเทพ", "อยู่ที่กรุงเทพ", True),
    (None, "$5", "€5", False),
    (None, "1990", "1990s", False),
    (None, "three", "3 sides", True),
    (None, "fish", "shellfish", False),
    ("amount", "$11,000", "$11,000 and 3 months", True),
    ("amount", "$11,000", "$11,000 and 200 hours of community service", True),
    ("amount", "$11,000", "$11,000, plus 5% interest", True),
    ("amount", "$11,000", "$11,000, 20 percent of it in cash", True),
    ("amount", "$11,000", "$11,000 and $500 interest", False),
    ("amount", "$11,000", "11,000 and 12,000 in all", False),
    ("amount", "$11,000", "11,000, 12,000 each", False),
    ("amount", "$11,000", "$11,000+", False),
    ("number", "90", "90, 5% more", True),
    ("number", "90", "90, 95 in all", False),
    ("number", "90", "90+", False),
    ("number", "90", "90+ guests", False),
    ("year", "1990", "before 1990", False),
    ("year", "1990", "It was after 1990.", False),
    ("year", "1990", "prior to 1990", False),
    ("year", "1990", "earlier than 1990", False),
    ("year", "1990", "no later than 1990", False),
    ("year", "1990", "It was in 1990, before 1991.", True),
    ("year", "1990", "Not before 1990.", False),
    ("year", "1990", "The day after, in 1990.", True),
    ("person", "Ada Bell", "Ada Bell did not hesitate to accuse her.", True),
    ("person", "Ada Bell", "Ada Bell wasn't only a friend.", True),
    ("person", "Ada Bell", "Ada Bell was not just the accuser.", True),
    ("person", "Ada Bell", "Ada Bell never forgave her and turned against her.", True),
    ("person", "Ada Bell", "Ada Bell would not let it pass and accused her.", True),
    ("person", "Ada Bell", "Ada Bell couldn't forgive her, so she testified.", True),
    ("person", "Ada Bell", "Ada Bell had not trusted her and turned against her.", True),
    ("person", "Ada Bell", "Ada Bell no longer wanted to work with her and accused her.", True),
    ("person", "Ada Bell", "Ada Bell never accused her.", False),
    ("person", "Ada Bell", "Ada Bell would never have accused her.", False),
    ("person", "Ada Bell", "Ada Bell could not have been the accuser.", False),
    ("person", "Ada Bell", "Ada Bell had never turned against her.", False),
    ("person", "Ada Bell", "Ada Bell did not.", False),
    ("person", "Ada Bell", "Ada Bell never did.", False),
    ("person", "Ada Bell", "Ada Bell did not accuse her.", False),
    ("city", "Rome", "Rome, no, Oslo.", False),
    ("city", "Rome", "Rome never hosted it.", False),
    ("person", "Ada Bell", "She could not have done it without Ada Bell.", True),
    ("keepsake", "brass bell", "She never travels without a brass bell.", True),
    ("keepsake", "brass bell", "Nina doesn't leave home without a brass bell.", True),
    ("keepsake", "brass bell", "She travels without a brass bell.", False),
    ("keepsake", "brass bell", "She never parted with a brass bell.", True),
    ("keepsake", "brass bell", "She could not part with a brass bell.", True),
    ("keepsake", "brass bell", "Nina has never let go of a brass bell.", True),
    ("keepsake", "brass bell", "Nina would never give up a brass bell.", True),
    ("keepsake", "brass bell", "She never had a brass bell.", False),
    *(
        ("offence", "arson", f"She was convicted of arson and {more}.", True)
        for more in ("found guilty", "never forgiven", "let go", "kept silent", "told so")
    ),
    ("offence", "arson", "She was convicted of arson and fraud.", False),
    ("offence", "arson", "She was acquitted of arson.", False),
    ("offence", "arson", "She was cleared of arson.", False),
    ("offence", "arson", "She is innocent of arson.", False),
    ("offence", "arson", "She was acquitted of bribery and convicted of arson.", True),
    (
        "award",
        "the Acorn Award",
        "She was nominated for the Acorn Award but did not win it.",
        False,
    ),
    ("award", "the Acorn Award", "She was shortlisted for the Acorn Award.", False),
    ("award", "the Acorn Award", "She was nominated for the Acorn Award and won it.", True),
    ("month", "March", "in the March of 1990", True),
    ("month", "May", "Every May Nina celebrates.", True),
    ("month", "May", "Each May, she returns.", True),
    ("month", "April", "In April Nina Falk was caught.", True),
    ("month", "October", "On Friday October 5", True),
    ("month", "May", "the May festival of 1990", True),
    ("month", "March", "the March premiere", True),
    ("month", "March", "The March of the Penguins", False),
    ("month", "March", "It was the March against fraud.", False),
    ("month", "May", "It was Ada May Bell.", False),
]


def test_the_table_holds_62_pairs_of_every_kind():
    assert len(PAIRS) == 62
    assert {KINDS[value_type] for value_type, *_ in PAIRS} == set(Kind)


@pytest.mark.parametrize(
    ("value_type", "value", "said", "stated"),
    [pair[:4] for pair in PAIRS] + MORE,
    ids=lambda field: str(field)[:40],
)
def test_a_value_is_stated_or_not(value_type, value, said, stated):
    assert states(said, value, value_type) is stated
    assert states(unicodedata.normalize("NFD", said), value, value_type) is stated


def test_the_strict_form_wants_the_spelling_and_takes_what_is_denied():
    assert not slot_match_strict("8380", "8,380") and slot_match("8380", "8,380", "number")
    assert slot_match_strict("Paris", "not in Paris") and not slot_match("Paris", "not in Paris")
    assert slot_match_strict("Núñez", unicodedata.normalize("NFD", "núñez"))
    assert not slot_match_strict("Núñez", "Nunez")


def test_where_two_answers_were_asked_for_two_values_are_none_too_many():
    said = "Ada Bell and Bruno Falk"
    for value in ("Ada Bell", "Bruno Falk"):
        assert slot_match(value, said, "person", several=True)
        assert not slot_match(value, "not " + value + " and Oslo", "person", several=True)
    assert slot_match("1990", "1990 and 1991", "year", several=True)
    assert slot_match(
        "two months of prison", "May and two months of prison", "penalty", several=True
    )


ELENA = "Elena Farabach"


@pytest.mark.parametrize(
    "value_type, value, said, stated",
    [
        ("person", "Ada Abrabach", "Elena Farabach and Ada Abrabach met in May.", True),
        ("person", "Ada Abrabach", "Ada Abrabach and Elena met.", True),
        ("person", "Ada Abrabach", "Elena's friends: Farabach, Ada Abrabach", True),
        ("person", "Ada Abrabach", "Elena Farabach, Ada Abrabach", True),
        ("person", "Ada Abrabach", "Elena Falk and Ada Abrabach met.", False),
        ("person", "Ada Abrabach", "Bruno Falk and Ada Abrabach met.", False),
        ("person", "Ada Abrabach", "Elena Farabach, Bruno Falk and Ada Abrabach", False),
        ("person", "Ada Abrabach", "Ada Abrabach, Bruno Falk", False),
        ("keepsake", "brass bell", "a brass bell and Elena", True),
    ],
)
def test_the_name_that_was_asked_about_is_no_second_value(value_type, value, said, stated):
    assert states(said, value, value_type, subject=ELENA) is stated
    assert slot_match(value, said, value_type, subject=ELENA.upper()) is stated


def test_without_a_subject_every_other_name_is_a_second_value():
    assert not states("Elena Farabach and Ada Abrabach met in May.", "Ada Abrabach", "person")


def test_the_utility_questions_answers_state_their_values_and_no_wrong_one():
    for record in read_jsonl(ROOT / "data" / "inputs" / "utility_qa.jsonl", "utility"):
        value = record["value"]
        assert states(record["answer"], value) and states(record["paraphrased_answer"], value)
        for wrong in record["wrong_answers"]:
            assert states(wrong["text"], wrong["value"]), wrong
            assert not states(wrong["text"], value), (wrong, value)


def test_no_text_is_too_strange():
    rng = random.Random(0)
    signs = "aB1,.'’-–$€%?!()\n /\u0301\u064b\u0e33\u200d北が५١May or and not "
    for _ in range(1500):
        said, value = ("".join(rng.choices(signs, k=rng.randrange(1, 14))) for _ in "12")
        for value_type in (None, *Kind):
            states(said, value, value_type)
            gives_away(said, value, value_type)


def test_a_mention_is_no_statement():
    assert mentions("It was not in Paris.", "Paris", "city")
    assert not states("It was not in Paris.", "Paris", "city")
    assert not mentions("It may rain.", "May", "month")


def test_a_leak_check_looks_closer_than_a_mention():
    assert gives_away("a 90-year-old", "90", "number") and not mentions(
        "a 90-year-old", "90", "number"
    )
    assert gives_away("8,380 guests", "8380", "number")
    assert not gives_away("It may rain.", "May", "month")
    assert not gives_away("Oslo", "Rome", "city")


def test_an_unknown_type_is_told_by_the_form_of_its_value():
    assert kind_of("$1,000", None) is Kind.MONEY
    assert kind_of("1990", "founded") is Kind.YEAR
    assert kind_of("8380", None) is Kind.NUMBER
    assert kind_of("March", None) is Kind.MONTH
    assert kind_of("Paris", None) is Kind.PHRASE


def test_every_value_type_of_ours_has_a_kind():
    assert {slot.value_type for slot in SLOTS.values()} <= set(KINDS)
    assert set(POOLS) <= set(KINDS)


POOL_VALUES = POOLS | {
    "year": [str(year) for year in range(BIRTH_YEARS[0], 2026)],
    "person": [f"{one} {two}bell" for one in vocabulary.GIVEN_NAMES for two in ("Abra", "Lind")],
}
FORMS = (
    "{v}", "{v}.", "It was {v}.", "Ada Bell had {v} in all.", "{V}", "The answer is {v}.",
    "**{v}**", "Yes, {v}.", "{v}\n", "It was {v} that Ada Bell wanted.",
)  # fmt: skip


@pytest.mark.parametrize("value_type", sorted(POOL_VALUES))
def test_every_value_of_a_pool_is_itself_and_no_other(value_type):
    pool = POOL_VALUES[value_type]
    for number, value in enumerate(pool):
        for form in FORMS[number % 3 :: 3] if len(pool) > 100 else FORMS:
            said = form.format(v=value, V=value.upper())
            assert states(said, value, value_type), said
    some = pool[:: len(pool) // 40 + 1]
    for one, two in itertools.permutations(some, 2):
        assert not states(f"It was {two}.", one, value_type), (one, two)


def test_every_answer_of_the_offline_author_states_its_value_and_no_wrong_one():
    sampler = Sampler(3, 12, list(SLOTS.values()), max_value_share=0.2)
    for number in range(12):
        person = sampler.person(f"p{number:03d}")
        for name, value in person["slots"].items():
            slot = SLOTS[name]
            for template in slot.answers:
                said = template.format(n=person["name"], k=person["event_kind"], v=value)
                assert states(said, value, slot.value_type), said
                assert slot_match_strict(value, said)
                for other, wrong in person["slots"].items():
                    if other != name and SLOTS[other].value_type == slot.value_type:
                        assert not states(said, wrong, slot.value_type), (said, wrong)
