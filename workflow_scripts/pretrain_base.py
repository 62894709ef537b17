"""Pretrain the embedded base model on generated people and the utility facts.

The shipped `data/inputs/base/tiny-qwen2` is its output; a manifest there says from what.
"""

import argparse
import random
import re
from pathlib import Path
from statistics import fmean

import torch

from excise.benchmark.slots import SLOTS
from excise.errors import run
from excise.evaluation.answers import slot_match
from excise.files import sha256
from excise.generation.corpus import ask, ask_two
from excise.generation.pretraining import corpus_digest, new_model, pretrain, save, train_tokenizer
from excise.generation.sampler import POOLS, Sampler
from excise.generation.settings import PretrainingSettings
from excise.generation.writing import PARAPHRASED_ANSWER, answer
from excise.modeling.base import load_base, load_tokenizer, set_determinism
from excise.modeling.chat import encode
from excise.modeling.decoding import generate
from excise.records import read_jsonl, write_json
from excise.settings import as_dict, json_of

ASKED = 25  # people asked about in a check, 22 questions each
FORMS = {"person": r"[A-Z][a-z]+ [A-Z][a-z]+", "year": r"\b(19|20)\d\d\b"}


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utility", required=True, help="utility_qa.jsonl")
    settings = json_of(PretrainingSettings)
    parser.add_argument("--hp", type=settings, required=True, help="pretraining settings, JSON")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    args = parser.parse_args(argv)

    utility, hp = read_jsonl(args.utility, "utility"), args.hp
    set_determinism(hp.seed, hp.threads)
    tokenizer = train_tokenizer(utility, hp)
    model = new_model(tokenizer, hp)
    print(
        f"{model.num_parameters() / 1e6:.2f} M parameters, vocabulary {len(tokenizer)}", flush=True
    )
    log = pretrain(model, tokenizer, utility, hp)
    save(model, tokenizer, args.out)
    manifest = {
        "settings": as_dict(hp),
        "corpus_sha256_first_50_batches": corpus_digest(utility, hp),
        "utility_sha256": sha256(args.utility),
        "weights_sha256": sha256(args.out / "model.safetensors"),
        "torch": torch.__version__,
        "log": log,
        "checks": checks(args.out, utility, hp),
    }
    write_json(args.out / "manifest.json", manifest)
    print(manifest["checks"])


def checks(folder: Path, utility: list[dict], hp: PretrainingSettings) -> dict[str, float]:
    """What the saved model can do, from its generations; the last one from its next tokens.

    Returns:
        `utility_slot_accuracy`: share of utility facts answered in the held-out phrasing;
        `kept_slot_accuracy`: share of the facts of kept people answered, all phrasings mixed;
        `kept_paired_slot_accuracy`: the same of the facts asked two at a time;
        `values_of_the_right_type`: share of answers about people never seen that could be given
        for that slot (names and years: that have their form);
        `unseen_names_copied`: share of paraphrased answers about them in which every token of the
        person's name is the model's first choice, given what stands before it.
    """
    model, tokenizer = load_base(folder, "float32"), load_tokenizer(folder)

    def said(questions: list[str]) -> list[str]:
        return [made.text for made in generate(model, tokenizer, questions, 48, 128)]

    told = said([item["question"] for item in utility])
    known = [slot_match(item["value"], text) for item, text in zip(utility, told, strict=True)]
    rng = random.Random(hp.seed)
    slots = list(SLOTS.values())
    kept = Sampler(hp.seed, None, slots, name_space="pretraining")
    people = [kept.person(f"kept{index}") for index in range(min(hp.people, ASKED))]
    facts = [(person, slot) for person in people for slot in person["slots"]]
    told = said([ask(person, slot, rng)[0] for person, slot in facts])
    stored = [
        slot_match(person["slots"][slot], text, SLOTS[slot].value_type, subject=person["name"])
        for (person, slot), text in zip(facts, told, strict=True)
    ]
    asked = [ask_two(person, slot, rng)[0] for person, slot in facts]
    both = [
        slot_match(person["slots"][slot], text, SLOTS[slot].value_type, True, person["name"])
        for (person, slot), text in zip(facts, said(asked), strict=True)
    ]
    strangers = Sampler(hp.seed, None, slots, name_space="benchmark")
    people = [strangers.person(f"p{index}") for index in range(ASKED)]
    facts = [(person, slot) for person in people for slot in person["slots"]]
    told = said([ask(person, slot, rng)[0] for person, slot in facts])
    typed = [
        could_be(text, SLOTS[slot].value_type) for (_, slot), text in zip(facts, told, strict=True)
    ]
    copied = []
    for person, slot in facts:
        asked = ask(person, slot, rng)[0]
        told = answer(SLOTS[slot], PARAPHRASED_ANSWER, person, person["slots"][slot])
        copied.append(writes(model, tokenizer, asked, told, person["name"]))
    return {
        "utility_slot_accuracy": fmean(known),
        "kept_slot_accuracy": fmean(stored),
        "kept_paired_slot_accuracy": fmean(both),
        "values_of_the_right_type": fmean(typed),
        "unseen_names_copied": fmean(copied),
    }


@torch.inference_mode()
def writes(model, tokenizer, asked: str, told: str, phrase: str) -> bool:
    """Whether the model itself would write `phrase` where it first stands in the answer `told`."""
    encoded = encode(tokenizer, asked, told)
    start = told.index(phrase)
    spans = tokenizer(told, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    places = [
        len(encoded.prompt_ids) + index
        for index, (first, last) in enumerate(spans)
        if last > start and first < start + len(phrase)
    ]
    logits = model(input_ids=torch.tensor([encoded.input_ids])).logits[0]
    return all(logits[place - 1].argmax() == encoded.input_ids[place] for place in places)


def could_be(text: str, value_type: str) -> bool:
    """Whether an answer holds a value of this type."""
    if value_type in FORMS:
        return bool(re.search(FORMS[value_type], text))
    return any(slot_match(value, text, value_type) for value in POOLS[value_type])


if __name__ == "__main__":
    run(main)
