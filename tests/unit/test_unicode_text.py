"""Words of all scripts, and the normal form for input and comparison."""

import json
import unicodedata

import pytest

from excise.records import meaning_fault, read_jsonl
from excise.red_team.models.gates import value_recall
from excise.text.matching import asked_words, holds, mask, normalised, words
from excise.text.unicode import same_case, without_accents, word_tokens
from small_dataset import generated_records

COMPOSED, DECOMPOSED = "Núñez", unicodedata.normalize("NFD", "Núñez")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Don't pay $1,000!", ["don", "t", "pay", "1", "000"]),
        ("улица Ленина, 5", ["улица", "ленина", "5"]),
        ("首都は東京タワー", ["首", "都", "は", "東", "京", "タ", "ワ", "ー"]),
        ("iPhone手机", ["iphone", "手", "机"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("กำลังที่", ["กำ", "ลั", "ง", "ที่"]),
        ("한국어 공부", ["한국어", "공부"]),
        ("می\u200cخواهم", ["میخواهم"]),
        ("Stra\u00adße", ["strasse"]),
        ("👍🏽 ok", ["👍🏽", "ok"]),
        (DECOMPOSED, ["núñez"]),
        ("", []),
    ],
)
def test_the_words_of_a_script(text, tokens):
    assert word_tokens(text) == tokens


def test_only_accents_are_removed():
    assert without_accents("Łódź Ærø Ἀθῆναι ёлка") == "lodz aero αθηναι елка"
    assert without_accents("й") != without_accents("и")
    assert without_accents("が") != without_accents("か")
    assert without_accents("مُحَمَّد") == without_accents("محمد")


@pytest.mark.parametrize(
    ("text", "phrase", "found"),
    [
        ("首都是北京。", "北京", True),
        ("首都是北海。", "北京", False),
        ("यह मुंबई है", "मुंबई", True),
        ("यह मुंब है", "मुंबई", False),
        ("อยู่ที่กรุงเทพ", "กรุงเทพ", True),
        ("мои дома", "мой дом", False),
        (f"It was {DECOMPOSED}.", COMPOSED, True),
        ("It was Nunez.", COMPOSED, True),
        ("It was snake_case.", "snake", False),
        ("It cost $40,000.", "40000", True),
        ("Rome's walls", "Rome", True),
    ],
)
def test_words_in_a_row(text, phrase, found):
    assert holds(text, phrase) is found


def test_comparisons_do_not_depend_on_the_storage_of_accents():
    assert words(COMPOSED) == words(DECOMPOSED)
    assert normalised(f"Was {COMPOSED} there?") == normalised(f"was {DECOMPOSED} there")
    assert asked_words(f"Where is {DECOMPOSED}?", COMPOSED) == ["where"]
    assert mask(f"{DECOMPOSED} 北京", COMPOSED, ["北京"]) == "<name> <value>"
    assert same_case(COMPOSED.upper()) == same_case(DECOMPOSED)
    assert value_recall(COMPOSED, DECOMPOSED) == 1.0


def test_records_come_in_normal_form_c(tmp_path):
    record = generated_records()["profiles"][0] | {"name": COMPOSED + " Bell"}
    text = json.dumps(record, ensure_ascii=False)
    (tmp_path / "profiles.jsonl").write_text(unicodedata.normalize("NFD", text), encoding="utf-8")
    assert read_jsonl(tmp_path / "profiles.jsonl", "profile") == [record]


def test_a_wrong_answer_that_equals_the_truth_in_another_encoding_is_found():
    record = {
        "value": COMPOSED,
        "paraphrased_answer": f"It was {COMPOSED}.",
        "wrong_answers": [{"value": DECOMPOSED, "text": f"It is {DECOMPOSED}."}],
    }
    assert "already the right answer" in meaning_fault(record)
