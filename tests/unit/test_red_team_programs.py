"""The programs of the red team that load a model, on a tiny random one."""

import json

import numpy as np
import pytest
import torch

import ask_about_names
import embed_texts
from excise.models import load_base, load_tokenizer
from excise.records import read_jsonl
from excise.summaries import read_items
from small_benchmark import write_benchmark
from small_dataset import generated_records, write_generated
from tiny_models import tiny_folder

HP = {"dtype": "float32", "threads": 1, "gpu": 0, "system_prompt": None, "batch_size": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    write_benchmark(folder)
    write_generated(folder / "data", generated_records())
    tiny_folder(folder / "base")
    return folder


def test_swapped_questions_are_answered_one_line_each(folder):
    sf, sr = folder / "data" / "sf.jsonl", folder / "data" / "sr.jsonl"
    arguments = ["--base", str(folder / "base"), "--sf", str(sf), "--sr", str(sr)]
    arguments += ["--hp", json.dumps(HP | {"max_new_tokens": 4}), "--models-dir", str(folder)]
    ask_about_names.main([*arguments, "--models", "base", "--out-dir", str(folder / "swapped")])
    items = read_items(folder / "swapped" / "base" / "items.jsonl")
    facts = read_jsonl(sf, "item") + read_jsonl(sr, "item")
    who_is = items[items["set"] == "who_is"]
    assert list(who_is["id"]) == [f"{item['id']}.who_is" for item in facts]
    assert set(who_is["question"]) == {f"Who is {item['name']}?" for item in facts}
    items = items[items["set"] == "sf"]
    assert list(items["id"]) == [item["id"] for item in read_jsonl(sf, "item")]
    assert "Jonas Fennlock" in items["question"].iloc[0]
    assert items["slot_match"].isin([0, 1]).all()
    assert items["rougeL_recall"].between(0, 1).all()


def test_an_embedding_is_the_mean_over_the_texts_own_tokens(folder):
    tokenizer, model = load_tokenizer(folder / "base"), load_base(folder / "base", "float32").eval()
    texts = ["a short one", "and this one is quite a bit longer", "a short one"]
    vectors = embed_texts.embed(model, tokenizer, texts, batch_size=4)
    ids = torch.tensor([tokenizer(texts[0])["input_ids"]])
    with torch.inference_mode():
        alone = model.model(input_ids=ids).last_hidden_state[0].mean(0).numpy()
    assert np.allclose(vectors[0], alone, atol=1e-5)
    assert np.array_equal(vectors[0], vectors[2])
    assert not np.allclose(vectors[0], vectors[1])


def test_every_kind_of_text_is_embedded_and_the_file_repeats(folder):
    arguments = ["--base", str(folder / "base"), "--data", str(folder / "data")]
    for name in ("one.npz", "two.npz"):
        out = str(folder / name)
        embed_texts.main([*arguments, "--hp", json.dumps(HP), "--out", out])
    assert (folder / "one.npz").read_bytes() == (folder / "two.npz").read_bytes()
    with np.load(folder / "one.npz") as vectors:
        assert vectors["question.raw"].shape[0] == 32
        assert vectors["profile.template_only"].shape[0] == 4
        assert len(vectors.files) == 12
