"""DDPM: the diffusion model whose every step back is a Gaussian around one guess."""

import math

import torch
from torch import Tensor, nn

from ddgan_lite.baselines.solvers import solve
from ddgan_lite.chain.diffusion import Diffusion
from ddgan_lite.method.ema import EMA
from ddgan_lite.networks.toy import Waves, mlp


class NoisePredictor(nn.Module):
    """eps(x_t, t): the noise in x_t, by an MLP that sees t as sines and cosines, x_t with waves.

    Example:
        >>> network = NoisePredictor((2,), num_steps=1000, width=8, depth=2)
        >>> network(torch.zeros(5, 2), torch.full((5,), 1000)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        num_steps: int,
        width: int,
        depth: int,
        frequencies: tuple[float, ...] = (),
    ):
        super().__init__()
        size = math.prod(shape)
        self.waves = Waves(frequencies)
        rates = torch.exp(torch.linspace(0, math.log(1000), 16))
        angles = torch.arange(num_steps + 1).unsqueeze(1) / num_steps * rates
        self.register_buffer("time", torch.cat([angles.sin(), angles.cos()], 1), persistent=False)
        self.net = mlp(size * (1 + 2 * len(frequencies)) + 32, size, width, depth, slope=0.05)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """x_t (n, *shape), t (n,) in 1..T -> eps (n, *shape)."""
        features = torch.cat([self.waves(x_t.flatten(1)), self.time[t]], 1)
        return self.net(features).reshape(x_t.shape)


class DDPM(nn.Module):
    """A denoising diffusion model (Ho et al. 2020) on the same chain as DDGAN.

    Args:
        shape: of one sample.
        num_steps: T; a thousand small steps in the original, and that is the point.
        width, depth: of the network.
        clip: the largest coordinate of the data, where it is known; guesses of x_0 are held to
            it. At t near T a guess is the network's error divided by sqrt(alpha_bar_t) < 0.01,
            which a sampler of few, long steps would otherwise carry on.
        crowding: training draws t = T u^crowding for uniform u: above 1 more often near the data.
        frequencies: waves of the network's input (:class:`ddgan_lite.networks.toy.Waves`).

    Example:
        >>> model = DDPM((2,), num_steps=10, width=8, depth=2, clip=1.0)
        >>> model.loss(torch.zeros(5, 2)).shape, model.sample(5).shape
        (torch.Size([]), torch.Size([5, 2]))
        >>> noise, x_0 = model.predict(100 * torch.ones(5, 2), t=10)
        >>> x_0.abs().max().item()  # held to ``clip``
        1.0
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        num_steps: int = 1000,
        width: int = 128,
        depth: int = 4,
        clip: float | None = None,
        crowding: float = 1.0,
        frequencies: tuple[float, ...] = (),
    ):
        super().__init__()
        self.shape, self.clip, self.crowding = tuple(shape), clip, crowding
        self.diffusion = Diffusion(num_steps)
        self.network = NoisePredictor(self.shape, num_steps, width, depth, tuple(frequencies))
        self.averaged: EMA | None = None

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def loss(self, x_0: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """E |eps - eps(x_t, t)|^2, the simple loss of Ho et al. (eq. 14)."""
        n, device = len(x_0), x_0.device
        place = torch.rand(n, generator=rng, device=device) ** self.crowding  # in [0, 1)
        t = (place * self.diffusion.num_steps).long() + 1
        noise = torch.randn(x_0.shape, generator=rng, device=device)
        signal_share, noise_share = self._shares(t, x_0)
        x_t = signal_share * x_0 + noise_share * noise
        return (noise - self.network(x_t, t)).square().mean()

    def _shares(self, t: Tensor | int, like: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t), shaped to broadcast over samples."""
        alpha_bar = self.diffusion.alpha_bar.to(like.device)[t].reshape(-1, *[1] * (like.ndim - 1))
        return alpha_bar.sqrt().to(like), (1 - alpha_bar).sqrt().to(like)

    def predict(self, x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """The network's guess of x_0, clipped, and the noise that goes with it: noise, x_0."""
        network = self.averaged.module if self.averaged else self.network
        noise = network(x_t, torch.full(x_t.shape[:1], t, device=x_t.device))
        signal_share, noise_share = self._shares(t, x_t)
        x_0 = (x_t - noise_share * noise) / signal_share
        if self.clip is None:
            return noise, x_0
        x_0 = x_0.clamp(-self.clip, self.clip)
        return (x_t - signal_share * x_0) / noise_share, x_0

    @torch.no_grad()
    def sample(self, n: int, *, rng: torch.Generator | None = None) -> Tensor:
        """n samples by T ancestral steps: x_{t-1} ~ q(x_{t-1} | x_t, x_0 = prediction)."""
        x = self._start(n, rng)
        for t in range(self.diffusion.num_steps, 0, -1):
            _, x_0 = self.predict(x, t)
            x = self.diffusion.posterior_sample(x_0, x, t, rng)
        return x

    @torch.no_grad()
    def sample_few(
        self,
        n: int,
        steps: int,
        *,
        solver: str = "2m",
        spacing: str = "log-SNR",
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """n samples in ``steps`` steps of the same network, without training it again.

        Args:
            n: number of samples, at least 1.
            steps, solver, spacing: as in :func:`ddgan_lite.baselines.solvers.solve`.
            rng: random generator, on the model's device.

        Raises:
            ValueError: if ``steps``, the solver or the spacing is not one of these.

        Example:
            >>> model = DDPM((2,), num_steps=10)
            >>> model.sample_few(5, steps=2, solver="ddim", spacing="even").shape
            torch.Size([5, 2])
            >>> model.sample_few(5, steps=20)
            Traceback (most recent call last):
                ...
            ValueError: steps must lie in 1..10, got 20.
        """
        how = {"solver": solver, "spacing": spacing, "rng": rng}
        start, chain = self._start(n, rng), self.diffusion
        return solve(lambda x, t: self.predict(x, t)[1], start, chain, steps, **how)

    def sample_ddim(self, n: int, steps: int, *, rng: torch.Generator | None = None) -> Tensor:
        """:meth:`sample_few` with the first-order solver and evenly spaced levels, as published.

        Example:
            >>> DDPM((2,), num_steps=10).sample_ddim(5, steps=2).shape
            torch.Size([5, 2])
        """
        return self.sample_few(n, steps, solver="ddim", spacing="even", rng=rng)

    def _start(self, n: int, rng: torch.Generator | None) -> Tensor:
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        return torch.randn(n, *self.shape, generator=rng, device=self.device)
