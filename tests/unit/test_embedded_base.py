"""The shipped base model is what its manifest says, and can do what the study needs."""

import json
from pathlib import Path

import pytest

from excise.benchmark.slots import SLOTS
from excise.config.check import check_config
from excise.config.load import load_config
from excise.files import sha256
from excise.generation.corpus import kept_people, question_answer
from excise.generation.pretraining import corpus_digest, train_tokenizer
from excise.generation.sampler import Sampler
from excise.generation.settings import PretrainingSettings
from excise.modeling.base import load_tokenizer
from excise.modeling.chat import encode
from excise.records import read_jsonl
from excise.settings import parse

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "data/inputs/base/tiny-qwen2"


@pytest.fixture(scope="module")
def manifest():
    return json.loads((FOLDER / "manifest.json").read_text())


@pytest.fixture(scope="module")
def utility():
    return read_jsonl(ROOT / "data/inputs/utility_qa.jsonl", "utility")


def test_it_is_small_enough_to_ship():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 12e6


def test_the_manifest_names_these_weights_these_facts_and_the_committed_settings(manifest):
    assert manifest["weights_sha256"] == sha256(FOLDER / "model.safetensors")
    assert manifest["utility_sha256"] == sha256(ROOT / "data/inputs/utility_qa.jsonl")
    settings = check_config(*load_config([ROOT / "config.yaml"]))["pretraining"]
    assert manifest["settings"] == settings


def test_the_generator_still_writes_the_corpus_it_was_pretrained_on(manifest, utility):
    assert (
        corpus_digest(utility, settings_of(manifest)) == manifest["corpus_sha256_first_50_batches"]
    )


def settings_of(manifest: dict) -> PretrainingSettings:
    return parse(PretrainingSettings, manifest["settings"])


def test_it_can_do_what_the_study_needs(manifest):
    assert manifest["checks"]["utility_slot_accuracy"] >= 0.90
    assert manifest["checks"]["kept_slot_accuracy"] >= 0.90
    assert manifest["checks"]["unseen_names_copied"] >= 0.98


def test_the_saved_tokenizer_splits_text_as_the_trained_one(manifest, utility):
    trained, loaded = train_tokenizer(utility, settings_of(manifest)), load_tokenizer(FOLDER)
    pairs = kept_people(5, seed=9)
    for _ in range(200):
        pair = next(pairs)
        assert encode(trained, *pair) == encode(loaded, *pair)


def test_no_benchmark_person_can_stand_in_the_corpus():
    import random

    strangers = Sampler(0, None, list(SLOTS.values()), name_space="benchmark")
    surname = strangers.person("p000")["name"].split()[1]
    people = Sampler(0, None, list(SLOTS.values()), name_space="pretraining")
    rng = random.Random(0)
    for index in range(200):
        question, answer = question_answer(people.person(f"k{index}"), "mentor", rng)
        assert surname not in question.split() + answer.split()


def test_utility_questions_are_held_out_in_their_evaluation_phrasing(utility):
    shown = {text for item in utility for text in item["pretraining_questions"]}
    assert len(utility) >= 150
    assert not shown & {item["question"] for item in utility}
