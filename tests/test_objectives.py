"""The losses against identities, the R1 penalty against finite differences."""

import math

import pytest
import torch

from ddgan_lite.networks import MLPConfig
from ddgan_lite.objectives import discriminator_loss, generator_loss, r1_penalty


def test_all_losses_start_at_log_2():
    losses = discriminator_loss(torch.zeros(7), torch.zeros(7)) | generator_loss(torch.zeros(7))
    assert set(losses) == {"d_real", "d_fake", "g_adversarial"}
    for loss in losses.values():
        assert loss.item() == pytest.approx(math.log(2), abs=1e-7)


def test_losses_are_the_negative_log_probabilities():
    real, fake = torch.tensor([0.3, -2.0, 4.0]), torch.tensor([-1.0, 0.5])
    losses = discriminator_loss(real, fake) | generator_loss(fake)
    expected = {
        "d_real": -real.sigmoid().log().mean(),
        "d_fake": -(1 - fake.sigmoid()).log().mean(),
        "g_adversarial": -fake.sigmoid().log().mean(),
    }
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)


@pytest.mark.parametrize("logit", [-1000.0, -90.0, 90.0, 1000.0])
def test_losses_stay_finite_and_linear_at_extreme_logits(logit):
    x = torch.tensor([logit])
    losses = discriminator_loss(x, x) | generator_loss(x)
    assert losses["d_real"].item() == pytest.approx(max(-logit, 0), abs=1e-6)
    assert losses["d_fake"].item() == pytest.approx(max(logit, 0), abs=1e-6)
    assert losses["g_adversarial"].item() == pytest.approx(max(-logit, 0), abs=1e-6)


def test_a_rejected_generator_still_gets_a_full_gradient():
    logit = torch.tensor([-50.0], requires_grad=True)
    generator_loss(logit)["g_adversarial"].backward()
    assert logit.grad.item() == pytest.approx(-1)  # the saturating loss would give 0 here


def test_r1_is_the_squared_slope_by_finite_differences():
    discriminator = MLPConfig(width=16).build_discriminator().double()
    x_prev, x_t = torch.randn(2, 5, 2, dtype=torch.float64)
    t = torch.tensor([1, 2, 3, 4, 1])
    real = x_prev.clone().requires_grad_()
    penalty = r1_penalty(discriminator(real, x_t, t), real)

    squared, step = torch.zeros(5, dtype=torch.float64), 1e-6
    for axis in torch.eye(2, dtype=torch.float64) * step:
        rise = discriminator(x_prev + axis, x_t, t) - discriminator(x_prev - axis, x_t, t)
        squared += (rise / (2 * step)) ** 2
    torch.testing.assert_close(penalty, squared.mean(), rtol=1e-7, atol=0)


def test_r1_differentiates_x_prev_and_nothing_else():
    x_prev = torch.randn(4, 3, requires_grad=True)
    x_t = torch.randn(4, 3, requires_grad=True)
    logits = (3 * x_prev + 100 * x_t).sum(1)
    assert r1_penalty(logits, x_prev).item() == pytest.approx(3 * 3**2)
    assert x_t.grad is None
    assert x_prev.grad is None


def test_r1_can_be_minimised():
    slope = torch.tensor(3.0, requires_grad=True)
    real = torch.randn(4, 2, requires_grad=True)
    r1_penalty(slope * real.sum(1), real).backward()
    assert slope.grad.item() == pytest.approx(2 * 2 * 3)  # d/ds of 2 s^2


def test_r1_is_a_mean_over_samples_and_a_sum_over_pixels():
    real = torch.randn(2, 3, 4, 4, requires_grad=True)
    many = torch.randn(9, 3, 4, 4, requires_grad=True)
    for x in (real, many):
        assert r1_penalty(x.flatten(1).sum(1), x).item() == pytest.approx(48)


def test_r1_of_samples_without_gradients_is_refused():
    x = torch.zeros(2, 2)
    with pytest.raises(ValueError, match="R1 needs real samples that require gradients"):
        r1_penalty(x.sum(1), x)
