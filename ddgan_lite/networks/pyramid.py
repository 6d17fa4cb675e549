"""Networks for images of some thousand pixels on a CPU: three sizes down, three sizes up."""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddgan_lite.chain.diffusion import chain_of
from ddgan_lite.networks.conv import check_square, downsamplers
from ddgan_lite.networks.layers import Labelled
from ddgan_lite.networks.toy import (
    OneHot,
    check_chain,
    check_fields,
    check_std,
    mlp,
    preconditioning,
)

_SLOPE = 0.2  # of every LeakyReLU
_GROUPS = 8  # of every normalisation


@dataclass(frozen=True)
class PyramidConfig:
    """The architecture of a middle-sized convolutional generator and discriminator.

    Between :class:`ConvConfig`, whose dense way in sees too little of 32 x 32 pixels, and the
    U-Net, which is too slow for a CPU. Both networks lay 2 x 2 pixels into channels first.

    Attributes:
        shape: (C, H, W) of the images, square; halved ``levels + 1`` times, the size stays whole.
        num_steps: T, the number of denoising steps.
        latent_dim: size of the latent z; 0 makes the generator deterministic.
        width: channels at half the resolution, a multiple of 8; twice as many at every level.
        levels: how often the size is halved after that.
        blocks: residual blocks more at every size, on the way down and on the way up.
        hidden: units of a dense layer.
        style: size of the vector that z and t become.
        data_std: root mean square of the images' values, 0.5 or so. What the generator squashes
            into [-1, 1] is then a correction of the best linear guess
            (:func:`~ddgan_lite.networks.toy.preconditioning`); left out, it is the whole guess,
            which least squares on dark images can drive into its corner for good.
        beta_min, beta_max, noise_levels: the chain, as in
            :class:`~ddgan_lite.chain.diffusion.Diffusion`, whose own rates are the paper's. These
            lose the same share of x_0 at every step and leave x_1 so noisy
            (sqrt(alpha_bar_1) = 0.37) that the last step, whose discriminator sees clean images,
            still decides much of what is drawn.
        classes: of the labels that both networks are given; 0: there are none.
        marginal: hide x_t from the discriminator, which the paper shows it: it asks of a step only
            the right marginal q(x_{t-1}), which is all that sampling needs. As in SIDDM (Xu et
            al. 2023), whose tie of x_{t-1} to x_t we leave out.
        classifier_steps: at t = 1..classifier_steps the discriminator is not told the class of
            x_{t-1} but names it, and adds to its verdict the log-probability of the label that was
            asked for. True samples teach it to, beside the game, which moves it as well (an
            auxiliary classifier: Odena et al. 2017). It rewards what is easy to name: the preset
            ``mnist`` has it at t = 1 only, where true digits are, those of photographs at all t.

    Raises:
        ValueError: if a size is out of range, the chain is none, or a classifier has no classes.

    Example:
        >>> PyramidConfig(shape=(1, 28, 28))
        Traceback (most recent call last):
            ...
        ValueError: shape must be (channels, size, size), size a multiple of 8, got (1, 28, 28).
        >>> type(PyramidConfig(shape=(1, 28, 28), levels=1).build_generator()).__name__
        'PyramidGenerator'
    """

    shape: tuple[int, int, int] = (1, 32, 32)
    num_steps: int = 4
    latent_dim: int = 32
    width: int = 32
    levels: int = 2
    blocks: int = 0
    hidden: int = 256
    style: int = 128
    data_std: float | None = None
    beta_min: float = 8.0
    beta_max: float = 8.0
    noise_levels: tuple[float, ...] | None = None
    classes: int = 0
    marginal: bool = False
    classifier_steps: int = 0

    def __post_init__(self):
        least = {"num_steps": 1, "latent_dim": 0, "levels": 1, "blocks": 0, "classes": 0}
        check_fields(self, **least, hidden=1, style=1, classifier_steps=0)
        if self.width < 1 or self.width % _GROUPS:
            raise ValueError(f"width must be a multiple of {_GROUPS}, got {self.width}.")
        if self.classifier_steps and not self.classes:
            raise ValueError("classifier_steps needs classes, the number of labels, above 0.")
        check_std(self.data_std)
        check_square(self.shape, 2 ** (self.levels + 1))
        check_chain(self)

    def build_generator(self) -> nn.Module:
        return PyramidGenerator(self)

    def build_discriminator(self) -> nn.Module:
        return PyramidDiscriminator(self)


def _sizes(config: PyramidConfig) -> tuple[list[int], int]:
    """Channels from the largest map to the smallest, and the numbers the smallest holds."""
    widths = [config.width * 2**level for level in range(config.levels + 1)]
    return widths, widths[-1] * (config.shape[2] >> (config.levels + 1)) ** 2


def _refine(width: int) -> nn.Module:
    return nn.Conv2d(width, width, 3, padding=1)


class _Style(nn.Module):
    """Group normalisation, whose scale and shift come from z and t."""

    def __init__(self, style: int, channels: int):
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, channels, affine=False)
        self.affine = nn.Linear(style, 2 * channels)

    def forward(self, h: Tensor, style: Tensor) -> Tensor:
        """h (n, channels, H, W), style (n, style) -> (n, channels, H, W)."""
        scale, shift = self.affine(style)[:, :, None, None].chunk(2, dim=1)
        return self.norm(h) * (1 + scale) + shift


class _Blocks(nn.ModuleList):
    """Residual blocks, one after the other; with a style, each is scaled by z and t."""

    def __init__(self, number: int, channels: int, style: int = 0):
        super().__init__(_Block(channels, style) for _ in range(number))

    def forward(self, h: Tensor, style: Tensor | None = None) -> Tensor:
        """h (n, channels, H, W), style (n, style) -> (n, channels, H, W)."""
        for block in self:
            h = block(h, style)
        return h


class _Block(nn.Module):
    """Two convolutions beside the identity. What they add begins as a detail."""

    def __init__(self, channels: int, style: int):
        super().__init__()
        self.restyle = _Style(style, channels) if style else None
        self.first, self.second = _refine(channels), _refine(channels)
        with torch.no_grad():
            self.second.weight.mul_(0.3)

    def forward(self, h: Tensor, style: Tensor | None) -> Tensor:
        inner = h if self.restyle is None else self.restyle(h, style)
        return h + self.second(F.leaky_relu(self.first(F.leaky_relu(inner, _SLOPE)), _SLOPE))


class PyramidGenerator(nn.Module):
    """G(x_t, t, z): a guess of the clean image x_0.

    x_t on its way down and the guess on its way up meet at every size; dense layers at the
    smallest see all of the image; z and t scale and shift every map.

    Example:
        >>> generator = PyramidGenerator(PyramidConfig(width=8))
        >>> generator(torch.zeros(5, 1, 32, 32), torch.full((5,), 4), torch.zeros(5, 32)).shape
        torch.Size([5, 1, 32, 32])
    """

    def __init__(self, config: PyramidConfig):
        super().__init__()
        channels, style = config.shape[0], config.style
        widths, small = _sizes(config)
        self.time = Labelled(config.classes, OneHot(config.num_steps))
        inputs = config.latent_dim + config.num_steps + config.classes
        self.mapping = mlp(inputs, style, style, 2, _SLOPE)
        self.stem = nn.Conv2d(4 * channels, widths[0], 3, padding=1)
        self.down_styles = nn.ModuleList(_Style(style, width) for width in widths)
        self.down_blocks = nn.ModuleList(_Blocks(config.blocks, width, style) for width in widths)
        self.downsample = downsamplers(widths)
        self.dense = mlp(small + style, small, config.hidden, 3, _SLOPE)
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1)
            for narrow, wide in itertools.pairwise(widths)
        )
        self.refine = nn.ModuleList(_refine(width) for width in widths[:-1])
        self.up_styles = nn.ModuleList(_Style(style, width) for width in widths[:-1])
        self.up_blocks = nn.ModuleList(_Blocks(config.blocks, width, style) for width in widths)
        self.out = nn.Conv2d(widths[0], 4 * channels, 3, padding=1)
        self.act = nn.LeakyReLU(_SLOPE)
        tables = preconditioning(chain_of(config).alpha_bar, config.data_std).float()
        self.register_buffer("tables", tables, persistent=False)

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        """x_t (n, C, H, W), t (n,) in 1..T, z (n, latent_dim), y (n,) -> x_0 (n, C, H, W)."""
        style = self.act(self.mapping(torch.cat([z, self.time(t, y)], dim=1)))
        skip, out, scale = self.tables[:, t, None, None, None]
        h = self.act(self.down_styles[0](self.stem(F.pixel_unshuffle(scale * x_t, 2)), style))
        h, skips = self.down_blocks[0](h, style), []
        for i, downsample in enumerate(self.downsample, start=1):
            skips.append(h)
            h = self.act(self.down_styles[i](downsample(h), style))
            h = self.down_blocks[i](h, style)
        h = self.act(h + self.dense(torch.cat([h.flatten(1), style], dim=1)).reshape(h.shape))
        h = self.up_blocks[-1](h, style)
        for i in reversed(range(len(skips))):
            h = self.act(self.upsample[i](h)) + skips[i]
            h = h + self.act(self.up_styles[i](self.refine[i](h), style))
            h = self.up_blocks[i](h, style)
        made = F.pixel_shuffle(self.out(h), 2)
        # Black is exactly -1: a generator that never says so leaves the discriminator an easy game.
        return (1.05 * (skip * x_t + out * made).tanh()).clamp(-1, 1)


class PyramidDiscriminator(nn.Module):
    """D(x_{t-1}, x_t, t): the logit that x_{t-1} is a true denoising of this x_t.

    Where the game is ``marginal``, x_t is ignored. Where there is a classifier, the logit is a
    verdict on x_{t-1} as such plus log q(y | x_{t-1}). (A log-ratio of true and generated samples
    would have that of the generated ones subtracted; without it, what is typical of a class is
    preferred.)

    Example:
        >>> discriminator, x = PyramidDiscriminator(PyramidConfig()), torch.zeros(5, 1, 32, 32)
        >>> discriminator(x, x, torch.full((5,), 4)).shape
        torch.Size([5])
    """

    def __init__(self, config: PyramidConfig):
        super().__init__()
        channels = config.shape[0]
        widths, small = _sizes(config)
        self.time = Labelled(config.classes, OneHot(config.num_steps))
        self.images = 1 if config.marginal else 2  # that it is shown
        self.classes, self.named = config.classes, config.classifier_steps
        self.pair = nn.Conv2d(4 * self.images * channels, widths[0], 3, padding=1)
        self.step = nn.Linear(config.num_steps + config.classes, widths[0])
        self.refine = nn.ModuleList(_refine(width) for width in widths)
        self.blocks = nn.ModuleList(_Blocks(config.blocks, width) for width in widths)
        self.downsample = downsamplers(widths)
        self.dense = mlp(small + self.step.in_features, 1, config.hidden, 2, _SLOPE)
        self.classifier = nn.Linear(config.hidden, config.classes) if self.named else None
        self.act = nn.LeakyReLU(_SLOPE)

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """x_prev and x_t (n, C, H, W), t (n,) in 1..T, y (n,) -> logits (n,)."""
        return sum(self.parts(x_prev, x_t, t, y))

    def parts(
        self, x_prev: Tensor, x_t: Tensor, t: Tensor, y: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The verdict (n,) and log q(y | x_prev) (n,); 0 where there is no classifier or label.

        Where it names the class it is not told y, the answer.

        Example:
            >>> config = PyramidConfig(width=8, classes=2, classifier_steps=4)
            >>> x, t, y = torch.zeros(1, 1, 32, 32), torch.tensor([4]), torch.tensor([0])
            >>> _, evidence = config.build_discriminator().parts(x, x, t, y)
            >>> 0 < evidence.exp().item() < 1
            True
        """
        step = self.time(t, None if y is None else y.where(t > self.named, self.classes))
        h = self.pair(F.pixel_unshuffle(torch.cat([x_prev, x_t][: self.images], dim=1), 2))
        h = self.act(h + self.step(step)[:, :, None, None])
        for i, refine in enumerate(self.refine):
            h = self.blocks[i](0.7 * (h + self.act(refine(h))))  # about as large as it was
            if i < len(self.downsample):
                h = self.act(self.downsample[i](h))
        h = self.act(self.dense[0](torch.cat([h.flatten(1), step], dim=1)))
        verdict = self.dense[-1](h).squeeze(1)
        if self.classifier is None or y is None:
            return verdict, torch.zeros_like(verdict)
        classes = F.pad(self.classifier(h).float().log_softmax(1), (0, 1))
        return verdict, classes.gather(1, y[:, None]).squeeze(1) * (t <= self.named)
