"""The losses against identities, the R1 penalty against finite differences."""

import math

import pytest
import torch
from scipy.stats import wasserstein_distance

from ddgan_lite.method.objectives import (
    discriminator_loss,
    energy_loss,
    generator_loss,
    r1_penalty,
    reconstruction_loss,
    relativistic_loss,
    sorted_slices,
)
from ddgan_lite.networks import MLPConfig


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


def test_the_relativistic_loss_by_hand():
    above, below = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert relativistic_loss(above, below).item() == pytest.approx(expected)
    assert relativistic_loss(above, above).item() == pytest.approx(math.log(2))


def test_the_relativistic_loss_sees_differences_only():
    above, below = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0])
    shifted = relativistic_loss(above + 7, below + 7)
    torch.testing.assert_close(shifted, relativistic_loss(above, below))


def test_the_reconstruction_loss_by_hand():
    x_0 = torch.zeros(2, 1, 2, 2)
    guess = torch.tensor([1.0, -3.0, 0.0, 0.0, 2.0, 2.0, -2.0, 2.0]).reshape(x_0.shape)
    (loss,) = reconstruction_loss(guess, x_0, torch.tensor([0.5, 0.25])).values()
    assert loss.item() == (0.5 * 1.0 + 0.25 * 2.0) / 2


def test_the_best_guess_under_the_reconstruction_loss_is_the_median():
    x_0 = torch.tensor([0.0, 0.0, 0.0, 5.0, 9.0])[:, None]
    guess = torch.tensor([[4.0]], requires_grad=True)
    ones = torch.ones(5)
    for _ in range(200):
        (loss,) = reconstruction_loss(guess.expand(5, 1), x_0, ones).values()
        (gradient,) = torch.autograd.grad(loss, guess)
        guess = (guess - 0.2 * gradient).detach().requires_grad_()
    assert guess.item() == pytest.approx(0.0, abs=0.2)  # the mean is 2.8


# -- the energy distance ---------------------------------------------------------------------


def unit(dim, number, rng):
    directions = torch.randn(dim, number, generator=rng, dtype=torch.float64)
    return directions / directions.norm(dim=0)


def batch(n, dim, rng):
    return torch.randn(n, dim, generator=rng, dtype=torch.float64)


def test_sorted_slices_give_the_wasserstein_distance_on_every_line(rng):
    a, b, directions = batch(12, 3, rng), batch(12, 3, rng) ** 2, unit(3, 5, rng)
    distances = (sorted_slices(a, directions) - sorted_slices(b, directions)).abs().mean(1)
    for distance, line in zip(distances, directions.T, strict=True):
        assert distance.item() == pytest.approx(wasserstein_distance(a @ line, b @ line))


def test_the_energy_of_shifted_points_in_one_dimension_by_hand():
    real, fake = (
        torch.tensor([[0.0], [1.0], [1.0], [0.0]]),
        torch.tensor([[6.0], [5.0], [5.0], [6.0]]),
    )
    loss = energy_loss(real, fake, torch.ones(1, 1))
    assert list(loss) == ["g_energy"]
    assert loss["g_energy"].item() == 2 * 5  # both halves hold the same points: d(real, real') = 0


def test_the_energy_takes_its_four_distances_between_independent_halves(rng):
    (a, other_a), (b, other_b) = (batch(20, 1, rng).chunk(2) for _ in range(2))
    found = energy_loss(torch.cat([a, other_a]), torch.cat([b, other_b]), torch.ones(1, 1).double())
    w = [
        wasserstein_distance(x.flatten(), y.flatten())
        for x, y in ((a, other_b), (other_a, b), (a, other_a), (b, other_b))
    ]
    assert found["g_energy"].item() == pytest.approx(w[0] + w[1] - w[2] - w[3])


def mean_energy(change, rng, dim=3, n=16, repeats=600):
    """Mean and standard error of the loss between N(0, I) and ``change`` of it."""
    losses = torch.stack(
        [
            energy_loss(batch(n, dim, rng), change(batch(n, dim, rng)), unit(dim, 8, rng))[
                "g_energy"
            ]
            for _ in range(repeats)
        ]
    )
    return losses.mean().item(), losses.std().item() / repeats**0.5


def test_the_energy_of_equal_laws_is_zero_in_expectation(rng):
    mean, error = mean_energy(lambda x: x, rng)
    assert abs(mean) < 4 * error


@pytest.mark.parametrize(
    "change",
    [lambda x: x + 0.5, lambda x: 1.5 * x, lambda x: x.abs() - math.sqrt(2 / math.pi)],
    ids=["mean", "spread", "shape"],
)
def test_the_energy_of_different_laws_is_positive_in_expectation(change, rng):
    mean, error = mean_energy(change, rng)
    assert mean > 4 * error


def test_the_energys_gradient_by_finite_differences(rng):
    real, fake, directions = batch(6, 2, rng), batch(6, 2, rng), unit(2, 4, rng)
    assert torch.autograd.gradcheck(
        lambda x: energy_loss(real, x, directions)["g_energy"], fake.requires_grad_()
    )


def test_the_energy_does_not_see_the_order_of_points_or_a_common_shift(rng):
    real, fake, directions = batch(8, 2, rng), batch(8, 2, rng), unit(2, 4, rng)
    found = energy_loss(real, fake, directions)["g_energy"]
    shuffled = fake[[2, 0, 3, 1, 7, 4, 5, 6]]  # each half in another order
    torch.testing.assert_close(energy_loss(real, shuffled, directions)["g_energy"], found)
    torch.testing.assert_close(energy_loss(real + 7, fake + 7, directions)["g_energy"], found)


def test_images_are_points_for_the_energy(rng):
    x, directions = batch(4, 12, rng), unit(12, 5, rng)
    images = energy_loss(x.reshape(4, 3, 2, 2), -x.reshape(4, 3, 2, 2), directions)
    assert torch.equal(images["g_energy"], energy_loss(x, -x, directions)["g_energy"])


@pytest.mark.parametrize(("real", "fake"), [((4, 2), (6, 2)), ((4, 2), (4, 3)), ((5, 2), (5, 2))])
def test_batches_that_cannot_be_compared_are_refused(real, fake):
    with pytest.raises(ValueError, match="two batches of one shape and even length"):
        energy_loss(torch.zeros(real), torch.zeros(fake), torch.ones(2, 1))
