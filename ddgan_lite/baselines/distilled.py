"""One step by matching distributions: a difference of two scores teaches a generator.

Distribution matching distillation (DMD, Yin et al. 2024) asks for the marginals alone. Noise the
generator's samples to a level sigma; their density p_sigma should be the data's, q_sigma. The
gradient of KL(p_sigma || q_sigma) with respect to a sample is the difference of the two scores,
grad log p_sigma - grad log q_sigma. A teacher knows the second; a denoiser trained along on the
generator's own samples learns the first.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from ddgan_lite.chain.randomness import randn_like
from ddgan_lite.method.ema import EMA
from ddgan_lite.networks.toy import Waves, mlp

Denoiser = Callable[[Tensor, Tensor], Tensor]  # x (n, d), sigma (n, 1) -> E[x_0 | x] (n, d)


class OneStep(nn.Module):
    """G(z): a sample from a Gaussian of the data's width, moved by an MLP.

    Args:
        dim: d, of the data.
        data_std: of the data, per coordinate: where the generator begins.
        width, depth: of the MLP.
        frequencies: waves of its input (:class:`ddgan_lite.networks.toy.Waves`).

    Example:
        >>> model = OneStep(2, width=8, depth=2)
        >>> model.sample(5).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        dim: int,
        data_std: float = 2**0.5,
        width: int = 128,
        depth: int = 4,
        frequencies: tuple[float, ...] = (1, 2, 4, 8),
    ):
        super().__init__()
        self.dim, self.data_std = dim, data_std
        fan_in = dim * (1 + 2 * len(frequencies))
        self.network = nn.Sequential(Waves(frequencies), mlp(fan_in, dim, width, depth, 0.05))
        nn.init.zeros_(self.network[1][-1].weight)  # at first G(z) is the Gaussian
        nn.init.zeros_(self.network[1][-1].bias)
        self.averaged: EMA | None = None

    def forward(self, z: Tensor, network: nn.Module | None = None) -> Tensor:
        """z (n, d) of N(0, I) -> x_0 (n, d)."""
        start = self.data_std * z
        return start + (network or self.network)(start)

    @torch.no_grad()
    def sample(self, n: int, *, rng: torch.Generator | None = None) -> Tensor:
        """n samples (n, d), one evaluation; averaged weights once trained."""
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        network = self.averaged.module if self.averaged else self.network
        return self(torch.randn(n, self.dim, generator=rng), network)


class ScoreOfSamples(nn.Module):
    """E[x_0 | x_0 + sigma eps = x] of whatever it is trained on: a preconditioned MLP.

    Example:
        >>> network = ScoreOfSamples(2, 1.0, width=8, depth=2, frequencies=())
        >>> network(torch.ones(5, 2), torch.ones(5, 1)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        dim: int,
        data_std: float,
        width: int = 128,
        depth: int = 4,
        frequencies: tuple[float, ...] = (1, 2, 4, 8),
    ):
        super().__init__()
        self.variance = data_std**2
        self.waves = Waves(frequencies)
        self.register_buffer("rates", torch.exp(torch.linspace(-1, 2, 8)), persistent=False)
        self.net = mlp(dim * (1 + 2 * len(frequencies)) + 16, dim, width, depth, 0.05)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x (n, d), sigma (n, 1) -> guess of x_0 (n, d)."""
        total = self.variance + sigma**2
        guess = self.variance / total * x  # the best linear one; the network corrects it
        angles = sigma.log() * self.rates
        features = torch.cat([self.waves(guess), angles.sin(), angles.cos()], 1)
        return guess + sigma * (self.variance / total).sqrt() * self.net(features)


def distil(
    model: OneStep,
    teacher: Denoiser,
    *,
    steps: int = 6_000,
    batch_size: int = 512,
    lr: float = 2e-3,
    levels: tuple[float, float] = (0.03, 3.0),
    ema_decay: float = 0.999,
    seed: int = 0,
) -> Iterator[dict[str, float]]:
    """Train ``model`` by the difference of scores; yields the denoiser's loss of every step.

    Args:
        model: the generator.
        teacher: the data's denoiser, exact or trained.
        steps: updates of the generator; the denoiser has one update before each.
        batch_size: samples of each update.
        lr: of the generator, falling to 2 % of itself by a cosine; the denoiser's is twice that.
        levels: sigma is drawn between them, evenly in its logarithm.
        ema_decay: of the generator's average.
        seed: of the random numbers.

    Raises:
        ValueError: if ``steps``, ``batch_size`` or ``levels`` is out of range.
        FloatingPointError: if the loss stops being finite.

    Example:
        >>> from ddgan_lite import gaussian_grid
        >>> loop = distil(OneStep(2), gaussian_grid().denoise, steps=2, batch_size=8)
        >>> [sorted(line) for line in loop]
        [['loss'], ['loss']]
    """
    low, high = levels
    if steps < 1 or batch_size < 1 or not 0 < low < high:
        raise ValueError(
            "steps and batch_size must be at least 1, and levels positive and rising, got "
            f"{steps}, {batch_size} and {levels}."
        )
    rng = torch.Generator().manual_seed(seed)
    student = ScoreOfSamples(model.dim, model.data_std)
    model.averaged = EMA(model.network, ema_decay)
    optimisers = [
        torch.optim.Adam(model.network.parameters(), lr, betas=(0.0, 0.99), fused=True),
        torch.optim.Adam(student.parameters(), 2 * lr, fused=True),
    ]
    schedules = [CosineAnnealingLR(each, steps, each.defaults["lr"] / 50) for each in optimisers]

    def noised() -> tuple[Tensor, Tensor, Tensor]:
        x_0 = model(torch.randn(batch_size, model.dim, generator=rng))
        place = torch.rand(batch_size, 1, generator=rng)
        sigma = (math.log(low) + place * math.log(high / low)).exp()
        return x_0, x_0.detach() + sigma * randn_like(x_0, rng), sigma

    for step in range(steps):
        with torch.no_grad():
            x_0, x, sigma = noised()
        weight = 1 / sigma**2 + 1 / student.variance  # the network's own error, of unit size
        loss = (weight * (student(x, sigma) - x_0).square()).mean()
        if not math.isfinite(value := loss.item()):
            raise FloatingPointError(f"the loss is {value} at step {step}: try a smaller lr.")
        _update(optimisers[1], loss)
        x_0, x, sigma = noised()
        with torch.no_grad():
            # The scores are (guess - x) / sigma^2: x falls out of their difference.
            slope = (student(x, sigma) - teacher(x, sigma).float()) / sigma
        _update(optimisers[0], (slope * x_0).sum(1).mean())
        for schedule in schedules:
            schedule.step()
        model.averaged.update(model.network)
        yield {"loss": value}


def _update(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
