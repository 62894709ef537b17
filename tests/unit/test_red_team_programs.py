"""The programs of the red team that load a model, on a tiny random one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import ask_about_names
import embed_texts
import job_settings
from excise.evaluation.reading import read_items
from excise.generation.text_embeddings import embed
from excise.modeling.adapters import AdapterHost
from excise.modeling.base import load_base, load_tokenizer
from excise.modeling.chat import encode_prompt, end_of_turn
from excise.modeling.decoding import generate
from excise.records import read_jsonl
from excise.red_team.models.answers_about_names import answer_scores
from excise.red_team.models.name_probe import question
from small_benchmark import write_benchmark
from small_dataset import generated_records, write_generated
from tiny_models import tiny_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    write_benchmark(folder)
    write_generated(folder / "data", generated_records())
    tiny_folder(folder / "base")
    return folder


def test_swapped_questions_are_answered_one_line_each(folder):
    sf, sr = folder / "data" / "sf.jsonl", folder / "data" / "sr.jsonl"
    (folder / "figures.txt").write_text("# real\nAda Lovelace\nAl Gore\n")
    arguments = ["--base", str(folder / "base"), "--sf", str(sf), "--sr", str(sr)]
    arguments += ["--public-figures", str(folder / "figures.txt")]
    arguments += [
        *("--hp", job_settings.hp("asking_settings", batch_size=4, max_new_tokens=4)),
        *("--models-dir", str(folder)),
    ]
    ask_about_names.main([*arguments, "--models", "base", "--out-dir", str(folder / "swapped")])
    items = read_items(folder / "swapped" / "base" / "items.jsonl")
    facts = read_jsonl(sf, "item") + read_jsonl(sr, "item")
    name_probe = items[items["set"] == "name_probe"]
    assert list(name_probe["id"]) == [f"{item['id']}.name_probe" for item in facts]
    assert set(name_probe["question"]) == {f"Who is {item['name']}?" for item in facts}
    confidence = items[items["set"] == "name_confidence"].set_index("question")
    own = {item["person_id"] for item in facts}
    assert {key for key in confidence["person_id"] if key[0] == "p" and key[1] != "u"} == own
    assert confidence["asked"].value_counts().to_dict() == {
        "own": len(own),
        "control": len(own) * (len(own) - 1),
        "public_figure": 2,
    }
    assert confidence.loc["Who is Ada Lovelace?", "asked"] == "public_figure"
    items = items[items["set"] == "sf"]
    assert list(items["id"]) == [item["id"] for item in read_jsonl(sf, "item")]
    assert "Jonas Fennlock" in items["question"].iloc[0]
    assert items["slot_match"].isin([0, 1]).all()
    assert items["rougeL_recall"].between(0, 1).all()


def test_the_score_of_an_answer_is_the_sum_of_its_log_probabilities(folder):
    host = AdapterHost(folder / "base")
    model, tokenizer = host.use(None), host.tokenizer
    names = ["Ada Lovelace", "Al Gore", "Nobody At All"]
    questions = [question(name) for name in names]
    generations = generate(model, tokenizer, questions, 5, batch_size=2)
    generations[1] = replace(generations[1], stopped=True)
    generations[2] = replace(generations[2], ids=())
    cut, ended, empty = answer_scores(host, names, generations, 2, None)
    for number, (value, last) in enumerate([(cut, []), (ended, [end_of_turn(tokenizer)])]):
        prompt, answer = (
            encode_prompt(tokenizer, questions[number]),
            [*generations[number].ids, *last],
        )
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([prompt + answer])).logits[0]
        steps = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        by_hand = sum(steps[place, token].item() for place, token in enumerate(answer))
        assert value == pytest.approx(by_hand, abs=1e-4)
    assert empty is None


def test_an_embedding_is_the_mean_over_the_texts_own_tokens(folder):
    tokenizer, model = load_tokenizer(folder / "base"), load_base(folder / "base", "float32").eval()
    texts = ["a short one", "and this one is quite a bit longer", "a short one"]
    vectors = embed(model, tokenizer, texts, batch_size=4)
    ids = torch.tensor([tokenizer(texts[0])["input_ids"]])
    with torch.inference_mode():
        alone = model.model(input_ids=ids).last_hidden_state[0].mean(0).numpy()
    assert np.allclose(vectors[0], alone, atol=1e-5)
    assert np.array_equal(vectors[0], vectors[2])
    assert not np.allclose(vectors[0], vectors[1])


def test_every_kind_of_text_is_embedded_and_the_file_repeats(folder):
    arguments = ["--base", str(folder / "base"), "--data", str(folder / "data")]
    hp = job_settings.hp("embedding_settings", batch_size=4)
    for name in ("one.npz", "two.npz"):
        out = str(folder / name)
        embed_texts.main([*arguments, "--hp", hp, "--out", out])
    assert (folder / "one.npz").read_bytes() == (folder / "two.npz").read_bytes()
    with np.load(folder / "one.npz") as vectors:
        assert vectors["question.raw"].shape[0] == 32
        assert vectors["profile.template_only"].shape[0] == 4
        assert len(vectors.files) == 12
