"""The image discriminators: is x_{t-1} a plausible denoising of x_t at time t?

Residual convolutions without normalisation, the time added to every block, and a tail that
compares the samples of a batch (Xiao et al. 2022, appendix C).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddgan_lite.networks.layers import MinibatchStd, Resample, TimeNetwork, conv, join, linear

# Channels of the blocks in units of the width, and whether a block halves the resolution:
# the two published discriminators, for 32 and for 256 pixels.
BLOCKS = {
    "small": ((2, False), (4, True), (8, True), (8, True)),
    "large": ((4, True), *[(8, True)] * 5),
}


class DownBlock(nn.Module):
    """Two 3 x 3 convolutions with the time between them, beside a 1 x 1 shortcut.

    Example:
        >>> block = DownBlock(8, 16, time_dim=4, down=True)
        >>> block(torch.zeros(5, 8, 16, 16), torch.zeros(5, 4)).shape
        torch.Size([5, 16, 8, 8])
    """

    def __init__(self, fan_in: int, fan_out: int, time_dim: int, down: bool):
        super().__init__()
        self.conv_in = conv(fan_in, fan_out)
        self.time = linear(time_dim, fan_out)
        self.resample = Resample("down") if down else nn.Identity()
        self.conv_out = conv(fan_out, fan_out, scale=0)
        self.shortcut = conv(fan_in, fan_out, 1, bias=False)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x (n, fan_in, H, W), time (n, time_dim) -> (n, fan_out, H', W')."""
        h = self.conv_in(F.leaky_relu(x, 0.2)) + self.time(time)[:, :, None, None]
        h = self.conv_out(self.resample(F.leaky_relu(h, 0.2)))
        return join(h, self.shortcut(self.resample(x)))


class ImageDiscriminator(nn.Module):
    """D(x_{t-1}, x_t, t): the logit that x_{t-1} is a true denoising of this x_t.

    Args:
        channels: C of the images.
        width: channels in units of which the blocks are counted.
        time_dim: size of the time embedding.
        blocks: (multiple of the width, halve?) of each block, as in :data:`BLOCKS`.
        silent_start: start the tail's convolution at 0, so that every logit starts at 0.
        classes: of the labels; 0: there are none.

    Example:
        >>> discriminator = ImageDiscriminator(3, 4, 8, BLOCKS["small"], silent_start=True)
        >>> x = torch.ones(2, 3, 16, 16)
        >>> discriminator(x, x, torch.tensor([1, 4])).abs().tolist()
        [0.0, 0.0]
    """

    def __init__(
        self,
        channels: int,
        width: int,
        time_dim: int,
        blocks: Sequence[tuple[int, bool]],
        silent_start: bool,
        classes: int = 0,
    ):
        super().__init__()
        self.time = TimeNetwork(classes, time_dim, time_dim, nn.LeakyReLU(0.2))
        fan = 2 * width
        self.stem = conv(2 * channels, fan, 1)
        self.blocks = nn.ModuleList()
        for multiple, down in blocks:
            self.blocks.append(DownBlock(fan, multiple * width, time_dim, down))
            fan = multiple * width
        self.compare = MinibatchStd()
        self.tail = conv(fan + 1, fan, scale=0 if silent_start else 1)
        self.logit = linear(fan, 1)

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """x_prev and x_t (n, C, H, W), t (n,) in 1..T, y (n,) -> logits (n,)."""
        time = self.time(t, y)
        h = self.stem(torch.cat([x_prev, x_t], dim=1))
        for block in self.blocks:
            h = block(h, time)
        h = F.leaky_relu(self.tail(self.compare(h)), 0.2)
        return self.logit(h.sum((2, 3))).squeeze(1).to(x_prev.dtype)
