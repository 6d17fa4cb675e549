"""The networks: a configuration builds its generator and its discriminator.

Here live the four configurations, for points, digits, small images and the paper's, with the
modules they are built from. A configuration also names its noise levels. Nothing here knows a
loss or a training loop.
"""

import dataclasses
import reprlib

from ddgan_lite.networks.conv import ConvConfig
from ddgan_lite.networks.pyramid import PyramidConfig
from ddgan_lite.networks.toy import MLPConfig
from ddgan_lite.networks.unet import UNetConfig

# Checkpoints name the kind of their network; this is where the name is looked up.
CONFIGS = {"mlp": MLPConfig, "conv": ConvConfig, "pyramid": PyramidConfig, "unet": UNetConfig}
Config = MLPConfig | ConvConfig | PyramidConfig | UNetConfig

__all__ = [
    "CONFIGS",
    "Config",
    "ConvConfig",
    "MLPConfig",
    "PyramidConfig",
    "UNetConfig",
    "describe",
    "described",
]


def describe(config: Config) -> dict:
    """What a file must say to have the same networks built again: their kind and their sizes.

    Example:
        >>> described = describe(MLPConfig(width=64))
        >>> described["kind"], described["config"]["width"]
        ('mlp', 64)
        >>> CONFIGS[described["kind"]](**described["config"]) == MLPConfig(width=64)
        True
    """
    kind = next(name for name, cls in CONFIGS.items() if isinstance(config, cls))
    return {"kind": kind, "config": dataclasses.asdict(config)}


def described(header: dict) -> Config:
    """The configuration that :func:`describe` wrote, out of a file that may say anything.

    Raises:
        ValueError: if it is none that this version knows.

    Example:
        >>> described({"kind": "mlp", "config": {"width": 64}}) == MLPConfig(width=64)
        True
        >>> described({"kind": "mlp", "config": {"wide": 64}})
        Traceback (most recent call last):
            ...
        ValueError: MLPConfig knows no 'wide'
    """
    kind, sizes = header.get("kind"), header.get("config")
    if not isinstance(kind, str) or kind not in CONFIGS:
        raise ValueError(f"it names no kind of network we know, but {reprlib.repr(kind)}")
    if not isinstance(sizes, dict):
        raise ValueError(f"its sizes are no table, but {reprlib.repr(sizes)}")
    cls = CONFIGS[kind]
    for name in sizes.keys() - {field.name for field in dataclasses.fields(cls)}:
        raise ValueError(f"{cls.__name__} knows no {reprlib.repr(name)}")
    return cls(**sizes)
