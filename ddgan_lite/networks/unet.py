"""One configuration for both image networks."""

from dataclasses import dataclass

from torch import nn

from ddgan_lite.networks.discriminator import BLOCKS, ImageDiscriminator
from ddgan_lite.networks.generator import UNetGenerator
from ddgan_lite.networks.toy import check_chain, check_fields

_ATTENDED = 128  # pixels a side: every one of them looks at every other


@dataclass(frozen=True)
class UNetConfig:
    """The architecture of an image generator and discriminator; defaults: the paper's CIFAR-10.

    Attributes:
        shape: (C, H, W) of the images, square.
        num_steps: T, the number of denoising steps.
        latent_dim: size of the latent z, at least 1.
        width: channels of the generator's first level.
        multipliers: width of each level in units of ``width``; the resolution halves in between.
        blocks: residual blocks per level.
        attention_size: feature-map width with attention (the middle always has it).
        style_dim, mapping_depth: size of the style w and depth of the mapping z -> w.
        discriminator: ``"small"`` (published for 32 px) or ``"large"`` (for 256 px).
        discriminator_width: its channels are 2, 4 and 8 times this.
        discriminator_time_dim: size of its time embedding.
        beta_min, beta_max, noise_levels: the chain, as in
            :class:`~ddgan_lite.chain.diffusion.Diffusion`.
        classes: of the labels that both networks are given; 0: there are none.

    Raises:
        ValueError: if a size is out of range, the images cannot be halved often enough, or the
            chain is none.

    Example:
        >>> UNetConfig(shape=(3, 28, 28))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: images of 28 pixels do not fit: 4 levels need a multiple of 8, ...
        >>> small = UNetConfig(shape=(1, 28, 28), width=8, multipliers=(1, 2, 2))
        >>> sum(weight.numel() for weight in small.build_generator().parameters())
        751017
    """

    shape: tuple[int, int, int] = (3, 32, 32)
    num_steps: int = 4
    latent_dim: int = 100
    width: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    blocks: int = 2
    attention_size: int = 16
    style_dim: int = 256
    mapping_depth: int = 4
    discriminator: str = "small"
    discriminator_width: int = 64
    discriminator_time_dim: int = 256
    beta_min: float = 0.1
    beta_max: float = 20.0
    noise_levels: tuple[float, ...] | None = None
    classes: int = 0

    def __post_init__(self):
        sizes = dict.fromkeys(("num_steps", "latent_dim", "blocks", "style_dim"), 1)
        sizes |= {"discriminator_width": 1, "attention_size": 0, "mapping_depth": 0, "classes": 0}
        check_fields(self, **sizes)
        if len(self.shape) != 3 or self.shape[0] < 1 or self.shape[1] != self.shape[2]:
            raise ValueError(f"shape must be (channels, size, size), got {self.shape}.")
        for name, lowest in (("width", 4), ("discriminator_time_dim", 4)):
            if getattr(self, name) < lowest or getattr(self, name) % 2:
                raise ValueError(
                    f"{name} must be even and at least {lowest}, got {getattr(self, name)}."
                )
        if not self.multipliers or min(self.multipliers) < 1:
            raise ValueError(f"multipliers must be positive numbers, got {self.multipliers}.")
        if self.discriminator not in BLOCKS:
            raise ValueError(
                f"discriminator must be one of {', '.join(BLOCKS)}, got {self.discriminator!r}."
            )
        size, halvings = self.shape[2], len(self.multipliers) - 1
        lowest = 2 ** sum(down for _, down in BLOCKS[self.discriminator])
        if size % 2**halvings or size < lowest:
            raise ValueError(
                f"images of {size} pixels do not fit: {len(self.multipliers)} levels need a "
                f"multiple of {2**halvings}, the {self.discriminator} discriminator at least "
                f"{lowest} pixels."
            )
        attended = [size >> halvings, *(size >> k for k in range(halvings))]
        largest = max(attended[0], self.attention_size if self.attention_size in attended else 0)
        if largest > _ATTENDED:
            raise ValueError(
                f"attention over {largest} x {largest} pixels is too much, {_ATTENDED} x "
                f"{_ATTENDED} are the most: give more multipliers or a smaller attention_size."
            )
        check_chain(self)

    def build_generator(self) -> nn.Module:
        return UNetGenerator(
            self.shape,
            self.latent_dim,
            self.width,
            self.multipliers,
            self.blocks,
            self.attention_size,
            self.style_dim,
            self.mapping_depth,
            self.classes,
        )

    def build_discriminator(self) -> nn.Module:
        return ImageDiscriminator(
            self.shape[0],
            self.discriminator_width,
            self.discriminator_time_dim,
            BLOCKS[self.discriminator],
            silent_start=self.discriminator == "small",
            classes=self.classes,
        )
