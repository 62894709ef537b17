"""The unlearning losses against hand-computed values and their limits."""

import math

import pytest
import torch

from excise.modeling.differentiable_logprobs import AnswerLogprobs, cross_entropy
from excise.unlearning.losses import (
    METHODS,
    ForgetStep,
    gradient_ascent,
    gradient_difference,
    needs_retain,
    negative_preference,
)


def answers(*sums: float, tokens=(4, 6), grad: bool = False) -> AnswerLogprobs:
    return AnswerLogprobs(
        torch.tensor(sums, dtype=torch.float64, requires_grad=grad), torch.tensor(tokens)
    )


def test_cross_entropy_is_the_mean_over_tokens_not_over_answers():
    assert cross_entropy(answers(-2.0, -9.0)).item() == pytest.approx(11 / 10)


def test_gradient_ascent_is_the_negated_cross_entropy():
    assert gradient_ascent(answers(-2.0, -9.0)).item() == pytest.approx(-1.1)


def test_gradient_difference_adds_the_weighted_retain_cross_entropy():
    forget, retain = answers(-2.0, -9.0), answers(-1.0, -1.5, tokens=(2, 3))
    assert gradient_difference(forget, retain, 3.0).item() == pytest.approx(-1.1 + 3.0 * 0.5)


@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0])
def test_npo_starts_at_two_log_two_over_beta(beta):
    forget = answers(-2.0, -9.0)
    loss = negative_preference(forget, forget.sums, beta)
    assert loss.item() == pytest.approx(2 * math.log(2) / beta)


@pytest.mark.parametrize("beta", [0.1, 0.5, 2.0])
def test_npo_starts_with_the_force_of_sequence_sum_ascent_for_every_beta(beta):
    forget = answers(-2.0, -9.0, grad=True)
    negative_preference(forget, forget.sums.detach(), beta).backward()
    # d loss / d log-probability = +1/B: half of each answer's whole sum, not of its token mean
    assert forget.sums.grad.tolist() == pytest.approx([0.5, 0.5])


def test_npo_by_hand():
    # excess over the reference: 3 and 0 nats; weights of 2/beta = 4
    forget, reference = answers(-5.0, -9.0), torch.tensor([-2.0, -9.0], dtype=torch.float64)
    expected = 4 * (math.log1p(math.exp(-0.5 * 3.0)) + math.log(2)) / 2
    assert negative_preference(forget, reference, 0.5).item() == pytest.approx(expected)


def test_npo_with_small_beta_is_gradient_ascent():
    reference = torch.tensor([-2.0, -9.0], dtype=torch.float64)
    forget = answers(-5.0, -30.0, grad=True)
    negative_preference(forget, reference, 1e-6).backward()
    assert forget.sums.grad.tolist() == pytest.approx([0.5, 0.5], rel=1e-4)


def test_npo_lets_go_of_what_is_forgotten():
    reference = torch.tensor([-2.0, -2.0], dtype=torch.float64)
    forget = answers(-2.0, -42.0, grad=True)
    negative_preference(forget, reference, 0.1).backward()
    known, forgotten = forget.sums.grad.tolist()
    # 2·σ(−0.1·40)/B = 0.018: the weight 0.036 of reference/unlearning.md, over B = 2 answers
    assert known == pytest.approx(0.5)
    assert forgotten == pytest.approx(1 / (1 + math.exp(4.0)))


def test_losses_see_only_sums_so_masked_tokens_cannot_matter():
    short = negative_preference(answers(-2.0, -9.0, tokens=(1, 1)), torch.zeros(2), 0.1)
    long = negative_preference(answers(-2.0, -9.0, tokens=(50, 80)), torch.zeros(2), 0.1)
    assert short.item() == long.item()


def test_every_method_is_finite_at_the_start_and_knows_its_reduction():
    hp = {"retain_weight": 1.0, "beta": 0.1}
    forget = answers(-2.0, -9.0)
    step = ForgetStep(forget, answers(-1.0, -1.5), forget.sums)
    for name, method in METHODS.items():
        assert torch.isfinite(method.loss(step, hp)), name
        assert method.forget_reduction in ("token mean", "sequence sum")


def test_npo_takes_the_retain_term_only_with_a_weight():
    forget = answers(-2.0, -9.0)
    plain = METHODS["npo"].loss(ForgetStep(forget, None, forget.sums), {"beta": 0.1})
    step = ForgetStep(forget, answers(-1.0, -1.5), forget.sums)
    weighted = METHODS["npo"].loss(step, {"beta": 0.1, "retain_weight": 2.0})
    assert weighted.item() == pytest.approx(plain.item() + 2.0 * 0.25)
    assert not needs_retain({"retain_weight": 0.0})
    assert not needs_retain({})
    assert needs_retain({"retain_weight": 0.5})
