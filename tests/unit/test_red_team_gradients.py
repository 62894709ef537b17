"""Gradients of forget facts beside those of retain facts."""

import math

import pytest
import torch

import compare_gradients
import job_settings
from excise.modeling.adapters import attach_lora, save_adapter
from excise.modeling.base import load_base, load_tokenizer
from excise.records import read_jsonl
from excise.red_team.models.gradients import cosines, similarities
from small_benchmark import write_benchmark
from tiny_models import lora, tiny_folder

LORA = lora()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gradients")
    write_benchmark(folder)
    tiny_folder(folder / "base")
    model = attach_lora(load_base(folder / "base"), LORA, seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    save_adapter(model, folder / "adapter")
    return folder


def item(group: str, question: str, answer: str) -> dict:
    keys = {"id": f"p0.{group}", "person_id": "p0", "slot": "slot", "group": group}
    return keys | {"question": question, "answer": answer}


def test_cosines_by_hand():
    one, right, opposite = torch.tensor([3.0, 4.0]), torch.tensor([4.0, -3.0]), -torch.ones(2)
    assert cosines([one], [one]) == [pytest.approx(1.0)]
    assert cosines([one], [right]) == [pytest.approx(0.0, abs=1e-7)]
    assert cosines([one], [one, right]) == [pytest.approx(0.5)]
    assert cosines([one], [opposite]) == [pytest.approx(-7 / (5 * math.sqrt(2)))]
    assert math.isnan(cosines([torch.zeros(2)], [one])[0])
    assert cosines([one, one], []) == [None, None]


def test_a_fact_shares_all_of_its_gradient_with_itself_and_less_with_another(folder):
    model = attach_lora(load_base(folder / "base"), LORA, seed=0)
    items = [
        item("sf", "Who accused Ann Lee?", "Bo Ray"),
        item("correlated", "Who accused Ann Lee?", "Bo Ray"),
        item("other", "Where was the home of Cy Tan?", "in Rome"),
    ]
    [line] = similarities(model, load_tokenizer(folder / "base"), items)
    assert line["correlated"] == pytest.approx(1.0, abs=1e-5)
    assert abs(line["other"]) < 0.95


def test_the_program_writes_one_line_a_forget_fact(folder):
    data = folder / "data"
    arguments = ["--base", str(folder / "base"), "--adapter", str(folder / "adapter")]
    arguments += ["--sf", str(data / "sf.jsonl"), "--sr", str(data / "sr.jsonl")]
    hp = job_settings.hp("gradient_settings")
    out = folder / "gradients.jsonl"
    compare_gradients.main([*arguments, "--hp", hp, "--out", str(out)])
    lines = read_jsonl(out, "gradients")
    assert [line["id"] for line in lines] == [
        one["id"] for one in read_jsonl(data / "sf.jsonl", "item")
    ]
    assert all(-1 <= line[group] <= 1 for line in lines for group in ("correlated", "other"))
