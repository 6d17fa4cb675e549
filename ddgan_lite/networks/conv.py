"""Networks for images of a few pixels: a dense trunk that sees everything, a few convolutions."""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ddgan_lite.networks.layers import Labelled
from ddgan_lite.networks.toy import OneHot, check_chain, check_fields, mlp

_SLOPE = 0.2  # of every LeakyReLU


@dataclass(frozen=True)
class ConvConfig:
    """The architecture of a small convolutional generator and discriminator.

    On 8 x 8 pixels a U-Net spends its time calling operations; here few of them do the work. The
    dense layers settle what is drawn, the convolutions how it looks (chapter 06).

    Attributes:
        shape: (C, H, W) of the images, square; halved ``levels`` times, the size stays whole.
        num_steps: T, the number of denoising steps.
        latent_dim: size of the latent z; 0 makes the generator deterministic.
        width: channels at full resolution; each time the size is halved there are twice as many.
        hidden: units of a dense layer.
        levels: how often the size is halved between the image and the dense layers.
        beta_min, beta_max, noise_levels: the chain, as in
            :class:`~ddgan_lite.chain.diffusion.Diffusion`.
        classes: of the labels that both networks are given; 0: there are none.

    Raises:
        ValueError: if a size is out of range, or the chain is none.

    Example:
        >>> ConvConfig(shape=(1, 28, 28), levels=3)
        Traceback (most recent call last):
            ...
        ValueError: shape must be (channels, size, size), size a multiple of 8, got (1, 28, 28).
        >>> type(ConvConfig(shape=(1, 28, 28), levels=2).build_generator()).__name__
        'ConvGenerator'
    """

    shape: tuple[int, int, int] = (3, 8, 8)
    num_steps: int = 4
    latent_dim: int = 32
    width: int = 24
    hidden: int = 256
    levels: int = 1
    beta_min: float = 0.1
    beta_max: float = 20.0
    noise_levels: tuple[float, ...] | None = None
    classes: int = 0

    def __post_init__(self):
        check_fields(self, num_steps=1, latent_dim=0, width=1, hidden=1, levels=1, classes=0)
        check_square(self.shape, 2**self.levels)
        check_chain(self)

    def build_generator(self) -> nn.Module:
        return ConvGenerator(self)

    def build_discriminator(self) -> nn.Module:
        return ConvDiscriminator(self)


def check_square(shape: tuple[int, ...], multiple: int) -> None:
    """Refuse what is no shape (C, size, size) of images with a size that is such a multiple.

    Raises:
        ValueError: if it is not.

    Example:
        >>> check_square((1, 32, 32), multiple=8)
    """
    square = len(shape) == 3 and shape[1] == shape[2]
    if not square or min(shape) < 1 or shape[2] % multiple:
        raise ValueError(
            f"shape must be (channels, size, size), size a multiple of {multiple}, got {shape}."
        )


def downsamplers(widths: list[int]) -> nn.ModuleList:
    """Convolutions from each width to the next, every one to half the size.

    Example:
        >>> first, second = downsamplers([16, 32, 64])
        >>> second(first(torch.zeros(5, 16, 8, 8))).shape
        torch.Size([5, 64, 2, 2])
    """
    return nn.ModuleList(
        nn.Conv2d(narrow, wide, 4, stride=2, padding=1)
        for narrow, wide in itertools.pairwise(widths)
    )


class ConvGenerator(nn.Module):
    """G(x_t, t, z): a guess of the clean image x_0, a little beyond [-1, 1] at the most.

    Dense layers turn (x_t, z, t) into a coarse picture; it is doubled to full size, x_t is laid
    beside it once more, and two convolutions finish it.

    Example:
        >>> generator = ConvGenerator(ConvConfig(shape=(3, 8, 8), latent_dim=32))
        >>> generator(torch.zeros(5, 3, 8, 8), torch.full((5,), 4), torch.zeros(5, 32)).shape
        torch.Size([5, 3, 8, 8])
    """

    def __init__(self, config: ConvConfig):
        super().__init__()
        channels, size, _ = config.shape
        self.time = Labelled(config.classes, OneHot(config.num_steps))
        widths = [config.width * 2**level for level in range(config.levels, -1, -1)]
        self.coarse = (widths[0], size >> config.levels, size >> config.levels)
        inputs = math.prod(config.shape) + config.latent_dim + config.num_steps + config.classes
        self.dense = mlp(inputs, math.prod(self.coarse), config.hidden, 3, _SLOPE)
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1)
            for wide, narrow in itertools.pairwise(widths)
        )
        self.merge = nn.Conv2d(config.width + channels, config.width, 3, padding=1)
        self.out = nn.Conv2d(config.width, channels, 3, padding=1)
        self.act = nn.LeakyReLU(_SLOPE)

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        """x_t (n, C, H, W), t (n,) in 1..T, z (n, latent_dim), y (n,) -> x_0 (n, C, H, W)."""
        inputs = torch.cat([x_t.flatten(1), z, self.time(t, y)], dim=1)
        h = self.act(self.dense(inputs)).reshape(-1, *self.coarse)
        for upsample in self.upsample:
            h = self.act(upsample(h))
        h = self.act(self.merge(torch.cat([h, x_t], dim=1)))
        return 1.05 * self.out(h).tanh()  # +-1, the darkest and the brightest, without saturation


class ConvDiscriminator(nn.Module):
    """D(x_{t-1}, x_t, t): the logit that x_{t-1} is a true denoising of this x_t.

    Example:
        >>> discriminator, x = ConvDiscriminator(ConvConfig()), torch.zeros(5, 3, 8, 8)
        >>> discriminator(x, x, torch.full((5,), 4)).shape
        torch.Size([5])
    """

    def __init__(self, config: ConvConfig):
        super().__init__()
        channels, size, _ = config.shape
        self.time = Labelled(config.classes, OneHot(config.num_steps))
        self.pair = nn.Conv2d(2 * channels, config.width, 3, padding=1)
        self.step = nn.Linear(config.num_steps + config.classes, config.width)
        widths = [config.width * 2**level for level in range(config.levels + 1)]
        self.downsample = downsamplers(widths)
        features = widths[-1] * (size >> config.levels) ** 2
        self.dense = mlp(features + self.step.in_features, 1, config.hidden, 3, _SLOPE)
        self.act = nn.LeakyReLU(_SLOPE)

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """x_prev and x_t (n, C, H, W), t (n,) in 1..T, y (n,) -> logits (n,)."""
        step = self.time(t, y)
        h = self.pair(torch.cat([x_prev, x_t], dim=1))
        h = self.act(h + self.step(step)[:, :, None, None])
        for downsample in self.downsample:
            h = self.act(downsample(h))
        return self.dense(torch.cat([h.flatten(1), step], dim=1)).squeeze(1)
