"""Distribution matching: the exact guess, the gradient it rests on, and that the loop repeats."""

import math

import pytest
import torch

from ddgan_lite.baselines.distilled import OneStep, ScoreOfSamples, distil
from ddgan_lite.chain.mixtures import GaussianMixture
from ddgan_lite.data.toys import gaussian_grid

SCATTERED = GaussianMixture(
    torch.tensor([[-1.0, 0.3], [0.5, 0.0], [1.2, -2.0]]),
    torch.tensor([0.1, 0.4, 0.2]),
    torch.tensor([1.0, 2.0, 5.0]),
)


def test_the_guess_is_the_mean_of_the_exact_step(rng):
    x, sigma = torch.randn(50, 2, generator=rng).double(), torch.rand(50, 1, generator=rng) + 0.05
    guess = SCATTERED.denoise(x, sigma)
    for row in range(50):
        alpha_bar = 1 / (1 + sigma[row].double().item() ** 2)
        step = SCATTERED.denoising(x[row] * math.sqrt(alpha_bar), 1.0, alpha_bar)
        torch.testing.assert_close(guess[row], step.mean())
    torch.testing.assert_close(
        SCATTERED.denoise(x, 0.7), SCATTERED.denoise(x, torch.full((50, 1), 0.7))
    )


def test_the_guess_is_the_score_in_other_units(rng):
    x, sigma = torch.randn(20, 2, generator=rng).double().requires_grad_(), 0.3
    noised = GaussianMixture(
        SCATTERED.means, (SCATTERED.std**2 + sigma**2).sqrt(), SCATTERED.weights
    )
    (score,) = torch.autograd.grad(noised.log_prob(x).sum(), x)
    torch.testing.assert_close((SCATTERED.denoise(x, sigma) - x) / sigma**2, score)


def test_the_difference_of_scores_is_the_gradient_of_the_divergence():
    # Generator: N(m, s^2); data: N(0, 1); both noised to sigma. KL in closed form.
    sigma, m, s = 0.5, torch.tensor(0.8, requires_grad=True), torch.tensor(0.6, requires_grad=True)
    p, q = s**2 + sigma**2, 1 + sigma**2
    divergence = 0.5 * ((p + m**2) / q - 1 - (p / q).log())
    wanted = torch.autograd.grad(divergence, (m, s))
    z = torch.randn(400_000, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(400_000, generator=torch.Generator().manual_seed(1))
    x_0 = m + s * z
    x = (x_0 + sigma * noise).detach()
    difference = -(x - m.detach()) / p.detach() + x / q  # of the two scores
    found = torch.autograd.grad((difference * x_0).mean(), (m, s))
    for a, b in zip(found, wanted, strict=True):
        assert a.item() == pytest.approx(b.item(), abs=0.01)


def test_a_generator_that_begins_as_the_data_stays_there():
    data = GaussianMixture(torch.zeros(1, 2), std=1.0)
    torch.manual_seed(0)
    model = OneStep(2, data_std=1.0, width=16, depth=2)
    losses = [line["loss"] for line in distil(model, data.denoise, steps=200, batch_size=256)]
    x = model.sample(5_000, rng=torch.Generator().manual_seed(0))
    assert x.mean(0).abs().max() < 0.15 and (x.std(0) - 1).abs().max() < 0.15
    assert max(losses) < 2  # the untrained network guesses the best linear one, the truth here


def test_it_finds_a_shifted_gaussian_and_repeats():
    def run():
        torch.manual_seed(0)
        model = OneStep(1, data_std=1.0, width=16, depth=2, frequencies=())
        data = GaussianMixture(torch.tensor([[0.7]]), std=0.5)
        for _ in distil(model, data.denoise, steps=300, batch_size=256, ema_decay=0.95):
            pass
        return model.sample(4_000, rng=torch.Generator().manual_seed(0))

    x = run()
    assert torch.equal(x, run())
    assert x.mean().item() == pytest.approx(0.7, abs=0.1)
    assert x.std().item() == pytest.approx(0.5, abs=0.12)


def test_the_student_begins_with_the_best_linear_guess():
    student = ScoreOfSamples(2, data_std=1.5, width=8, depth=2)
    torch.nn.init.zeros_(student.net[-1].weight)
    torch.nn.init.zeros_(student.net[-1].bias)
    x, sigma = torch.randn(6, 2), torch.rand(6, 1) + 0.1
    torch.testing.assert_close(student(x, sigma), 1.5**2 / (1.5**2 + sigma**2) * x)


@pytest.mark.parametrize(
    "asked", [{"steps": 0}, {"batch_size": 0}, {"levels": (0, 1)}, {"levels": (2, 1)}]
)
def test_what_does_not_fit_gets_a_sentence(asked):
    with pytest.raises(ValueError, match="at least 1, and levels positive and rising, got"):
        next(distil(OneStep(2), gaussian_grid().denoise, **asked))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        OneStep(2).sample(0)


def test_a_loss_that_is_not_finite_stops_the_loop():
    model = OneStep(2, data_std=math.nan)
    with pytest.raises(FloatingPointError, match="the loss is nan at step 0"):
        next(distil(model, gaussian_grid().denoise))
