"""A normalizing flow: invertible layers from data to noise, and the density exactly."""

import math

import torch
from torch import Tensor, nn

from ddgan_lite.method.ema import EMA
from ddgan_lite.networks.toy import mlp

LARGEST_LOG_SCALE = 3.0  # of one layer: it may stretch and shrink by a factor of 20, no more


class Coupling(nn.Module):
    """Half of the coordinates set a scale and a shift for the other half.

    What set them passes unchanged, so the layer can be undone exactly however complicated the
    network is, and its Jacobian is triangular.

    Example:
        >>> coupling = Coupling(torch.tensor([1, 0]), width=8, depth=2, slope=0.05)
        >>> _ = nn.init.ones_(coupling.net[-1].bias)
        >>> x = torch.tensor([[2.0, 3.0]])
        >>> y, log_det = coupling(x)
        >>> torch.allclose(coupling.inverse(y), x)
        True
    """

    def __init__(self, order: Tensor, width: int, depth: int, slope: float):
        super().__init__()
        # Coordinates are reordered first, so that others pass and others move in each layer.
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("back", order.argsort(), persistent=False)
        self.passing = len(order) // 2
        moving = len(order) - self.passing
        self.net = mlp(self.passing, 2 * moving, width, depth, slope)
        for parameter in self.net[-1].parameters():  # the flow starts as the identity
            nn.init.zeros_(parameter)

    def _scale_and_shift(self, passing: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self.net(passing).chunk(2, dim=1)
        return LARGEST_LOG_SCALE * (log_scale / LARGEST_LOG_SCALE).tanh(), shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (n, d) -> the layer's output (n, d) and log |det Jacobian| (n,)."""
        x = x[:, self.order]
        passing, moving = x[:, : self.passing], x[:, self.passing :]
        log_scale, shift = self._scale_and_shift(passing)
        return torch.cat([passing, moving * log_scale.exp() + shift], 1), log_scale.sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """What :meth:`forward` turned into y (n, d)."""
        passing, moving = y[:, : self.passing], y[:, self.passing :]
        log_scale, shift = self._scale_and_shift(passing)
        return torch.cat([passing, (moving - shift) * (-log_scale).exp()], 1)[:, self.back]


class Flow(nn.Module):
    """A normalizing flow of affine couplings (RealNVP, Dinh et al. 2017).

    Args:
        shape: of one sample, of at least two numbers.
        couplings: how many layers.
        width, depth, slope: of the MLP in each.
        bin_width: distance between the values of discrete data, 0 if they are continuous.
            Discrete data have no density: uniform noise fills the gaps in training, and samples
            are rounded.

    Raises:
        ValueError: if there is nothing to couple.

    Example:
        >>> flow, origin = Flow((2,)), torch.zeros(1, 2)
        >>> round(flow.log_prob(origin).item(), 4)  # it starts as the identity: -log(2 pi)
        -1.8379
        >>> flow.loss(origin).item() == -flow.log_prob(origin).item(), flow.sample(5).shape
        (True, torch.Size([5, 2]))
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        couplings: int = 8,
        width: int = 64,
        depth: int = 3,
        slope: float = 0.05,
        bin_width: float = 0.0,
    ):
        super().__init__()
        self.shape, self.bin_width = tuple(shape), bin_width
        self.size = math.prod(shape)
        if self.size < 2 or couplings < 1:
            raise ValueError(
                f"a flow needs samples of at least 2 numbers and at least 1 coupling, got shape "
                f"{self.shape} and {couplings}."
            )
        place = torch.arange(self.size)
        shuffle = torch.cat([place[1::2], place[::2]])
        swap = place.roll(self.size // 2)  # who passed in the last layer moves in this one
        self.network = nn.ModuleList(
            Coupling(swap if k % 2 else shuffle, width, depth, slope) for k in range(couplings)
        )
        self.averaged: EMA | None = None

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def log_prob(self, x_0: Tensor) -> Tensor:
        """log p(x_0) for x_0 (n, *shape) -> (n,), in nats: log N(z; 0, I) + log |det dz/dx_0|."""
        z, log_det = x_0.flatten(1), 0.0
        for coupling in self.network:
            z, more = coupling(z)
            log_det = log_det + more
        return log_det - 0.5 * (z.square() + math.log(2 * math.pi)).sum(1)

    def loss(self, x_0: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """-E log p(x_0), the exact negative log-likelihood, in nats per sample."""
        if self.bin_width:
            uniform = torch.rand(x_0.shape, generator=rng, device=x_0.device)
            x_0 = x_0 + self.bin_width * (uniform - 0.5)
        return -self.log_prob(x_0).mean()

    @torch.no_grad()
    def sample(self, n: int, *, rng: torch.Generator | None = None) -> Tensor:
        """n samples (n, *shape), one pass through the layers; averaged weights once trained."""
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        x = torch.randn(n, self.size, generator=rng, device=self.device)
        for coupling in reversed(self.averaged.module if self.averaged else self.network):
            x = coupling.inverse(x)
        if self.bin_width:
            x = (x / self.bin_width).round() * self.bin_width
        return x.reshape(n, *self.shape)
