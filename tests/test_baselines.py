"""DDPM and DDIM with the analytically perfect network, and the plain GAN."""

import itertools
import math

import pytest
import torch

from ddgan_lite.baselines.ddpm import DDPM, train_ddpm
from ddgan_lite.baselines.gan import GAN
from ddgan_lite.data import gaussian_grid
from ddgan_lite.ema import EMA
from ddgan_lite.mixtures import GaussianMixture
from ddgan_lite.networks import MLPConfig

MEAN, STD = 0.8, 0.3


class PerfectNoise(torch.nn.Module):
    """E[eps | x_t] when x_0 ~ N(mean, std^2); counts how often it is asked."""

    def __init__(self, diffusion, mean=MEAN, std=STD):
        super().__init__()
        self.alpha_bar, self.mean, self.std, self.calls = diffusion.alpha_bar, mean, std, 0
        self.register_parameter("unused", torch.nn.Parameter(torch.zeros(1)))

    def forward(self, x_t, t):
        self.calls += 1
        alpha_bar = self.alpha_bar[t].unsqueeze(1)
        spread = alpha_bar * self.std**2 + 1 - alpha_bar
        noise = (1 - alpha_bar).sqrt() * (x_t - alpha_bar.sqrt() * self.mean) / spread
        return noise.to(x_t.dtype)


def perfect(num_steps, **target):
    model = DDPM((1,), num_steps, width=4, depth=2)
    model.network = PerfectNoise(model.diffusion, **target)
    return model


# -- DDPM and DDIM ---------------------------------------------------------------------------


def test_the_loss_of_a_perfect_predictor_on_a_point_is_zero(rng):
    model = perfect(50, mean=MEAN, std=0.0)
    assert model.loss(torch.full((1000, 1), MEAN), rng).item() < 1e-8


def test_the_loss_of_the_best_predictor_is_the_noise_it_cannot_know(rng):
    model, n = perfect(20), 50_000
    x_0 = MEAN + STD * torch.randn(n, 1, generator=rng)
    alpha_bar = model.diffusion.alpha_bar[1:]
    unknowable = alpha_bar * STD**2 / (alpha_bar * STD**2 + 1 - alpha_bar)
    assert model.loss(x_0, rng).item() == pytest.approx(unknowable.mean().item(), rel=0.05)


def exact_moments(diffusion, times):
    """Mean and std after the perfect network's steps, each of which is linear: x -> a x + b + n.

    ``times`` are those of DDIM, or None for the ancestral steps.
    """
    mean, variance = 0.0, 1.0
    ancestral = times is None
    times = range(diffusion.num_steps, -1, -1) if ancestral else times
    for t, after in itertools.pairwise(times):
        signal, noise = diffusion.alpha_bar[t].sqrt(), (1 - diffusion.alpha_bar[t]).sqrt()
        spread = signal**2 * STD**2 + noise**2
        # x_0 = gain_0 (x_t - signal MEAN) + MEAN, eps = gain_e (x_t - signal MEAN)
        gain_0, gain_e = signal * STD**2 / spread, noise / spread
        if ancestral:
            c_x0, c_xt = diffusion.posterior_coef_x0[t], diffusion.posterior_coef_xt[t]
            slope, added = c_x0 * gain_0 + c_xt, diffusion.posterior_variance[t]
            mean = slope * (mean - signal * MEAN) + c_x0 * MEAN + c_xt * signal * MEAN
        else:
            signal_after = diffusion.alpha_bar[after].sqrt()
            slope = signal_after * gain_0 + (1 - signal_after**2).sqrt() * gain_e
            added = 0.0
            mean = slope * (mean - signal * MEAN) + signal_after * MEAN
        variance = slope**2 * variance + added
    return float(mean), float(variance) ** 0.5


@pytest.mark.parametrize(
    ("num_steps", "times", "near"),
    [
        (1000, None, 0.02),
        (100, None, 0.10),
        (1000, range(1000, -1, -1), 0.02),
        (100, range(100, -1, -1), 0.10),
        (100, range(100, -1, -4), 0.20),
        (100, [100, 0], 1.0),  # one deterministic step returns the mean
    ],
)
def test_the_perfect_network_reproduces_gaussian_data(num_steps, times, near, rng):
    model, n = perfect(num_steps), 10_000
    calls = num_steps if times is None else len(times) - 1
    samples = model.sample(n, rng=rng) if times is None else model.sample_ddim(n, calls, rng=rng)
    assert model.network.calls == calls
    mean, std = exact_moments(model.diffusion, times)
    assert samples.mean().item() == pytest.approx(mean, abs=4 * std / n**0.5 + 1e-6)
    assert samples.std().item() == pytest.approx(std, rel=4 / (2 * n) ** 0.5)
    assert std == pytest.approx(STD, rel=near)
    assert mean == pytest.approx(MEAN, abs=0.01)


def test_ddim_draws_nothing_after_its_start():
    model, start = perfect(8), torch.Generator().manual_seed(3)
    x = torch.randn(5, 1, generator=start)
    samples = model.sample_ddim(5, 4, rng=torch.Generator().manual_seed(3))
    alpha_bar = model.diffusion.alpha_bar.float()
    for t, after in ((8, 6), (6, 4), (4, 2), (2, 0)):
        noise = model.network(x, torch.full((5,), t))
        x_0 = (x - (1 - alpha_bar[t]).sqrt() * noise) / alpha_bar[t].sqrt()
        x = alpha_bar[after].sqrt() * x_0 + (1 - alpha_bar[after]).sqrt() * noise
    torch.testing.assert_close(samples, x)


def test_the_guess_of_x_0_undoes_the_noise():
    model = perfect(10)
    x_0, noise = torch.full((4, 1), MEAN), torch.tensor([[-1.0], [0.0], [0.5], [2.0]])
    model.network.std = 0.0
    alpha_bar = model.diffusion.alpha_bar[3].float()
    x_t = alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * noise
    predicted, guess = model.predict(x_t, 3)
    torch.testing.assert_close(predicted, noise)
    torch.testing.assert_close(guess, x_0)


@pytest.mark.parametrize("steps", [0, 6])
def test_ddim_steps_outside_the_chain_are_refused(steps):
    with pytest.raises(ValueError, match=rf"steps must lie in 1\.\.5, got {steps}"):
        perfect(5).sample_ddim(3, steps)


def test_ddpm_samples_have_their_shape_and_repeat():
    model = DDPM((3, 2, 2), 5, width=8, depth=2)
    for draw in (model.sample, lambda n, rng: model.sample_ddim(n, 2, rng=rng)):
        first, again = (draw(4, rng=torch.Generator().manual_seed(1)) for _ in "ab")
        assert first.shape == (4, 3, 2, 2)
        assert torch.equal(first, again)
        assert not first.requires_grad
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        model.sample(0)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        model.sample_ddim(0, 2)


def test_the_noise_predictor_sees_which_step_it_is():
    network = DDPM((2,), 10, width=8, depth=2).network
    x = torch.zeros(10, 2)
    out = network(x, torch.arange(1, 11))
    assert len(out.unique(dim=0)) == 10


def test_ddpm_training_repeats_lowers_its_loss_and_averages():
    def run():
        torch.manual_seed(0)
        model = DDPM((1,), 10, width=16, depth=3)
        data = GaussianMixture(torch.tensor([[MEAN]]), 0.01)
        history = list(train_ddpm(model, data, steps=150, batch_size=128, lr=5e-3))
        return model, [losses["noise"] for losses in history]

    (model, history), (_, again) = run(), run()
    assert len(history) == 150
    assert history == again
    assert sum(history[-20:]) < 0.5 * sum(history[:20])
    assert model.averaged.updates == 150


def test_ddpm_samples_with_its_average():
    model = DDPM((1,), 5, width=4, depth=2)
    best = PerfectNoise(model.diffusion)
    model.averaged = EMA(best, 0.5)
    model.sample(3)
    assert model.averaged.module.calls == 5


@pytest.mark.parametrize("sizes", [{"steps": 0}, {"batch_size": 0}])
def test_ddpm_training_of_no_size_is_refused(sizes):
    with pytest.raises(ValueError, match="steps and batch_size must be at least 1, got"):
        next(train_ddpm(DDPM((2,), 5), gaussian_grid(), **sizes))


def test_ddpm_refuses_a_chain_without_steps():
    with pytest.raises(ValueError, match="num_steps must be a whole number of at least 1"):
        DDPM((2,), 0)


# -- the plain GAN ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2,), (3, 4, 4)])
def test_a_gan_maps_latents_to_samples_and_samples_to_logits(shape):
    model = GAN(MLPConfig(shape=shape, width=8, depth=2))
    first, again = (model.sample(5, rng=torch.Generator().manual_seed(1)) for _ in "ab")
    assert first.shape == (5, *shape)
    assert torch.equal(first, again)
    assert not first.requires_grad
    assert model.discriminator(first).shape == (5,)
    assert not torch.equal(first[0], first[1])


def test_a_gan_judges_samples_alone():
    model, x_0 = GAN(MLPConfig(width=8, depth=2)), torch.randn(6, 2)
    real, condition = model.real_pair(x_0)
    assert torch.equal(real, x_0)
    assert condition == ()
    fake = model.fake_like(real, condition)
    assert fake.shape == real.shape
    assert fake.requires_grad


def test_a_trained_gan_samples_with_its_average():
    model = GAN(MLPConfig(width=8, depth=2))
    raw = model.sample(5, rng=torch.Generator().manual_seed(1))
    model.averaged = EMA(GAN(MLPConfig(width=8, depth=2)).generator, 0.5)
    assert not torch.equal(raw, model.sample(5, rng=torch.Generator().manual_seed(1)))


def test_a_gan_without_latent_or_without_samples_is_refused():
    with pytest.raises(ValueError, match="a GAN needs a latent: set latent_dim to at least 1"):
        GAN(MLPConfig(latent_dim=0))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        GAN(MLPConfig(width=8)).sample(0)


def test_the_chain_of_a_ddpm_ends_in_noise():
    assert math.sqrt(DDPM((2,), 1000, width=4, depth=2).diffusion.alpha_bar[-1]) < 0.01
