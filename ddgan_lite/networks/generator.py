"""The image generator: a U-Net of residual blocks steered by t and by the latent z.

It follows NCSN++ (Song et al. 2021) with adaptive group normalisation in place of dropout noise:
z passes a small mapping network, as in StyleGAN, and sets the gains of every block (Xiao et
al. 2022, appendix C).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddgan_lite.networks.layers import (
    AdaGN,
    Attention,
    Blur,
    PixelNorm,
    Resample,
    TimeNetwork,
    conv,
    group_count,
    join,
    linear,
)


class ResBlock(nn.Module):
    """Two 3 x 3 convolutions around the time embedding, beside a shortcut.

    Args:
        fan_in, fan_out: channels.
        time_dim, style_dim: sizes of the time embedding and of the style w.
        direction: ``"up"``, ``"down"`` or None: how the block changes the resolution.

    Example:
        >>> block = ResBlock(8, 16, time_dim=4, style_dim=4, direction="down")
        >>> block(torch.zeros(5, 8, 16, 16), torch.zeros(5, 4), torch.zeros(5, 4)).shape
        torch.Size([5, 16, 8, 8])
    """

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        time_dim: int,
        style_dim: int,
        direction: str | None = None,
    ):
        super().__init__()
        self.norm_in = AdaGN(fan_in, style_dim)
        self.conv_in = conv(fan_in, fan_out)
        self.time = linear(time_dim, fan_out)
        self.norm_out = AdaGN(fan_out, style_dim)
        self.conv_out = conv(fan_out, fan_out, scale=0)
        self.resample = Resample(direction) if direction else nn.Identity()
        shortcut = fan_in != fan_out or direction
        self.shortcut = conv(fan_in, fan_out, 1) if shortcut else nn.Identity()

    def forward(self, x: Tensor, time: Tensor, w: Tensor) -> Tensor:
        """x (n, fan_in, H, W), time (n, time_dim) after its SiLU, w -> (n, fan_out, H', W')."""
        h = self.conv_in(self.resample(F.silu(self.norm_in(x, w))))
        h = h + self.time(time)[:, :, None, None]
        h = self.conv_out(F.silu(self.norm_out(h, w)))
        return join(h, self._across(x))

    def _across(self, x: Tensor) -> Tensor:
        if getattr(self.resample, "direction", None) != "up":
            return self.shortcut(self.resample(x))
        # A 1 x 1 convolution and upsampling commute, and before it there are a quarter as many
        # pixels; only the bias must wait, because the filter fades it out at the border.
        h = self.resample(F.conv2d(x, self.shortcut.weight))
        return h + self.shortcut.bias[:, None, None]


class Pyramid(nn.Module):
    """Carry the input image down beside the features: blur, then a convolution of stride 2.

    Example:
        >>> Pyramid(3, 16)(torch.zeros(5, 3, 32, 32)).shape
        torch.Size([5, 16, 16, 16])
    """

    def __init__(self, fan_in: int, fan_out: int):
        super().__init__()
        self.blur = Blur()
        self.conv = conv(fan_in, fan_out, stride=2, padding=0)

    def forward(self, image: Tensor) -> Tensor:
        """image (n, fan_in, H, W) -> (n, fan_out, H / 2, W / 2)."""
        return self.conv(self.blur(image))


class UNetGenerator(nn.Module):
    """G(x_t, t, z): a guess of the clean image x_0 in [-1, 1].

    Args:
        shape: (C, H, W) of the images; H and W must halve evenly between the levels.
        latent_dim: size of z.
        width: channels of the first level; level i has ``width * multipliers[i]``.
        multipliers: one per level; each level after the first has half the resolution.
        blocks: residual blocks per level on the way down, one more on the way up.
        attention_size: the feature-map width that gets attention, besides the middle.
        style_dim, mapping_depth: size of w, and hidden layers of the mapping z -> w.
        classes: of the labels; 0: there are none.

    At initialisation the output is 0: the last layer starts silent.

    Example:
        >>> generator = UNetGenerator((3, 8, 8), 4, 8, (1, 2), 1, 0, style_dim=8, mapping_depth=1)
        >>> x_0 = generator(torch.ones(5, 3, 8, 8), torch.full((5,), 4), torch.ones(5, 4))
        >>> x_0.shape, x_0.abs().max().item()
        (torch.Size([5, 3, 8, 8]), 0.0)
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent_dim: int,
        width: int,
        multipliers: Sequence[int],
        blocks: int,
        attention_size: int,
        style_dim: int,
        mapping_depth: int,
        classes: int = 0,
    ):
        super().__init__()
        channels, _, size = shape
        time_dim = 4 * width
        mapping: list[nn.Module] = [PixelNorm()]
        for fan_in in [latent_dim, *[style_dim] * mapping_depth]:
            mapping += [linear(fan_in, style_dim), nn.SiLU()]
        self.mapping = nn.Sequential(*mapping)
        # Every block applies a SiLU to the embedding first; it is applied once, here.
        self.time = TimeNetwork(classes, width, time_dim, nn.SiLU())

        def block(fan_in: int, fan_out: int, direction: str | None = None) -> ResBlock:
            return ResBlock(fan_in, fan_out, time_dim, style_dim, direction)

        # Down. Every entry leaves a feature map on the stack of skip connections.
        self.stem = conv(channels, width)
        self.down = nn.ModuleList()
        skips, fan, image = [width], width, channels
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                stage = nn.ModuleList([block(fan, width * multiplier)])
                fan = width * multiplier
                if size >> level == attention_size:
                    stage.append(Attention(fan))
                self.down.append(stage)
                skips.append(fan)
            if level < len(multipliers) - 1:
                self.down.append(nn.ModuleList([block(fan, fan, "down"), Pyramid(image, fan)]))
                image = fan
                skips.append(fan)

        self.middle = nn.ModuleList([block(fan, fan), Attention(fan), block(fan, fan)])

        # Up. Every entry takes one feature map off the stack.
        self.up = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for index in range(blocks + 1):
                stage = nn.ModuleList([block(fan + skips.pop(), width * multiplier)])
                fan = width * multiplier
                if index == blocks:
                    if size >> level == attention_size:
                        stage.append(Attention(fan))
                    if level > 0:
                        stage.append(block(fan, fan, "up"))
                self.up.append(stage)

        self.norm = nn.GroupNorm(group_count(fan), fan, eps=1e-6)
        self.head = conv(fan, channels, scale=0)

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        """x_t (n, C, H, W), t (n,) in 1..T, z (n, latent_dim), y (n,) -> x_0 (n, C, H, W)."""
        w, time = self.mapping(z), self.time(t, y)

        def through(stage: nn.ModuleList, h: Tensor) -> Tensor:
            for layer in stage:
                h = layer(h, time, w) if isinstance(layer, ResBlock) else layer(h)
            return h

        h, image = self.stem(x_t), x_t
        skips = [h]
        for stage in self.down:
            if isinstance(stage[-1], Pyramid):
                h = image = join(stage[-1](image), stage[0](h, time, w))
            else:
                h = through(stage, h)
            skips.append(h)
        h = through(self.middle, h)
        for stage in self.up:
            h = through(stage, torch.cat([h, skips.pop()], dim=1))
        return torch.tanh(self.head(F.silu(self.norm(h))).to(x_t.dtype))
