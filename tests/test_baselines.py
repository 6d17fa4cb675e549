"""The baselines against what is known exactly: perfect networks, closed forms, quadrature."""

import itertools
import math

import pytest
import torch

from ddgan_lite.baselines.ddpm import DDPM
from ddgan_lite.baselines.fit import fit
from ddgan_lite.baselines.flow import Flow
from ddgan_lite.baselines.gan import GAN
from ddgan_lite.baselines.matching import FlowMatching
from ddgan_lite.baselines.vae import VAE, kl_to_normal
from ddgan_lite.chain.mixtures import GaussianMixture
from ddgan_lite.data.toys import gaussian_grid
from ddgan_lite.method.ema import EMA
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


@pytest.mark.parametrize(("crowding", "low"), [(1.0, 0.25), (2.0, 0.5)])
def test_crowding_moves_the_training_to_low_noise(crowding, low, rng):
    model, seen = DDPM((1,), 20, width=4, depth=2, crowding=crowding), []
    model.network.forward = lambda x_t, t: seen.append(t) or torch.zeros_like(x_t)
    model.loss(torch.zeros(20_000, 1), rng)
    assert seen[0].min() == 1 and seen[0].max() == 20
    assert (seen[0] <= 5).float().mean().item() == pytest.approx(low, abs=0.02)


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
        model.sample_ddim(0, 2)


def test_the_noise_predictor_sees_which_step_it_is():
    network = DDPM((2,), 10, width=8, depth=2).network
    x = torch.zeros(10, 2)
    out = network(x, torch.arange(1, 11))
    assert len(out.unique(dim=0)) == 10


class WrongNoise(torch.nn.Module):
    """A noise predictor that is off by 0.1 everywhere."""

    def __init__(self, best):
        super().__init__()
        self.best = best

    def forward(self, x_t, t):
        return self.best(x_t, t) + 0.1


def test_clipping_saves_few_steps_from_a_small_error(rng):
    def draw(clip):
        model = DDPM((1,), 1000, width=4, depth=2, clip=clip)
        model.network = WrongNoise(PerfectNoise(model.diffusion))
        return model.sample_ddim(1000, 1, rng=torch.Generator().manual_seed(0))

    assert (draw(None) - MEAN).abs().mean() > 10  # 0.1 / sqrt(alpha_bar_T) = 15
    assert draw(2.0).abs().max() <= 2.0


def test_the_noise_of_a_clipped_guess_still_explains_x_t():
    model, x_t = DDPM((2,), 10, width=4, depth=2, clip=0.05), torch.randn(6, 2)
    noise, x_0 = model.predict(x_t, 3)
    alpha_bar = model.diffusion.alpha_bar[3].float()
    assert x_0.abs().max() <= 0.05
    torch.testing.assert_close(alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * noise, x_t)


def test_clipping_beyond_the_guesses_changes_nothing():
    drawn = []
    for clip in (None, 1e6):
        torch.manual_seed(0)
        model = DDPM((2,), 20, width=8, depth=2, clip=clip)
        drawn.append(model.sample_ddim(50, 5, rng=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(*drawn)


def test_ddpm_samples_with_its_average():
    model = DDPM((1,), 5, width=4, depth=2)
    best = PerfectNoise(model.diffusion)
    model.averaged = EMA(best, 0.5)
    model.sample(3)
    assert model.averaged.module.calls == 5


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


# -- flow matching ---------------------------------------------------------------------------


class PerfectVelocity(torch.nn.Module):
    """E[eps - x_0 | x_t] when x_0 ~ N(mean, std^2); counts how often it is asked."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.register_parameter("unused", torch.nn.Parameter(torch.zeros(1)))

    def forward(self, x, t):
        self.calls += 1
        t = t[:, None]
        centred = x - (1 - t) * MEAN
        return (t - (1 - t) * STD**2) / ((1 - t) ** 2 * STD**2 + t**2) * centred - MEAN


def matching():
    model = FlowMatching((1,), width=4, depth=2)
    model.network = PerfectVelocity()
    return model


def test_the_perfect_velocity_carries_noise_to_the_data(rng):
    x = matching().sample(20_000, steps=40, rng=rng)
    assert x.mean().item() == pytest.approx(MEAN, abs=0.01)
    assert x.std().item() == pytest.approx(STD, rel=0.02)


def test_midpoint_is_of_second_order_and_euler_of_first():
    def end(steps, solver):
        rng = torch.Generator().manual_seed(0)
        return matching().sample(50, steps=steps, solver=solver, rng=rng).double()

    truth = end(2000, "midpoint")
    for solver, low, high in (("euler", 0.7, 1.3), ("midpoint", 1.7, math.inf)):
        a, b = ((end(steps, solver) - truth).abs().max().item() for steps in (20, 40))
        assert low < math.log2(a / b) < high  # here the midpoint is nearer to third


def test_evaluations_of_the_velocity():
    for solver, each in (("euler", 1), ("midpoint", 2)):
        model = matching()
        model.sample(2, steps=6, solver=solver)
        assert model.network.calls == 6 * each


def test_the_least_loss_of_matching_is_what_the_velocity_cannot_know(rng):
    n = 200_000
    t = (torch.arange(n) + 0.5) / n
    unknowable = STD**2 / ((1 - t) ** 2 * STD**2 + t**2)  # var(eps - x_0 | x_t)
    loss = matching().loss(MEAN + STD * torch.randn(n, 1, generator=rng), rng)
    assert loss.item() == pytest.approx(unknowable.mean().item(), rel=0.03)


@pytest.mark.parametrize(
    ("asked", "words"),
    [({"n": 0}, "at least 1"), ({"steps": 0}, "at least 1"), ({"solver": "rk4"}, '"euler" or')],
)
def test_matching_refuses_what_it_cannot_do(asked, words):
    with pytest.raises(ValueError, match=words):
        matching().sample(**{"n": 2, **asked})


# -- the VAE ---------------------------------------------------------------------------------


def test_the_kl_of_the_code_agrees_with_quadrature():
    mean, std = 0.7, 0.4
    z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    q = torch.distributions.Normal(torch.tensor(mean, dtype=torch.float64), std)
    p = torch.distributions.Normal(torch.tensor(0.0, dtype=torch.float64), 1.0)
    integral = torch.trapezoid(q.log_prob(z).exp() * (q.log_prob(z) - p.log_prob(z)), z)
    closed = kl_to_normal(torch.tensor([[mean, mean]]), torch.tensor([[std, std]]).log())
    assert closed.item() == pytest.approx(2 * integral.item(), abs=1e-5)  # two coordinates add


def linear_vae(slope, intercept, std, code_gain, code_std):
    """x = slope z + intercept + std noise; q(z | x) = N(code_gain (x - intercept), code_std^2)."""
    model = VAE((1,), latent_dim=1, depth=2, width=4, noise=1.0).double()
    network = model.network
    network.decoder, network.encoder = torch.nn.Linear(1, 1), torch.nn.Linear(1, 2)
    with torch.no_grad():
        network.decoder.weight.fill_(slope), network.decoder.bias.fill_(intercept)
        network.encoder.weight.copy_(torch.tensor([[code_gain], [0.0]]))
        network.encoder.bias.copy_(torch.tensor([-code_gain * intercept, math.log(code_std)]))
        network.log_std.fill_(math.log(std))
    return model.double()


@pytest.mark.parametrize(("off_mean", "off_std"), [(0.0, 1.0), (0.3, 1.0), (0.0, 1.5)])
def test_the_elbo_of_a_linear_model_is_its_likelihood_less_the_codes_error(off_mean, off_std, rng):
    slope, intercept, std = 1.2, 0.5, 0.6
    marginal = torch.distributions.Normal(intercept, math.sqrt(slope**2 + std**2))
    gain, code_std = slope / (slope**2 + std**2), std / math.sqrt(slope**2 + std**2)  # exact
    model = linear_vae(slope, intercept, std, gain + off_mean, off_std * code_std)
    x, copies = torch.tensor(1.3, dtype=torch.float64), 400_000
    elbo = -model.loss(x.expand(copies, 1), rng).item()
    # log p(x) - ELBO = KL(q(z | x) || p(z | x)), here between two Gaussians.
    shift = off_mean * (1.3 - intercept) / code_std
    gap = 0.5 * (shift**2 + off_std**2 - 1 - 2 * math.log(off_std))
    assert elbo == pytest.approx(marginal.log_prob(x).item() - gap, abs=0.01)
    assert gap == 0 or elbo < marginal.log_prob(x).item()


def test_a_vae_draws_from_its_model_or_shows_its_means(rng):
    model = linear_vae(1.2, 0.5, 0.6, 0.1, 0.1).float()
    drawn = model.sample(50_000, rng=rng)
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.03)
    assert drawn.std().item() == pytest.approx(math.hypot(1.2, 0.6), rel=0.02)
    model.noise = 0.0
    assert model.sample(50_000, rng=rng).std().item() == pytest.approx(1.2, rel=0.02)


# -- the flow --------------------------------------------------------------------------------


def a_flow(shape, couplings=5, **options):
    """A flow far from the identity, where it starts, in double precision."""
    model = Flow(shape, couplings, width=16, **options).double()
    for coupling in model.network:
        torch.nn.init.normal_(coupling.net[-1].weight, std=0.3)
        torch.nn.init.normal_(coupling.net[-1].bias, std=0.3)
    return model


@pytest.mark.parametrize("shape", [(2,), (5,), (3, 2, 2)])
def test_couplings_can_be_undone(shape):
    model, x = a_flow(shape), torch.randn(200, math.prod(shape), dtype=torch.float64)
    y = x
    for coupling in model.network:
        y, _ = coupling(y)
    assert (y - x).abs().max() > 0.1
    for coupling in reversed(model.network):
        y = coupling.inverse(y)
    assert (y - x).abs().max() < 1e-5


@pytest.mark.parametrize("size", [2, 5])
def test_the_log_determinant_is_that_of_the_jacobian(size):
    model = a_flow((size,))

    def to_noise(x):
        for coupling in model.network:
            x, _ = coupling(x)
        return x

    for x in torch.randn(5, 1, size, dtype=torch.float64):
        jacobian = torch.autograd.functional.jacobian(to_noise, x).reshape(size, size)
        normal = -0.5 * (to_noise(x).square().sum() + size * math.log(2 * math.pi))
        expected = normal + torch.linalg.slogdet(jacobian).logabsdet
        assert model.log_prob(x).item() == pytest.approx(expected.item(), abs=1e-9)


def test_every_coordinate_moves_in_two_couplings():
    model = a_flow((7,), couplings=2)
    x = torch.randn(1, 7, dtype=torch.float64)
    y = x
    for coupling in model.network:
        y, _ = coupling(y)
    # A coordinate that no layer moved would come out as it went in, somewhere.
    assert not torch.isclose(y[0].unsqueeze(1), x[0].unsqueeze(0)).any()


def test_the_density_of_a_flow_integrates_to_one():
    torch.manual_seed(0)
    model = a_flow((2,), couplings=4)
    axis = torch.linspace(-9, 9, 901, dtype=torch.float64)
    with torch.no_grad():
        density = model.log_prob(torch.cartesian_prod(axis, axis)).exp().reshape(901, 901)
    assert torch.trapezoid(torch.trapezoid(density, axis), axis).item() == pytest.approx(
        1, abs=1e-3
    )


def test_samples_of_a_flow_follow_its_density(rng):
    torch.manual_seed(0)
    model = a_flow((2,), couplings=4).float()
    samples = model.sample(20_000, rng=rng)
    axis = torch.linspace(-9, 9, 601)
    with torch.no_grad():
        density = model.log_prob(torch.cartesian_prod(axis, axis)).exp()
    right = torch.cartesian_prod(axis, axis)[:, 0] > 0.2
    share = density[right].sum() / density.sum()
    assert (samples[:, 0] > 0.2).float().mean().item() == pytest.approx(share.item(), abs=0.02)


def test_discrete_data_are_filled_in_and_samples_rounded(rng):
    model = Flow((2, 3), couplings=2, width=8, bin_width=0.125)
    steps = model.sample(50, rng=rng) / 0.125
    torch.testing.assert_close(steps, steps.round())
    x_0 = torch.zeros(4000, 2, 3)
    spread = model.log_prob(x_0 + 0.125 * (torch.rand(4000, 2, 3) - 0.5))
    assert model.loss(x_0, rng).item() == pytest.approx(-spread.mean().item(), abs=0.02)


@pytest.mark.parametrize(("shape", "couplings"), [((1,), 4), ((2,), 0)])
def test_a_flow_with_nothing_to_couple_is_refused(shape, couplings):
    with pytest.raises(ValueError, match="samples of at least 2 numbers and at least 1 coupling"):
        Flow(shape, couplings)


# -- the loop for all that have a loss ---------------------------------------------------------

SMALL = {
    "vae": lambda: VAE((2,), width=16, depth=3),
    "flow": lambda: Flow((2,), couplings=2, width=16),
    "ddpm": lambda: DDPM((2,), 10, width=16, depth=3),
    "ddpm with waves": lambda: DDPM((2,), 10, width=16, depth=3, frequencies=(1, 2)),
    "matching": lambda: FlowMatching((2,), width=16, depth=3, frequencies=(1,)),
}


@pytest.mark.parametrize("name", SMALL)
def test_fitting_repeats_lowers_the_loss_and_averages(name):
    def run():
        torch.manual_seed(0)
        model, data = SMALL[name](), GaussianMixture(torch.tensor([[MEAN, -MEAN]]), 0.1)
        settings = {"steps": 150, "batch_size": 128, "lr": 5e-3, "ema_decay": 0.9}
        history = list(fit(model, data, **settings))
        return model, [losses["loss"] for losses in history]

    (model, history), (_, again) = run(), run()
    assert history == again
    assert len(history) == model.averaged.updates == 150
    # Each loss has a floor of its own: the share of the way down is what all have in common.
    assert sum(history[-20:]) < sum(history[:20]) - 4
    samples = model.sample(2000, rng=torch.Generator().manual_seed(1))
    assert torch.equal(samples, model.sample(2000, rng=torch.Generator().manual_seed(1)))
    assert (samples.mean(0) - torch.tensor([MEAN, -MEAN])).abs().max() < 0.3
    raw, model.averaged = samples, None
    assert not torch.equal(raw, model.sample(2000, rng=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("name", SMALL)
def test_no_samples_are_refused(name):
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        SMALL[name]().sample(0)


def test_a_vae_without_a_code_is_refused():
    with pytest.raises(ValueError, match="latent_dim must be at least 1, got 0"):
        VAE((2,), latent_dim=0)


@pytest.mark.parametrize("sizes", [{"steps": 0}, {"batch_size": 0}])
def test_fitting_of_no_size_is_refused(sizes):
    with pytest.raises(ValueError, match="steps and batch_size must be at least 1, got"):
        next(fit(DDPM((2,), 5), gaussian_grid(), **sizes))


def test_a_loss_that_is_not_finite_stops_the_fit():
    model = VAE((2,), width=8)
    torch.nn.init.constant_(model.network.log_std, math.nan)
    with pytest.raises(FloatingPointError, match="the loss is nan at step 0"):
        next(fit(model, gaussian_grid()))
