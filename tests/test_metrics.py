"""Scores on samples whose faults are known, distances against closed forms."""

import math

import pytest
import torch

from ddgan_lite.chain.mixtures import GaussianMixture
from ddgan_lite.data.toys import Digits, gaussian_grid, gaussian_line
from ddgan_lite.evaluation.metrics import (
    density_coverage,
    frechet_bias,
    frechet_distance,
    kl_to_uniform,
    mixture_scores,
    mode_scores,
    read_digits,
    sliced_wasserstein,
)

GRID = gaussian_grid()


def labelled(shares, rng, std=0.05):
    """Samples around the grid's modes, shares[k] of 4,000 in mode k."""
    counts = (4_000 * torch.as_tensor(shares, dtype=torch.float64)).round().long()
    means = GRID.means.repeat_interleave(counts, 0)
    return means + std * torch.randn(means.shape, generator=rng, dtype=torch.float64)


# -- mixture scores --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_true_samples_score_in_the_bands_of_true_samples(seed):
    scores = mixture_scores(GRID.sample(10_000, torch.Generator().manual_seed(seed)), GRID)
    assert 0.985 < scores["hq3"] < 0.992
    assert scores["modes20"] == scores["modes50"] == 25
    assert scores["kl"] < 0.003
    assert scores["sw2"] < 0.1
    assert 0.985 < scores["sd_ratio_median"] < 1.015  # 0.974 without regard to the cut


def test_true_samples_in_one_dimension_score_as_a_cut_normal_does(rng):
    scores = mixture_scores(gaussian_line().sample(5_000, rng), gaussian_line())
    assert scores["hq3"] == pytest.approx(0.9973, abs=0.003)
    assert 0.95 < scores["sd_ratio_median"] < 1.05


def test_contracted_modes_show_in_the_sd_ratio_not_in_the_quality(rng):
    scores = mixture_scores(labelled(torch.full((25,), 0.04), rng, std=0.025), GRID)
    assert scores["hq3"] > 0.995
    assert 0.50 < scores["sd_ratio_median"] < 0.53


def test_widened_modes_show_in_the_quality(rng):
    scores = mixture_scores(labelled(torch.full((25,), 0.04), rng, std=0.10), GRID)
    # The norm of two normals is below 1.5 with probability 1 - exp(-1.5^2 / 2).
    assert scores["hq3"] == pytest.approx(1 - math.exp(-1.125), abs=0.02)


def test_dropped_and_thinned_modes_are_counted(rng):
    shares = torch.ones(25)
    shares[:5] = 0.0  # dropped
    shares[5:8] = 0.35  # thinned
    scores = mixture_scores(labelled(shares / 25, rng), GRID)
    assert scores["modes20"] == 20
    assert scores["modes50"] == 17


def test_the_divergence_of_twenty_equal_modes_is_known(rng):
    shares = torch.cat([torch.zeros(5), torch.full((20,), 0.05)])
    scores = mixture_scores(labelled(shares, rng), GRID)
    assert scores["kl"] == pytest.approx(math.log(25 / 20), abs=0.005)


def test_samples_between_the_modes_count_for_none():
    between = GRID.means[:, :] + 0.5
    scores = mixture_scores(between.repeat(40, 1), GRID)
    assert scores["hq3"] == scores["modes20"] == scores["sd_ratio_median"] == 0
    assert scores["kl"] == pytest.approx(math.log(25))


def test_one_perfect_mode_is_no_success(rng):
    shares = torch.zeros(25)
    shares[12] = 1.0
    scores = mixture_scores(labelled(shares, rng), GRID)
    assert scores["hq3"] > 0.98
    assert scores["modes20"] == 1
    assert scores["kl"] == pytest.approx(math.log(25))
    assert scores["sw2"] > 1


def test_modes_of_unequal_weight_are_held_against_their_own(rng):
    weights = torch.linspace(1, 5, 25, dtype=torch.float64)
    uneven = GaussianMixture(GRID.means, 0.05, weights)
    scores = mixture_scores(uneven.sample(10_000, rng), uneven)
    assert scores["kl"] < 0.003 and scores["modes50"] == 25
    even = mixture_scores(GRID.sample(10_000, rng), uneven)  # equal shares, weights of 1 to 5
    shares = torch.full((25,), 1 / 25, dtype=torch.float64)
    expected = (shares * (shares / uneven.weights).log()).sum().item()
    assert even["kl"] == pytest.approx(expected, abs=0.01)
    assert even["modes50"] == int((0.5 * uneven.weights <= 1 / 25).sum()) == 25
    assert mixture_scores(uneven.sample(10_000, rng), GRID)["modes50"] < 25


def test_scores_repeat():
    samples = GRID.sample(1000, torch.Generator().manual_seed(1))
    assert mixture_scores(samples, GRID) == mixture_scores(samples.clone(), GRID)


# -- modes and divergences -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([5, 5, 5, 5], 0.0),
        ([9, 0, 0, 0], math.log(4)),
        ([7, 7, 0, 0], math.log(2)),
        ([0, 0, 0, 0], math.log(4)),
        ([3, 1], 0.75 * math.log(1.5) + 0.25 * math.log(0.5)),
    ],
)
def test_kl_to_uniform_has_its_known_values(counts, expected):
    assert kl_to_uniform(torch.tensor(counts)) == pytest.approx(expected, abs=1e-12)


def test_the_judge_reads_held_out_digits_channel_by_channel():
    held_out = Digits("test")
    read = read_digits(held_out.images[:597].reshape(-1, 3, 8, 8))
    right = (read.flatten() == held_out.labels[:597]).double().mean()
    assert read.shape == (199, 3) and right > 0.98


@pytest.mark.parametrize(
    ("stacks", "sentence"),
    [
        (torch.zeros(5, 3, 8, 9), r"samples of shape \(3, 8, 8\), got a tensor \(5, 3, 8, 9\)"),
        (torch.full((5, 3, 8, 8), torch.nan), "the samples hold values that are not finite"),
    ],
)
def test_what_is_no_stack_is_not_read(stacks, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_digits(stacks)


def test_mode_scores_count_what_occurs():
    scores = mode_scores(torch.tensor([0, 0, 3, 3, 999, 999]), 1000)
    assert scores == {"modes": 3, "kl": pytest.approx(math.log(1000 / 3))}


# -- distances -------------------------------------------------------------------------------


def exactly(mean, covariance, rng, n=500):
    """n samples with exactly this mean and covariance."""
    mean, covariance = (torch.tensor(v, dtype=torch.float64) for v in (mean, covariance))
    x = torch.randn(n, len(mean), generator=rng, dtype=torch.float64)
    x = x - x.mean(0)
    factor = torch.linalg.cholesky(x.T @ x / (n - 1))
    white = torch.linalg.solve_triangular(factor, x.T, upper=False)
    return mean + (torch.linalg.cholesky(covariance) @ white).T


def test_frechet_distance_is_the_closed_form_of_two_gaussians(rng):
    cov_a, cov_b = [[2.0, 0.6], [0.6, 1.0]], [[0.5, -0.3], [-0.3, 1.5]]
    a, b = exactly([1.0, 0.0], cov_a, rng), exactly([-1.0, 0.5], cov_b, rng, n=300)
    # For 2 x 2 matrices tr M^{1/2} = (tr M + 2 det(M)^{1/2})^{1/2}.
    product = torch.tensor(cov_a, dtype=torch.float64) @ torch.tensor(cov_b, dtype=torch.float64)
    root_trace = (product.trace() + 2 * product.det().sqrt()).sqrt().item()
    expected = 2.0**2 + 0.5**2 + 3.0 + 2.0 - 2 * root_trace
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-9)
    assert frechet_distance(b, a) == pytest.approx(expected, abs=1e-9)


def test_frechet_distance_of_a_set_from_itself_is_zero(rng):
    a = torch.randn(50, 3, 2, generator=rng)
    assert 0 <= frechet_distance(a, a) < 1e-9
    flat = torch.cat([a.flatten(1), torch.ones(50, 1)], 1)  # a singular covariance
    assert 0 <= frechet_distance(flat, flat) < 1e-6


def test_frechet_distance_takes_one_feature(rng):
    a, b = exactly([1.0], [[4.0]], rng), exactly([0.0], [[1.0]], rng)
    assert frechet_distance(a, b) == pytest.approx(1 + (2 - 1) ** 2)


@pytest.mark.parametrize(("n", "m"), [(400, 400), (400, 4_000), (60, 60), (60, 4_000)])
def test_the_bias_of_the_frechet_distance_is_what_few_samples_add(n, m):
    # Two normal distributions, the means 0.1 apart on each of 64 axes: the distance is 0.64.
    excess, estimate = [], []
    for seed in range(5):
        rng = torch.Generator().manual_seed(seed)
        a, b = torch.randn(n, 64, generator=rng), 0.1 + torch.randn(m, 64, generator=rng)
        excess.append(frechet_distance(a, b) - 0.64)
        estimate.append(frechet_bias(a, b, seed))
    excess, estimate = sum(excess) / 5, sum(estimate) / 5
    if n > 64:
        assert estimate == pytest.approx(excess, rel=0.1)
    else:  # fewer samples than features: rough
        assert 0.6 < estimate / excess < 1.6


def test_density_and_coverage_are_counts_of_balls(rng):
    samples = 0.8 * torch.randn(70, 3, generator=rng, dtype=torch.float64)
    real = torch.randn(1_100, 3, generator=rng, dtype=torch.float64)  # more than one part
    inside = covered = 0
    for centre in real:
        radius = (real - centre).norm(dim=1).sort().values[5]  # the nearest, [0], is itself
        near = ((samples - centre).norm(dim=1) <= radius).sum().item()
        inside, covered = inside + near, covered + (near > 0)
    found = density_coverage(samples, real)
    assert found["density"] == pytest.approx(inside / (5 * 70), abs=1e-3)
    assert found["coverage"] == pytest.approx(covered / 1_100, abs=1e-3)
    assert 0.1 < found["coverage"] < 0.9


def test_density_and_coverage_of_known_faults(rng):
    real, again, far = torch.randn(3, 1_000, 8, generator=rng)
    true = density_coverage(again, real)
    assert true["density"] == pytest.approx(1, abs=0.1)
    assert true["coverage"] == pytest.approx(1 - 0.5**5, abs=0.02)  # as many: Naeem et al., eq. 11
    one_mode = density_coverage(0.1 * again, real)
    assert one_mode["density"] > 1.5 and one_mode["coverage"] < 0.5
    assert density_coverage(far + 20, real) == {"density": 0, "coverage": 0}


def test_sliced_wasserstein_of_a_shift(rng):
    a = torch.randn(400, 1, generator=rng)
    assert sliced_wasserstein(a, a + 0.7) == pytest.approx(0.7, rel=1e-5)
    # In d dimensions a direction sees 1 / d of a squared shift on average.
    a = torch.randn(400, 2, generator=rng)
    shifted = a + torch.tensor([3.0, 4.0])
    assert sliced_wasserstein(a, shifted) == pytest.approx(5 / math.sqrt(2), rel=0.1)


def test_sliced_wasserstein_knows_sets_not_orders(rng):
    a = torch.randn(100, 3, 2, 2, generator=rng)
    shuffled = a[torch.randperm(100, generator=rng)]
    assert sliced_wasserstein(a, shuffled) == pytest.approx(0, abs=1e-12)
    assert sliced_wasserstein(a, 2 * a) == pytest.approx(sliced_wasserstein(2 * a, a))


def test_sliced_wasserstein_of_plain_numbers_sorts_them():
    assert sliced_wasserstein(torch.tensor([0.0, 10.0]), torch.tensor([11.0, 1.0])) == (
        pytest.approx(1.0)
    )


# -- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: mixture_scores(torch.zeros(9, 3), GRID), r"samples of shape \(2,\), got a tensor"),
        (lambda: mixture_scores(torch.zeros(1, 2), GRID), "need at least 2 samples"),
        (lambda: mixture_scores(torch.full((9, 2), math.nan), GRID), "are not finite"),
        (lambda: sliced_wasserstein(torch.zeros(3, 2), torch.zeros(4, 2)), "must have one shape"),
        (lambda: frechet_distance(torch.zeros(3, 2), torch.zeros(3, 4)), "need at least 2 samples"),
        (lambda: frechet_distance(torch.zeros(1, 2), torch.zeros(3, 2)), "need at least 2 samples"),
        (lambda: frechet_distance(torch.full((3, 2), math.inf), torch.zeros(3, 2)), "not finite"),
        (lambda: frechet_bias(torch.zeros(3, 2), torch.zeros(9, 2)), "at least 4 samples, got 3"),
        (lambda: density_coverage(torch.zeros(3, 2), torch.zeros(5, 2)), "5 neighbours need more"),
        (lambda: density_coverage(torch.zeros(3, 2), torch.zeros(9, 3)), "need at least 2 samples"),
        (lambda: mode_scores(torch.tensor([0, 10]), 10), r"must be numbers in 0\.\.9"),
        (lambda: mode_scores(torch.tensor([-1, 3]), 10), r"must be numbers in 0\.\.9"),
        (lambda: mode_scores(torch.tensor([], dtype=torch.long), 10), "at least one of them"),
        (lambda: mode_scores(torch.tensor([0.5, 3.0]), 10), r"must be numbers in 0\.\.9"),
    ],
)
def test_bad_input_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
