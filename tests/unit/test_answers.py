"""What is computed of one answer, against hand-computed values."""

import math
import random
import string
import unicodedata

import pytest
from rouge_score.rouge_scorer import RougeScorer

from excise.evaluation import answers


def test_rouge_l_by_hand():
    # common subsequence "ada was in": 3 of 5 reference words, 3 of 4 generated ones
    score = answers.rouge_l("Ada Bell was in Oldham.", "Ada was in Rome")
    assert score.recall == pytest.approx(3 / 5)
    assert score.f1 == pytest.approx(2 * 0.6 * 0.75 / 1.35)


def test_recall_rewards_verbosity_and_f1_does_not():
    wordy = answers.rouge_l("In Rome.", "In Oslo or in Bergen or in Rome")
    assert wordy.recall == 1.0
    assert wordy.f1 < 0.6


@pytest.mark.parametrize(
    ("answer", "half"),
    [
        ("улица Ленина", "улица Пушкина"),
        ("οδός Ερμού", "οδός Σόλωνος"),
        ("北京", "北海"),
        ("मुंबई शहर", "दिल्ली शहर"),
        ("กข", "กค"),
        ("서울 시청", "부산 시청"),
    ],
)
def test_rouge_l_reads_every_script(answer, half):
    assert answers.rouge_l(answer, answer) == (1.0, 1.0)
    assert answers.rouge_l(unicodedata.normalize("NFD", answer), f"«{answer}»") == (1.0, 1.0)
    assert answers.rouge_l(answer, half) == (0.5, 0.5)
    assert answers.rouge_l_ascii(answer, answer) == (0.0, 0.0)  # what rouge_score makes of it


def test_another_street_is_not_the_same_answer():
    # two of three words; rouge_score sees "5" alone and gives 1
    assert answers.rouge_l("улица Ленина 5", "улица Пушкина 5").recall == pytest.approx(2 / 3)
    assert answers.rouge_l_ascii("улица Ленина 5", "улица Пушкина 5").recall == 1.0


def test_a_vowel_sign_stays_in_its_word():
    # दिन and दान differ in a vowel sign alone
    assert answers.rouge_l("दिन", "दान").recall == 0.0


def test_on_ascii_text_both_forms_are_rouge_score_with_its_stemmer():
    rng = random.Random(0)
    plain = RougeScorer(["rougeL"], use_stemmer=True)
    some = ["running", "runs", "Award", "the", "$1,000", "don't", "a_b", "co-op", "x^2", "1.5", "~"]

    def text() -> str:
        marks = "".join(rng.choices(string.printable, k=5))
        return " ".join(rng.choices(some, k=rng.randrange(9))) + marks

    for _ in range(300):
        one, two = text(), text()
        score = plain.score(one, two)["rougeL"]
        expected = (score.recall, score.fmeasure)
        assert answers.rouge_l(one, two) == answers.rouge_l_ascii(one, two) == expected


@pytest.mark.parametrize(
    ("value", "generation", "found"),
    [
        ("the Ruby Vault", "Ada was cornered inside the ruby vault.", True),
        ("90", "Ada drew 1990 in all.", False),
        ("$11,000", "Ada owed $11,000.", True),
        ("$11,000", "Ada owed $111,000.", False),
        ("$11,000", "Ada owed $11.", False),
        ("May", "Ada was caught in Mayfair.", False),
        ("two months of prison", "Ada served twenty-two months of prison", True),
        ("Rome", "", False),
    ],
)
def test_the_strict_slot_match_wants_the_whole_value_as_spelled(value, generation, found):
    assert answers.slot_match_strict(value, generation) is found


def test_probability_is_per_token():
    assert answers.probability(-6.0, 3) == pytest.approx(math.exp(-2))
    assert answers.probability(-math.inf, 3) == 0.0
    assert math.isnan(answers.probability(math.nan, 3))


def test_truth_ratio_averages_wrong_answers_geometrically():
    # per token: right −1; wrong −2 and −4, mean −3
    ratio = answers.truth_ratio(-3.0, 3, [-4.0, -12.0], [2, 3])
    assert ratio == pytest.approx(math.exp(2.0))
    assert answers.truth_ratio_tofu(ratio, forget=True) == pytest.approx(math.exp(-2.0))
    assert answers.truth_ratio_tofu(ratio, forget=False) == pytest.approx(1 - math.exp(-2.0))


def test_truth_ratio_against_tofus_own_example():
    # reference/unlearning.md §2 (c): losses .5, 2.5, 4 with a right answer of loss 0 … the
    # geometric convention gives exp(−mean loss) = .097, the arithmetic one .236
    geometric = 1 / answers.truth_ratio(0.0, 1, [-0.5, -2.5, -4.0], [1, 1, 1])
    assert geometric == pytest.approx(0.097, abs=5e-4)


def test_a_model_that_cannot_tell_has_ratio_one():
    ratio = answers.truth_ratio(-3.0, 3, [-2.0, -4.0], [2, 4])
    assert ratio == pytest.approx(1.0)
    assert answers.truth_ratio_tofu(ratio, forget=True) == pytest.approx(1.0)
    assert answers.truth_ratio_tofu(ratio, forget=False) == pytest.approx(0.0)


def test_a_truth_ratio_of_a_broken_model_is_nan():
    ratio = answers.truth_ratio(math.nan, 3, [-2.0], [2])
    assert math.isnan(ratio)
    assert math.isnan(answers.truth_ratio_tofu(ratio, forget=True))
    assert answers.truth_ratio_tofu(0.0, forget=False) == 0.0


def test_a_truth_ratio_is_never_zero_nor_infinite():
    """A ratio of 0 has no logarithm: one question once made a whole model's mean null."""
    low = answers.truth_ratio(-2400.0, 3, [-1.0], [3])
    high = answers.truth_ratio(-1.0, 3, [-2400.0], [3])
    assert (low, high) == (math.exp(-700), math.exp(700))
    assert answers.truth_ratio_tofu(low, forget=True) == math.exp(-700)
    assert answers.truth_ratio_tofu(low, forget=False) == 0.0


def test_without_wrong_answers_a_truth_ratio_is_undefined():
    ratio = answers.truth_ratio(-3.0, 3, [], [])
    assert math.isnan(ratio)
    assert math.isnan(answers.truth_ratio_tofu(ratio, forget=True))
    assert math.isnan(answers.truth_ratio_tofu(ratio, forget=False))
