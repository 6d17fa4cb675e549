"""A variational autoencoder: squeeze a sample into a Gaussian code, and learn the way back."""

import math

import torch
from torch import Tensor, nn

from ddgan_lite.chain.randomness import randn
from ddgan_lite.method.ema import EMA
from ddgan_lite.networks.toy import mlp


class Autoencoder(nn.Module):
    """The encoder q(z | x), the decoder p(x | z) and the decoder's one standard deviation.

    Example:
        >>> network = Autoencoder(size=2, latent_dim=3, width=8, depth=2, slope=0.05)
        >>> mean, log_std = network.encode(torch.zeros(5, 2))
        >>> mean.shape, log_std.shape, network.decoder(mean).shape
        (torch.Size([5, 3]), torch.Size([5, 3]), torch.Size([5, 2]))
    """

    def __init__(self, size: int, latent_dim: int, width: int, depth: int, slope: float):
        super().__init__()
        self.encoder = mlp(size, 2 * latent_dim, width, depth, slope)
        self.decoder = mlp(latent_dim, size, width, depth, slope)
        # A small start: while the decoder is allowed much noise, the code does not pay (posterior
        # collapse).
        self.log_std = nn.Parameter(torch.tensor(-2.0))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (n, size) -> mean and log standard deviation of q(z | x), each (n, latent_dim)."""
        mean, log_std = self.encoder(x).chunk(2, dim=1)
        return mean, log_std


class VAE(nn.Module):
    """A VAE with Gaussian encoder and decoder (Kingma and Welling 2014).

    p(x | z) = N(decoder(z), std^2 I) with one learned std, and p(z) = N(0, I).

    Args:
        shape: of one sample.
        latent_dim: size of the code z.
        width, depth, slope: of the two MLPs.
        noise: share of the decoder's std that is added to a sample. 1 draws from the model;
            0 shows the decoder's means, as is usual for images.

    Raises:
        ValueError: if ``latent_dim`` is below 1.

    Example:
        >>> model = VAE((3, 8, 8), latent_dim=16)
        >>> x_0 = torch.zeros(5, 3, 8, 8)
        >>> model.loss(x_0).shape, model.log_likelihood(x_0.flatten(1), torch.zeros(5, 16)).shape
        (torch.Size([]), torch.Size([5]))
        >>> model.sample(2).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int = 2,
        width: int = 128,
        depth: int = 4,
        slope: float = 0.05,
        noise: float = 1.0,
    ):
        super().__init__()
        if latent_dim < 1:
            raise ValueError(f"latent_dim must be at least 1, got {latent_dim}.")
        self.shape, self.latent_dim, self.noise = tuple(shape), latent_dim, noise
        self.network = Autoencoder(math.prod(shape), latent_dim, width, depth, slope)
        self.averaged: EMA | None = None

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def loss(self, x_0: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """The mean over samples of -ELBO = KL(q(z | x) || p(z)) - E_q log p(x | z), in nats."""
        x = x_0.flatten(1)
        mean, log_std = self.network.encode(x)
        # Reparameterised: the gradient passes through mean and log_std, not through the draw.
        z = mean + log_std.exp() * randn(mean.shape, rng, x.dtype, x.device)
        return (kl_to_normal(mean, log_std) - self.log_likelihood(x, z)).mean()

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z) for x (n, size) and z (n, latent_dim) -> (n,), in nats."""
        log_std = self.network.log_std
        error = (x - self.network.decoder(z)) * (-log_std).exp()
        return -(0.5 * error.square() + log_std + 0.5 * math.log(2 * math.pi)).sum(1)

    @torch.no_grad()
    def sample(self, n: int, *, rng: torch.Generator | None = None) -> Tensor:
        """n samples (n, *shape), one pass through the decoder; averaged weights once trained."""
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        network = self.averaged.module if self.averaged else self.network
        x = network.decoder(torch.randn(n, self.latent_dim, generator=rng, device=self.device))
        noise = torch.randn(x.shape, generator=rng, device=self.device)
        return (x + self.noise * network.log_std.exp() * noise).reshape(n, *self.shape)


def kl_to_normal(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, diag std^2) || N(0, I)) in nats, for (n, d) -> (n,).

    Example:
        >>> kl_to_normal(mean=torch.tensor([[0.0, 0.0], [3.0, 4.0]]), log_std=torch.zeros(2, 2))
        tensor([ 0.0000, 12.5000])
    """
    return 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(1)
