"""Small fully connected networks: enough for points in the plane and for 8 x 8 digits."""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class MLPConfig:
    """The architecture of an MLP generator and discriminator.

    Attributes:
        shape: shape of one sample, for example (2,) or (3, 8, 8).
        num_steps: T, the number of denoising steps.
        latent_dim: size of the latent z; 0 makes the generator deterministic.
        width: hidden units per layer.
        depth: linear layers per network, at least 2.
        slope: negative slope of the LeakyReLU. Networks with a small slope can draw the sharp
            boundaries between modes; smooth activations such as SiLU cannot (chapter 04).

    Raises:
        ValueError: if a size is out of range.

    Example:
        >>> generator = MLPConfig(shape=(2,), num_steps=4, latent_dim=8).build_generator()
        >>> sum(weight.numel() for weight in generator.parameters())
        5522
        >>> MLPConfig(depth=1)
        Traceback (most recent call last):
            ...
        ValueError: depth must be at least 2, got 1.
    """

    shape: tuple[int, ...] = (2,)
    num_steps: int = 4
    latent_dim: int = 8
    width: int = 48
    depth: int = 4
    slope: float = 0.05

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(self.shape))  # JSON brings lists
        if not self.shape or any(side < 1 for side in self.shape):
            raise ValueError(f"shape must hold positive sizes, got {self.shape}.")
        check_least(self, num_steps=1, latent_dim=0, width=1, depth=2)

    def build_generator(self) -> nn.Module:
        return MLPGenerator(self)

    def build_discriminator(self) -> nn.Module:
        return MLPDiscriminator(self)


def mlp(in_features: int, out_features: int, width: int, depth: int, slope: float) -> nn.Sequential:
    """``depth`` linear layers with LeakyReLU between them.

    Example:
        >>> [tuple(layer.weight.shape) for layer in mlp(2, 1, width=8, depth=3, slope=0.05)[::2]]
        [(8, 2), (8, 8), (1, 8)]
    """
    sizes = [in_features, *[width] * (depth - 1), out_features]
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.LeakyReLU(slope)]
    return nn.Sequential(*layers[:-1])


def check_least(config: object, **least: int) -> None:
    """Refuse a configuration with one of these attributes below the number given for it.

    Raises:
        ValueError: naming the first that is.

    Example:
        >>> check_least(MLPConfig(), width=1, depth=2)
    """
    for name, lowest in least.items():
        if getattr(config, name) < lowest:
            raise ValueError(f"{name} must be at least {lowest}, got {getattr(config, name)}.")


class OneHot(nn.Module):
    """t = 1..T, shape (n,), as one-hot rows (n, T).

    Example:
        >>> OneHot(3)(torch.tensor([1, 3]))
        tensor([[1., 0., 0.],
                [0., 0., 1.]])
    """

    def __init__(self, num_steps: int):
        super().__init__()
        self.register_buffer("rows", torch.eye(num_steps), persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        """t (n,) in 1..T -> (n, T)."""
        return self.rows[t - 1]


class MLPGenerator(nn.Module):
    """G(x_t, t, z): a guess of the clean sample x_0 (Xiao et al. 2022, section 3.2).

    Example:
        >>> generator = MLPGenerator(MLPConfig(latent_dim=8))
        >>> generator(torch.zeros(5, 2), torch.full((5,), 4), torch.zeros(5, 8)).shape
        torch.Size([5, 2])
    """

    def __init__(self, config: MLPConfig):
        super().__init__()
        self.config = config
        self.time = OneHot(config.num_steps)
        size = math.prod(config.shape)
        inputs = size + config.latent_dim + config.num_steps
        self.net = mlp(inputs, size, config.width, config.depth, config.slope)

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor) -> Tensor:
        """x_t (n, *shape), t (n,) in 1..T, z (n, latent_dim) -> x_0 (n, *shape)."""
        inputs = torch.cat([x_t.flatten(1), z, self.time(t)], dim=1)
        return self.net(inputs).reshape(x_t.shape)


class MLPDiscriminator(nn.Module):
    """D(x_{t-1}, x_t, t): the logit that x_{t-1} is a true denoising of this x_t.

    Example:
        >>> discriminator = MLPDiscriminator(MLPConfig())
        >>> discriminator(torch.zeros(5, 2), torch.zeros(5, 2), torch.full((5,), 4)).shape
        torch.Size([5])
    """

    def __init__(self, config: MLPConfig):
        super().__init__()
        self.time = OneHot(config.num_steps)
        inputs = 2 * math.prod(config.shape) + config.num_steps
        self.net = mlp(inputs, 1, config.width, config.depth, config.slope)

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """x_prev and x_t (n, *shape), t (n,) in 1..T -> logits (n,)."""
        inputs = torch.cat([x_prev.flatten(1), x_t.flatten(1), self.time(t)], dim=1)
        return self.net(inputs).squeeze(1)
