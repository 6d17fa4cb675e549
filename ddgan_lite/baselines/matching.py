"""Flow matching: a velocity field along straight paths between data and noise."""

import math

import torch
from torch import Tensor, nn

from ddgan_lite.method.ema import EMA
from ddgan_lite.networks.toy import Waves, mlp


class Velocity(nn.Module):
    """v(x, t): an MLP that sees t in [0, 1] as sines and cosines, and x with its waves.

    Example:
        >>> network = Velocity((2,), width=8, depth=2, frequencies=(1, 2))
        >>> network(torch.zeros(5, 2), torch.full((5,), 0.5)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self, shape: tuple[int, ...], width: int, depth: int, frequencies: tuple[float, ...]
    ):
        super().__init__()
        size = math.prod(shape)
        self.waves = Waves(frequencies)
        rates = torch.exp(torch.linspace(0, math.log(100), 16))
        self.register_buffer("rates", rates, persistent=False)
        fan_in = size * (1 + 2 * len(frequencies)) + 32
        self.net = mlp(fan_in, size, width, depth, slope=0.05)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """x (n, *shape), t (n,) in [0, 1] -> velocity (n, *shape)."""
        angles = t[:, None] * self.rates
        features = torch.cat([self.waves(x.flatten(1)), angles.sin(), angles.cos()], 1)
        return self.net(features).reshape(x.shape)


class FlowMatching(nn.Module):
    """A flow that carries noise to data in straight lines on average (Lipman et al. 2023).

    x_t = (1 - t) x_0 + t eps lies on a straight path from data, t = 0, to noise, t = 1, as
    everywhere in this library. The network learns the mean velocity of all paths through a point,
    E[eps - x_0 | x_t], whose flow has the same marginals; its paths bend where those cross, and
    the bends are what a solver pays for.

    Args:
        shape: of one sample.
        width, depth: of the network.
        frequencies: waves of its input (:class:`ddgan_lite.networks.toy.Waves`).

    Example:
        >>> model = FlowMatching((2,), width=8, depth=2)
        >>> model.loss(torch.zeros(5, 2)).shape, model.sample(5, steps=4).shape
        (torch.Size([]), torch.Size([5, 2]))
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int = 128,
        depth: int = 4,
        frequencies: tuple[float, ...] = (),
    ):
        super().__init__()
        self.shape = tuple(shape)
        self.network = Velocity(self.shape, width, depth, tuple(frequencies))
        self.averaged: EMA | None = None

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def loss(self, x_0: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """E |v(x_t, t) - (eps - x_0)|^2 over t uniform in [0, 1]."""
        t = torch.rand(len(x_0), generator=rng, device=x_0.device)
        noise = torch.randn(x_0.shape, generator=rng, device=x_0.device)
        place = t.reshape(-1, *[1] * (x_0.ndim - 1))
        x_t = (1 - place) * x_0 + place * noise
        return (self.network(x_t, t) - (noise - x_0)).square().mean()

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        steps: int = 16,
        solver: str = "midpoint",
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """n samples (n, *shape) by ``steps`` even steps from t = 1 to 0.

        Args:
            n: number of samples, at least 1.
            steps: at least 1.
            solver: ``"euler"``, one evaluation a step, or ``"midpoint"``, two.
            rng: random generator, on the model's device.

        Raises:
            ValueError: if an argument is out of range.
        """
        for name, value in (("n", n), ("steps", steps)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        if solver not in ("euler", "midpoint"):
            raise ValueError(f'solver must be "euler" or "midpoint", got {solver!r}.')
        network = self.averaged.module if self.averaged else self.network
        x = torch.randn(n, *self.shape, generator=rng, device=self.device)
        width = 1 / steps
        for k in range(steps):
            t = torch.full((n,), 1 - k * width, device=x.device)
            velocity = network(x, t)
            if solver == "midpoint":
                velocity = network(x - 0.5 * width * velocity, t - 0.5 * width)
            x = x - width * velocity
        return x
