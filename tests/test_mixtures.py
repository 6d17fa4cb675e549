"""The exact mixtures against numerical integrals, samples and numbers known from elsewhere."""

import math

import pytest
import torch

from ddgan_lite.chain.diffusion import Diffusion
from ddgan_lite.chain.mixtures import GaussianMixture, best_gaussian_sample
from ddgan_lite.data.toys import gaussian_grid, gaussian_line
from ddgan_lite.evaluation.metrics import mixture_scores

F64 = torch.float64


def uneven_line():
    """Three components in 1-D; no two weights or stds are equal."""
    return GaussianMixture(
        torch.tensor([[-1.0], [0.4], [2.0]]), torch.tensor([0.3, 0.5, 0.2]), torch.tensor([3, 2, 1])
    )


def uneven_plane():
    means = torch.tensor([[-1.0, 0.5], [0.6, -0.4], [1.0, 1.5]])
    return GaussianMixture(means, torch.tensor([0.3, 0.5, 0.2]), torch.tensor([0.5, 0.3, 0.2]))


def normal_density(x, mean, variance):
    return torch.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)


def dense_density(mixture, x):
    """A 1-D mixture's density at x (n,), written out as a plain sum."""
    components = zip(
        mixture.weights.tolist(), mixture.means[:, 0].tolist(), mixture.std.tolist(), strict=True
    )
    return sum(w * normal_density(x, mean, std**2) for w, mean, std in components)


def dense_kl_to_gaussian(mixture, x):
    """KL(q || Gaussian of the same moments), everything by integrals on the grid x."""
    q = dense_density(mixture, x)
    mean = torch.trapezoid(q * x, x)
    variance = torch.trapezoid(q * (x - mean) ** 2, x).item()
    log_gaussian = -((x - mean) ** 2) / (2 * variance) - 0.5 * math.log(2 * math.pi * variance)
    return torch.trapezoid(torch.special.xlogy(q, q) - q * log_gaussian, x).item()


# -- density, samples, moments ---------------------------------------------------------------


def test_the_density_is_the_weighted_sum_and_integrates_to_one_in_1d():
    x = torch.linspace(-6, 8, 20_001, dtype=F64)
    density = uneven_line().log_prob(x.unsqueeze(1)).exp()
    torch.testing.assert_close(density, dense_density(uneven_line(), x), rtol=0, atol=1e-12)
    assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=1e-12)


def test_the_density_integrates_to_one_in_2d():
    axis = torch.linspace(-5, 5, 301, dtype=F64)
    points = torch.cartesian_prod(axis, axis)
    total = uneven_plane().log_prob(points).exp().sum() * (axis[1] - axis[0]) ** 2
    assert total.item() == pytest.approx(1, abs=1e-10)


def test_mean_and_covariance_are_those_of_the_samples(rng):
    mixture = uneven_plane()
    n = 100_000
    samples = mixture.sample(n, rng)
    mean, covariance = mixture.mean(), mixture.covariance()
    error = covariance.diagonal().sqrt() / math.sqrt(n)
    assert ((samples.mean(0) - mean).abs() < 4 * error).all()
    centred = samples - mean
    products = torch.einsum("ni,nj->nij", centred, centred)
    error = products.std(0) / math.sqrt(n)
    assert ((products.mean(0) - covariance).abs() < 4 * error).all()


def test_samples_follow_the_density(rng):
    mixture = uneven_line()
    edges = torch.linspace(-2, 3, 26, dtype=F64)
    n = 50_000
    counts = torch.histogram(mixture.sample(n, rng).flatten(), edges).hist
    fine = torch.linspace(-2, 3, 25 * 200 + 1, dtype=F64)
    density = dense_density(mixture, fine)
    pieces = (density[1:] + density[:-1]) / 2 * (fine[1] - fine[0])
    expected = n * pieces.reshape(25, 200).sum(1)
    assert ((counts - expected).abs() < 4.5 * expected.sqrt() + 1).all()


def test_sampling_repeats_with_its_generator():
    first, again = (uneven_plane().sample(5, torch.Generator().manual_seed(1)) for _ in "ab")
    other = uneven_plane().sample(5, torch.Generator().manual_seed(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_batch_is_sampled_mixture_by_mixture(rng):
    means = torch.tensor([[[-9.0], [-5.0]], [[5.0], [9.0]], [[50.0], [90.0]]])
    batch = GaussianMixture(means, 0.1, torch.tensor([0.25, 0.75]))
    samples = batch.sample(4000, rng)
    assert samples.shape == (4000, 3, 1)
    torch.testing.assert_close(samples.mean(0), batch.mean(), rtol=0.02, atol=0)
    torch.testing.assert_close(
        samples.squeeze(2).var(0), batch.covariance().flatten(), rtol=0.06, atol=0
    )


# -- noising and denoising -------------------------------------------------------------------


def test_noising_is_the_convolution_with_the_noise():
    mixture = uneven_line()
    alpha_bar = 0.4
    x_0 = torch.linspace(-4, 6, 4001, dtype=F64)
    x_t = torch.linspace(-3, 3, 13, dtype=F64)
    kernel = normal_density(x_t.unsqueeze(1), math.sqrt(alpha_bar) * x_0, 1 - alpha_bar)
    expected = torch.trapezoid(kernel * dense_density(mixture, x_0), x_0)
    density = mixture.noised(alpha_bar).log_prob(x_t.unsqueeze(1)).exp()
    torch.testing.assert_close(density, expected, rtol=0, atol=1e-10)


def test_noised_samples_follow_the_noised_mixture(rng):
    mixture, n = uneven_plane(), 100_000
    x_t = Diffusion(4).q_sample(mixture.sample(n, rng), 1, rng)
    noised = mixture.noised(Diffusion(4).alpha_bar[1].item())
    # Means of cosines determine a distribution; the variance of a cosine is below 1.
    for direction in ([1.0, 0.0], [0.0, 2.0], [1.5, -1.0], [3.0, 3.0]):
        w = torch.tensor(direction, dtype=F64)
        phase = noised.means @ w
        exact = (noised.weights * phase.cos() * torch.exp(-0.5 * noised.std**2 * (w @ w))).sum()
        assert abs((x_t @ w).cos().mean() - exact).item() < 4 / math.sqrt(n)


def test_no_noise_changes_nothing():
    same = uneven_plane().noised(1.0)
    torch.testing.assert_close(same.means, uneven_plane().means)
    torch.testing.assert_close(same.std, uneven_plane().std)


@pytest.mark.parametrize("shares", [(1.0, 0.5), (0.52, 0.08), (0.08, 0.003), (0.999, 0.998)])
def test_the_1d_denoising_distribution_is_bayes_rule(shares):
    mixture = uneven_line()
    before, after = shares
    alpha = after / before
    prior = mixture.noised(before)  # held to the convolution above
    x_prev = torch.linspace(-8, 8, 40_001, dtype=F64)
    for x_t in (-1.2, 0.1, 2.5):
        likelihood = normal_density(math.sqrt(alpha) * x_prev, x_t, 1 - alpha)
        joint = likelihood * dense_density(prior, x_prev)
        expected = joint / torch.trapezoid(joint, x_prev)
        step = mixture.denoising(torch.tensor([x_t], dtype=F64), before, after)
        density = step.log_prob(x_prev.unsqueeze(1)).exp()
        torch.testing.assert_close(density, expected, rtol=0, atol=1e-8)


def test_the_2d_denoising_moments_are_those_of_weighted_samples(rng):
    mixture, n = uneven_plane(), 200_000
    before, after = Diffusion(4).alpha_bar[1:3].tolist()
    alpha = after / before
    x_t = torch.tensor([0.3, -0.2], dtype=F64)
    step = mixture.denoising(x_t, before, after)

    x_prev = Diffusion(4).q_sample(mixture.sample(n, rng), 1, rng)
    weight = torch.exp(-0.5 * (x_t - math.sqrt(alpha) * x_prev).square().sum(1) / (1 - alpha))
    weight = weight / weight.sum()
    centred = x_prev - step.mean()
    values = torch.cat([centred, torch.einsum("ni,nj->nij", centred, centred).flatten(1)], 1)
    exact = torch.cat([torch.zeros(2), step.covariance().flatten()])
    estimate = weight @ values
    # The delta method for a ratio of means.
    error = (weight.square() @ (values - estimate).square()).sqrt()
    assert ((estimate - exact).abs() < 3 * error).all()
    assert (error < 0.01).all()  # or the line above would hold of anything


def test_a_batch_of_observations_is_denoised_one_by_one():
    x_t = torch.tensor([[[0.1, 0.2], [1.0, -1.0]], [[0.0, 2.0], [-0.5, 0.5]]], dtype=F64)
    batch = uneven_plane().denoising(x_t, 0.5, 0.1)
    assert batch.means.shape == (2, 2, 3, 2)
    for i in range(2):
        for j in range(2):
            alone = uneven_plane().denoising(x_t[i, j], 0.5, 0.1)
            torch.testing.assert_close(batch.means[i, j], alone.means)
            torch.testing.assert_close(batch.weights[i, j], alone.weights)
            torch.testing.assert_close(batch.std[i, j], alone.std)


# -- how far from Gaussian -------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2])
def test_a_single_gaussian_is_at_distance_zero_from_its_best_gaussian(dim, rng):
    single = GaussianMixture(torch.full((1, dim), 0.7), 0.3)
    assert abs(single.kl_to_gaussian(1000, rng).item()) < 1e-12


@pytest.mark.parametrize(
    "mixture",
    [uneven_line(), gaussian_line(), gaussian_line().noised(0.9), gaussian_line().noised(0.3)],
)
def test_the_1d_divergence_is_the_integral(mixture):
    x = torch.linspace(-9, 9, 200_001, dtype=F64)
    assert mixture.kl_to_gaussian().item() == pytest.approx(
        dense_kl_to_gaussian(mixture, x), abs=1e-8
    )


def test_the_divergence_of_a_batch_is_that_of_its_members():
    x_t = torch.linspace(-1, 1, 5, dtype=F64).reshape(5, 1)
    batch = gaussian_line().denoising(x_t, 1.0, 0.5)
    divergences = batch.kl_to_gaussian()
    assert divergences.shape == (5,)
    alone = [gaussian_line().denoising(x, 1.0, 0.5).kl_to_gaussian().item() for x in x_t]
    torch.testing.assert_close(divergences, torch.tensor(alone, dtype=F64))


@pytest.mark.parametrize("alpha_bar", [1.0, 0.5])
def test_a_grid_is_twice_as_far_from_gaussian_as_its_line(alpha_bar, rng):
    grid, line = gaussian_grid().noised(alpha_bar), gaussian_line().noised(alpha_bar)
    gaussian = torch.distributions.MultivariateNormal(grid.mean(), grid.covariance())
    x = grid.sample(2000, rng)
    error = (grid.log_prob(x) - gaussian.log_prob(x)).std().item() / math.sqrt(20_000)
    difference = grid.kl_to_gaussian(20_000, rng) - 2 * line.kl_to_gaussian()
    assert abs(difference.item()) < 4 * error


@pytest.mark.parametrize(("num_steps", "known"), [(8, 0.18), (4, 0.41), (1, 1.73)])
def test_the_divergence_grows_with_the_step_as_measured_before(num_steps, known, rng):
    line, diffusion = gaussian_line(), Diffusion(num_steps)
    total = 0.0
    for t in range(1, num_steps + 1):
        before, after = diffusion.alpha_bar[t - 1].item(), diffusion.alpha_bar[t].item()
        x_t = line.noised(after).sample(60, rng)
        total += line.denoising(x_t, before, after).kl_to_gaussian().mean().item()
    assert total / num_steps == pytest.approx(known, rel=0.08)


def test_the_entropy_of_a_gaussian_is_the_closed_form(rng):
    closed_form = 0.5 * math.log(2 * math.pi * math.e * 0.3**2)
    line = GaussianMixture(torch.tensor([[4.0]]), 0.3)
    assert line.entropy().item() == pytest.approx(closed_form, abs=1e-12)
    plane = GaussianMixture(torch.tensor([[4.0, -1.0]]), 0.3)
    # The log density of d normals has variance d / 2.
    assert abs(plane.entropy(20_000, rng).item() - 2 * closed_form) < 4 / math.sqrt(20_000)


def test_far_components_add_the_entropy_of_the_choice():
    far = GaussianMixture(torch.tensor([[-50.0], [50.0]]), 0.3, torch.tensor([0.25, 0.75]))
    choice = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    closed_form = 0.5 * math.log(2 * math.pi * math.e * 0.3**2)
    assert far.entropy().item() == pytest.approx(closed_form + choice, abs=1e-12)


def test_the_clean_line_has_five_modes_and_the_noised_one_a_single_mode():
    modes = gaussian_line().modes().flatten().sort().values
    torch.testing.assert_close(modes, torch.arange(-2.0, 3.0, dtype=F64), rtol=0, atol=1e-6)
    noised = gaussian_line().noised(Diffusion(4).alpha_bar[3].item())
    torch.testing.assert_close(noised.modes(), torch.zeros(1, 1, dtype=F64), rtol=0, atol=1e-3)


@pytest.mark.parametrize("std", [0.8, 0.95, 1.05, 1.2])
def test_two_equal_gaussians_merge_when_their_std_passes_half_the_distance(std):
    pair = GaussianMixture(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), std)
    assert len(pair.modes()) == (2 if std < 1 else 1)


# -- the best Gaussian steps -----------------------------------------------------------------


@pytest.mark.parametrize("num_steps", [1, 4])
def test_gaussian_steps_are_exact_for_gaussian_data(num_steps, rng):
    data = GaussianMixture(torch.tensor([[0.5, -1.0]]), 0.4)
    n = 20_000
    samples = best_gaussian_sample(data, Diffusion(num_steps), n, rng=rng)
    assert samples.dtype == F64
    # x_T is drawn from N(0, I), not from q(x_T): 0.007 of the mean stays in x_T.
    error = 4 * 0.4 / math.sqrt(n) + 0.003
    assert ((samples.mean(0) - torch.tensor([0.5, -1.0])).abs() < error).all()
    torch.testing.assert_close(
        torch.cov(samples.T), 0.16 * torch.eye(2, dtype=F64), rtol=0, atol=0.008
    )


def test_steps_that_match_the_mean_alone_have_the_variance_of_the_recursion(rng):
    std, diffusion = 0.4, Diffusion(4)
    data = GaussianMixture(torch.tensor([[0.0]]), std)
    variance = 1.0
    for t in range(4, 0, -1):
        alpha_bar = diffusion.alpha_bar[t].item()
        gain = math.sqrt(alpha_bar) * std**2 / (alpha_bar * std**2 + 1 - alpha_bar)
        slope = diffusion.posterior_coef_x0[t] * gain + diffusion.posterior_coef_xt[t]
        variance = (slope**2 * variance + diffusion.posterior_variance[t]).item()
    assert math.sqrt(variance) < 0.8 * std  # ignoring the spread of x_0 makes samples narrow
    samples = best_gaussian_sample(data, diffusion, 20_000, match="mean", rng=rng)
    assert samples.std().item() == pytest.approx(math.sqrt(variance), rel=0.025)


@pytest.mark.parametrize(
    ("num_steps", "match", "low", "high"),
    [(4, "covariance", 0.05, 0.10), (4, "mean", 0.04, 0.09), (32, "covariance", 0.93, 0.98)],
)
def test_even_perfect_gaussian_steps_need_many(num_steps, match, low, high, rng):
    samples = best_gaussian_sample(
        gaussian_grid(), Diffusion(num_steps), 2000, match=match, rng=rng
    )
    assert low < mixture_scores(samples, gaussian_grid())["hq3"] < high


def test_best_gaussian_samples_repeat_with_their_generator():
    first, again = (
        best_gaussian_sample(gaussian_line(), Diffusion(2), 5, rng=torch.Generator().manual_seed(1))
        for _ in "ab"
    )
    assert torch.equal(first, again)


# -- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((torch.zeros(3), 0.1), r"means must have shape \(\.\.\., K, d\), got \(3,\)"),
        ((torch.zeros(3, 2), torch.ones(2)), "must give one number for each of the components"),
        ((torch.zeros(3, 2), 0.1, torch.ones(2)), "must give one number for each of the"),
        ((torch.tensor([[math.nan]]), 0.1), "must be finite"),
        ((torch.zeros(1, 1), math.inf), "must be finite"),
        ((torch.zeros(2, 1), 0.1, torch.tensor([1.0, math.nan])), "must be finite"),
        ((torch.zeros(2, 1), 0.0), "std must be positive"),
        ((torch.zeros(2, 1), 0.1, torch.tensor([1.0, -1.0])), "weights non-negative"),
        ((torch.zeros(2, 1), 0.1, torch.zeros(2)), "with a positive sum"),
    ],
)
def test_a_bad_mixture_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        GaussianMixture(*arguments)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda m: m.log_prob(torch.zeros(4, 3)), "x must end in dimension 2, got shape"),
        (lambda m: m.sample(0), "n must be at least 1, got 0"),
        (lambda m: m.noised(0.0), r"alpha_bar must lie in \(0, 1\], got 0.0"),
        (lambda m: m.noised(1.1), r"alpha_bar must lie in \(0, 1\], got 1.1"),
        (lambda m: m.denoising(torch.zeros(2), 1.2, 0.5), r"alpha_bar must lie in \(0, 1\]"),
        (lambda m: m.denoising(torch.zeros(2), 0.5, 0.5), "a step must add noise"),
        (lambda m: m.denoising(torch.zeros(2), 0.5, 0.7), "a step must add noise"),
        (lambda m: m.denoising(torch.zeros(3), 0.7, 0.5), "x must end in dimension 2"),
        (lambda m: m.denoising(torch.tensor([math.nan, 0.0]), 0.7, 0.5), "must be finite"),
        (lambda m: m.denoising(torch.zeros(4, 2), 0.7, 0.5).modes(), "takes a single mixture"),
        (
            lambda m: best_gaussian_sample(m, Diffusion(2), 5, match="median"),
            'match must be "covariance" or "mean", got \'median\'',
        ),
    ],
)
def test_a_bad_request_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(uneven_plane())
