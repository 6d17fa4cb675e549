"""A plain GAN: one step from noise to data, trained by the same loop as DDGAN."""

import torch
from torch import Tensor, nn

from ddgan_lite.chain.randomness import randn
from ddgan_lite.method.ema import EMA
from ddgan_lite.networks.toy import MLPConfig, Waves, mlp


class _Latent(nn.Module):
    """G(z): the generator's network, without x_t and t."""

    def __init__(self, config: MLPConfig):
        super().__init__()
        self.shape = config.shape
        size = torch.Size(config.shape).numel()
        self.net = mlp(config.latent_dim, size, config.width, config.depth, config.slope)

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z).reshape(-1, *self.shape)


class _Logit(nn.Module):
    """D(x): the discriminator's network, without x_t and t."""

    def __init__(self, config: MLPConfig):
        super().__init__()
        self.waves = Waves(config.frequencies)
        features = torch.Size(config.shape).numel() * (1 + 2 * len(config.frequencies))
        self.net = mlp(features, 1, config.width, config.depth, config.slope)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.waves(x.flatten(1))).squeeze(1)


class GAN(nn.Module):
    """A generative adversarial network (Goodfellow et al. 2014) of two MLPs.

    It has what :func:`ddgan_lite.training.trainer.train` asks for, with an empty condition: the
    discriminator judges x_0 alone. Whether it is a GAN "with R1" is the loop's setting ``r1``.

    Args:
        config: sizes of the networks, and the waves of the discriminator's; what else belongs to
            a chain is not used.

    Raises:
        ValueError: if ``latent_dim`` is 0, which leaves nothing to map.

    Example:
        >>> model = GAN(MLPConfig(shape=(2,)))
        >>> real, condition = model.real_pair(torch.zeros(5, 2))
        >>> condition, model.fake_like(real, condition).shape, model.sample(3).shape
        ((), torch.Size([5, 2]), torch.Size([3, 2]))
    """

    def __init__(self, config: MLPConfig):
        super().__init__()
        if config.latent_dim < 1:
            raise ValueError("a GAN needs a latent: set latent_dim to at least 1.")
        self.config = config
        self.generator: nn.Module = _Latent(config)
        self.discriminator: nn.Module | None = _Logit(config)
        self.averaged: EMA | None = None

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def real_pair(self, x_0: Tensor, rng: torch.Generator | None = None) -> tuple[Tensor, tuple]:
        """The sample itself, under no condition."""
        return x_0, ()

    def fake_like(
        self, real: Tensor, condition: tuple = (), rng: torch.Generator | None = None
    ) -> Tensor:
        """As many generated samples as there are real ones."""
        shape = (len(real), self.config.latent_dim)
        return self.generator(randn(shape, rng, real.dtype, self.device))

    @torch.no_grad()
    def sample(self, n: int, *, rng: torch.Generator | None = None) -> Tensor:
        """n samples (n, *shape), one network evaluation; averaged weights once trained."""
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        z = torch.randn(n, self.config.latent_dim, generator=rng, device=self.device)
        return (self.averaged.module if self.averaged else self.generator)(z)
