"""DDPM and DDIM: the diffusion model whose every step is a Gaussian."""

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from ddgan_lite.diffusion import Diffusion
from ddgan_lite.ema import EMA
from ddgan_lite.networks.toy import mlp


class NoisePredictor(nn.Module):
    """eps(x_t, t): the noise in x_t, by an MLP that sees t as sines and cosines."""

    def __init__(self, shape: tuple[int, ...], num_steps: int, width: int, depth: int):
        super().__init__()
        size = math.prod(shape)
        frequencies = torch.exp(torch.linspace(0, math.log(1000), 16))
        angles = torch.arange(num_steps + 1).unsqueeze(1) / num_steps * frequencies
        self.register_buffer("time", torch.cat([angles.sin(), angles.cos()], 1), persistent=False)
        self.net = mlp(size + 32, size, width, depth, slope=0.05)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """x_t (n, *shape), t (n,) in 1..T -> eps (n, *shape)."""
        return self.net(torch.cat([x_t.flatten(1), self.time[t]], 1)).reshape(x_t.shape)


class DDPM(nn.Module):
    """A denoising diffusion model (Ho et al. 2020) on the same chain as DDGAN.

    Args:
        shape: of one sample.
        num_steps: T; a thousand small steps in the original, and that is the point.
        width, depth: of the network.
    """

    def __init__(
        self, shape: tuple[int, ...], num_steps: int = 1000, width: int = 128, depth: int = 4
    ):
        super().__init__()
        self.shape = tuple(shape)
        self.diffusion = Diffusion(num_steps)
        self.network = NoisePredictor(self.shape, num_steps, width, depth)
        self.averaged: EMA | None = None

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def loss(self, x_0: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """E |eps - eps(x_t, t)|^2, the simple loss of Ho et al. (eq. 14)."""
        n, device = len(x_0), x_0.device
        t = torch.randint(1, self.diffusion.num_steps + 1, (n,), generator=rng, device=device)
        noise = torch.randn(x_0.shape, generator=rng, device=device)
        signal_share, noise_share = self._shares(t, x_0)
        x_t = signal_share * x_0 + noise_share * noise
        return (noise - self.network(x_t, t)).square().mean()

    def _shares(self, t: Tensor | int, like: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t), shaped to broadcast over samples."""
        alpha_bar = self.diffusion.alpha_bar.to(like.device)[t].reshape(-1, *[1] * (like.ndim - 1))
        return alpha_bar.sqrt().to(like), (1 - alpha_bar).sqrt().to(like)

    def predict(self, x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """The network's noise, and the guess of x_0 that goes with it."""
        network = self.averaged.module if self.averaged else self.network
        noise = network(x_t, torch.full(x_t.shape[:1], t, device=x_t.device))
        signal_share, noise_share = self._shares(t, x_t)
        return noise, (x_t - noise_share * noise) / signal_share

    @torch.no_grad()
    def sample(self, n: int, *, rng: torch.Generator | None = None) -> Tensor:
        """n samples by T ancestral steps: x_{t-1} ~ q(x_{t-1} | x_t, x_0 = prediction)."""
        x = self._start(n, rng)
        for t in range(self.diffusion.num_steps, 0, -1):
            _, x_0 = self.predict(x, t)
            x = self.diffusion.posterior_sample(x_0, x, t, rng)
        return x

    @torch.no_grad()
    def sample_ddim(self, n: int, steps: int, *, rng: torch.Generator | None = None) -> Tensor:
        """n samples by ``steps`` deterministic steps of the same network (Song et al. 2021a).

        Raises:
            ValueError: if ``steps`` is not in 1..T.
        """
        if not 1 <= steps <= self.diffusion.num_steps:
            raise ValueError(f"steps must lie in 1..{self.diffusion.num_steps}, got {steps}.")
        x = self._start(n, rng)
        times = torch.linspace(self.diffusion.num_steps, 0, steps + 1).round().long().tolist()
        for t, t_next in itertools.pairwise(times):
            noise, x_0 = self.predict(x, t)
            signal_share, noise_share = self._shares(t_next, x)
            x = signal_share * x_0 + noise_share * noise
        return x

    def _start(self, n: int, rng: torch.Generator | None) -> Tensor:
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        return torch.randn(n, *self.shape, generator=rng, device=self.device)


def train_ddpm(
    model: DDPM,
    data,
    *,
    steps: int = 10_000,
    batch_size: int = 1024,
    lr: float = 2e-3,
    ema_decay: float = 0.995,
    seed: int = 0,
) -> Iterator[dict[str, float]]:
    """Train ``model`` by Adam with a cosine schedule to zero; yields the loss of every step.

    ``data`` is anything with ``sample(n, rng)``, as for :func:`ddgan_lite.training.train`.
    """
    if steps < 1 or batch_size < 1:
        raise ValueError(f"steps and batch_size must be at least 1, got {steps} and {batch_size}.")
    rng = torch.Generator(model.device).manual_seed(seed)
    # Data are drawn on the CPU, wherever the model is; there both are one stream.
    data_rng = rng if rng.device.type == "cpu" else torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.network.parameters(), lr=lr, fused=True)
    schedule = CosineAnnealingLR(optimiser, steps)
    model.averaged = EMA(model.network, ema_decay)
    for _ in range(steps):
        x_0 = data.sample(batch_size, data_rng).to(model.device, torch.float32)
        loss = model.loss(x_0, rng)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        model.averaged.update(model.network)
        yield {"noise": loss.item()}
