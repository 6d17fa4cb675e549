"""Mixtures of isotropic Gaussians, whose noising and denoising distributions are exact.

Noise a Gaussian mixture and it stays a Gaussian mixture; condition it on a noised observation
and it is one again. So everything the paper argues about q(x_{t-1} | x_t) can be computed here
instead of drawn by hand. The algebra is on the book's page "Derivations".
"""

import math

import torch
from torch import Tensor


class GaussianMixture:
    """A mixture sum_k w_k N(mu_k, s_k^2 I), or a whole batch of them.

    Args:
        means: (..., K, d); leading dimensions are a batch of mixtures.
        std: standard deviations, a number or (..., K), positive.
        weights: (..., K), positive; normalised here. Equal when left out.

    Everything is computed in float64.

    Raises:
        ValueError: if shapes disagree, a value is not finite, or a std or weight is negative.

    Example:
        >>> two = GaussianMixture(torch.tensor([[-1.0], [1.0]]), std=0.5)
        >>> two.num_components, two.dim, two.mean().item(), two.covariance().item()
        (2, 1, 0.0, 1.25)
        >>> two.sample(5).shape
        torch.Size([5, 1])
    """

    def __init__(self, means: Tensor, std: float | Tensor, weights: Tensor | None = None):
        means = torch.as_tensor(means, dtype=torch.float64)
        if means.ndim < 2:
            raise ValueError(f"means must have shape (..., K, d), got {tuple(means.shape)}.")
        std = torch.as_tensor(std, dtype=torch.float64)
        weights = torch.ones(()) if weights is None else torch.as_tensor(weights)
        try:
            self.std = std.expand(means.shape[:-1])
            weights = weights.to(torch.float64).expand(means.shape[:-1])
        except RuntimeError as error:
            raise ValueError(
                f"std {tuple(std.shape)} and weights {tuple(weights.shape)} must give one number "
                f"for each of the components {tuple(means.shape[:-1])}."
            ) from error
        if not all(bool(torch.isfinite(value).all()) for value in (means, std, weights)):
            raise ValueError("means, std and weights must be finite.")
        if (std <= 0).any() or (weights < 0).any() or (weights.sum(-1) <= 0).any():
            raise ValueError("std must be positive, and weights non-negative with a positive sum.")
        self.means = means
        self.weights = weights / weights.sum(-1, keepdim=True)

    @property
    def dim(self) -> int:
        """d, the dimension of a sample."""
        return self.means.shape[-1]

    @property
    def num_components(self) -> int:
        """K."""
        return self.means.shape[-2]

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density at x (..., d), in nats; batch dimensions broadcast.

        Example:
            >>> normal = GaussianMixture(torch.zeros(1, 2), std=1)
            >>> round(normal.log_prob(torch.zeros(2)).item(), 4)  # -log(2 pi)
            -1.8379
        """
        return torch.logsumexp(self.component_log_prob(x), dim=-1)

    def component_log_prob(self, x: Tensor) -> Tensor:
        """log w_k N(x; mu_k, s_k^2 I) at x (..., d), shape (..., K).

        Example:
            >>> two = GaussianMixture(torch.tensor([[-1.0], [1.0]]), std=0.5)
            >>> two.component_log_prob(torch.zeros(1)).softmax(-1).tolist()  # whose is x = 0?
            [0.5, 0.5]
        """
        x = x.to(torch.float64)
        if x.shape[-1] != self.dim:
            raise ValueError(f"x must end in dimension {self.dim}, got shape {tuple(x.shape)}.")
        distance = ((x.unsqueeze(-2) - self.means) ** 2).sum(-1)
        log_normal = -0.5 * distance / self.std**2 - self.dim * self.std.log()
        return self.weights.log() + log_normal - 0.5 * self.dim * math.log(2 * math.pi)

    def sample(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """Draw n samples from every mixture: (n, ..., d), float64."""
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        flat = self.weights.reshape(-1, self.num_components)
        k = torch.multinomial(flat, n, replacement=True, generator=rng).T  # (n, mixtures)
        row = k + self.num_components * torch.arange(len(flat))
        shape = (n, *self.weights.shape[:-1])
        mean = self.means.reshape(-1, self.dim)[row].reshape(*shape, self.dim)
        std = self.std.reshape(-1)[row].reshape(*shape, 1)
        return mean + std * torch.randn(mean.shape, generator=rng, dtype=torch.float64)

    def mean(self) -> Tensor:
        """Mean (..., d)."""
        return (self.weights.unsqueeze(-1) * self.means).sum(-2)

    def covariance(self) -> Tensor:
        """Covariance (..., d, d): the spread inside components plus the spread between them."""
        centred = self.means - self.mean().unsqueeze(-2)
        between = torch.einsum("...k,...ki,...kj->...ij", self.weights, centred, centred)
        within = (self.weights * self.std**2).sum(-1)
        return between + within[..., None, None] * torch.eye(self.dim, dtype=torch.float64)

    def noised(self, alpha_bar: float) -> "GaussianMixture":
        """The marginal q(x_t) when x_0 follows this mixture: another mixture.

        Args:
            alpha_bar: the signal share alpha_bar_t, in (0, 1].

        Example:
            >>> two = GaussianMixture(torch.tensor([[-1.0], [1.0]]), std=0.5)
            >>> noised = two.noised(alpha_bar=0.25)
            >>> noised.means.flatten().tolist(), noised.covariance().item()  # 0.25 * 1.25 + 0.75
            ([-0.5, 0.5], 1.0625)
        """
        check_alpha_bar(alpha_bar)
        std = (alpha_bar * self.std**2 + 1 - alpha_bar).sqrt()
        return GaussianMixture(math.sqrt(alpha_bar) * self.means, std, self.weights)

    def denoising(self, x_t: Tensor, alpha_bar_prev: float, alpha_bar: float) -> "GaussianMixture":
        """The exact q(x_{t-1} | x_t) when x_0 follows this mixture: a mixture for each x_t.

        Args:
            x_t: observations (..., d).
            alpha_bar_prev, alpha_bar: signal shares of x_{t-1} and x_t,
                1 >= alpha_bar_prev > alpha_bar > 0. With alpha_bar_prev = 1 it is q(x_0 | x_t).

        Example:
            >>> two, x_t = GaussianMixture(torch.tensor([[-1.0], [1.0]]), std=0.2), torch.zeros(1)
            >>> small, large = two.denoising(x_t, 0.5, 0.49), two.denoising(x_t, 1.0, 0.01)
            >>> len(small.modes()), len(large.modes())  # only a small step leaves one Gaussian hump
            (1, 2)
        """
        check_alpha_bar(alpha_bar_prev)
        check_alpha_bar(alpha_bar)
        if alpha_bar >= alpha_bar_prev:
            raise ValueError(
                f"a step must add noise: alpha_bar ({alpha_bar}) must be smaller than "
                f"alpha_bar_prev ({alpha_bar_prev})."
            )
        x_t = x_t.to(torch.float64)
        alpha = alpha_bar / alpha_bar_prev
        beta = 1 - alpha
        prior = self.noised(alpha_bar_prev)  # q(x_{t-1})
        # Responsibilities of the components for x_t, under q(x_t).
        log_weights = self.noised(alpha_bar).component_log_prob(x_t)
        variance = prior.std**2
        total = alpha * variance + beta
        means = (
            beta * prior.means + math.sqrt(alpha) * variance.unsqueeze(-1) * x_t.unsqueeze(-2)
        ) / total.unsqueeze(-1)
        std = (variance * beta / total).sqrt().expand(means.shape[:-1])
        return GaussianMixture(means, std, torch.softmax(log_weights, dim=-1))

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """The exact guess E[x_0 | x_0 + sigma eps = x], for a single mixture: (n, d), float64.

        With the score it is the same knowledge: grad log q_sigma(x) = (guess - x) / sigma^2.

        Args:
            x: (n, d).
            sigma: the noise in units of the signal, positive; one number or (n, 1).

        Example:
            >>> two = GaussianMixture(torch.tensor([[-1.0], [1.0]]), std=0.1)
            >>> x = torch.tensor([[0.9], [0.0]])
            >>> two.denoise(x, 0.1).round(decimals=2).flatten().tolist()
            [0.95, 0.0]
        """
        x, sigma = x.to(torch.float64), torch.as_tensor(sigma, dtype=torch.float64)
        variance = (self.std**2)[:, None] + sigma.reshape(1, -1) ** 2  # (K, n or 1)
        distance = torch.cdist(self.means, x).square()
        log_weights = self.weights.log()[:, None] - 0.5 * distance / variance
        share = torch.softmax(log_weights - 0.5 * self.dim * variance.log(), dim=0)
        kept = (self.std**2)[:, None] / variance
        return (share * kept).sum(0)[:, None] * x + (share * (1 - kept)).T @ self.means

    def modes(self, iterations: int = 500) -> Tensor:
        """The local maxima of the density, (number of modes, d), for a single mixture.

        Mean-shift (Carreira-Perpinan 2000) from every component mean: each step is the
        fixed-point equation of a stationary point of the density.

        Example:
            >>> wide = GaussianMixture(torch.tensor([[-1.0], [1.0]]), std=1.5)
            >>> len(wide.modes())  # two components, one hump
            1
        """
        if self.means.ndim != 2:
            raise ValueError("modes() takes a single mixture, not a batch.")
        x = self.means.clone()
        for _ in range(iterations):
            pull = torch.softmax(self.component_log_prob(x), dim=-1) / self.std**2
            x = (pull @ self.means) / pull.sum(-1, keepdim=True)
        found: list[Tensor] = []
        tolerance = 1e-2 * float(self.std.min())
        for candidate in x:
            if all(float((candidate - mode).norm()) > tolerance for mode in found):
                found.append(candidate)
        return torch.stack(found)

    def entropy(self, n: int = 20_000, rng: torch.Generator | None = None) -> Tensor:
        """Differential entropy (...), in nats: by quadrature in 1-D, by n samples otherwise.

        Example:
            >>> normal = GaussianMixture(torch.zeros(1, 1), std=1)
            >>> round(normal.entropy().item(), 4)  # log(2 pi e) / 2
            1.4189
        """
        return -self._expect(self.log_prob, n, rng)

    def kl_to_gaussian(self, n: int = 20_000, rng: torch.Generator | None = None) -> Tensor:
        """KL(q || best Gaussian) (...), in nats: how far from Gaussian the mixture is.

        The best Gaussian is the one that minimises this divergence: it has the mean and the
        covariance of q. Zero exactly when q is Gaussian. By quadrature in 1-D; otherwise the
        mean log ratio over n samples, whose error shrinks with the divergence itself.

        Example:
            >>> two = torch.tensor([[-1.0], [1.0]])
            >>> apart, close = GaussianMixture(two, 0.2), GaussianMixture(two, 1.0)
            >>> round(apart.kl_to_gaussian().item(), 3), round(close.kl_to_gaussian().item(), 3)
            (0.936, 0.01)
        """
        gaussian = torch.distributions.MultivariateNormal(self.mean(), self.covariance())
        return self._expect(lambda x: self.log_prob(x) - gaussian.log_prob(x), n, rng)

    def _expect(self, function, n: int, rng: torch.Generator | None) -> Tensor:
        """E_q[function(x)] (...)."""
        if self.dim > 1:
            return function(self.sample(n, rng)).mean(0)
        # Every component gets 801 nodes over +-10 of its own std. The trapezoidal rule converges
        # geometrically here: exact to rounding unless one component is far narrower than another.
        u = torch.linspace(-10, 10, 801, dtype=torch.float64)
        normal = torch.exp(-0.5 * u**2) / math.sqrt(2 * math.pi) * (u[1] - u[0])
        x = self.means + self.std.unsqueeze(-1) * u.reshape(-1, *[1] * self.means.ndim)
        batch_last = x.movedim(-2, 1)  # (nodes, K, ..., 1)
        weight = normal.reshape(-1, *[1] * self.weights.ndim) * self.weights.movedim(-1, 0)
        return (weight * function(batch_last)).sum((0, 1))


def check_alpha_bar(alpha_bar: float) -> None:
    """Refuse a signal share outside (0, 1].

    Example:
        >>> check_alpha_bar(0)
        Traceback (most recent call last):
            ...
        ValueError: alpha_bar must lie in (0, 1], got 0.
    """
    if not 0 < alpha_bar <= 1:
        raise ValueError(f"alpha_bar must lie in (0, 1], got {alpha_bar}.")


def best_gaussian_sample(
    mixture: GaussianMixture,
    diffusion,
    n: int,
    *,
    match: str = "covariance",
    rng: torch.Generator | None = None,
) -> Tensor:
    """Sample by the best denoising steps a Gaussian can make: nothing trained, nothing to blame.

    Args:
        mixture: the data distribution, a single mixture.
        diffusion: the chain (:class:`ddgan_lite.chain.diffusion.Diffusion`), T steps.
        n: number of samples.
        match: ``"covariance"`` takes x_{t-1} from the Gaussian with the exact mean and
            covariance of q(x_{t-1} | x_t): the optimum of the DDPM bound over all Gaussians.
            ``"mean"`` keeps the exact mean E[x_0 | x_t] and the posterior variance of DDPM:
            a perfectly trained DDPM with the lower of its two fixed variances.

    Returns:
        (n, d) float64.

    Example:
        >>> from ddgan_lite import Diffusion
        >>> two = GaussianMixture(torch.tensor([[-1.0], [1.0]]), 0.05)
        >>> def off_the_modes(num_steps):
        ...     rng = torch.Generator().manual_seed(0)
        ...     x = best_gaussian_sample(two, Diffusion(num_steps), 500, rng=rng)
        ...     return ((x.abs() - 1).abs() > 0.15).double().mean().item()
        >>> off_the_modes(2) > 0.7, off_the_modes(50) < 0.1  # Gaussian steps must be small
        (True, True)
    """
    if match not in ("covariance", "mean"):
        raise ValueError(f'match must be "covariance" or "mean", got {match!r}.')
    x = torch.randn(n, mixture.dim, generator=rng, dtype=torch.float64)
    for t in range(diffusion.num_steps, 0, -1):
        alpha_bar_prev, alpha_bar = (float(a) for a in diffusion.alpha_bar[t - 1 : t + 1])
        if match == "mean":
            x_0 = mixture.denoising(x, 1.0, alpha_bar).mean()
            x = diffusion.posterior_sample(x_0, x, t, rng)
        else:
            step = mixture.denoising(x, alpha_bar_prev, alpha_bar)
            noise = torch.randn(n, mixture.dim, 1, generator=rng, dtype=torch.float64)
            factor = torch.linalg.cholesky(step.covariance())
            x = step.mean() + (factor @ noise).squeeze(-1)
    return x
