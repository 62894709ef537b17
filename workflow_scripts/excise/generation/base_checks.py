"""Check what a pretrained base model has learned, from its answers."""

import random
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import torch

from excise.benchmark.slots import SLOTS
from excise.evaluation.answers import slot_match
from excise.generation.corpus import joint_question_answer, question_answer
from excise.generation.sampler import POOLS, Sampler
from excise.generation.settings import PretrainingSettings
from excise.generation.writing import PARAPHRASED_ANSWER, answer
from excise.modeling.base import load_base, load_tokenizer
from excise.modeling.chat import encode
from excise.modeling.decoding import generate

PEOPLE = 25  # people per check, with 22 questions each
MAX_NEW_TOKENS, BATCH_SIZE = 48, 128
FORMS = {"person": r"[A-Z][a-z]+ [A-Z][a-z]+", "year": r"\b(19|20)\d\d\b"}


def check_base(
    folder: Path, utility: Sequence[dict], settings: PretrainingSettings
) -> dict[str, float]:
    """Measure a saved base model.

    Returns:
        `utility_slot_accuracy`: share of utility facts that it answers in the evaluated phrasing;
        `kept_slot_accuracy`: share of facts of kept people that it answers, in all phrasings;
        `kept_paired_slot_accuracy`: the same for two questions in one prompt;
        `values_of_the_right_type`: share of answers about unseen people with a value of the slot's
        type (for names and years: with the right form);
        `unseen_names_copied`: share of paraphrased answers about unseen people in which the model
        prefers every token of the person's name, given the preceding text.
    """
    model, tokenizer = load_base(folder, "float32"), load_tokenizer(folder)

    def answers(questions: list[str]) -> list[str]:
        generations = generate(model, tokenizer, questions, MAX_NEW_TOKENS, BATCH_SIZE)
        return [generation.text for generation in generations]

    texts = answers([record["question"] for record in utility])
    known = [slot_match(record["value"], text) for record, text in zip(utility, texts, strict=True)]
    rng = random.Random(settings.seed)
    slots = list(SLOTS.values())
    sampler = Sampler(settings.seed, None, slots, name_space="pretraining")
    kept = [sampler.person(f"kept{index}") for index in range(min(settings.people, PEOPLE))]
    facts = [(person, slot) for person in kept for slot in person["slots"]]
    texts = answers([question_answer(person, slot, rng)[0] for person, slot in facts])
    stored = [
        slot_match(person["slots"][slot], text, SLOTS[slot].value_type, subject=person["name"])
        for (person, slot), text in zip(facts, texts, strict=True)
    ]
    questions = [joint_question_answer(person, slot, rng)[0] for person, slot in facts]
    paired = [
        slot_match(person["slots"][slot], text, SLOTS[slot].value_type, True, person["name"])
        for (person, slot), text in zip(facts, answers(questions), strict=True)
    ]
    sampler = Sampler(settings.seed, None, slots, name_space="benchmark")
    unseen = [sampler.person(f"p{index}") for index in range(PEOPLE)]
    facts = [(person, slot) for person in unseen for slot in person["slots"]]
    texts = answers([question_answer(person, slot, rng)[0] for person, slot in facts])
    typed = [
        has_value_of_type(text, SLOTS[slot].value_type)
        for (_, slot), text in zip(facts, texts, strict=True)
    ]
    copied = []
    for person, slot in facts:
        question = question_answer(person, slot, rng)[0]
        text = answer(SLOTS[slot], PARAPHRASED_ANSWER, person, person["slots"][slot])
        copied.append(prefers_phrase(model, tokenizer, question, text, person["name"]))
    return {
        "utility_slot_accuracy": fmean(known),
        "kept_slot_accuracy": fmean(stored),
        "kept_paired_slot_accuracy": fmean(paired),
        "values_of_the_right_type": fmean(typed),
        "unseen_names_copied": fmean(copied),
    }


@torch.inference_mode()
def prefers_phrase(model, tokenizer, question: str, text: str, phrase: str) -> bool:
    """Whether every token of `phrase`, at its first place in the answer `text`, is the argmax."""
    encoded = encode(tokenizer, question, text)
    start = text.index(phrase)
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    places = [
        len(encoded.prompt_ids) + index
        for index, (first, last) in enumerate(spans)
        if last > start and first < start + len(phrase)
    ]
    logits = model(input_ids=torch.tensor([encoded.input_ids])).logits[0]
    return all(logits[place - 1].argmax() == encoded.input_ids[place] for place in places)


def has_value_of_type(text: str, value_type: str) -> bool:
    """Whether a text holds a value of this type."""
    if value_type in FORMS:
        return bool(re.search(FORMS[value_type], text))
    return any(slot_match(value, text, value_type) for value in POOLS[value_type])
