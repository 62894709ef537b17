"""Diversity metrics by hand, invariances, agreement with nltk; the report of two datasets."""

import math

import numpy as np
import pytest
from nltk.translate.bleu_score import sentence_bleu

import diversity_report
import job_settings
import small_dataset
import validate_dataset
from excise.errors import InputError
from excise.generation.diversity_rows import offline_twin, read_texts
from excise.generation.settings import TwinSettings
from excise.records import read_json
from excise.text import diversity


def split(*texts: str) -> list[list[str]]:
    return [text.split() for text in texts]


def test_compression_by_repetition():
    once, often = ["a walk in the park"], ["a walk in the park"] * 50
    assert diversity.compression_ratio(often) > 10 > diversity.compression_ratio(once)


def test_self_repetition_by_hand():
    # Two texts contain "a b c d": each has one other holder; the third text has none.
    texts = split("a b c d", "x a b c d", "p q r s")
    expected = (math.log(2) + math.log(2) + 0) / 3
    assert diversity.self_repetition(texts) == pytest.approx(expected)
    assert diversity.self_repetition(texts[::-1]) == pytest.approx(expected)
    assert diversity.self_repetition(split("a b c d a b c d", "e f g h")) == 0


def test_distinct_by_hand():
    texts = split("a b a", "a b")
    assert diversity.distinct(texts, 1, 5) == 2 / 5
    assert diversity.distinct(texts, 1, 2) == 1
    assert diversity.distinct(texts, 2, 3) == 2 / 3  # ab, ba, ab
    assert diversity.distinct(texts, 2, 4) is None  # there are three


def test_self_bleu_by_hand():
    assert diversity.self_bleu(split("a b c d e", "a b c d e")) == pytest.approx(1)
    assert diversity.self_bleu(split("a b c d e", "f g h i j")) == 0
    assert diversity.self_bleu(split("a b c d e")) is None
    # Against the longer text all n-grams of the shorter one are found, at a brevity penalty of
    # 1 - 6/5; against the shorter one precisions are 5/6, 4/5, 3/4, 2/3 of the longer.
    texts = split("a b c d e", "a b c d e f")
    expected = (math.exp(-0.2) + (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25) / 2
    assert diversity.self_bleu(texts) == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_self_bleu_is_nltks():
    rng = np.random.default_rng(0)
    vocabulary = np.array("a b c d".split())
    texts = [list(rng.choice(vocabulary, size=size)) for size in rng.integers(4, 15, size=40)]
    nltks = [
        sentence_bleu(texts[:index] + texts[index + 1 :], text) for index, text in enumerate(texts)
    ]
    assert diversity.self_bleu(texts) == pytest.approx(np.mean(nltks), abs=1e-9)


def test_entropy_by_hand():
    assert diversity.normalised_entropy(["a", "b", "c"]) == pytest.approx(1)
    assert diversity.normalised_entropy(["a", "a", "a"]) == 0
    assert diversity.normalised_entropy(["a", "a", "b", "b"]) == pytest.approx(0.5)
    assert diversity.normalised_entropy(["a"]) is None


def test_pair_coverage_by_hand():
    free = [{"one": a, "two": b} for a in "xy" for b in "pq"]
    assert diversity.pair_coverage(free) == 1
    bound = [{"one": a, "two": b} for a, b in ("xp", "xp", "yq", "yq")]
    assert diversity.pair_coverage(bound) == 0.5
    assert diversity.pair_coverage([{"one": "x"}]) is None


def test_mean_cosine_by_hand():
    assert diversity.mean_cosine(np.array([[1.0, 0], [0, 1]])) == pytest.approx(0)
    assert diversity.mean_cosine(np.array([[1.0, 0], [2, 0], [0, 3]])) == pytest.approx(1 / 3)
    assert diversity.mean_cosine(np.ones((1, 4))) is None


def test_vendi_score_by_hand():
    assert diversity.vendi_score(np.eye(5)) == pytest.approx(5)
    assert diversity.vendi_score(np.ones((5, 5))) == pytest.approx(1)
    # Two pairs of twins: eigenvalues 1/2, 1/2.
    twins = np.kron(np.eye(2), np.ones((2, 2)))
    assert diversity.vendi_score(twins) == pytest.approx(2)
    # Cosine 1/2: eigenvalues of K/2 are 3/4 and 1/4.
    half = np.array([[1, 0.5], [0.5, 1]])
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert diversity.vendi_score(half) == pytest.approx(expected)


def test_metrics_do_not_depend_on_the_order_of_texts_or_the_length_of_vectors():
    vectors = np.random.default_rng(0).normal(size=(6, 3))
    kernel = diversity.cosine_kernel(vectors)
    assert diversity.vendi_score(kernel) == pytest.approx(
        diversity.vendi_score(diversity.cosine_kernel(vectors[::-1] * 7))
    )
    texts = split("a b c d e f", "a b c d x y", "q r s t u v")
    assert diversity.self_bleu(texts) == pytest.approx(diversity.self_bleu(texts[::-1]))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A dataset as generated, and one in which two people's names stand for four."""
    folder = tmp_path_factory.mktemp("diversity")
    made = []
    for name in ("varied", "alike"):
        records = small_dataset.generated_records()
        if name == "alike":
            for person in records["profiles"]:
                person["text"] = records["profiles"][0]["text"]
        validate = small_dataset.write_generated(folder / name, records)
        validate_dataset.main(validate)
        (folder / name / "generated").rename(folder / name / "data" / "generated")
        made.append(folder / name / "data")
    return made


def report(folder, *datasets: str, embeddings=()) -> list[dict]:
    out = folder / "diversity_report.json"
    more = ["--embeddings", *embeddings] if embeddings else []
    diversity_report.main(
        ["--datasets", *datasets, *more, "--experiment", "t", "--config", "{}", "--out", str(out)]
    )
    return read_json(out)["rows"]


def value(rows, **keys):
    [row] = [row for row in rows if all(row[key] == value for key, value in keys.items())]
    return row["value"]


def test_the_report_compares_two_datasets(folders, tmp_path):
    rows = report(tmp_path, f"offline={folders[0]}", f"llm={folders[1]}")
    ratio = {
        name: value(
            rows, dataset=name, text="profile", metric="compression_ratio", masked=False, bound=None
        )
        for name in ("offline", "llm")
    }
    assert ratio["llm"] > ratio["offline"]
    assert {row["n"] for row in rows if row["text"] == "profile"} == {4}


def test_masked_texts_are_less_varied_and_the_bound_is_least_varied(folders, tmp_path):
    rows = report(tmp_path, f"offline={folders[0]}")
    keys = {"dataset": "offline", "text": "paraphrased_answer", "metric": "self_bleu_4"}
    raw = value(rows, **keys, masked=False)
    masked = value(rows, **keys, masked=True, bound=None)
    bound = value(rows, **keys, bound="template_only")
    assert raw < masked <= bound


def test_embeddings_are_optional_and_named(folders, tmp_path):
    rng = np.random.default_rng(0)
    vectors = {"profile.raw": rng.normal(size=(4, 8)), "profile.masked": np.ones((4, 8))}
    np.savez(tmp_path / "e.npz", **vectors)
    rows = report(tmp_path, f"a={folders[0]}", embeddings=[f"a={tmp_path / 'e.npz'}"])
    keys = {"text": "profile", "metric": "vendi_score"}
    assert value(rows, **keys, masked=True) == pytest.approx(1)
    assert value(rows, **keys, masked=False) > 2


TWIN = TwinSettings(seed=0, forget_paraphrases=3)


def test_the_offline_twin_of_an_offline_dataset_is_the_dataset_itself(tmp_path):
    validate_dataset.main(small_dataset.generate_offline(tmp_path, people=6, max_value_share=0.5))
    profiles = tmp_path / "generated" / "profiles.jsonl"
    data = tmp_path / "data"
    texts, twin = read_texts(data, profiles), offline_twin(data, TWIN, profiles)
    assert twin.people == texts.people
    for kind, variants in texts.kinds.items():
        for variant, own in variants.items():
            assert sorted(twin.kinds[kind][variant]) == sorted(own)


def test_a_person_left_out_of_the_dataset_does_not_count(tmp_path):
    arguments = small_dataset.generate_offline(tmp_path, people=6, max_value_share=0.5)
    limits = job_settings.hp(
        "validation_settings", people=None, holdout=None, incomplete_people=0.2
    )
    qa = tmp_path / "generated" / "qa.jsonl"
    kept = [line for line in qa.read_text().splitlines() if '"p003.mentor"' not in line]
    qa.write_text("\n".join(kept) + "\n")
    validate_dataset.main([*arguments, "--hp", limits])
    profiles, data = tmp_path / "generated" / "profiles.jsonl", tmp_path / "data"
    for texts in (read_texts(data, profiles), offline_twin(data, TWIN, profiles)):
        assert len(texts.people) == len(texts.kinds["profile"]["raw"]) == 5
        assert len(texts.kinds["question"]["raw"]) == 5 * 22


@pytest.mark.parametrize("wrong", ["data", "=data", "offline="])
def test_a_dataset_needs_name_and_folder(tmp_path, wrong):
    with pytest.raises(InputError, match="allowed is NAME=PATH"):
        report(tmp_path, wrong)


def test_broken_embeddings_are_named(folders, tmp_path):
    (tmp_path / "e.npz").write_text("no")
    with pytest.raises(InputError, match=r"e\.npz: not a file of embeddings"):
        report(tmp_path, f"a={folders[0]}", embeddings=[f"a={tmp_path / 'e.npz'}"])
