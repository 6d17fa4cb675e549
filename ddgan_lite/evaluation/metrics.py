"""Scores that tell good samples from bad ones where the data distribution is known."""

import math
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ddgan_lite.chain.mixtures import GaussianMixture
from ddgan_lite.data.toys import Digits

if TYPE_CHECKING:
    from sklearn.svm import SVC


def mixture_scores(samples: Tensor, mixture: GaussianMixture, seed: int = 0) -> dict[str, float]:
    """Quality and coverage of samples (n, d) against a mixture.

    Returns:
        ``hq3``: share of samples within 3 standard deviations of their nearest mode. True
        samples reach 0.989 in 2-D, and more means modes drawn too narrow, not quality.
        ``modes20``, ``modes50``: modes that hold at least 20 % and 50 % of their weight, counting
        high-quality samples only.
        ``kl``: KL divergence of the modes' shares from their weights, in nats, high-quality samples
        only (the loose count of *any* sample near a mode forgives almost everything).
        ``sw2``: sliced 2-Wasserstein distance to as many true samples.
        ``sd_ratio_median``: over the modes, the spread of their high-quality samples divided by
        that of true samples cut at the same 3 standard deviations; 1 is right, less is narrow.

    Raises:
        ValueError: if the samples are not finite or have the wrong dimension.

    Example:
        >>> from ddgan_lite import gaussian_grid
        >>> grid, rng = gaussian_grid(), torch.Generator().manual_seed(0)
        >>> scores = mixture_scores(grid.sample(1000, rng), grid)  # of true samples
        >>> scores["hq3"] > 0.97, scores["modes20"], round(scores["sd_ratio_median"], 1)
        (True, 25, 1.0)
    """
    check_samples(samples, (mixture.dim,))
    samples = samples.to("cpu", torch.float64)
    squared = ((samples.unsqueeze(1) - mixture.means) / mixture.std.unsqueeze(-1)).square().sum(-1)
    nearest_squared, nearest = squared.min(1)
    good = nearest_squared < 9
    counts = torch.bincount(nearest[good], minlength=mixture.num_components)
    per_mode = torch.zeros(mixture.num_components, dtype=torch.float64)
    for k in range(mixture.num_components):
        inside = samples[good & (nearest == k)]
        if len(inside) > 1:
            per_mode[k] = inside.var(0).mean().sqrt() / (mixture.std[k] * _cut_std(mixture.dim))
    fair = len(samples) * mixture.weights
    rng = torch.Generator().manual_seed(seed)
    return {
        "hq3": good.double().mean().item(),
        "modes20": int((counts >= 0.2 * fair).sum()),
        "modes50": int((counts >= 0.5 * fair).sum()),
        "kl": kl_to_weights(counts, mixture.weights),
        "sw2": sliced_wasserstein(samples, mixture.sample(len(samples), rng), seed=seed),
        "sd_ratio_median": per_mode.median().item(),
    }


def _cut_std(dim: int, cut: float = 3.0) -> float:
    """Per-axis std of a standard normal in ``dim`` dimensions, given that its norm is < cut."""
    # E[r^2; r < c] = dim * P(chi^2_{dim+2} < c^2), through the regularised lower gamma function.
    inside = torch.special.gammainc(torch.tensor(dim / 2), torch.tensor(cut**2 / 2))
    moment = torch.special.gammainc(torch.tensor(dim / 2 + 1), torch.tensor(cut**2 / 2))
    return math.sqrt(moment / inside)


def kl_to_uniform(counts: Tensor) -> float:
    """KL(shares || uniform) in nats, for the counts (K,) of samples per mode.

    log K when one mode holds everything, and also when there are no samples at all.

    Example:
        >>> even, one = torch.tensor([5, 5]), torch.tensor([10, 0])
        >>> kl_to_uniform(even), round(kl_to_uniform(one), 4)  # 0 and log 2
        (0.0, 0.6931)
    """
    return kl_to_weights(counts, torch.full((len(counts),), 1 / len(counts), dtype=torch.float64))


def kl_to_weights(counts: Tensor, weights: Tensor) -> float:
    """KL(shares || weights) in nats, for the counts (K,) of samples per mode.

    As if the rarest mode held everything when there are no samples at all: the worst there is.

    Args:
        weights: (K,), positive, of sum 1.

    Example:
        >>> weights = torch.tensor([0.25, 0.75])
        >>> round(kl_to_weights(torch.tensor([1, 3]), weights), 9)
        0.0
        >>> round(kl_to_weights(torch.tensor([0, 0]), weights), 4)  # log 4
        1.3863
    """
    weights = weights.double()
    total = counts.sum().item()
    if total == 0:
        return -weights.min().log().item()
    share = counts.double() / total
    return torch.special.xlogy(share, share / weights).sum().item()


def sliced_wasserstein(a: Tensor, b: Tensor, projections: int = 256, seed: int = 0) -> float:
    """Sliced 2-Wasserstein distance between two sample sets (n, ...) of equal size.

    The root mean square of the 1-D distances along random directions (Bonneel et al. 2015).

    Example:
        >>> a = torch.randn(500, 1, generator=torch.Generator().manual_seed(0))
        >>> round(sliced_wasserstein(a, a + 3), 4)  # on a line: how far all were shifted
        3.0
    """
    if a.shape != b.shape:
        raise ValueError(
            f"both sets must have one shape, got {tuple(a.shape)} and {tuple(b.shape)}."
        )
    a, b = (x.reshape(len(x), -1).to("cpu", torch.float64) for x in (a, b))
    rng = torch.Generator().manual_seed(seed)
    directions = torch.randn(a.shape[1], projections, generator=rng, dtype=torch.float64)
    directions = directions / directions.norm(dim=0)
    sorted_a, sorted_b = (a @ directions).sort(0).values, (b @ directions).sort(0).values
    return (sorted_a - sorted_b).square().mean().sqrt().item()


def read_digits(stacks: Tensor) -> Tensor:
    """What a classifier reads in digits, one per channel: (n, C, 8, 8) -> (n, C), numbers 0..9.

    A support vector machine that has learned the training digits; it reads 99.3 % of the held-out
    ones (chapter 06). It calls everything a digit, noise included.

    Raises:
        ValueError: if the samples are not finite or not such images.

    Example:
        >>> from ddgan_lite import StackedDigits
        >>> stacks, modes = StackedDigits().sample_labelled(5, torch.Generator().manual_seed(0))
        >>> torch.equal(read_digits(stacks) @ torch.tensor([100, 10, 1]), modes)
        True
    """
    check_samples(stacks, (*stacks.shape[1:2], 8, 8))
    read = _judge().predict(stacks.reshape(-1, 64).cpu().numpy())
    return torch.tensor(read).reshape(stacks.shape[:2])


@cache
def _judge() -> "SVC":
    from sklearn.svm import SVC  # imported when needed: it takes seconds

    digits = Digits("train")
    return SVC(gamma=0.03, C=10).fit(digits.images.flatten(1), digits.labels)


def mode_scores(modes: Tensor, num_modes: int) -> dict[str, float]:
    """Coverage when a classifier names the mode of every sample.

    Args:
        modes: (n,) whole numbers 0..num_modes - 1.

    Returns:
        ``modes``: how many occur at least once; ``kl``: KL(shares || uniform) in nats.

    Example:
        >>> scores = mode_scores(torch.tensor([7, 7, 2, 2]), num_modes=10)
        >>> scores["modes"], round(scores["kl"], 4)  # two of ten: log 5
        (2, 1.6094)
    """
    whole = not (modes.is_floating_point() or modes.dtype == torch.bool)
    if not whole or modes.numel() == 0 or modes.min() < 0 or modes.max() >= num_modes:
        raise ValueError(f"modes must be numbers in 0..{num_modes - 1}, at least one of them.")
    counts = torch.bincount(modes, minlength=num_modes)
    return {"modes": int((counts > 0).sum()), "kl": kl_to_uniform(counts)}


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Squared Fréchet distance between Gaussians fitted to features a (n, d) and b (m, d).

    |mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^{1/2}) (Dowson and Landau 1982). With Inception
    features this is the FID; here the features are whatever is passed in.

    Example:
        >>> a = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> round(frechet_distance(a, a + torch.tensor([3.0, 4.0])), 4)  # equal spread: 3^2 + 4^2
        25.0
    """
    for features in (a, b):
        check_samples(features, tuple(a.shape[1:]))
    a, b = a.reshape(len(a), -1).double(), b.reshape(len(b), -1).double()
    cov_a, cov_b = (torch.cov(x.T).reshape(x.shape[1], x.shape[1]) for x in (a, b))
    return frechet_between(a.mean(0), cov_a, b.mean(0), cov_b)


def frechet_between(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    """Squared Fréchet distance between two Gaussians: means (d,), covariances (d, d).

    Example:
        >>> round(frechet_between(torch.zeros(2), torch.eye(2), torch.ones(2), 4 * torch.eye(2)), 4)
        4.0
    """
    mean_a, cov_a, mean_b, cov_b = (x.double() for x in (mean_a, cov_a, mean_b, cov_b))
    # tr (C_a C_b)^{1/2} is the sum of the singular values of C_a^{1/2} C_b^{1/2}.
    overlap = torch.linalg.svdvals(_square_root(cov_a) @ _square_root(cov_b)).sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * overlap
    return max(distance.item(), 0.0)


def frechet_bias(a: Tensor, b: Tensor, seed: int = 0) -> float:
    """How much :func:`frechet_distance` of features (n, d) and (m, d) is too high, about.

    Means and covariances of few samples are noisy, and noise is distance: what two finite sets
    have beyond two endless ones falls like 1/n (Chong and Forsyth 2020). Random halves of both
    then have twice as much of it, so the mean of two pairs of halves, minus the whole, estimates
    it. With fewer samples than features that law fails, and the estimate is a rough one.

    Raises:
        ValueError: if a set has fewer than 4 samples; and as :func:`frechet_distance`.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> a, b = torch.randn(2, 500, 64, generator=rng)  # one distribution: the truth is 0
        >>> distance, bias = frechet_distance(a, b), frechet_bias(a, b)
        >>> distance > 1, abs(distance - bias) < distance / 4
        (True, True)
    """
    if min(len(a), len(b)) < 4:
        raise ValueError(f"halves need at least 4 samples, got {len(a)} and {len(b)}.")
    rng = torch.Generator().manual_seed(seed)
    a, b = (x[torch.randperm(len(x), generator=rng)] for x in (a, b))
    halves = zip(*(x[: 2 * (len(x) // 2)].chunk(2) for x in (a, b)), strict=True)
    return sum(frechet_distance(*pair) for pair in halves) / 2 - frechet_distance(a, b)


def density_coverage(samples: Tensor, real: Tensor, neighbours: int = 5) -> dict[str, float]:
    """Density and coverage of features (n, d) of samples against real ones (m, d).

    Draw a ball around every real point, just large enough for its ``neighbours`` nearest real
    ones (Naeem et al. 2020).

    Returns:
        ``density``: the number of balls that a sample lies in, on average, in units of
        ``neighbours``. Unlike precision it counts a ball around an outlier no more than it holds;
        1 is what true samples have, and more is possible.
        ``coverage``: the share of the balls that hold a sample. Unlike recall it does not grow
        with samples that lie far out.

    Raises:
        ValueError: if there are no more real points than ``neighbours``; and as
            :func:`check_samples`.

    Example:
        >>> real = torch.arange(8.0).reshape(8, 1)
        >>> density_coverage(torch.tensor([[0.1], [0.2]]), real, neighbours=1)  # at one end
        {'density': 2.0, 'coverage': 0.25}
    """
    for features in (samples, real):
        check_samples(features, tuple(real.shape[1:]))
    if not 0 < neighbours < len(real):
        raise ValueError(f"{neighbours} neighbours need more than {len(real)} real points.")
    inside = covered = 0
    for part in real.split(1000):
        radius = torch.cdist(part, real).kthvalue(neighbours + 1, 1).values  # itself is the first
        held = (torch.cdist(part, samples) <= radius.unsqueeze(1)).sum(1)
        inside, covered = inside + held.sum().item(), covered + (held > 0).sum().item()
    return {
        "density": inside / (neighbours * len(samples)),
        "coverage": covered / len(real),
    }


def _square_root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def check_samples(samples: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse sample sets of the wrong shape, too small to score, or not finite.

    Example:
        >>> check_samples(torch.zeros(5, 3), (2,))
        Traceback (most recent call last):
            ...
        ValueError: need at least 2 samples of shape (2,), got a tensor (5, 3).
    """
    if tuple(samples.shape[1:]) != shape or len(samples) < 2:
        raise ValueError(
            f"need at least 2 samples of shape {shape}, got a tensor {tuple(samples.shape)}."
        )
    if not torch.isfinite(samples).all():
        raise ValueError("the samples hold values that are not finite.")
