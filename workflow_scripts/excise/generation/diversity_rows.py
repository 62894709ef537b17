"""Compare the diversity of datasets: choose the texts, and make the rows of the report.

Each kind of text is measured in three variants. `raw` is the text as written. `masked` has the
person's name and values masked, so only the phrasing is left. `template_only` is a lower bound: the
most frequent masked text of a slot replaces all its texts, as if each slot had one phrasing.
"""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from excise.generation.settings import TwinSettings
from excise.generation.writing import QuestionWriter, facts_of, forget_paraphrases_of, profile_text
from excise.records import read_jsonl
from excise.text import diversity
from excise.text.matching import mask, words

SAMPLE = 500  # texts of a kind that are measured
MAX_GRAMS = 4000  # n-grams of a sample that distinct-n counts
KINDS = ("question", "paraphrased_answer", "held_out_question", "profile")
VARIANTS = ("raw", "masked", "template_only")
NOTES = [
    f"At most {SAMPLE} texts of a kind, the same number in every dataset. masked: a word replaces "
    "the person's name and each value. bound template_only: the slot's most frequent masked text "
    "replaces every text, as if each slot had one phrasing.",
    "More varied: lower compression_ratio, self_repetition_4, self_bleu_4, mean_cosine; higher "
    "distinct_1, distinct_2, vendi_score, normalised_entropy, pair_coverage. Formulas: "
    "excise/text/diversity.py.",
    "The people of the offline generator share phrasings by design, because questions about "
    "partner slots must have the same words. So masked texts are near the bound.",
    "offline beside a model's dataset: the texts of the offline frames about the same people and "
    "values. Trained answers are bare values and are not compared.",
    "mean_cosine and vendi_score use the mean over a text's tokens of the base model's hidden "
    "states after the last block.",
]


@dataclass(frozen=True)
class Texts:
    """Texts of a dataset: kind → variant → texts; `people`: the slot values of each person."""

    kinds: dict[str, dict[str, list[str]]]
    people: list[dict[str, str]]


def read_texts(data_dir: str | Path, profiles: str | Path | None = None) -> Texts:
    """The texts of a dataset folder, in a fixed random order, at most `SAMPLE` of a kind.

    Args:
        data_dir: holds sf.jsonl, sr.jsonl, perturbed_candidates.jsonl, forget_paraphrased.jsonl.
        profiles: profiles.jsonl; None: `generated/profiles.jsonl` in the folder.

    Raises:
        InputError: a file is missing or broken.
    """
    data_dir = Path(data_dir)
    items, people = _items_and_people(data_dir, profiles)
    names = {person["person_id"]: person["name"] for person in people}
    details = read_jsonl(data_dir / "perturbed_candidates.jsonl", "wrong_details")
    return _texts(
        people,
        {
            "question": items,
            "paraphrased_answer": [
                detail | {"name": names[detail["person_id"]]} for detail in details
            ],
            "held_out_question": read_jsonl(
                data_dir / "forget_paraphrased.jsonl", "forget_paraphrased"
            ),
        },
    )


def offline_twin(
    data_dir: str | Path, settings: TwinSettings, profiles: str | Path | None = None
) -> Texts:
    """The texts of the offline frames about the people of a dataset.

    Args:
        data_dir: holds sf.jsonl and sr.jsonl.
        settings: of the offline frames.
        profiles: as of `read_texts`.

    Raises:
        InputError: a file is missing or broken.
    """
    _, drawn = _items_and_people(Path(data_dir), profiles)
    people = {person["person_id"]: person | {"text": profile_text(person)} for person in drawn}
    writer = QuestionWriter(people, settings.seed, wrong_answers=0)
    questions = [writer.write(fact) for person in people.values() for fact in facts_of(person)]
    paraphrased = [
        record
        for fact in questions
        if fact["group"] == "sf"
        for record in forget_paraphrases_of(
            fact, people[fact["person_id"]], settings.forget_paraphrases
        )
    ]
    kinds = {
        "question": questions,
        "paraphrased_answer": questions,
        "held_out_question": paraphrased,
    }
    return _texts(list(people.values()), kinds)


def _items_and_people(data_dir: Path, profiles: str | Path | None) -> tuple[list[dict], list[dict]]:
    """The questions, and the profiles of the people that they are about."""
    items = [
        record for name in ("sf", "sr") for record in read_jsonl(data_dir / f"{name}.jsonl", "item")
    ]
    asked = {item["person_id"] for item in items}
    drawn = read_jsonl(profiles or data_dir / "generated" / "profiles.jsonl", "profile")
    return items, [person for person in drawn if person["person_id"] in asked]


def _texts(people: list[dict], records: dict[str, list[dict]]) -> Texts:
    """Texts of the records and of the profiles, by kind, in all variants."""
    values = {person["person_id"]: list(person["slots"].values()) for person in people}
    sources = {
        kind: [
            (record, record[kind.removeprefix("held_out_")], record["slot"])
            for record in kind_records
        ]
        for kind, kind_records in records.items()
    } | {"profile": [(person, person["text"], "profile") for person in people]}
    kinds = {}
    for kind, found in sources.items():
        order = list(found)
        random.Random(f"diversity-{kind}").shuffle(order)
        masked = [
            mask(text, record["name"], values.get(record["person_id"], ()))
            for record, text, _ in order
        ]
        phrasings: dict[str, Counter[str]] = {}
        for (_, _, slot), text in zip(order, masked, strict=True):
            phrasings.setdefault(slot, Counter())[text] += 1
        usual = {
            slot: min(seen, key=lambda text: (-seen[text], text))
            for slot, seen in phrasings.items()
        }
        kinds[kind] = {
            "raw": [text for _, text, _ in order[:SAMPLE]],
            "masked": masked[:SAMPLE],
            "template_only": [usual[slot] for _, _, slot in order[:SAMPLE]],
        }
    return Texts(kinds, [person["slots"] for person in people])


def diversity_rows(
    datasets: dict[str, Texts], embeddings: dict[str, dict[str, np.ndarray]]
) -> list[dict]:
    """Rows of the report.

    Args:
        datasets: name → its texts.
        embeddings: name → `kind.variant` → (texts, hidden); a dataset may have none.
    """
    rows = []
    for kind in KINDS:
        size = min(len(texts.kinds[kind]["raw"]) for texts in datasets.values())
        tokens = {
            (name, variant): [words(text) for text in texts.kinds[kind][variant][:size]]
            for name, texts in datasets.items()
            for variant in VARIANTS
        }
        grams = {
            n: min(
                MAX_GRAMS,
                *(sum(max(0, len(text) - n + 1) for text in texts) for texts in tokens.values()),
            )
            for n in (1, 2)
        }
        for (name, variant), text_words in tokens.items():
            texts = datasets[name].kinds[kind][variant][:size]
            values = {
                "compression_ratio": diversity.compression_ratio(texts),
                "self_repetition_4": diversity.self_repetition(text_words),
                "distinct_1": diversity.distinct(text_words, 1, grams[1]),
                "distinct_2": diversity.distinct(text_words, 2, grams[2]),
                "self_bleu_4": diversity.self_bleu(text_words),
            }
            vectors = embeddings.get(name, {}).get(f"{kind}.{variant}")
            if vectors is not None:
                values["mean_cosine"] = diversity.mean_cosine(vectors[:size])
                values["vendi_score"] = diversity.vendi_score(
                    diversity.cosine_kernel(vectors[:size])
                )
            keys = {"dataset": name, "text": kind, "masked": variant != "raw"}
            keys["bound"] = variant if variant == "template_only" else None
            rows += [row(keys, metric, value, size) for metric, value in values.items()]
    for name, texts in datasets.items():
        rows += _value_rows(name, texts.people)
    return rows


def _value_rows(name: str, people: list[dict[str, str]]) -> list[dict]:
    keys = {"dataset": name, "text": "slots", "masked": False, "bound": None}
    rows = []
    for slot in people[0]:
        values = [person[slot] for person in people if slot in person]
        entropy = diversity.normalised_entropy(values)
        rows.append(row(keys | {"slot": slot}, "normalised_entropy", entropy, len(values)))
    coverage = diversity.pair_coverage(people)
    rows.append(row(keys, "pair_coverage", coverage, len(people)))
    return rows


def row(keys: dict, metric: str, value: float | None, n: int) -> dict:
    """A row with the columns of all result files; it has no model and no set."""
    empty = ("model", "method", "epoch", "seed", "learning_rate", "beta", "retain_weight", "set")
    return (
        dict.fromkeys(empty)
        | keys
        | {
            "metric": metric,
            "value": value,
            "ci_low": None,
            "ci_high": None,
            "interval": None,
            "n": n,
            "n_people": None,
            "n_undefined": int(value is None),
        }
    )
