"""docs/how-to/add-a-method.md, followed to the letter on a tiny random model."""

from types import SimpleNamespace

import pytest
import torch

from excise.config.check import check_config
from excise.config.load import load_config
from excise.config.trajectories import expand_trajectories
from excise.errors import InputError
from excise.modeling.differentiable_logprobs import AnswerLogprobs
from excise.modeling.settings import ModelSettings
from excise.records import read_jsonl
from excise.unlearning.forget_model import ForgetModel, questions_and_answers
from excise.unlearning.method import Readings, Step
from excise.unlearning.registry import find
from how_to import ROOT, blocks, files
from tiny_study import MODEL, run_unlearn, tiny_study, weights

PAGE = "docs/how-to/add-a-method.md"


@pytest.fixture
def method(tmp_path, monkeypatch):
    """The page's files, written where it says; the working folder is there."""
    for name, text in files(PAGE).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return "my_methods/ga_kl.py"


def test_the_config_of_the_page_makes_the_trajectories_it_names(method, tmp_path):
    overlay = tmp_path / "experiments/ga-kl.yaml"
    checked = check_config(*load_config([ROOT / "config.yaml", overlay]))
    named = ["ga/lr0.0002", "ga_kl/lr0.0002_lambda1", "ga_kl/lr0.0002_lambda5"]
    assert list(expand_trajectories(checked)) == named
    page = (ROOT / PAGE).read_text()
    assert all(f"`{name}`" in page for name in named)


def test_the_commands_of_the_page_name_its_config():
    commands = blocks(PAGE, "bash")
    assert commands and all("--configfile experiments/ga-kl.yaml" in one for one in commands)


def test_the_method_of_the_page_moves_weights_and_lowers_its_loss(method, tmp_path):
    study = tiny_study(tmp_path / "study")
    log = run_unlearn(study, tmp_path / "made", method=method, retain_weight=1.0, epochs=[1, 4])
    losses = [row["loss"] for row in log["steps"]]
    assert losses[-1] < losses[0] and log["diverged"] is None
    made = {weights(tmp_path / f"made/epoch_{epoch}") for epoch in (1, 4)}
    assert len(made | {weights(study / "finetuned")}) == 3


def test_its_divergence_keeps_the_retain_answers_where_they_were(method, tmp_path):
    """A weight of 100 leaves the retain set less moved than a small weight does."""
    study = tiny_study(tmp_path / "study")
    found = find(method)
    for weight in (0.01, 100.0):
        hp = {"method": method, "retain_weight": weight, "epochs": [8]}
        run_unlearn(study, tmp_path / f"made_{weight}", **hp)
    strong, weak = (distance(study, tmp_path / f"made_{w}/epoch_8") for w in (100.0, 0.01))
    assert strong < weak / 2
    assert found.label.startswith("GA+KL (")


def test_the_check_of_the_page_refuses_a_layer_that_the_model_lacks():
    made: dict = {}
    exec(blocks(PAGE, "python")[1], made)
    made["check"](SimpleNamespace(layer=2), {"num_hidden_layers": 2})
    with pytest.raises(InputError, match=r"^layer: found 3; allowed: 1 to 2, the bl"):
        made["check"](SimpleNamespace(layer=3), {"num_hidden_layers": 2})


def distance(study, adapter) -> float:
    """Mean absolute change of the retain answers' log-probabilities."""
    records = read_jsonl(study / "sr.jsonl", "item")
    settings = ModelSettings(**MODEL)
    before, after = (
        model.logprobs(model.encode(*questions_and_answers(records))).sums.detach()
        for model in (
            ForgetModel(study / "base", folder, settings, "none", seed=0)
            for folder in (study / "finetuned", adapter)
        )
    )
    return (after - before).abs().mean().item()


def test_its_loss_by_hand(method):
    """Two retain tokens: p = (½, ½) twice against q = (¼, ¾) and (½, ½); KL = ½·log(4/3)."""
    found = find(method)
    before = torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log()
    after = torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log()
    sums, tokens = torch.tensor([-6.0]), torch.tensor([3])
    step = Step(
        forget=AnswerLogprobs(sums, tokens),
        retain=AnswerLogprobs(sums, tokens, logits=after),
        finetuned=Readings(retain=AnswerLogprobs(sums, tokens, logits=before)),
    )
    divergence = (0.5 * torch.tensor(4 / 3).log()).item() / 2
    loss = found.loss(step, found.Settings(1e-4, 2.0))
    assert loss.item() == pytest.approx(-2.0 + 2.0 * divergence)
