"""The loss of every unlearning method against hand-computed values and its limits."""

import math
import subprocess
import sys

import pytest
import torch

from excise.modeling.differentiable_logprobs import AnswerLogprobs, cross_entropy
from excise.settings import parse
from excise.unlearning.method import Adapter, Readings, Start, Step
from excise.unlearning.methods import ft, ga, gd, idk_dpo, npo, rmu, simnpo, task_vector
from excise.unlearning.registry import find, names

REDUCTIONS = {
    "ga": "token mean",
    "gd": "token mean",
    "npo": "sequence sum",
    "simnpo": "mean over answers of token means",
    "idk_dpo": "sequence sum",
    "rmu": "mean over tokens and dimensions",
    "task_vector": "token mean",
    "ft": "no forget term",
}


def numbers(*values: float, grad: bool = False) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def answers(*sums: float, tokens=(4, 6), grad: bool = False) -> AnswerLogprobs:
    return AnswerLogprobs(numbers(*sums, grad=grad), torch.tensor(tokens))


def test_cross_entropy_is_the_mean_over_tokens_not_over_answers():
    assert cross_entropy(answers(-2.0, -9.0)).item() == pytest.approx(11 / 10)


def test_ft_reads_the_retain_batch_alone():
    forget, retain = answers(-2.0, -9.0, grad=True), answers(-3.0, -5.0, grad=True)
    loss = ft.loss(Step(forget, retain), ft.Settings(1e-4))
    loss.backward()
    assert loss.item() == pytest.approx(8 / 10)
    assert forget.sums.grad is None
    assert retain.sums.grad.tolist() == pytest.approx([-0.1, -0.1])
    assert ft.needs(ft.Settings(1e-4)).retain


def test_every_method_names_its_reduction_and_its_label():
    assert set(names()) == set(REDUCTIONS)
    for name in names():
        assert find(name).forget_reduction == REDUCTIONS[name]
        assert " (" in find(name).label


def test_no_method_loads_torch_when_it_is_imported():
    """Snakemake imports the methods of the config in every job."""
    code = f"from excise.unlearning.registry import find; [find(name) for name in {names()}]"
    check = f"{code}; import sys; assert 'torch' not in sys.modules"
    environment = {"PYTHONPATH": "workflow_scripts"}
    done = subprocess.run([sys.executable, "-c", check], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr


# --- GA and GD ---


def test_gradient_ascent_is_the_negated_cross_entropy():
    loss = ga.loss(Step(answers(-2.0, -9.0)), ga.Settings(1e-4))
    assert loss.item() == pytest.approx(-1.1)


def test_gradient_difference_adds_the_weighted_retain_cross_entropy():
    step = Step(answers(-2.0, -9.0), answers(-1.0, -1.5, tokens=(2, 3)))
    assert gd.loss(step, gd.Settings(1e-4, 3.0)).item() == pytest.approx(-1.1 + 3.0 * 0.5)


# --- NPO ---


def npo_loss(forget: AnswerLogprobs, reference: torch.Tensor, beta: float) -> torch.Tensor:
    return npo.loss(Step(forget, reference_sums=reference), npo.Settings(1e-4, beta))


@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0])
def test_npo_starts_at_two_log_two_over_beta(beta):
    forget = answers(-2.0, -9.0)
    assert npo_loss(forget, forget.sums, beta).item() == pytest.approx(2 * math.log(2) / beta)


@pytest.mark.parametrize("beta", [0.1, 0.5, 2.0])
def test_npo_starts_with_the_force_of_sequence_sum_ascent_for_every_beta(beta):
    forget = answers(-2.0, -9.0, grad=True)
    npo_loss(forget, forget.sums.detach(), beta).backward()
    # d loss / d log-probability = +1/B: half of each answer's whole sum, not of its token mean
    assert forget.sums.grad.tolist() == pytest.approx([0.5, 0.5])


def test_npo_by_hand():
    # excess over the reference: 3 and 0 nats; weights of 2/beta = 4
    expected = 4 * (math.log1p(math.exp(-0.5 * 3.0)) + math.log(2)) / 2
    loss = npo_loss(answers(-5.0, -9.0), numbers(-2.0, -9.0), 0.5)
    assert loss.item() == pytest.approx(expected)


def test_npo_with_small_beta_is_gradient_ascent():
    forget = answers(-5.0, -30.0, grad=True)
    npo_loss(forget, numbers(-2.0, -9.0), 1e-6).backward()
    assert forget.sums.grad.tolist() == pytest.approx([0.5, 0.5], rel=1e-4)


def test_npo_lets_go_of_what_is_forgotten():
    forget = answers(-2.0, -42.0, grad=True)
    npo_loss(forget, numbers(-2.0, -2.0), 0.1).backward()
    known, forgotten = forget.sums.grad.tolist()
    # 2·σ(−0.1·40)/B = 0.018: the weight is 0.036, over B = 2 answers
    assert known == pytest.approx(0.5)
    assert forgotten == pytest.approx(1 / (1 + math.exp(4.0)))


def test_npo_sees_only_sums_so_masked_tokens_cannot_matter():
    short = npo_loss(answers(-2.0, -9.0, tokens=(1, 1)), torch.zeros(2), 0.1)
    long = npo_loss(answers(-2.0, -9.0, tokens=(50, 80)), torch.zeros(2), 0.1)
    assert short.item() == long.item()


def test_npo_takes_the_retain_term_only_with_a_weight():
    forget = answers(-2.0, -9.0)
    plain = npo_loss(forget, forget.sums, 0.1)
    step = Step(forget, answers(-1.0, -1.5), reference_sums=forget.sums)
    weighted = npo.loss(step, npo.Settings(1e-4, 0.1, 2.0))
    assert weighted.item() == pytest.approx(plain.item() + 2.0 * 0.25)
    assert not npo.needs(npo.Settings(1e-4, 0.1)).retain
    assert npo.needs(npo.Settings(1e-4, 0.1, 0.5)).retain


# --- SimNPO ---


def test_simnpo_by_hand():
    # means 0.5 and 1.5 nats a token; δ 0.5: margins 0 and 1, times β 2
    expected = -(2 / 2) * (math.log(0.5) - math.log1p(math.exp(-2.0))) / 2
    loss = simnpo.loss(Step(answers(-2.0, -9.0)), simnpo.Settings(1e-4, 2.0, 0.5))
    assert loss.item() == pytest.approx(expected)


def test_simnpo_with_small_beta_is_length_normalised_ascent():
    forget = answers(-5.0, -30.0, grad=True)
    simnpo.loss(Step(forget), simnpo.Settings(1e-4, 1e-7)).backward()
    # −(1/B)·Σ S_i/n_i has the gradient 1/(B·n_i) in the log-probability
    assert forget.sums.grad.tolist() == pytest.approx([1 / 8, 1 / 12], rel=1e-5)


def test_simnpo_does_not_change_if_answer_and_length_double():
    once = simnpo.loss(Step(answers(-2.0, -9.0)), simnpo.Settings(1e-4))
    twice = simnpo.loss(Step(answers(-4.0, -18.0, tokens=(8, 12))), simnpo.Settings(1e-4))
    assert once.item() == pytest.approx(twice.item())


def test_simnpo_falls_as_answers_are_forgotten_and_lets_go_of_them():
    forget = answers(-2.0, -60.0, grad=True)
    loss = simnpo.loss(Step(forget), simnpo.Settings(1e-4))
    loss.backward()
    known, forgotten = forget.sums.grad.tolist()
    assert known > 0 and forgotten < 1e-15
    assert simnpo.loss(Step(answers(-3.0, -60.0)), simnpo.Settings(1e-4)) < loss


def test_simnpo_adds_the_weighted_retain_cross_entropy():
    step = Step(answers(-2.0, -9.0), answers(-1.0, -1.5))
    plain, weighted = simnpo.Settings(1e-4), simnpo.Settings(1e-4, retain_weight=8.0)
    difference = simnpo.loss(step, weighted) - simnpo.loss(Step(step.forget), plain)
    assert difference.item() == pytest.approx(8.0 * 0.25)


# --- IdkDPO ---


def idk_step(answer: float, idk: float, grad: bool = False) -> Step:
    """One question; the finetuned model gives −3 nats to its answer and −20 to the other."""
    return Step(
        forget=answers(answer, tokens=(4,), grad=grad),
        alternatives=answers(idk, tokens=(5,), grad=grad),
        reference_sums=numbers(-3.0),
        finetuned=Readings(alternatives=answers(-20.0, tokens=(5,))),
    )


@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0])
def test_idk_dpo_starts_at_two_log_two_over_beta(beta):
    loss = idk_dpo.loss(idk_step(-3.0, -20.0), idk_dpo.Settings(1e-4, beta))
    assert loss.item() == pytest.approx(2 * math.log(2) / beta)


def test_idk_dpo_by_hand():
    # the answer lost 2 nats, the other one gained 4: β·6 = 3
    loss = idk_dpo.loss(idk_step(-5.0, -16.0), idk_dpo.Settings(1e-4, 0.5))
    assert loss.item() == pytest.approx(4 * math.log1p(math.exp(-3.0)))


def test_idk_dpo_pulls_both_answers_with_the_same_force():
    step = idk_step(-5.0, -16.0, grad=True)
    idk_dpo.loss(step, idk_dpo.Settings(1e-4, 0.5)).backward()
    force = 2 / (1 + math.exp(3.0))
    assert step.forget.sums.grad.item() == pytest.approx(force)  # its log-probability falls
    assert step.alternatives.sums.grad.item() == pytest.approx(-force)


# --- RMU ---

START = Start(blocks=2, width=4, device=torch.device("cpu"), seed=0)


def states(*rows: list[float]) -> AnswerLogprobs:
    return AnswerLogprobs(None, torch.tensor([len(rows)]), states={1: torch.tensor(rows)})


def rmu_settings(scale: float = 2.0, weight: float = 0.5) -> rmu.Settings:
    return rmu.Settings(1e-4, steering_layer=1, steering_scale=scale, retain_weight=weight)


def test_rmu_steers_to_a_unit_vector_that_the_seed_decides():
    first, again = (rmu.prepare(START, rmu_settings()) for _ in range(2))
    other = rmu.prepare(Start(2, 4, START.device, seed=1), rmu_settings())
    assert first.norm().item() == pytest.approx(1.0)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_rmu_is_zero_where_states_are_steered_and_retained_ones_stay():
    unit = rmu.prepare(START, rmu_settings())
    steered, kept = states((2.0 * unit).tolist()), states([1.0, 2.0, 3.0, 4.0])
    step = Step(steered, kept, finetuned=Readings(retain=kept), prepared=unit)
    assert rmu.loss(step, rmu_settings()).item() == 0.0


def test_rmu_by_hand():
    unit = torch.tensor([1.0, 0.0, 0.0, 0.0])
    # to (2, 0, 0, 0): squares (4 + 4) and 1 over 2 tokens of 4; retained: 16 over 4
    step = Step(
        states([0.0, 2.0, 0.0, 0.0], [2.0, 0.0, 1.0, 0.0]),
        states([5.0, 0.0, 0.0, 0.0]),
        finetuned=Readings(retain=states([1.0, 0.0, 0.0, 0.0])),
        prepared=unit,
    )
    assert rmu.loss(step, rmu_settings()).item() == pytest.approx(9 / 8 + 0.5 * 4.0)


def test_rmu_without_a_retain_weight_reads_no_retain_batch_and_no_finetuned_model():
    needs = rmu.needs(rmu_settings(weight=0.0))
    assert not needs.retain and not needs.finetuned and not needs.logprobs


# --- task vector ---


def adapter(seed: int, **config) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"x.lora_A.weight": (2, 5), "x.lora_B.weight": (3, 2)}
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return Adapter({"r": 2, "lora_alpha": 6} | config, tensors)


def delta(one: Adapter) -> torch.Tensor:
    rank, alpha = one.config["r"], one.config["lora_alpha"]
    scale = alpha / math.sqrt(rank) if one.config.get("use_rslora") else alpha / rank
    return scale * one.tensors["x.lora_B.weight"] @ one.tensors["x.lora_A.weight"]


@pytest.mark.parametrize("config", [{}, {"use_rslora": True}])
@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.5])
def test_a_task_vector_goes_from_the_finetuned_adapter_away_from_the_reinforced_one(alpha, config):
    finetuned, reinforced = adapter(0, **config), adapter(1, **config)
    made = task_vector.checkpoint(finetuned, reinforced, task_vector.Settings(1e-4, alpha))
    expected = delta(finetuned) - alpha * (delta(reinforced) - delta(finetuned))
    assert torch.allclose(delta(made), expected, atol=1e-6)
    assert made.config["r"] == 4


def test_a_task_vector_learns_the_forget_set():
    loss = task_vector.loss(Step(answers(-2.0, -9.0)), task_vector.Settings(1e-4))
    assert loss.item() == pytest.approx(1.1)


def test_hyperparameters_are_parsed_strictly():
    assert parse(simnpo.Settings, {"learning_rate": 0.1}) == simnpo.Settings(0.1, 4.5, 0.0, 0.0)
