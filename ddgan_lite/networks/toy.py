"""Small fully connected networks: enough for points in the plane and for 8 x 8 digits."""

import contextlib
import dataclasses
import itertools
import math
import numbers
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from types import UnionType
from typing import get_args, get_origin

import torch
from torch import Tensor, nn

from ddgan_lite.chain.diffusion import chain_of
from ddgan_lite.networks.layers import Labelled


@dataclass(frozen=True)
class MLPConfig:
    """The architecture of an MLP generator and discriminator.

    Left alone it is a plain network on the paper's chain. ``frequencies`` and ``data_std`` are not
    in the paper; with them and other ``noise_levels`` 25 Gaussians come out sharp (chapter 04).

    Attributes:
        shape: shape of one sample, for example (2,) or (3, 8, 8).
        num_steps: T, the number of denoising steps.
        latent_dim: size of the latent z; 0 makes the generator deterministic.
        width: hidden units per layer.
        depth: linear layers per network, at least 2.
        slope: negative slope of the LeakyReLU. Networks with a small slope can draw the sharp
            boundaries between modes; smooth activations such as SiLU cannot (chapter 04).
        frequencies: the generator sees x_t, the discriminator x_{t-1}, also as sine and cosine of
            these multiples: Fourier features (Tancik et al. 2020).
        data_std: standard deviation of the data, one number for all coordinates. The generator's
            network then says how to correct the best linear guess of x_0
            (:func:`preconditioning`); left out, its answer is the guess.
        beta_min, beta_max, noise_levels: the chain, as in
            :class:`~ddgan_lite.chain.diffusion.Diffusion`.
        classes: of the labels that both networks are given; 0: there are none.

    Raises:
        ValueError: if a size is out of range, or the chain is none.

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
    frequencies: tuple[float, ...] = ()
    data_std: float | None = None
    beta_min: float = 0.1
    beta_max: float = 20.0
    noise_levels: tuple[float, ...] | None = None
    classes: int = 0

    def __post_init__(self):
        check_fields(self, num_steps=1, latent_dim=0, width=1, depth=2, classes=0)
        if not self.shape or any(side < 1 for side in self.shape):
            raise ValueError(f"shape must hold positive sizes, got {self.shape}.")
        if not all(k > 0 for k in self.frequencies):
            raise ValueError(f"frequencies must be positive numbers, got {self.frequencies}.")
        check_std(self.data_std)
        check_chain(self)

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


# The most that a configuration may ask for: beyond what anybody trains, and below what turns a file
# of a few bytes into a burden before its tensors are looked at.
MOST = {
    "num_steps": 256, "classes": 4_096, "shape": 2**16, "depth": 256, "mapping_depth": 256,
    "levels": 10, "blocks": 16, "multipliers": 64, "noise_levels": 1e6, "frequencies": 1e6,
}  # fmt: skip
_MOST = 2**16  # of any other size or number
_ENTRIES = 2**24  # of one sample: 5 images of 3 x 1024 x 1024 pixels


def check_fields(config: object, **least: int) -> None:
    """Refuse a configuration with a value of another type than its field names, or out of bounds.

    Lists become tuples: JSON knows only lists.

    Args:
        config: a frozen dataclass.
        least: the lowest value of these fields; the largest of each stands in ``MOST``.

    Raises:
        ValueError: naming the first field that is not right.

    Example:
        >>> MLPConfig(shape=[2]).shape
        (2,)
        >>> MLPConfig(slope=None)
        Traceback (most recent call last):
            ...
        ValueError: slope must be of type float, got None.
        >>> MLPConfig(width=2**64)
        Traceback (most recent call last):
            ...
        ValueError: width must be at most 65536, got 18446744073709551616.
    """
    for field in dataclasses.fields(config):
        name, value = field.name, getattr(config, field.name)
        if isinstance(value, Iterable) and not isinstance(value, str):
            value = tuple(itertools.islice(value, MOST["num_steps"] + 1))
            object.__setattr__(config, name, value)
        fitting(name, value, field.type)
        most = MOST.get(name, _MOST)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, numbers.Real) and abs(number) > most:
                raise ValueError(f"{name} must be at most {most}, got {reprlib.repr(number)}.")
        if isinstance(value, str | tuple) and len(value) > MOST["num_steps"]:
            raise ValueError(f"{name} is too long: {reprlib.repr(value)}.")
    check_least(config, **least)
    sides = config.shape if len(config.shape) > 1 else ()
    if math.prod(config.shape) > _ENTRIES or any(side > 1024 for side in sides):
        raise ValueError(
            f"shape may hold sides of up to 1024 and {_ENTRIES:,} numbers in all, "
            f"got {reprlib.repr(config.shape)}."
        )


def fitting(name: str, value: object, kind: type, like: object = None) -> object:
    """``value`` as a field of this type holds it: whole numbers pass for floats, lists for tuples.

    Raises:
        ValueError: if it is no such value; it shows one ``like`` which there is.

    Example:
        >>> fitting("betas", [0, 0.9], tuple[float, float])
        (0.0, 0.9)
        >>> fitting("width", "wide", int, like=48)
        Traceback (most recent call last):
            ...
        ValueError: width must be of type int, like 48; got 'wide'.
    """
    kinds = get_args(kind) if type(kind) is UnionType else (kind,)
    for one in kinds:
        with contextlib.suppress(TypeError, OverflowError):
            return _cast(value, one)
    names = " or ".join(str(k) if get_origin(k) else k.__name__ for k in kinds)
    names = names.replace("NoneType", "None")
    known = ", got" if like is None else f", like {like!r}; got"
    raise ValueError(f"{name} must be of type {names}{known} {reprlib.repr(value)}.")


def _cast(value: object, kind: type) -> object:
    """``value`` as a ``kind``; TypeError if it is none."""
    if get_origin(kind) is tuple and type(value) in (tuple, list):
        inner = get_args(kind)
        inner = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        if len(inner) == len(value):
            return tuple(_cast(each, one) for each, one in zip(value, inner, strict=True))
    numeric = {int: numbers.Integral, float: numbers.Real}.get(kind)
    if numeric and isinstance(value, numeric) and not isinstance(value, bool):
        value = kind(value)  # of whole numbers, or of numpy's
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise TypeError
    return value


def check_chain(config: object) -> None:
    """Refuse a configuration whose noise levels or rates are no chain, or that names both.

    Raises:
        ValueError: if so.

    Example:
        >>> MLPConfig(num_steps=2, noise_levels=(1, 2, 4))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: noise_levels must hold one positive number for each of the 2 steps, ...
    """
    chain = chain_of(config)
    if not (chain.posterior_coef_x0[1:].isfinite() & chain.posterior_coef_xt[1:].isfinite()).all():
        raise ValueError("these noise levels or rates are too small for the numbers of a computer.")
    rates = [field for field in dataclasses.fields(config) if field.name.startswith("beta_")]
    changed = [field.name for field in rates if getattr(config, field.name) != field.default]
    if config.noise_levels is not None and changed:
        raise ValueError(
            f"noise_levels are given, so {' and '.join(changed)} cannot be: not both. With "
            "noise_levels=None the rates decide."
        )


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


def preconditioning(alpha_bar: Tensor, data_std: float | None) -> Tensor:
    """What makes a network's output a correction: (skip, out, scale), each a table over alpha_bar.

    The guess of x_0 is skip x_t + out net(scale x_t). Skip is the slope of the best linear guess,
    out its standard error, and scale makes the network's input of unit variance, for data of mean 0
    and standard deviation ``data_std`` (Karras et al. 2022, section 5, in the units of a
    variance-preserving chain). The network's target then has unit variance at every t.

    Args:
        alpha_bar: (k,), in [0, 1].
        data_std: left out, the output is the guess: 0, 1, 1.

    Example:
        >>> skip, out, scale = preconditioning(torch.tensor([1.0, 0.5]), data_std=1.0)
        >>> skip.tolist(), out.tolist()  # nothing is left to guess at alpha_bar = 1
        ([1.0, 0.7071067690849304], [0.0, 0.7071067690849304])
    """
    if data_std is None:
        one = torch.ones_like(alpha_bar)
        return torch.stack([0 * one, one, one])
    scale = (data_std**2 * alpha_bar + 1 - alpha_bar).rsqrt()
    out = data_std * (1 - alpha_bar).sqrt() * scale
    return torch.stack([data_std**2 * alpha_bar.sqrt() * scale**2, out, scale])


def check_std(data_std: float | None) -> None:
    """Refuse what :func:`preconditioning` cannot take.

    Raises:
        ValueError: if ``data_std`` is not positive.

    Example:
        >>> check_std(None)
    """
    if data_std is not None and not data_std > 0:
        raise ValueError(f"data_std must be a positive number, got {data_std}.")


class Waves(nn.Module):
    """x (n, d), beside it the sines and then the cosines of its multiples: (n, d (1 + 2 k)).

    Example:
        >>> Waves((1, 2))(torch.tensor([[torch.pi / 2]])).abs().round(decimals=2)
        tensor([[1.5700, 1.0000, 0.0000, 0.0000, 1.0000]])
    """

    def __init__(self, frequencies: tuple[float, ...]):
        super().__init__()
        as_floats = torch.tensor(frequencies, dtype=torch.float32)
        self.register_buffer("frequencies", as_floats, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if not len(self.frequencies):
            return x
        angles = (self.frequencies[:, None] * x[:, None]).flatten(1)
        return torch.cat([x, angles.sin(), angles.cos()], dim=1)


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
        self.time = Labelled(config.classes, OneHot(config.num_steps))
        self.waves = Waves(config.frequencies)
        size = math.prod(config.shape)
        features = size * (1 + 2 * len(config.frequencies))
        inputs = features + config.latent_dim + config.num_steps + config.classes
        self.net = mlp(inputs, size, config.width, config.depth, config.slope)
        tables = preconditioning(chain_of(config).alpha_bar, config.data_std).float()
        self.register_buffer("tables", tables, persistent=False)

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        """x_t (n, *shape), t (n,) in 1..T, z (n, latent_dim), y (n,) -> x_0 (n, *shape)."""
        x, (skip, out, scale) = x_t.flatten(1), self.tables[:, t, None]
        inputs = torch.cat([self.waves(scale * x), z, self.time(t, y)], dim=1)
        return (skip * x + out * self.net(inputs)).reshape(x_t.shape)


class MLPDiscriminator(nn.Module):
    """D(x_{t-1}, x_t, t): the logit that x_{t-1} is a true denoising of this x_t.

    Example:
        >>> discriminator = MLPDiscriminator(MLPConfig())
        >>> discriminator(torch.zeros(5, 2), torch.zeros(5, 2), torch.full((5,), 4)).shape
        torch.Size([5])
    """

    def __init__(self, config: MLPConfig):
        super().__init__()
        self.time = Labelled(config.classes, OneHot(config.num_steps))
        self.waves = Waves(config.frequencies)
        inputs = 2 * math.prod(config.shape) * (1 + len(config.frequencies)) + config.num_steps
        self.net = mlp(inputs + config.classes, 1, config.width, config.depth, config.slope)

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """x_prev and x_t (n, *shape), t (n,) in 1..T, y (n,) -> logits (n,)."""
        x_prev = self.waves(x_prev.flatten(1))
        inputs = torch.cat([x_prev, x_t.flatten(1), self.time(t, y)], dim=1)
        return self.net(inputs).squeeze(1)
