"""The building blocks that generator and discriminators share.

Weights start uniform with variance 1 / fan_avg, biases at 0; a layer that is to be silent at
first (the last of a residual branch) starts at exactly 0.
"""

import math
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def scaled(layer: nn.Module, scale: float = 1.0) -> nn.Module:
    """Start a linear or convolutional layer at variance ``scale`` / fan_avg, biases at 0.

    Example:
        >>> layer = scaled(nn.Linear(300, 500))
        >>> round(400 * layer.weight.var().item(), 1), layer.bias.abs().max().item()  # fan_avg 400
        (1.0, 0.0)
    """
    if scale == 0:
        nn.init.zeros_(layer.weight)
    else:
        nn.init.xavier_uniform_(layer.weight, gain=math.sqrt(scale))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def conv(fan_in: int, fan_out: int, size: int = 3, *, scale: float = 1.0, **options) -> nn.Conv2d:
    """A convolution that keeps the resolution, unless ``options`` say otherwise.

    Example:
        >>> x = torch.zeros(1, 3, 32, 32)
        >>> conv(3, 8)(x).shape, conv(3, 8, stride=2)(x).shape
        (torch.Size([1, 8, 32, 32]), torch.Size([1, 8, 16, 16]))
    """
    options = {"padding": size // 2, **options}
    return scaled(nn.Conv2d(fan_in, fan_out, size, **options), scale)


def linear(fan_in: int, fan_out: int) -> nn.Linear:
    """A linear layer with the initial weights of all others.

    Example:
        >>> layer = linear(2, 4)
        >>> layer.weight.abs().max().item() <= 1, layer.bias.tolist()  # sqrt(3 / fan_avg) = 1
        (True, [0.0, 0.0, 0.0, 0.0])
    """
    return scaled(nn.Linear(fan_in, fan_out))


def fir_kernel(gain: float = 1.0) -> Tensor:
    """[1, 3, 3, 1] / 8 in both directions, summing to ``gain``: (1, 1, 4, 4).

    Example:
        >>> kernel = fir_kernel()
        >>> kernel.shape, kernel.sum().item(), (64 * kernel[0, 0, 0]).tolist()
        (torch.Size([1, 1, 4, 4]), 1.0, [1.0, 3.0, 3.0, 1.0])
    """
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    return gain * torch.outer(taps, taps)[None, None]


def each_channel(x: Tensor, kernel: Tensor, *, up: bool = False, **options) -> Tensor:
    """Filter every channel of x (n, C, H, W) with the one kernel (1, 1, h, w).

    A CPU computes this in float32 at least, and gives back x's type: its half-precision kernels for
    one channel at a time are many times slower (``benchmarks/train_step.py --precision bf16``).

    Example:
        >>> each_channel(torch.ones(1, 3, 8, 8), fir_kernel(), stride=2, padding=1).shape
        torch.Size([1, 3, 4, 4])
    """
    filtered = F.conv_transpose2d if up else F.conv2d
    on_cpu = x.device.type == "cpu"
    dtype = torch.promote_types(x.dtype, torch.float32) if on_cpu else x.dtype
    kernel = kernel.to(dtype).expand(x.shape[1], 1, -1, -1)
    with torch.autocast("cpu", enabled=False) if on_cpu else nullcontext():
        return filtered(x.to(dtype), kernel, groups=x.shape[1], **options).to(x.dtype)


class Resample(nn.Module):
    """Blur with [1, 3, 3, 1] / 8 in both directions, and halve or double the resolution.

    The kernel is what a depthwise convolution of stride 2 (down) or its transpose (up) needs;
    the transpose spreads each pixel over four, hence the factor 4. Resampling through a low-pass
    filter keeps aliasing out of the features (Zhang 2019; Karras et al. 2020).

    Example:
        >>> x = torch.ones(1, 3, 8, 8)
        >>> half = Resample("down")(x)
        >>> half.shape, round(half[0, 0, 2, 2].item(), 4)  # inside, what is flat stays flat
        (torch.Size([1, 3, 4, 4]), 1.0)
        >>> Resample("up")(half).shape
        torch.Size([1, 3, 8, 8])
    """

    def __init__(self, direction: str):
        super().__init__()
        self.direction = direction
        kernel = fir_kernel({"down": 1.0, "up": 4.0}[direction])
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (n, C, H, W) -> (n, C, H / 2, W / 2) or (n, C, 2 H, 2 W)."""
        return each_channel(x, self.kernel, up=self.direction == "up", stride=2, padding=1)


class Blur(nn.Module):
    """The same filter at stride 1, with 2 pixels of zeros around: (H, W) -> (H + 1, W + 1).

    Example:
        >>> Blur()(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 3, 9, 9])
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("kernel", fir_kernel(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (n, C, H, W) -> (n, C, H + 1, W + 1)."""
        return each_channel(x, self.kernel, padding=2)


class TimeEmbedding(nn.Module):
    """Sines and cosines of t at geometrically spaced frequencies (Vaswani et al. 2017).

    The networks receive t = 1..T, the noise level of x_t, as everywhere in this library. The
    published weights were trained on t - 1 = 0..T - 1: the subtraction happens here and
    nowhere else.

    Args:
        size: length of the embedding, even.

    Example:
        >>> TimeEmbedding(4)(torch.tensor([1]))  # sines and cosines of 0
        tensor([[0., 0., 1., 1.]])
    """

    def __init__(self, size: int):
        super().__init__()
        half = size // 2
        frequencies = torch.exp(-math.log(10_000) * torch.arange(half) / max(half - 1, 1))
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        """t (n,) in 1..T -> (n, size)."""
        angles = (t - 1).float()[:, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class Labelled(nn.Sequential):
    """Layers over a row for t and, beside it, a one-hot row for the label: zeros where none is.

    The first linear layer adds a learned vector for every label, as an embedding would.

    Args:
        classes: labels are 0..classes - 1; ``classes`` itself stands for none.
        time: what turns t (n,) into rows.
        layers: what follows, if anything.

    Example:
        >>> rows = Labelled(3, TimeEmbedding(2))
        >>> rows(torch.tensor([1, 1]), torch.tensor([0, 3])).tolist()  # the label 0, and none
        [[0.0, 1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0]]
    """

    def __init__(self, classes: int, time: nn.Module, *layers: nn.Module):
        super().__init__(time, *layers)
        self.classes = classes
        self.register_buffer("rows", torch.eye(classes + 1)[:, :classes], persistent=False)

    def forward(self, t: Tensor, y: Tensor | None = None) -> Tensor:
        """t (n,) in 1..T, y (n,) in 0..classes, or left out: no labels -> (n, ...)."""
        time, *layers = self
        h = time(t)
        if self.classes:
            y = torch.full_like(t, self.classes) if y is None else y
            h = torch.cat([h, self.rows[y]], dim=1)
        for layer in layers:
            h = layer(h)
        return h


class TimeNetwork(Labelled):
    """The same with two linear layers, an activation after each: (n, width).

    Example:
        >>> network = TimeNetwork(10, 8, width=16, act=nn.SiLU())
        >>> network(torch.tensor([1, 4]), torch.tensor([7, 3])).shape
        torch.Size([2, 16])
    """

    def __init__(self, classes: int, size: int, width: int, act: nn.Module):
        first, second = linear(size + classes, width), linear(width, width)
        super().__init__(classes, TimeEmbedding(size), first, act, second, act)


class PixelNorm(nn.Module):
    """Scale each row to mean square 1 (Karras et al. 2018).

    Example:
        >>> z = 100 * torch.arange(1.0, 9).reshape(2, 4)
        >>> PixelNorm()(z).square().mean(1).round(decimals=4)
        tensor([1., 1.])
    """

    def forward(self, z: Tensor) -> Tensor:
        """z (n, latent_dim) -> (n, latent_dim)."""
        return z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)


class AdaGN(nn.Module):
    """Group normalisation whose gain and bias are read off the latent's style w.

    This is where the latent enters: the same features, turned up, down or off per channel.
    Gains start near 1 and biases near 0.

    Example:
        >>> x = torch.arange(64.0).reshape(1, 4, 4, 4)
        >>> y = AdaGN(4, style_dim=8)(x, torch.zeros(1, 8))  # a style of zeros: gain 1, bias 0
        >>> round(abs(y.mean().item()), 3), round(y.std(correction=0).item(), 3)
        (0.0, 1.0)
    """

    def __init__(self, channels: int, style_dim: int):
        super().__init__()
        self.groups = group_count(channels)
        self.style = linear(style_dim, 2 * channels)
        with torch.no_grad():
            self.style.bias[:channels] = 1

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x (n, C, H, W), w (n, style_dim) -> (n, C, H, W)."""
        gain, bias = self.style(w)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(bias, gain, F.group_norm(x, self.groups, eps=1e-6))


def group_count(channels: int) -> int:
    """Groups of a normalisation: equal ones of at least 4 channels, as many as go up to 32.

    Example:
        >>> [group_count(channels) for channels in (3, 8, 30, 128, 512)]
        [1, 2, 6, 32, 32]
    """
    return next(n for n in range(max(min(channels // 4, 32), 1), 0, -1) if channels % n == 0)


class Attention(nn.Module):
    """Self-attention over the pixels of one feature map, one head, as a residual branch.

    scaled_dot_product_attention never writes down the (H W) x (H W) table of weights.

    Example:
        >>> x = torch.ones(1, 8, 4, 4)
        >>> torch.equal(Attention(8)(x), join(x, torch.zeros_like(x)))  # the branch starts silent
        True
    """

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.GroupNorm(group_count(channels), channels, eps=1e-6)
        self.query, self.key, self.value = (conv(channels, channels, 1, scale=0.1) for _ in "qkv")
        self.out = conv(channels, channels, 1, scale=0)

    def forward(self, x: Tensor) -> Tensor:
        """x (n, C, H, W) -> (n, C, H, W)."""
        h = self.norm(x)
        # (n, 1, H W, C), each pixel's channels side by side: else the fused kernels step aside.
        rows = [
            part(h).flatten(2).transpose(1, 2).unsqueeze(1).contiguous()
            for part in (self.query, self.key, self.value)
        ]
        h = F.scaled_dot_product_attention(*rows)
        return join(x, self.out(h.squeeze(1).transpose(1, 2).reshape(x.shape)))


def join(a: Tensor, b: Tensor) -> Tensor:
    """(a + b) / sqrt(2): the sum of two branches of equal variance keeps that variance.

    Example:
        >>> a, b = torch.randn(2, 100_000, generator=torch.Generator().manual_seed(0))
        >>> round(join(a, b).std().item(), 1)
        1.0
    """
    return (a + b).mul_(math.sqrt(0.5))


class MinibatchStd(nn.Module):
    """Append how much samples of a group differ from each other, as one more channel.

    A generator that always draws the same thing is given away at once (Karras et al. 2018).
    Sample i is grouped with i + n/4, i + n/2 and i + 3n/4.

    Example:
        >>> x = torch.zeros(4, 3, 8, 8)
        >>> MinibatchStd()(x).shape, round(MinibatchStd()(x)[0, 3, 0, 0].item(), 3)  # all alike: 0
        (torch.Size([4, 4, 8, 8]), 0.0)
    """

    group = 4

    @classmethod
    def check(cls, n: int) -> None:
        """Refuse a batch size that cannot be cut into groups.

        Raises:
            ValueError: unless n is below 4 or a multiple of 4.

        Example:
            >>> MinibatchStd.check(6)  # doctest: +ELLIPSIS
            Traceback (most recent call last):
                ...
            ValueError: this discriminator compares samples in groups of 4: the batch of ... got 6.
        """
        if n > cls.group and n % cls.group:
            raise ValueError(
                f"this discriminator compares samples in groups of {cls.group}: the batch of each "
                f"process must be 1, 2, 3 or a multiple of {cls.group}, got {n}."
            )

    def forward(self, x: Tensor) -> Tensor:
        """x (n, C, H, W) -> (n, C + 1, H, W)."""
        n, c, h, w = x.shape
        self.check(n)
        group = min(n, self.group)
        rows = x.to(torch.promote_types(x.dtype, torch.float32)).reshape(group, n // group, c, h, w)
        std = ((rows - rows.mean(0)).square().mean(0) + 1e-8).sqrt().mean((1, 2, 3))
        extra = std.repeat(group).to(x.dtype)[:, None, None, None].expand(n, 1, h, w)
        return torch.cat([x, extra], dim=1)
