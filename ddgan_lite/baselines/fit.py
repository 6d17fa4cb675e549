"""One training loop for every model that has a loss to lower: VAE, flow and diffusion model."""

import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from ddgan_lite.method.ema import EMA


class Model(Protocol):
    """What :func:`fit` needs; sampling then uses ``averaged``.

    Example:
        >>> from ddgan_lite import VAE
        >>> model: Model = VAE((2,))
        >>> model.loss(torch.zeros(5, 2), rng=None).shape  # a scalar to lower
        torch.Size([])
    """

    network: nn.Module
    averaged: EMA | None
    device: torch.device

    def loss(self, x_0: Tensor, rng: torch.Generator | None) -> Tensor: ...


def fit(
    model: Model,
    data,
    *,
    steps: int = 10_000,
    batch_size: int = 1024,
    lr: float = 2e-3,
    ema_decay: float = 0.995,
    seed: int = 0,
) -> Iterator[dict[str, float]]:
    """Train ``model`` by Adam with a cosine schedule to zero; yields the loss of every step.

    ``data`` is anything with ``sample(n, rng)``, as for :func:`ddgan_lite.training.trainer.train`.

    Raises:
        ValueError: if ``steps`` or ``batch_size`` is below 1.
        FloatingPointError: if the loss stops being finite.

    Example:
        >>> from ddgan_lite import VAE, gaussian_grid
        >>> model = VAE((2,))
        >>> len([line["loss"] for line in fit(model, gaussian_grid(), steps=3, batch_size=8)])
        3
    """
    if steps < 1 or batch_size < 1:
        raise ValueError(f"steps and batch_size must be at least 1, got {steps} and {batch_size}.")
    rng = torch.Generator(model.device).manual_seed(seed)
    # Data are drawn on the CPU, wherever the model is; there both are one stream.
    data_rng = rng if rng.device.type == "cpu" else torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.network.parameters(), lr=lr, fused=True)
    schedule = CosineAnnealingLR(optimiser, steps)
    model.averaged = EMA(model.network, ema_decay)
    for step in range(steps):
        x_0 = data.sample(batch_size, data_rng).to(model.device, torch.float32)
        loss = model.loss(x_0, rng)
        if not math.isfinite(value := loss.item()):
            raise FloatingPointError(f"the loss is {value} at step {step}: try a smaller lr.")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        model.averaged.update(model.network)
        yield {"loss": value}
